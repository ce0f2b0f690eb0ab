"""The address of a package (GetFunction's Code.Location) and what is found there.

Like a presigned S3 URL it needs no credentials, names one package, and is good for ten minutes.
"""

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from lambent.aws.caller import Caller

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

PREFIX: Final = "/_lambent/code/"
_VALID_S: Final = 600
Answer = tuple[int, list[tuple[str, str]], bytes]


def location(service: "Lambda", caller: Caller, digest: str) -> str:
    """The address, on the endpoint that the caller used."""
    expires = int(service.clock.now()) + _VALID_S
    signature = _sign(service.secret, digest, expires)
    return f"{caller.base_url}{PREFIX}{digest}?Expires={expires}&Signature={signature}"


async def page(service: "Lambda", path: str, query: str) -> Answer:
    """The package, or 403 for an address that is not ours or too old, or 404 for a package that is gone."""
    digest = path.removeprefix(PREFIX)
    fields = parse_qs(query)
    expires, signature = fields.get("Expires", [""])[0], fields.get("Signature", [""])[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 20):
        return _text(403, "This address is not complete.")
    if not hmac.compare_digest(signature.encode(), _sign(service.secret, digest, int(expires)).encode()):
        return _text(403, "The signature does not match.")
    if service.clock.now() > int(expires):
        return _text(403, "Request has expired: ask GetFunction for a new address.")
    try:
        data = await asyncio.to_thread(service.packages.blobs.read, digest)
    except FileNotFoundError:
        return _text(404, "No function has this package any more.")
    return 200, [("content-type", "application/zip")], data


def _sign(secret: bytes, digest: str, expires: int) -> str:
    return hmac.new(secret, f"lambda code {digest} {expires}".encode(), hashlib.sha256).hexdigest()


def _text(status: int, text: str) -> Answer:
    return status, [("content-type", "text/plain; charset=utf-8")], text.encode() + b"\n"
