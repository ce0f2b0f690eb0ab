"""Bodies in `aws-chunked` encoding, in which the SDKs stream to S3.

Source: Amazon S3 API Reference, "Signature calculations: transferring payload in multiple chunks". Chunk signatures
are not looked at here; trailing headers (checksums) are left out.
"""

import re
from typing import Final

from lambent.aws.errors import ApiError
from lambent.protocol.http import HttpRequest

_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;[^\r\n]{0,1024})?\r\n")


def without_chunks(request: HttpRequest) -> bytes:
    """The body as it was before it was cut into chunks, or as it is."""
    headers = request.headers
    if "aws-chunked" in headers.get("content-encoding", "") or headers.get("x-amz-content-sha256", "").startswith(
        "STREAMING-"
    ):
        return joined(request.body)
    return request.body


def joined(body: bytes) -> bytes:
    """The data of all chunks. Raises ApiError IncompleteBody when it ends before its last chunk."""
    chunks: list[bytes] = []
    position = 0
    while match := _SIZE.match(body, position):
        size, start = int(match[1], 16), match.end()
        if size == 0:
            return b"".join(chunks)
        if body[start + size : start + size + 2] != b"\r\n":
            break
        chunks.append(body[start : start + size])
        position = start + size + 2
    raise ApiError("IncompleteBody", "The request body terminated unexpectedly")
