"""Which requests are for a function URL: those to its host name, and those below `/_lambent/url/ID/`.

The second form is for clients that cannot resolve names below `localhost`, or cannot set a Host header.
"""

import re
from typing import Final

from lambent.aws import quotas
from lambent.gateway.body import Limit, Read, read_body
from lambent.protocol.http import HttpRequest, UrlTarget

_HOST: Final = re.compile(r"([a-z0-9]{1,63})\.lambda-url\.([a-z0-9-]{1,63})\.[a-z0-9.-]+(?::[0-9]{1,5})?", re.I | re.A)
_PATH: Final = re.compile(r"/_lambent/url/([a-z0-9]{1,63})(/.*)?", re.A | re.S)
# The function gets the body inside an event, which has this limit itself: the service looks once more.
_LIMIT: Final = Limit(
    quotas.REQUEST_BYTES,
    "RequestTooLargeException",
    f"Request must be smaller than {quotas.REQUEST_BYTES} bytes for the InvokeFunction operation",
)


def function_url(request: HttpRequest) -> UrlTarget | None:
    """The function URL that a request is for, if it is for one."""
    host = request.headers.get("host", "")
    if ".lambda-url." in host.lower():
        found = _HOST.fullmatch(host)
        if found is not None:
            return UrlTarget(found[1].lower(), found[2].lower(), request.path)
    if request.path.startswith("/_lambent/url/"):
        found = _PATH.fullmatch(request.path)
        if found is not None:
            return UrlTarget(found[1], None, found[2] or "/")
    return None


async def with_url_body(request: HttpRequest, read: Read) -> HttpRequest:
    """The request with its body as it was sent: a compressed one stays compressed.

    Raises:
        ApiError: RequestTooLargeException.
        Disconnected: as `read_body`.
    """
    body = await read_body(read, _LIMIT, length=request.headers.get("content-length"))
    return request.with_body(body) if body else request
