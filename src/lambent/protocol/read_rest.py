"""What the REST protocols put outside the body: labels of the path, the query string and headers."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from lambent.protocol.http import HttpRequest
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.reading import ReadText, malformed, text_reader

_MOST_FIELDS: Final = 1_000
# A header's list: items are separated by commas, and in quotes where they hold one.
_QUOTED: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,]*?))\s*(?:,|$)')

ReadRest = Callable[[Mapping[str, str], HttpRequest, dict[str, Any]], None]
"""Puts what a request (its labels, itself) says outside the body into the parameters."""


def rest_readers(model: ServiceModel, members: Mapping[str, Shape]) -> list[ReadRest]:
    """One reader for each kind of place that these members use."""
    by_location: dict[str, dict[str, Shape]] = {}
    for name, shape in members.items():
        if shape.location is not None:
            by_location.setdefault(shape.location, {})[name] = shape
    makers = {"uri": _labels, "header": _headers, "headers": _header_maps, "querystring": _query}
    return [make(model, by_location[location]) for location, make in makers.items() if location in by_location]


def _labels(_model: ServiceModel, members: Mapping[str, Shape]) -> ReadRest:
    fields = [(shape.wire_name or name, name, text_reader(shape)) for name, shape in members.items()]

    def read(labels: Mapping[str, str], _request: HttpRequest, params: dict[str, Any]) -> None:
        for label, name, read_text in fields:
            text = labels[label]
            params[name] = read_text(_unquoted(text) if "%" in text else text)

    return read


def _unquoted(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise malformed("The path is not UTF-8 in percent-encoding") from None


def _headers(model: ServiceModel, members: Mapping[str, Shape]) -> ReadRest:
    fields = [
        ((shape.wire_name or name).lower(), name, _header_reader(model, shape)) for name, shape in members.items()
    ]

    def read(_labels: Mapping[str, str], request: HttpRequest, params: dict[str, Any]) -> None:
        headers = request.headers
        for header, name, read_text in fields:
            text = headers.get(header)
            if text is not None:
                params[name] = read_text(text)

    return read


def _header_reader(model: ServiceModel, shape: Shape) -> ReadText:
    if shape.type != "list":
        return text_reader(shape)
    item = model.item(shape)
    read = text_reader(item)
    if item.type == "timestamp" and (item.timestamp_format or "rfc822").lower() == "rfc822":
        return lambda text: [read(one) for one in _dates(text)]
    return lambda text: [read(one) for one in header_list(text)]


def header_list(text: str) -> list[str]:
    """The items of a list in a header; an item in double quotes may hold commas."""
    if not text:
        return []
    if '"' not in text:
        return [one.strip() for one in text.split(",")]
    items, end = [], 0
    while end < len(text) and (match := _QUOTED.match(text, end)) and match.end() > end:
        quoted, plain = match.groups()
        items.append(plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        end = match.end()
    return items


def _dates(text: str) -> list[str]:
    """An HTTP date holds one comma itself."""
    parts = text.split(",")
    return [",".join(parts[index : index + 2]).strip() for index in range(0, len(parts), 2)]


def _header_maps(_model: ServiceModel, members: Mapping[str, Shape]) -> ReadRest:
    prefixes = [((shape.wire_name or "").lower(), name) for name, shape in members.items()]

    def read(_labels: Mapping[str, str], request: HttpRequest, params: dict[str, Any]) -> None:
        for prefix, name in prefixes:
            found = {key[len(prefix) :]: text for key, text in request.headers.items() if key.startswith(prefix)}
            if found:
                params[name] = found

    return read


def _query(model: ServiceModel, members: Mapping[str, Shape]) -> ReadRest:
    scalars: dict[str, tuple[str, ReadText]] = {}
    lists: dict[str, tuple[str, ReadText]] = {}
    maps = [
        (name, model.key_and_value(shape)[1].type == "list") for name, shape in members.items() if shape.type == "map"
    ]
    for name, shape in members.items():
        if shape.type == "list":
            lists[shape.wire_name or name] = (name, text_reader(model.item(shape)))
        elif shape.type != "map":
            scalars[shape.wire_name or name] = (name, text_reader(shape))

    def read(_labels: Mapping[str, str], request: HttpRequest, params: dict[str, Any]) -> None:
        if not request.query:
            return
        pairs = _pairs(request.query)
        for key, text in pairs:
            if (scalar := scalars.get(key)) is not None:
                params[scalar[0]] = scalar[1](text)
            elif (many := lists.get(key)) is not None:
                params.setdefault(many[0], []).append(many[1](text))
        for name, holds_lists in maps:  # has them all, those with members of their own too
            params[name] = _query_map(pairs, holds_lists=holds_lists)

    return read


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise malformed("The query string is not UTF-8 in percent-encoding, or too long") from None


def _query_map(pairs: list[tuple[str, str]], *, holds_lists: bool) -> dict[str, Any]:
    """The first value of a name that comes twice counts, unless lists are held."""
    found: dict[str, Any] = {}
    for key, text in pairs:
        if holds_lists:
            found.setdefault(key, []).append(text)
        else:
            found.setdefault(key, text)
    return found
