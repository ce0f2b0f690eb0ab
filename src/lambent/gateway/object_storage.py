"""Requests to S3: which they are, and what of them is read before their operation begins.

An object's body is not read here: the operation takes it while it comes. A bucket may be named by the host instead of
the path; the path is what everything behind this module sees.
"""

import base64
import hashlib
import re
from typing import Any, Final, NamedTuple

import msgspec

from lambent.aws import checksums
from lambent.aws.errors import ApiError
from lambent.gateway.body import Limit, Read, read_body, read_part
from lambent.gateway.post_forms import Form, read_form
from lambent.gateway.presigned import unsealed
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import REST_XML
from lambent.protocol.parse import parse
from lambent.protocol.payload import Payload
from lambent.protocol.route import Route, Unroutable, route

UNKNOWN: Final = Route("s3", "", REST_XML, {})
"""The route of a request of which only the service is known."""

_SIGNED: Final = frozenset(["s3", "s3express"])
# What takes its body while it comes.
_STREAMED: Final = frozenset(["PutObject", "UploadPart"])
# Its checksums are the object's, not the body's.
_OF_THE_OBJECT: Final = frozenset(["CompleteMultipartUpload"])
_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
# BUCKET.s3.anything, BUCKET.s3-REGION.anything
_VIRTUAL: Final = re.compile(rf"({_BUCKET})\.s3[.-][a-z0-9.-]+(?::[0-9]{{1,5}})?", re.ASCII | re.IGNORECASE)
# What SDKs make of an endpoint http://localhost:4566; other services' hosts look the same, so the signature decides.
_LOCAL: Final = re.compile(rf"({_BUCKET})\.localhost(?::[0-9]{{1,5}})?", re.ASCII | re.IGNORECASE)
_LIMIT: Final = Limit(16 * 1024 * 1024, "MaxMessageLengthExceeded", "Your request was too big.")
_DATED: Final = re.compile(r"/\d{4}-\d\d-\d\d/", re.ASCII)
_FORM: Final = "multipart/form-data"
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Ready(NamedTuple):
    """A request that is routed, with its body or the way to it. `form` is set when it came as one."""

    way: Route
    request: HttpRequest
    form: Form | None = None


def of_bucket(request: HttpRequest, signing_name: str | None) -> HttpRequest | None:
    """The request as one to S3, its bucket in its path; None when it is not one to S3."""
    host = request.headers.get("host", "")
    found = _VIRTUAL.fullmatch(host)
    if found is None and (signing_name in _SIGNED or (signing_name is None and _is_form(request))):
        found = _LOCAL.fullmatch(host)
    if found is not None and found[1].lower() not in ("s3", "s3.dualstack"):
        return msgspec.structs.replace(request, path=f"/{found[1].lower()}{request.path}")
    return request if signing_name in _SIGNED or (signing_name is None and _is_unsigned(request)) else None


def _is_unsigned(request: HttpRequest) -> bool:
    """Whether a request without a signature can only be S3's: the other services' look different."""
    headers = request.headers
    if "x-amz-target" in headers or "smithy-protocol" in headers or _DATED.match(request.path):
        return False
    if request.method == "POST":
        return _is_form(request) or any(mark in f"&{request.query}" for mark in ("&uploads", "&uploadId=", "&delete"))
    return "Action=" not in request.query and request.path != "/"


def _is_form(request: HttpRequest) -> bool:
    return request.method == "POST" and request.headers.get("content-type", "").startswith(_FORM)


async def ready(request: HttpRequest, read: Read, now: float) -> Ready:
    """The operation that a request to S3 is for, and the request with what it needs.

    Raises:
        ApiError: as `route`; that the URL's time is over, a form's policy does not hold, or the body is not what its
            headers say.
        Disconnected: the client went away.
    """

    async def part() -> tuple[bytes, bool]:
        return await read_part(read)

    if _is_form(request) and "/" not in (bucket := request.path.strip("/")):
        form = await read_form(bucket, request.headers["content-type"], part, now)
        way = Route("s3", "PutObject", REST_XML, {"Bucket": form.bucket, "Key": form.key.replace("%", "%25")})
        return Ready(way, msgspec.structs.replace(request, headers=form.headers(), query="", stream=form.body), form)
    request = unsealed(request, now)
    way = _routed(request)
    if way.operation in _STREAMED:
        return Ready(way, msgspec.structs.replace(request, stream=Payload(part, request.headers)))
    body = await read_body(read, _LIMIT, length=request.headers.get("content-length"))
    if body:
        if way.operation not in _OF_THE_OBJECT:
            _check(request, body)
        request = request.with_body(body)
    return Ready(way, request)


def parsed(ready: Ready) -> dict[str, Any]:
    """The operation's parameters.

    Raises:
        ApiError: InvalidURI, MalformedXML or InvalidArgument, for what cannot be read.
    """
    try:
        params = parse(ready.way, ready.request)
    except ApiError as error:
        if error.code != "SerializationException":
            raise
        if error.message.startswith("The path"):
            raise ApiError("InvalidURI", "Couldn't parse the specified URI.") from error
        if ready.request.body:
            message = "The XML you provided was not well-formed or did not validate against our published schema"
            raise ApiError("MalformedXML", message) from error
        raise ApiError("InvalidArgument", error.message) from error
    if ready.way.operation == "PutBucketNotificationConfiguration":
        _lower_names(params)
    return params


def _lower_names(params: dict[str, Any]) -> None:
    """The model has `prefix` and `suffix`; S3 takes them in any case, and says `Prefix` itself."""
    for entries in params.get("NotificationConfiguration", {}).values():
        for entry in entries if isinstance(entries, list) else ():
            for rule in entry.get("Filter", {}).get("Key", {}).get("FilterRules", ()):
                rule["Name"] = rule.get("Name", "").lower()


def _routed(request: HttpRequest) -> Route:
    try:
        return route(request, "s3")
    except Unroutable:
        message = "The specified method is not allowed against this resource."
        raise ApiError("MethodNotAllowed", message, Method=request.method, ResourceType="OBJECT") from None


def _check(request: HttpRequest, body: bytes) -> None:
    """Refuses a body that is not what its headers say."""
    headers = request.headers
    told = headers.get("x-amz-content-sha256", "")
    if _HEX.fullmatch(told) and hashlib.sha256(body).hexdigest() != told:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise ApiError("XAmzContentSHA256Mismatch", message)
    if "content-md5" in headers:
        _check_md5(headers["content-md5"], body)
    for algorithm in checksums.ALGORITHMS:
        said = headers.get(checksums.HEADER + algorithm.lower())
        if said is not None:
            made = checksums.of(algorithm)
            made.update(body)
            if checksums.text(made.digest()) != said:
                raise ApiError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _check_md5(said: str, body: bytes) -> None:
    try:
        digest = base64.b64decode(said, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise ApiError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise ApiError("BadDigest", "The Content-MD5 you specified did not match what we received.")
