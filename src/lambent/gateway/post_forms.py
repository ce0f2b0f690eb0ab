"""Objects that a browser puts into a bucket with a form: read as if they came by PutObject.

The fields before the file are its parameters, and what the signed policy among them says is held. Whoever signed it is
believed, as everywhere in open mode.

Source: Amazon S3 API Reference, "POST Object" and "Creating a POST policy".
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from lambent.aws.errors import ApiError
from lambent.gateway.body import Read
from lambent.protocol.http import HttpResponse
from lambent.protocol.payload import Payload
from lambent.protocol.timestamps import from_text
from lambent.protocol.write_xml import DECLARATION, escaped

_MOST_FIELD_BYTES: Final = 20 * 1024  # all fields before the file
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_NAME: Final = re.compile(r'[; ]name="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_FILE_NAME: Final = re.compile(r'[; ]filename="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
# What the policy need not mention. Source: "Creating a POST policy", conditions.
_UNMENTIONED: Final = frozenset(["awsaccesskeyid", "x-amz-signature", "signature", "file", "policy", "bucket"])


@dataclass(slots=True, kw_only=True)
class Form:
    """A form that was read up to its file. `body` has the file."""

    bucket: str
    fields: dict[str, str]
    """By name in lower case."""
    body: Payload

    @property
    def key(self) -> str:
        return self.fields["key"]

    def headers(self) -> dict[str, str]:
        """What PutObject would have been told in headers."""
        plain = ("cache-control", "content-type", "content-disposition", "content-encoding", "expires")
        found = {name: value for name, value in self.fields.items() if name in plain or name.startswith("x-amz-")}
        for form_name, header in (("acl", "x-amz-acl"), ("tagging", "x-amz-tagging")):
            if form_name in self.fields:
                found[header] = self.fields[form_name]
        found.pop("x-amz-date", None)
        if "x-amz-tagging" in found and found["x-amz-tagging"].lstrip().startswith("<"):
            found["x-amz-tagging"] = _tags(found["x-amz-tagging"])
        return found

    def credential(self) -> str:
        """The query of a URL that the same key signed."""
        if "x-amz-credential" in self.fields:
            return f"X-Amz-Credential={quote(self.fields['x-amz-credential'], safe='')}"
        return f"AWSAccessKeyId={quote(self.fields.get('awsaccesskeyid', ''), safe='')}&Signature="

    def response(self, put: HttpResponse, base_url: str) -> HttpResponse:
        """The answer to the form, from the answer to PutObject."""
        etag = next((value for name, value in put.headers if name.lower() == "etag"), "")
        location = f"{base_url}/{self.bucket}/{quote(self.key)}"
        headers = [*put.headers, ("Location", location)]
        redirect = self.fields.get("success_action_redirect") or self.fields.get("redirect")
        if redirect and urlsplit(redirect).scheme in ("http", "https"):
            parts = urlsplit(redirect)
            query = urlencode([*parse_qsl(parts.query), ("bucket", self.bucket), ("key", self.key), ("etag", etag)])
            return HttpResponse(303, [*put.headers, ("Location", parts._replace(query=query).geturl())], b"")
        status = self.fields.get("success_action_status", "204")
        if status != "201":
            return HttpResponse(200 if status == "200" else 204, headers, b"")
        said = {"Location": location, "Bucket": self.bucket, "Key": self.key, "ETag": etag}
        inside = "".join(f"<{name}>{escaped(text)}</{name}>" for name, text in said.items())
        body = f"{DECLARATION}<PostResponse>{inside}</PostResponse>".encode()
        return HttpResponse(201, [*headers, ("Content-Type", "application/xml")], body)


async def read_form(bucket: str, content_type: str, read: Read, now: float) -> Form:
    """The form up to its file.

    Raises:
        ApiError: MalformedPOSTRequest, InvalidArgument, MaxPostPreDataLengthExceededError, or what the policy says.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _malformed()
    reader = _Reader(read, (found[1] or found[2]).encode("latin-1"))
    fields, file_name, file_type = await reader.fields()
    if not fields.get("key"):
        raise _invalid("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of ")
    fields["key"] = fields["key"].replace("${filename}", file_name)
    if file_type and "content-type" not in fields and "policy" not in fields:
        fields["content-type"] = file_type
    least, most = check_policy(fields, bucket, now) if "policy" in fields else (0, None)
    body = Payload(_Bounded(reader.file, least, most).read, {})
    return Form(bucket=bucket, fields=fields, body=body)


class _Reader:
    """Takes a form apart while it comes."""

    def __init__(self, read: Read, boundary: bytes) -> None:
        self._read = read
        self._mark = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # before the first mark there may be a line's end
        self._more = True

    async def fields(self) -> tuple[dict[str, str], str, str]:
        """The fields before the file, the file's name and its type."""
        fields: dict[str, str] = {}
        taken = 0
        await self._until(self._mark)
        while True:
            head = (await self._until(b"\r\n\r\n")).decode("utf-8", "replace")
            name = _NAME.search(head)
            if name is None:
                raise _invalid("POST requires exactly one file upload per request.")
            if name[1].lower() == "file":
                given = _FILE_NAME.search(head)
                kind = re.search(r"content-type:\s*([^\r\n]+)", head, re.IGNORECASE)
                return fields, re.split(r"[/\\]", given[1])[-1] if given else "", kind[1].strip() if kind else ""
            value = await self._until(self._mark)
            taken += len(head) + len(value)
            if taken > _MOST_FIELD_BYTES:
                raise _too_long()
            fields[name[1].lower()] = value.decode("utf-8", "replace")

    async def file(self) -> tuple[bytes, bool]:
        """`Read` of the file, which ends where its mark is."""
        while True:
            end = self._buffer.find(self._mark)
            if end >= 0:
                data, self._buffer = self._buffer[:end], b""
                await self._drain()
                return data, False
            if not self._more:
                raise _malformed()
            keep = len(self._mark) - 1
            if len(self._buffer) > keep:
                data, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                return data, True
            await self._fill()

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _MOST_FIELD_BYTES:
                raise _too_long()
            if not self._more:
                raise _malformed()
            await self._fill()
        found, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
        return found

    async def _fill(self) -> None:
        data, self._more = await self._read()
        self._buffer += data

    async def _drain(self) -> None:
        while self._more:
            _data, self._more = await self._read()


@dataclass(slots=True)
class _Bounded:
    """A file with the size that the policy allows."""

    file: Callable[[], Any]
    least: int
    most: int | None
    size: int = field(default=0)

    async def read(self) -> tuple[bytes, bool]:
        data, more = await self.file()
        self.size += len(data)
        if self.most is not None and self.size > self.most:
            message = "Your proposed upload exceeds the maximum allowed size"
            raise ApiError("EntityTooLarge", message, ProposedSize=self.size, MaxSizeAllowed=self.most)
        if not more and self.size < self.least:
            message = "Your proposed upload is smaller than the minimum allowed size"
            raise ApiError("EntityTooSmall", message, ProposedSize=self.size, MinSizeAllowed=self.least)
        return data, more


def check_policy(fields: Mapping[str, str], bucket: str, now: float) -> tuple[int, int | None]:
    """The least and the most bytes that the file may have.

    Raises:
        ApiError: AccessDenied, when its time is over or a condition does not hold; InvalidPolicyDocument.
    """
    policy = _policy(fields["policy"])
    if policy["expiration"].timestamp() < now:
        raise _denied("Policy expired.")
    values = {**fields, "bucket": bucket}
    mentioned, least, most = set(_UNMENTIONED), 0, None
    for condition in policy["conditions"]:
        operator, name, value = _condition(condition)
        if operator == "content-length-range":
            least, most = int(name), int(value)
            continue
        given = values.get(name, "")
        mentioned.add(name)
        if not (given == value if operator == "eq" else given.startswith(value)):
            raise _denied(f"Policy Condition failed: {msgspec.json.encode(condition).decode()}")
    extra = [name for name in fields if name not in mentioned and not name.startswith("x-ignore-")]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(extra)}")
    return least, most


def _policy(text: str) -> dict[str, Any]:
    try:
        policy = msgspec.json.decode(base64.b64decode(text))
        expiration = from_text(policy["expiration"])
        expiration = expiration if expiration.tzinfo else expiration.replace(tzinfo=UTC)
        return {"expiration": expiration, "conditions": list(policy["conditions"])}
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise ApiError("InvalidPolicyDocument", "Invalid Policy: Invalid JSON.") from None


def _condition(condition: Any) -> tuple[str, str, str]:
    if isinstance(condition, dict) and len(condition) == 1:
        ((name, value),) = condition.items()
        return "eq", str(name).lower(), str(value)
    if isinstance(condition, list) and len(condition) == 3:
        operator, name, value = str(condition[0]).lower(), str(condition[1]), str(condition[2])
        if operator == "content-length-range" and name.isdecimal() and value.isdecimal():
            return operator, name, value
        if operator in ("eq", "starts-with") and name.startswith("$"):
            return operator, name[1:].lower(), value
    raise ApiError("InvalidPolicyDocument", "Invalid Policy: Invalid Simple-Condition.")


def _tags(document: str) -> str:
    """Tags as a form has them, in XML, as a header has them."""
    pairs = re.findall(r"<Key>([^<]*)</Key>\s*<Value>([^<]*)</Value>", document)
    return urlencode(pairs)


def _denied(why: str) -> ApiError:
    return ApiError("AccessDenied", f"Invalid according to Policy: {why}")


def _malformed() -> ApiError:
    return ApiError("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidArgument", message)


def _too_long() -> ApiError:
    return ApiError(
        "MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large."
    )
