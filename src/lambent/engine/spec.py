"""What the engine is told: which function to run, and with what. What it answers: the invocation's result.

Nothing here knows how a function is stored, named by an alias or asked for over HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from lambent.aws.caller import Scope
from lambent.engine.stream import ResponseStream

# What an environment was initialised for: AWS_LAMBDA_INITIALIZATION_TYPE.
ON_DEMAND: Final = "on-demand"
PROVISIONED: Final = "provisioned-concurrency"
SNAP_START: Final = "snap-start"

ACTIVE: Final = "Active"
"""TracingConfig.Mode of functions whose invocations are sampled and traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One function version as its execution environments see it: immutable, so a change is another spec.

    `arn` is the unqualified function ARN and `version` is "$LATEST" or a number. `digest` is the key of the
    environments: code and configuration, so that an environment never serves anything else.
    """

    arn: str
    name: str
    account: str
    region: str
    version: str
    runtime: str
    handler: str
    code_dir: Path
    layer_dirs: tuple[Path, ...] = ()
    memory_mb: int = 128
    timeout_s: int = 3
    ephemeral_mb: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)
    in_vpc: bool = False  # VpcConfig names subnets: there is no way to the internet
    role: str = ""
    log_group: str = ""
    log_format: str = "Text"  # LoggingConfig.LogFormat: Text or JSON
    application_log_level: str | None = None  # LoggingConfig.ApplicationLogLevel, with JSON only
    system_log_level: str | None = None  # LoggingConfig.SystemLogLevel, with JSON only
    tracing: str = "PassThrough"  # TracingConfig.Mode: PassThrough or Active
    file_systems: tuple[tuple[str, str], ...] = ()  # FileSystemConfigs: ARN of the access point, LocalMountPath
    snap_start: bool = False  # a published version whose environments are restored
    reserved: int | None = None  # the function's reserved concurrency; not in the digest
    digest: str
    scope: Scope = field(init=False, compare=False)
    packages: tuple[str, ...] = field(init=False, compare=False)
    """The names of the folders with its code and its layers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", Scope(self.account, self.region))
        object.__setattr__(self, "packages", tuple(path.name for path in (self.code_dir, *self.layer_dirs)))

    @property
    def group(self) -> str:
        """The log group: the configured one, else `/aws/lambda/NAME`."""
        return self.log_group or f"/aws/lambda/{self.name}"


class Invocation(msgspec.Struct, kw_only=True):
    """One run of a function: its event as JSON bytes, and what the context object shows of it."""

    request_id: str
    payload: bytes
    invoked_arn: str
    qualifier: str | None = None  # as it was asked for: part of invoked_arn
    executed_version: str | None = None  # for an alias with weights only: metrics tell its versions apart
    client_context: str | None = None  # JSON text, already decoded from base64
    trace_header: str | None = None  # X-Amzn-Trace-Id
    want_tail: bool = False  # LogType=Tail
    is_event: bool = False  # asynchronous: how many a second is not limited
    stream: ResponseStream | None = None  # where the answer goes while it is written; None: it comes whole


class InvocationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the function answered. With `function_error`, `payload` is AWS's error document.

    Of a stream, `payload` is that document or empty, and `function_error` what InvokeComplete calls ErrorCode:
    "Unhandled" before the first byte, the error's type after it.
    """

    payload: bytes
    function_error: str | None = None  # "Unhandled"
    log_tail: bytes | None = None  # the last 4 KB of this invocation's log, when it was wanted
