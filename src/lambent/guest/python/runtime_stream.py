"""What a handler yields, as the bytes of a streamed response.

A handler streams when it returns an iterator and the platform asked for a stream. Each item goes out as it comes:
bytes as they are, text as UTF-8. A dict that comes first is HTTP metadata (`statusCode`, `headers`, `cookies`) for a
function URL; it is written as AWS's other runtimes write it, before eight zero bytes.

AWS's own Python runtime streams nothing; the form of the metadata is that of its Node.js runtime.
Source: AWS Lambda Developer Guide, "Response streaming for Lambda functions"; facts sheet section 8.
"""

from collections.abc import Callable, Iterator
from typing import Any

BYTES = "application/octet-stream"
HTTP = "application/vnd.awslambda.http-integration-response"
_AFTER_METADATA = bytes(8)


class UnfitItemError(Exception):
    """The handler yielded what no response is made of."""


class Parts:
    """The items of one answer, one after the other."""

    def __init__(self, items: "Iterator[Any]", encode: "Callable[[Any], str]") -> None:
        self._items = items
        self._encode = encode
        self._is_first = True
        self.content_type = BYTES
        """What the bytes are; known once the first of them are."""

    def next(self) -> "bytes | None":
        """The next bytes, never empty; None at the end.

        Raises:
            UnfitItemError: for an item that is neither bytes nor text.
            Exception: what the handler raises.
        """
        for item in self._items:
            data = self._bytes(item)
            self._is_first = False
            if data:
                return data
        return None

    def _bytes(self, item: Any) -> bytes:
        if isinstance(item, str):
            return item.encode()
        if isinstance(item, (bytes, bytearray, memoryview)):
            return bytes(item)
        if isinstance(item, dict) and self._is_first:
            self.content_type = HTTP
            return self._encode(item).encode() + _AFTER_METADATA
        raise UnfitItemError(f"A streamed response is made of bytes or str, not {type(item).__name__}")
