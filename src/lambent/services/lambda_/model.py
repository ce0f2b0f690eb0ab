"""Functions, versions and aliases as data, and the rules between them. Pure.

A published version never changes again but for its state. `$LATEST` changes in two steps, as on AWS: what was asked
for shows at once, and what ran before keeps running (`in_force`) until the change has come into force.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgspec

from lambent.aws.arn import function_arn
from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.services.lambda_.sealed import SealedVariables

LATEST: Final = "$LATEST"


class FunctionKey(NamedTuple):
    """Which function: everything is keyed by it."""

    account: str
    region: str
    name: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)

    def arn(self, qualifier: str | None = None) -> str:
        """The function's ARN, with a qualifier if one is given."""
        return function_arn(self.account, self.region, self.name, qualifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A package: its SHA-256 in hexadecimal names the blob and the unpacked folder.

    Or a container image: `image_uri` names it, and there is no package (`digest` is empty).
    """

    digest: str
    zipped_bytes: int
    unzipped_bytes: int = 0
    image_uri: str = ""
    source_kms_key_arn: str = ""  # SourceKMSKeyArn: kept and shown

    @property
    def sha256(self) -> str:
        """CodeSha256: the same hash in base64; of an image the digest, where its address says it, else nothing."""
        if self.image_uri:
            return self.image_uri.partition("@sha256:")[2]
        return base64.b64encode(bytes.fromhex(self.digest)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """A layer version as a function keeps it: it is there even when the layer version has been deleted since."""

    arn: str
    code: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """LoggingConfig."""

    log_group: str
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """VpcConfig. Kept and shown. A function in subnets reaches the platform alone: there are none here."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    ipv6_allowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What CreateFunction and UpdateFunctionConfiguration set. None, or an empty text, is "not set"."""

    role: str
    handler: str
    runtime: str
    logging: Logging
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    architecture: str = "x86_64"
    tracing_mode: str = "PassThrough"
    snap_start: str = "None"  # SnapStart.ApplyOn
    environment: SealedVariables | None = None
    kms_key_arn: str = ""
    dead_letter_arn: str = ""
    vpc: Vpc | None = None
    file_systems: tuple[Mapping[str, Any], ...] = ()  # FileSystemConfigs as they came
    layers: tuple[LayerUse, ...] = ()
    package_type: str = "Zip"
    image_config: Mapping[str, Any] | None = None  # ImageConfig as it came

    def comparable(self) -> "Configuration":
        """Equal for equal configurations: the same variables are sealed differently each time."""
        if self.environment is None:
            return self
        return replace(self, environment=replace(self.environment, text=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A State or a LastUpdateStatus, with its reason."""

    value: str
    reason: str | None = None
    code: str | None = None


CREATING: Final = "The function is being created."  # AWS says so for updates too
PENDING: Final = Status(value="Pending", reason=CREATING, code="Creating")
ACTIVE: Final = Status(value="Active")
IN_PROGRESS: Final = Status(value="InProgress", reason=CREATING, code="Creating")
SUCCESSFUL: Final = Status(value="Successful")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What environments are made of."""

    configuration: Configuration
    code: Code

    @property
    def packages(self) -> list[Code]:
        """What has to be unpacked for it."""
        return [code for code in (self.code, *(layer.code for layer in self.configuration.layers)) if code.digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """`$LATEST` or a published version.

    `function_id` differs between a function and another of its name that was created after its deletion.
    """

    key: FunctionKey
    function_id: str
    version: str
    configuration: Configuration
    code: Code
    last_modified_ms: int
    revision_id: str
    state: Status = PENDING
    last_update: Status | None = None
    in_force: Running | None = None  # set while an update is in progress, or when it failed

    @property
    def number(self) -> int:
        """The version's place in lists: `$LATEST` is first."""
        return 0 if self.version == LATEST else int(self.version)

    @property
    def running(self) -> Running:
        """What an invocation runs now."""
        return self.in_force or Running(configuration=self.configuration, code=self.code)

    @property
    def takes_snapshots(self) -> bool:
        """Whether its environments are restored: SnapStart is for published versions."""
        return self.version != LATEST and self.configuration.snap_start != "None"

    @property
    def is_settling(self) -> bool:
        """Whether a creation or an update is still to come into force."""
        return self.state == PENDING or self.last_update == IN_PROGRESS

    @property
    def digests(self) -> set[str]:
        """The packages that this version needs, those of its layers too."""
        both = (Running(configuration=self.configuration, code=self.code), self.running)
        return {code.digest for each in both for code in each.packages}

    def fingerprint(self) -> str:
        """Differs when code or configuration do: publishing the same twice gives one version."""
        code = self.code.digest or self.code.image_uri
        document = msgspec.json.encode((self.function_id, code, self.configuration.comparable()), order="sorted")
        return hashlib.sha256(document).hexdigest()

    def environment_digest(self) -> str:
        """The key of execution environments: whatever a change must not reuse is in it."""
        running = self.running
        configuration = replace(running.configuration.comparable(), description="")
        document = msgspec.json.encode(
            (self.function_id, self.version, running.code.digest, configuration), order="sorted"
        )
        return hashlib.sha256(document).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What all versions of a function share. `next_number` only grows: version numbers are never used again."""

    key: FunctionKey
    function_id: str
    next_number: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)
    published_fingerprint: str = ""  # of what the newest version was made from


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for one function version, or for two with a weight."""

    key: FunctionKey
    name: str
    function_version: str
    revision_id: str
    description: str = ""
    additional_version: str | None = None
    additional_weight: float = 0.0  # share of invocations, 0.0 to 1.0

    @property
    def arn(self) -> str:
        return self.key.arn(self.name)

    @property
    def versions(self) -> set[str]:
        """The versions it stands for."""
        return {self.function_version} | ({self.additional_version} if self.additional_version else set())

    def choose(self, sample: float) -> str:
        """The version that one invocation runs: `sample`, in [0, 1), decides.

        Source: AWS Lambda Developer Guide, "Implement canary deployments using a weighted alias".
        """
        if self.additional_version is not None and sample < self.additional_weight:
            return self.additional_version
        return self.function_version


def updated(latest: FunctionVersion, running: Running, *, now_ms: int, revision_id: str) -> FunctionVersion:
    """`$LATEST` with an update in progress: it shows the new, and runs what it ran."""
    return replace(
        latest,
        configuration=running.configuration,
        code=running.code,
        in_force=latest.running,
        last_update=IN_PROGRESS,
        last_modified_ms=now_ms,
        revision_id=revision_id,
    )


def settled(version: FunctionVersion, failure: Status | None, *, revision_id: str) -> FunctionVersion:
    """A version whose creation or update has come into force, or has failed with a reason (its `value` is unused).

    After a failed update the version goes on running what it ran before.
    """
    if failure is None:
        return replace(version, state=ACTIVE, last_update=SUCCESSFUL, in_force=None, revision_id=revision_id)
    failed = replace(failure, value="Failed")
    if version.state.value == "Active":
        return replace(version, last_update=failed, revision_id=revision_id)
    return replace(version, state=failed, last_update=failed, in_force=None, revision_id=revision_id)


def publish(
    latest: FunctionVersion, function: Function, *, state: Status, revision_id: str, description: str | None = None
) -> tuple[Function, FunctionVersion]:
    """The function with its next version: a copy of `$LATEST` that stays as it is."""
    configuration = latest.configuration
    if description is not None:
        configuration = replace(configuration, description=description)
    version = replace(
        latest,
        version=str(function.next_number),
        configuration=configuration,
        state=state,
        last_update=None if state == PENDING else SUCCESSFUL,
        in_force=None,
        revision_id=revision_id,
    )
    function = replace(function, next_number=function.next_number + 1, published_fingerprint=latest.fingerprint())
    return function, version


def is_published(latest: FunctionVersion, function: Function) -> bool:
    """Whether nothing has changed since the newest version was published."""
    return function.published_fingerprint == latest.fingerprint()


def check_revision(expected: str | None, actual: str, *, operation: str = "GetFunction/GetAlias") -> None:
    """Raises PreconditionFailedException when the caller's RevisionId is not the latest."""
    if expected is not None and expected != actual:
        raise ApiError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {operation} API to retrieve the latest Revision Id",
        )


def check_may_change(latest: FunctionVersion) -> None:
    """Raises ResourceConflictException while the function is being created or updated.

    Source: AWS Lambda Developer Guide, "Lambda function states".
    """
    if latest.state == PENDING:
        raise _in_state(latest)
    if latest.last_update == IN_PROGRESS:
        raise ApiError(
            "ResourceConflictException",
            "The operation cannot be performed at this time. An update is in progress for resource: "
            f"{latest.key.arn()}",
        )


def check_may_run(version: FunctionVersion) -> None:
    """Raises ResourceConflictException when the version is not there yet, or could not be made."""
    if version.state.value != "Active":
        raise _in_state(version)


def _in_state(version: FunctionVersion) -> ApiError:
    message = (
        "The operation cannot be performed at this time. "
        f"The function is currently in the following state: {version.state.value}"
    )
    if version.state.value == "Failed":
        message += f" ({version.state.reason})"
    return ApiError("ResourceConflictException", message)


def check_not_aliased(version: str, aliases: list[Alias]) -> None:
    """Raises ResourceConflictException when an alias stands for the version that is to be deleted."""
    names = sorted(alias.name for alias in aliases if version in alias.versions)
    if names:
        raise ApiError(
            "ResourceConflictException",
            f"Unable to delete version because the following aliases reference it: [{', '.join(names)}]",
        )


def check_routing(alias: Alias) -> None:
    """Raises InvalidParameterValueException for two versions that cannot share an alias.

    Source: AWS Lambda Developer Guide, "Implement canary deployments using a weighted alias".
    """
    if alias.additional_version is None:
        return
    if alias.function_version == LATEST:
        raise ApiError(
            "InvalidParameterValueException", "$LATEST is not supported for an alias pointing to more than 1 version"
        )
    if alias.additional_version == alias.function_version:
        raise ApiError(
            "InvalidParameterValueException",
            f"Invalid function version {alias.function_version}. "
            f"Function version {alias.function_version} is already included in routing configuration.",
        )


def not_found(key: FunctionKey, qualifier: str | None = None) -> ApiError:
    """ResourceNotFoundException in the words that most operations have for a missing function or version."""
    return ApiError("ResourceNotFoundException", f"Function not found: {key.arn(qualifier)}")
