"""Which invocations are traced: what a header says already holds, else the function's own sampling decides.

Source: AWS Lambda Developer Guide, "Visualize Lambda function invocations using AWS X-Ray": one request a second, and
5 % of the others, of functions whose tracing is Active.
"""

from collections.abc import Callable
from typing import Final

from lambent.aws.trace import part, with_part

_SHARE: Final = 0.05
# Functions whose last traced second is remembered; all are forgotten when there are more, which samples a few more.
_MAX_REMEMBERED: Final = 10_000


class Sampler:
    """Decides about traces. `sample` gives a number in [0, 1)."""

    def __init__(self, sample: Callable[[], float]) -> None:
        self._sample = sample
        self._seconds: dict[str, int] = {}  # of the last request that was traced as the first of its second

    def decided(self, header: str, arn: str, now_s: float, *, is_active: bool) -> str:
        """The header with its decision. `is_active` is whether the function with this ARN has active tracing."""
        if part(header, "Sampled") in ("0", "1"):
            return header
        return with_part(header, "Sampled", "1" if is_active and self._takes(arn, int(now_s)) else "0")

    def _takes(self, arn: str, second: int) -> bool:
        if self._seconds.get(arn) == second:
            return self._sample() < _SHARE
        if len(self._seconds) >= _MAX_REMEMBERED:
            self._seconds.clear()
        self._seconds[arn] = second
        return True
