"""What is known in memory of a message: where it stands, not what it says."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a message of a queue is."""

    WAITING = "not visible yet: it is delayed"
    READY = "visible"
    IN_FLIGHT = "received, and not visible until its time is over"
    MOVING = "on its way to a dead-letter queue"


@dataclass(slots=True, eq=False)
class Entry:
    """A message's place. Moments are in milliseconds since the epoch."""

    seq: int
    sent_ms: int
    visible_ms: int
    receives: int = 0
    first_ms: int | None = None
    group: str | None = None
    state: State = State.WAITING
    received_ms: int | None = None
    """When it was received last; None when that was before the node began."""
    is_dirty: bool = False
    """Whether the store does not know yet how often it was received, and when it is visible again."""

    @property
    def key(self) -> tuple[int, int]:
        return (self.visible_ms, self.seq)

    def receive(self, now: int, until: int) -> None:
        """It was received now, and is hidden until then."""
        self.receives += 1
        self.first_ms = self.first_ms or now
        self.received_ms = now
        self.visible_ms = until
