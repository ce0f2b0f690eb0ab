"""The ids of requests: random UUIDs, as AWS's are."""

import random
from typing import Final

# Ids have to differ, they are no secrets: the system is asked for randomness once, not for each.
bits: Final = random.Random().getrandbits


def new_request_id() -> str:
    """A UUID of version 4, without the object that the standard library makes of it first."""
    digits = f"{bits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[bits(2)]}{digits[17:20]}-{digits[20:]}"
