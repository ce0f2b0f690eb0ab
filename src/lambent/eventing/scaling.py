"""How many batches of a mapping may be under way at once. Pure.

It begins with a few, grows while all of them are busy, is halved when the function fails or throttles, and begins anew
when there is nothing to do.

Source: AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings"; facts sheet
section 26.
"""

from dataclasses import dataclass, replace
from typing import Final

_LEAST: Final = 2.0  # the guide: a mapping goes down to as few as two


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a mapping's configuration says."""

    start: int = 5
    per_minute: int = 300
    most: int = 1_250


DEFAULT: Final = Limits()
_PER_POLLER: Final = 10


def limited(maximum_concurrency: int) -> Limits:
    """With ScalingConfig.MaximumConcurrency."""
    return Limits(start=min(DEFAULT.start, maximum_concurrency), most=maximum_concurrency)


def provisioned(minimum_pollers: int, maximum_pollers: int) -> Limits:
    """With ProvisionedPollerConfig: each poller has up to ten batches under way."""
    return Limits(start=minimum_pollers * _PER_POLLER, per_minute=1_000, most=maximum_pollers * _PER_POLLER)


@dataclass(frozen=True, slots=True)
class Scale:
    """How many are allowed (whole ones count), and since when that has been so."""

    allowed: float
    at: float

    @classmethod
    def new(cls, limits: Limits, now: float) -> "Scale":
        return cls(float(limits.start), now)

    def grown(self, limits: Limits, now: float, *, in_use: int) -> "Scale":
        """While all that are allowed are in use, more become allowed. A clock that was set back lets none grow."""
        if in_use < int(self.allowed):
            return replace(self, at=now)
        more = max(0.0, now - self.at) * limits.per_minute / 60
        return Scale(min(self.allowed + more, float(limits.most)), now)

    def halved(self, now: float) -> "Scale":
        """After a failure or a throttle."""
        return Scale(max(self.allowed / 2, _LEAST), now)

    def next_s(self, limits: Limits) -> float | None:
        """In how many seconds there is one more, if all are in use till then; None when there never is."""
        if self.allowed >= limits.most:
            return None
        return max((int(self.allowed) + 1 - self.allowed) * 60 / limits.per_minute, 0.001)
