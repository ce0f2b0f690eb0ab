"""The ids of requests: random UUIDs, as AWS's are."""

import os


def new_request_id() -> str:
    """A UUID of version 4, without the object that the standard library makes of it first."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
