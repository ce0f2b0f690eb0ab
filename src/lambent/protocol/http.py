"""An HTTP request and its response, as the protocol layer sees them: no sockets."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from lambent.protocol.payload import Payload

UNMODELLED_HEADERS: Final = ":headers"
"""In an operation's answer: headers that AWS sends and does not model, as a list of names and values."""

UNMODELLED_STATUS: Final = ":status"
"""In an operation's answer: its status, where the model has another and no member for it."""


def _never_leaves(_stop: Callable[[], object]) -> None:
    """For requests that come from nobody."""


class HttpRequest(msgspec.Struct, frozen=True):
    """A request that has arrived, whole but for its `stream`.

    `path` and `query` are raw, still percent-encoded, the query without its question mark. Header names are in
    lower case; what was repeated is joined by a comma. `client` is the address of the other end. `when_left` takes
    what is to be called if the client goes away before it has its answer. `stream` is a body that is still coming, of
    an operation that takes it in parts; `body` is empty then.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    version: str = "1.1"  # of HTTP
    client: str = ""
    when_left: Callable[[Callable[[], object]], None] = _never_leaves
    stream: Payload | None = None

    def with_body(self, body: bytes) -> "HttpRequest":
        """The same request, its body read."""
        return msgspec.structs.replace(self, body=body)


class CutOffError(Exception):
    """An answer breaks off because whoever makes it failed: nothing that we could mend."""


class HttpResponse(msgspec.Struct, frozen=True):
    """An answer to write: the caller adds Content-Length.

    With `chunks` the answer is streamed: `body` is empty, and each chunk goes out when it comes. Chunks that raise
    `CutOffError` end in the middle, for the client to see. `length` is said where it is known before the body is
    there: of all chunks together, or of what a HEAD asks about.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: AsyncIterator[bytes] | None = None
    length: int | None = None


class UrlTarget(NamedTuple):
    """The function URL that a request is for, and the path as its function sees it.

    `region` is None when the request did not name one.
    """

    url_id: str
    region: str | None
    path: str
