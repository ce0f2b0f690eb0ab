"""What a poller needs of a place where records wait, and of what they are handed to.

A new kind of source (a stream, a topic) is a class with `receive` and `settle`; Pipes is another target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, as it was received.

    `id` is what a function reports it by, `event` the JSON that it is given. Records of one `group` are in order, and
    each is handed on only when the one before it is done with. At `expires_at`, on the clock, the source gives the
    record to somebody else. `handle` is the source's own.
    """

    id: str
    event: bytes
    handle: str = ""
    group: str | None = None
    expires_at: float = math.inf
    trace_header: str | None = None


class Source(Protocol):
    """Where records wait.

    What was received and is never settled comes back by the source's own rules: a queue shows a message again after
    its visibility timeout, a stream reads on from its last checkpoint.
    """

    @property
    def most(self) -> int:
        """How many records one `receive` can give."""

    async def receive(self, most: int, wait_s: int) -> list[Record]:
        """Up to `most` records, waiting up to `wait_s` seconds for the first. Empty when there was none.

        Raises:
            ApiError: the source is not there, or may not be read.
        """

    async def settle(self, records: Sequence[Record]) -> list[Record]:
        """Ends records for good; returns those with which it may be tried again.

        Raises:
            ApiError: none of them could be, perhaps some could.
        """


@dataclass(frozen=True, slots=True)
class Answered:
    """The function answered."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The function ran, and failed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It did not run: throttled, not ready, stopped in a loop, gone."""

    code: str
    message: str = ""


Outcome = Answered | Failed | Refused


class Target(Protocol):
    """What records are handed to."""

    def obstacle(self) -> str | None:
        """Why nothing can be handed to it now; records stay where they are meanwhile."""

    def together(self, records: Sequence[Record]) -> Sequence[Sequence[Record]]:
        """The same records, apart from each other where one would keep the others from being handed on."""

    async def invoke(self, records: Sequence[Record], payload: bytes) -> Outcome:
        """Hands it a batch, and waits for what comes of it."""
