"""Event streams: messages in frames with two checksums, and the events of a model inside them.

Source: AWS event stream encoding (`application/vnd.amazon.eventstream`), Smithy, "Amazon Event Stream".
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from lambent.protocol import read_xml, timestamps
from lambent.protocol.models import CBOR, REST_XML, ServiceModel, Shape
from lambent.protocol.read_values import ValueReaders, decode_cbor, decode_json
from lambent.protocol.read_xml import XmlReaders
from lambent.protocol.reading import malformed
from lambent.protocol.write_values import ValueWriters, encode_cbor, encode_json
from lambent.protocol.write_xml import Out, XmlWriters

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct("!III")  # whole length, length of the headers, checksum of these two
_CRC: Final = struct.Struct("!I")
_FRAMING: Final = _PRELUDE.size + _CRC.size
_LONGEST: Final = 24 * 1024 * 1024  # the encoding's limit: 24 MB of payload
_LONGEST_HEADERS: Final = 128 * 1024
_TRUE, _FALSE, _BYTE, _SHORT, _INTEGER, _LONG, _BYTES, _STRING, _TIMESTAMP, _UUID = range(10)
_INTEGERS: Final = {_BYTE: struct.Struct("!b"), _SHORT: struct.Struct("!h"), _INTEGER: struct.Struct("!i")}
_INTEGERS[_LONG] = _INTEGERS[_TIMESTAMP] = struct.Struct("!q")

HeaderValue = bool | int | bytes | str | datetime | UUID
EncodeEvent = Callable[[Mapping[str, Any]], bytes]
"""An event, `{"PayloadChunk": {...}}`, into its message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream."""

    headers: dict[str, HeaderValue]
    payload: bytes


def encode(headers: Sequence[tuple[str, HeaderValue]], payload: bytes) -> bytes:
    """One message in its frame. Integers are written as 32 bits where they fit, else as 64."""
    head = b"".join(_encode_header(name, value) for name, value in headers)
    length = _FRAMING + len(head) + len(payload)
    lengths = struct.pack("!II", length, len(head))
    frame = b"".join((lengths, _CRC.pack(zlib.crc32(lengths)), head, payload))
    return frame + _CRC.pack(zlib.crc32(frame))


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    return bytes([len(encoded)]) + encoded + _encode_value(value)


def _encode_value(value: HeaderValue) -> bytes:
    if isinstance(value, bool):
        return bytes([_TRUE if value else _FALSE])
    if isinstance(value, int):
        return struct.pack("!Bi", _INTEGER, value) if -(2**31) <= value < 2**31 else struct.pack("!Bq", _LONG, value)
    if isinstance(value, datetime):
        return struct.pack("!Bq", _TIMESTAMP, round(timestamps.to_number(value) * 1000))
    if isinstance(value, UUID):
        return bytes([_UUID]) + value.bytes
    kind, data = (_STRING, value.encode()) if isinstance(value, str) else (_BYTES, value)
    return struct.pack("!BH", kind, len(data)) + data


def decode(stream: bytes) -> Iterator[Message]:
    """The messages of a whole stream. Raises ApiError SerializationException where one is broken."""
    position = 0
    while position < len(stream):
        if len(stream) - position < _FRAMING:
            raise malformed("The event stream ends within a message")
        length, head, checksum = _PRELUDE.unpack_from(stream, position)
        if zlib.crc32(stream[position : position + 8]) != checksum:
            raise malformed("The prelude of an event stream message does not match its checksum")
        if head > _LONGEST_HEADERS or not head + _FRAMING <= length <= _LONGEST or position + length > len(stream):
            raise malformed("The lengths of an event stream message are out of range")
        end = position + length - _CRC.size
        if zlib.crc32(stream[position:end]) != _CRC.unpack_from(stream, end)[0]:
            raise malformed("An event stream message does not match its checksum")
        start = position + _PRELUDE.size
        yield Message(_decode_headers(stream[start : start + head]), stream[start + head : end])
        position += length


def _decode_headers(head: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    position = 0
    try:
        while position < len(head):
            size = head[position]
            name = head[position + 1 : position + 1 + size].decode()
            kind = head[position + 1 + size]
            headers[name], position = _decode_value(head, kind, position + 2 + size)
    except (IndexError, struct.error, ValueError) as error:
        raise malformed("The headers of an event stream message are broken") from error
    return headers


def _decode_value(head: bytes, kind: int, position: int) -> tuple[HeaderValue, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind in _INTEGERS:
        layout = _INTEGERS[kind]
        number: int = layout.unpack_from(head, position)[0]
        value = timestamps.from_number(number / 1000).astimezone(UTC) if kind == _TIMESTAMP else number
        return value, position + layout.size
    if kind == _UUID:
        return UUID(bytes=head[position : position + 16]), position + 16
    size = struct.unpack_from("!H", head, position)[0]
    data = head[position + 2 : position + 2 + size]
    if kind not in (_BYTES, _STRING) or len(data) != size:
        raise ValueError(kind)
    return data.decode() if kind == _STRING else data, position + 2 + size


def event_encoder(model: ServiceModel, stream: Shape, protocol: str) -> EncodeEvent:
    """An encoder for the events of this stream, compiled once."""
    encoders = {name: _member_encoder(model, name, shape, protocol) for name, shape in model.members(stream).items()}

    def encode_event(event: Mapping[str, Any]) -> bytes:
        (name, value), *others = event.items()
        assert not others, "an event is one member of its stream"
        return encoders[name](value)

    return encode_event


def encode_initial_response(body: bytes, content_type: str) -> bytes:
    """The message that goes first in the json and rpc-v2-cbor protocols: the output's other members."""
    headers = [(":message-type", "event"), (":event-type", "initial-response"), (":content-type", content_type)]
    return encode(headers, body)


def encode_error(code: str, message: str) -> bytes:
    """An error that the stream does not model: it ends the stream."""
    return encode([(":message-type", "error"), (":error-code", code), (":error-message", message)], b"")


def _member_encoder(model: ServiceModel, name: str, shape: Shape, protocol: str) -> EncodeEvent:
    members = model.members(shape)
    headers: list[tuple[str, HeaderValue]]
    if shape.exception:
        headers = [(":message-type", "exception"), (":exception-type", name)]
    else:
        headers = [(":message-type", "event"), (":event-type", name)]
    named = [member for member, one in members.items() if one.event_header]
    content_type, write_payload = _payload_writer(model, shape, protocol)

    def encode_member(event: Mapping[str, Any]) -> bytes:
        payload = write_payload(event)
        own = [(member, event[member]) for member in named if event.get(member) is not None]
        kind = [(":content-type", content_type)] if content_type else []
        return encode([*headers, *kind, *own], payload)

    return encode_member


def _payload_writer(model: ServiceModel, shape: Shape, protocol: str) -> tuple[str, EncodeEvent]:
    members = model.members(shape)
    payload = next((name for name, member in members.items() if member.event_payload), None)
    if payload is not None:
        return _member_payload_writer(model, payload, members[payload], protocol)
    inside = {name: member for name, member in members.items() if not member.event_header}
    if not inside:
        return "", lambda _event: b""
    return _structure_writer(model, shape, inside, protocol)


def _member_payload_writer(model: ServiceModel, name: str, member: Shape, protocol: str) -> tuple[str, EncodeEvent]:
    if member.type == "blob":
        return "application/octet-stream", lambda event: event.get(name) or b""
    if member.type == "string":
        return "text/plain", lambda event: (event.get(name) or "").encode()
    content_type, write = _structure_writer(model, member, model.members(member), protocol)
    return content_type, lambda event: write(event.get(name) or {})


def _structure_writer(
    model: ServiceModel, shape: Shape, members: Mapping[str, Shape], protocol: str
) -> tuple[str, EncodeEvent]:
    if protocol == REST_XML:
        write_content = XmlWriters(model).content(members)

        def write_xml(event: Mapping[str, Any]) -> bytes:
            out: Out = [f"<{shape.name}>"]
            write_content(event, out)
            return "".join([*out, f"</{shape.name}>"]).encode()

        return "text/xml", write_xml
    write = ValueWriters(model, cbor=protocol == CBOR).structure(members)
    if protocol == CBOR:
        return "application/cbor", lambda event: encode_cbor(write(event))
    return "application/json", lambda event: encode_json(write(event))


def read_events(model: ServiceModel, stream: Shape, body: bytes, protocol: str) -> list[dict[str, Any]]:
    """The events of a stream that came as a request's body, `{"AudioEvent": {...}}` each; unknown ones are left out.

    Raises:
        ApiError: SerializationException, when the stream or an event in it is broken.
    """
    shapes = model.members(stream)
    events = []
    for message in decode(body):
        name = message.headers.get(":event-type")
        if isinstance(name, str) and name in shapes:
            events.append({name: _read_event(model, shapes[name], message, protocol)})
    return events


def _read_event(model: ServiceModel, shape: Shape, message: Message, protocol: str) -> dict[str, Any]:
    members = model.members(shape)
    event: dict[str, Any] = {
        name: message.headers[name]
        for name, member in members.items()
        if member.event_header and name in message.headers
    }
    for name, member in members.items():
        if member.event_payload:
            event[name] = _read_payload(model, member, message.payload, protocol)
            return event
    inside = {name: member for name, member in members.items() if not member.event_header}
    if inside and message.payload:
        event.update(_read_structure(model, inside, message.payload, protocol))
    return event


def _read_payload(model: ServiceModel, shape: Shape, payload: bytes, protocol: str) -> Any:
    if shape.type == "blob":
        return payload
    if shape.type == "string":
        return payload.decode("utf-8", "replace")
    return _read_structure(model, model.members(shape), payload, protocol)


def _read_structure(model: ServiceModel, members: Mapping[str, Shape], payload: bytes, protocol: str) -> dict[str, Any]:
    if protocol == REST_XML:
        found: dict[str, Any] = XmlReaders(model).structure(members)([read_xml.document(payload)])
        return found
    decoded = decode_cbor(payload) if protocol == CBOR else decode_json(payload)
    values: dict[str, Any] = ValueReaders(model, cbor=protocol == CBOR).structure(members)(decoded)
    return values
