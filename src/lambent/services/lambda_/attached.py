"""What is attached to a function, a version or an alias without being part of its configuration.

Each kind is a record under its function's key and a qualifier: the empty one where it is the whole function's. All
kinds share one table (`rows`) and one place in memory (`catalogue.Entry.attached`); they go with what they hang on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lambent.services.lambda_.model import FunctionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """Which function, and which qualifier of it."""

    key: FunctionKey
    qualifier: str = ""

    @property
    def arn(self) -> str:
        return self.key.arn(self.qualifier or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedConcurrency(Attached):
    """PutFunctionConcurrency: a guarantee and a cap. 0 throttles everything."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConcurrency(Attached):
    """PutProvisionedConcurrencyConfig, of a version or an alias."""

    requested: int
    last_modified_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig(Attached):
    """PutFunctionEventInvokeConfig. The qualifier is `$LATEST`, a version or an alias. None is "not set"."""

    last_modified_ms: int
    max_retries: int | None = None
    max_age_s: int | None = None
    on_success: str | None = None  # the destination's ARN
    on_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePolicy(Attached):
    """A resource policy's whole document. Each qualifier has its own; its revision is that of what it hangs on."""

    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl(Attached):
    """CreateFunctionUrlConfig, of the function (empty qualifier) or of an alias."""

    url_id: str  # the first label of its host name
    auth_type: str
    created_us: int  # microseconds since the epoch, as AWS shows them
    last_modified_us: int
    invoke_mode: str | None = None
    cors: Mapping[str, Any] | None = None  # the Cors shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Recursion(Attached):
    """PutFunctionRecursionConfig."""

    recursive_loop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeManagement(Attached):
    """PutRuntimeManagementConfig."""

    update_on: str
    runtime_version_arn: str | None = None


KINDS: Final[dict[str, type[Attached]]] = {
    kind.__name__: kind
    for kind in (
        EventInvokeConfig,
        FunctionUrl,
        ProvisionedConcurrency,
        Recursion,
        ReservedConcurrency,
        ResourcePolicy,
        RuntimeManagement,
    )
}
