"""The one door to an operation: validate, authorize, run, count.

The gateway calls it for requests from outside; services, pollers and workflows call it for each other, so that
validation, permissions and metrics hold inside too.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.store.database import DatabaseBusyError

Shape = dict[str, Any]
"""Parameters or an answer: AWS's member names, Python values (bytes for blobs, aware datetimes for timestamps)."""

Handler = Callable[[Caller, Shape], Awaitable[Shape]]


class Call(Protocol):
    """`Dispatch.call`, for those who are given it."""

    async def __call__(self, service: str, operation: str, params: Shape, *, caller: Caller) -> Shape: ...


Validate = Callable[[str, str, Shape], None]
Authorize = Callable[[Caller, str, str, Shape], None]


def allow_all(caller: Caller, service: str, operation: str, params: Shape) -> None:
    """Open mode: whoever asks may, accounts of others included. Policies are asked at function URLs alone, which do not
    come by here.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """The table of operations that exist, by service and operation name."""

    operations: Mapping[str, Mapping[str, Handler]]
    validate: Validate
    authorize: Authorize = allow_all
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Calls by service, operation and outcome: "ok" or the error's code."""

    async def call(self, service: str, operation: str, params: Shape, *, caller: Caller) -> Shape:
        """What the operation answers.

        Raises:
            ApiError: the operation is not there yet, the parameters are wrong, the caller may not, the store is too
                far behind, or what the operation itself says.
        """
        handler = self.operations.get(service, {}).get(operation)
        try:
            if handler is None:
                raise _not_there(service, operation)
            self.validate(service, operation, params)
            self.authorize(caller, service, operation, params)
            answer = await handler(caller, params)
        except DatabaseBusyError as busy:  # SDKs try again after a 503
            self.counts[service, operation, "ServiceUnavailable"] += 1
            raise ApiError("ServiceUnavailable", "The request has failed due to a temporary failure.") from busy
        except ApiError as error:
            self.counts[service, operation, error.code] += 1
            raise
        self.counts[service, operation, "ok"] += 1
        return answer


def _not_there(service: str, operation: str) -> ApiError:
    return ApiError(
        "NotImplemented",
        f"{service}.{operation} is not supported by Lambent yet. `lambent coverage {service}` lists what is.",
    )
