"""May an invocation run now? Concurrency limits, decided without waiting.

Source: AWS Lambda Developer Guide, "Understanding Lambda function scaling"; API reference of Invoke,
TooManyRequestsException.
"""

import asyncio
from collections.abc import Callable

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError


def refusal(in_use: int, limit: int) -> str | None:
    """The Reason of a throttle, or None where there is a slot. Pure."""
    return None if in_use < limit else "ConcurrentInvocationLimitExceeded"


def throttled(reason: str) -> ApiError:
    """The error of a throttle. `reason` is one of the service model's ThrottleReason."""
    return ApiError("TooManyRequestsException", "Rate Exceeded.", Reason=reason, Type="User")


class Admission:
    """The slots in use, for each account and Region."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_use: dict[Scope, int] = {}
        self.is_empty = asyncio.Event()
        self.is_empty.set()

    def take(self, scope: Scope) -> Callable[[], None]:
        """A slot, as the function that gives it back. Giving it back twice is harmless.

        Raises:
            ApiError: TooManyRequestsException, when the account's limit is reached.
        """
        reason = refusal(self.in_use(scope), self._limit)
        if reason:
            raise throttled(reason)
        if not self._in_use:
            self.is_empty.clear()
        self._in_use[scope] = self.in_use(scope) + 1
        is_taken = True

        def release() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self._give_back(scope)

        return release

    def in_use(self, scope: Scope) -> int:
        return self._in_use.get(scope, 0)

    @property
    def total(self) -> int:
        """Slots in use in all accounts."""
        return sum(self._in_use.values())

    def _give_back(self, scope: Scope) -> None:
        left = self._in_use[scope] - 1
        assert left >= 0
        if left:
            self._in_use[scope] = left
        else:
            del self._in_use[scope]
            if not self._in_use:
                self.is_empty.set()
