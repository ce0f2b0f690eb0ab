"""Batches: what is checked of all entries together, and how each one's failure is told."""

import re
from collections.abc import Sequence
from typing import Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape

MAX_ENTRIES: Final = 10
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


def check(entries: Sequence[Shape], kind: str) -> None:
    """Raises ApiError for a batch that cannot be done at all; `kind` is the shape of its entries."""
    if not entries:
        raise ApiError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > MAX_ENTRIES:
        raise ApiError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(entries)}.",
        )
    seen = set()
    for entry in entries:
        name = entry["Id"]
        if not _ID.fullmatch(name):
            raise ApiError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
        if name in seen:
            raise ApiError("BatchEntryIdsNotDistinct", f"Id {name} repeated.")
        seen.add(name)


def failure(entry: Shape, error: ApiError) -> Shape:
    """One entry's error, in the words that entries have."""
    message = error.message.partition("Reason: ")[2] or error.message
    return {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": message}


def answer(successful: list[Shape], failed: list[Shape]) -> Shape:
    """A list without entries is left out, as SQS does."""
    return {"Successful": successful or None, "Failed": failed or None}
