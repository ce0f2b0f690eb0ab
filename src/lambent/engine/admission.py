"""May an invocation run now? Concurrency and request-rate limits, decided without waiting.

An account has its limit. What functions reserve is taken out of it for them alone, and so is what is provisioned for
functions that reserve nothing; the rest is for everybody's on-demand invocations. Provisioned environments of a
function that reserves count inside what it reserves. An invocation in a provisioned environment needs no slot: its
environment is one.

Requests per second (synchronous ones only) are limited to ten times the concurrency, new environments of a function to
1,000 in 10 seconds: both are token buckets on the platform's clock, for which nothing ever waits.

Source: AWS Lambda Developer Guide, "Understanding Lambda function scaling", "Understanding concurrency and requests
per second", "Lambda scaling behavior"; API reference of Invoke, TooManyRequestsException.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError

REQUESTS_PER_SLOT: Final = 10
"""Synchronous requests per second for each unit of concurrency."""

STARTS: Final = 1000
STARTS_PER_S: Final = STARTS / 10
"""New environments of a function: so many at once, refilled at this rate."""

ACCOUNT_IS_FULL: Final = "ConcurrentInvocationLimitExceeded"
FUNCTION_IS_FULL: Final = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_IS_FAST: Final = "FunctionInvocationRateLimitExceeded"
FUNCTION_IS_FAST: Final = "ReservedFunctionInvocationRateLimitExceeded"

Release = Callable[[], None]


def throttled(reason: str, after_s: float = 1.0) -> ApiError:
    """The error of a throttle. `reason` is one of the service model's ThrottleReason; Retry-After is whole seconds."""
    after = str(max(1, math.ceil(after_s)))
    return ApiError("TooManyRequestsException", "Rate Exceeded.", Reason=reason, Type="User", retryAfterSeconds=after)


@dataclass(slots=True)
class TokenBucket:
    """A rate with a burst: `take` is the whole rule, and time comes in from outside."""

    rate: float  # tokens per second
    capacity: float
    tokens: float = field(init=False)
    since: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def take(self, now: float) -> bool:
        """Takes a token, if there is one. A clock that was set back gives none."""
        if now > self.since:
            self.tokens = min(self.capacity, self.tokens + (now - self.since) * self.rate)
        self.since = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def give_back(self) -> None:
        """A token that was taken for what did not happen."""
        self.tokens = min(self.capacity, self.tokens + 1.0)

    def wait_s(self) -> float:
        """In how many seconds there is a token again; a second where there never is."""
        return max(0.0, 1.0 - self.tokens) / self.rate if self.rate else 1.0

    def become(self, rate: float, capacity: float) -> None:
        """Another rate from now on; what has been used up stays used up."""
        self.tokens = max(0.0, min(capacity, self.tokens + capacity - self.capacity))
        self.rate, self.capacity = rate, capacity


def requests_bucket(concurrency: int) -> TokenBucket:
    """The requests per second that so much concurrency may be asked for."""
    return TokenBucket(float(concurrency * REQUESTS_PER_SLOT), float(concurrency * REQUESTS_PER_SLOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What a function has for itself. `reserved` is None where it shares the account's; 0 throttles everything.

    `provisioned` is what was requested for all its versions and aliases together.
    """

    reserved: int | None = None
    provisioned: int = 0


def claimed(*, on_demand: int, in_provisioned: int, provisioned: int) -> int:
    """What a function takes up: its on-demand invocations, and what is provisioned, idle or not. Pure.

    More may run in provisioned environments than are provisioned now, when that has just been lowered.
    """
    return on_demand + max(provisioned, in_provisioned)


def refusal(reserved: int | None, function_claims: int, account_claims: int, unreserved: int) -> str | None:
    """The Reason of a throttle, or None where there is a slot for an on-demand invocation. Pure.

    `account_claims` is what functions without a reservation take up of the `unreserved`.
    """
    if reserved is not None:
        return None if function_claims < reserved else FUNCTION_IS_FULL
    return None if account_claims < unreserved else ACCOUNT_IS_FULL


@dataclass(slots=True, eq=False)
class _Account:
    requests: TokenBucket
    unreserved: int  # the limit less what is reserved
    claims: int = 0  # of functions without a reservation
    in_use: int = 0  # invocations that run, of all functions
    in_unreserved: int = 0  # of those, on-demand ones of functions without a reservation
    provisioned: int = 0  # of functions without a reservation


@dataclass(slots=True, eq=False)
class _Function:
    account: _Account
    reserved: int | None = None
    provisioned: int = 0
    on_demand: int = 0  # invocations that run
    in_provisioned: int = 0
    claims: int = 0
    requests: TokenBucket | None = None  # where it reserves
    starts: TokenBucket = field(default_factory=lambda: TokenBucket(STARTS_PER_S, STARTS))
    is_known: bool = True  # False: it was deleted, and goes when its last invocation ends

    @property
    def in_use(self) -> int:
        return self.on_demand + self.in_provisioned

    def settle(self) -> None:
        """Brings what it takes up into the account's books."""
        now = claimed(on_demand=self.on_demand, in_provisioned=self.in_provisioned, provisioned=self.provisioned)
        if self.reserved is None:
            self.account.claims += now - self.claims
        self.claims = now


class Admission:
    """The slots in use, by account and Region and by function."""

    def __init__(self, limit: int, now: Callable[[], float] = monotonic) -> None:
        self._limit = limit
        self._now = now
        self._accounts: dict[Scope, _Account] = {}
        self._functions: dict[str, _Function] = {}
        self.total = 0  # slots in use in all accounts
        self.is_empty = asyncio.Event()
        self.is_empty.set()

    def allot(self, scope: Scope, arn: str, allotment: Allotment) -> None:
        """A function's share from now on. Invocations that run go on; only new ones are held to it."""
        function = self._function(scope, arn)
        account = function.account
        if function.reserved is None:
            account.claims -= function.claims
            account.in_unreserved -= function.on_demand
            account.provisioned -= function.provisioned
        else:
            account.unreserved += function.reserved
        function.claims = 0
        function.reserved, function.provisioned = allotment.reserved, allotment.provisioned
        function.is_known = True
        if function.reserved is None:
            account.in_unreserved += function.on_demand
            account.provisioned += function.provisioned
            function.requests = None
        else:
            account.unreserved -= function.reserved
            self._limit_requests(function, function.reserved)
        function.settle()

    def forget(self, scope: Scope, arn: str) -> None:
        """The function was deleted: what it had is everybody's again."""
        if arn in self._functions:
            self.allot(scope, arn, Allotment())
            function = self._functions[arn]
            function.is_known = False
            if not function.in_use:
                del self._functions[arn]

    def take(self, scope: Scope, arn: str, *, is_event: bool = False) -> Release:
        """A slot for an on-demand invocation, as the function that gives it back. Twice is harmless.

        Raises:
            ApiError: TooManyRequestsException, with the limit that is reached as its Reason.
        """
        function = self._functions.get(arn) or self._function(scope, arn)
        account = function.account
        reason = refusal(function.reserved, function.claims, account.claims, account.unreserved)
        if reason:
            raise throttled(reason)
        if not is_event:
            self._count_request(function)
        self._count_on_demand(function, 1)
        return self._taken(arn, function, is_provisioned=False)

    def take_provisioned(self, scope: Scope, arn: str, *, is_event: bool = False) -> Release:
        """The same for an invocation that has a provisioned environment: only requests per second are limited."""
        function = self._functions.get(arn) or self._function(scope, arn)
        if not is_event:
            self._count_request(function)
        function.in_provisioned += 1
        function.settle()
        return self._taken(arn, function, is_provisioned=True)

    def start(self, scope: Scope, arn: str) -> None:
        """A new environment for on-demand invocations.

        Raises:
            ApiError: TooManyRequestsException, when the function grows too fast.
        """
        function = self._function(scope, arn)
        if not function.starts.take(self._now()):
            raise throttled(_fast(function), function.starts.wait_s())

    def not_started(self, arn: str) -> None:
        """An environment that `start` allowed was not needed after all."""
        function = self._functions.get(arn)
        if function:
            function.starts.give_back()

    def in_use(self, scope: Scope) -> int:
        """Invocations of an account that run."""
        account = self._accounts.get(scope)
        return account.in_use if account else 0

    def in_unreserved(self, scope: Scope) -> int:
        """Of those, the on-demand ones of functions without a reservation."""
        account = self._accounts.get(scope)
        return account.in_unreserved if account else 0

    def function_in_use(self, arn: str) -> int:
        """Invocations of a function that run."""
        function = self._functions.get(arn)
        return function.in_use if function else 0

    def allotted(self, scope: Scope) -> int:
        """What functions have for themselves: reserved, and provisioned where nothing is reserved."""
        account = self._accounts.get(scope)
        if account is None:
            return 0
        return self._limit - account.unreserved + account.provisioned

    def _function(self, scope: Scope, arn: str) -> _Function:
        function = self._functions.get(arn)
        if function is None:
            account = self._accounts.get(scope)
            if account is None:
                account = self._accounts[scope] = _Account(requests_bucket(self._limit), self._limit)
            function = self._functions[arn] = _Function(account)
        return function

    def _count_on_demand(self, function: _Function, change: int) -> None:
        """One more or one less, without adding everything up anew: `claimed` grows with it one by one."""
        function.on_demand += change
        function.claims += change
        if function.reserved is None:
            function.account.claims += change
            function.account.in_unreserved += change

    def _limit_requests(self, function: _Function, reserved: int) -> None:
        if function.requests is None:
            function.requests = requests_bucket(reserved)
        else:
            rate = float(reserved * REQUESTS_PER_SLOT)
            function.requests.become(rate, rate)

    def _count_request(self, function: _Function) -> None:
        bucket = function.requests or function.account.requests
        if not bucket.take(self._now()):
            raise throttled(_fast(function), bucket.wait_s())

    def _taken(self, arn: str, function: _Function, *, is_provisioned: bool) -> Release:
        function.account.in_use += 1
        self.total += 1
        if self.total == 1:
            self.is_empty.clear()
        is_taken = True

        def release() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self._give_back(arn, function, is_provisioned)

        return release

    def _give_back(self, arn: str, function: _Function, is_provisioned: bool) -> None:
        if is_provisioned:
            function.in_provisioned -= 1
            function.settle()
        else:
            self._count_on_demand(function, -1)
        assert function.on_demand >= 0
        assert function.in_provisioned >= 0
        function.account.in_use -= 1
        self.total -= 1
        if not function.is_known and not function.in_use:
            del self._functions[arn]
        if self.total == 0:
            self.is_empty.set()


def _fast(function: _Function) -> str:
    return ACCOUNT_IS_FAST if function.reserved is None else FUNCTION_IS_FAST
