"""Receipt handles: which message was received, from which queue, and the how manieth time."""

import base64
import binascii
import struct
import zlib
from typing import Final, NamedTuple

from lambent.aws.errors import ApiError

_FORM: Final = struct.Struct(">QQII")  # queue, message, receives, checksum of these
_BODY: Final = struct.Struct(">QQI")


class Receipt(NamedTuple):
    """What a handle says."""

    queue_id: int
    seq: int
    receives: int

    @property
    def handle(self) -> str:
        body = _BODY.pack(self.queue_id, self.seq, self.receives)
        return base64.b64encode(body + zlib.crc32(body).to_bytes(4, "big")).decode()


def read(handle: str, queue_id: int) -> Receipt:
    """What a handle of this queue says.

    Raises:
        ApiError: ReceiptHandleIsInvalid, when it is none, or another queue's.
    """
    try:
        raw = base64.b64decode(handle, validate=True)
        found, seq, receives, check = _FORM.unpack(raw)
    except (binascii.Error, ValueError, struct.error):
        raise ApiError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.") from None
    if zlib.crc32(raw[: _BODY.size]) != check:
        raise ApiError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
    if found != queue_id:
        raise ApiError("ReceiptHandleIsInvalid", f'The receipt handle "{handle}" is not valid for this queue.')
    return Receipt(found, seq, receives)
