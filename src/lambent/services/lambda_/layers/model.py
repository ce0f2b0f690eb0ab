"""Layers as data, and the rules for using them. Pure.

A layer is a name with numbered versions. A version never changes, but for the policy that says which other accounts
may use it. A function keeps what it needs of a layer version, so it goes on when that is deleted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from lambent.aws import quotas
from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.aws.policy import Document
from lambent.services.lambda_.model import Code, LayerUse, check_revision
from lambent.services.lambda_.statements import NEW, text_of, with_statement, without_statement

_ARN: Final = re.compile(r"arn:[^:]*:lambda:([^:]*):([^:]*):layer:([a-zA-Z0-9-_]+)(?::(\d{1,18}))?")


class LayerKey(NamedTuple):
    """Which layer."""

    account: str
    region: str
    name: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.name}"

    def version_arn(self, number: int) -> str:
        return f"{self.arn}:{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What its versions share. `next_number` only grows: version numbers are never used again."""

    key: LayerKey
    next_number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One package under a number. `statements` is its policy."""

    key: LayerKey
    number: int
    code: Code
    created_ms: int
    description: str = ""
    license_info: str | None = None
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    statements: tuple[Mapping[str, Any], ...] = ()
    policy_revision_id: str = ""

    @property
    def arn(self) -> str:
        return self.key.version_arn(self.number)

    @property
    def policy(self) -> str:
        """The policy as JSON text."""
        return text_of(self.document)

    @property
    def document(self) -> Document:
        """The policy."""
        return {**NEW, "Statement": list(self.statements)}

    def fits(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it says that it is made for these, where they are asked for."""
        return (runtime is None or runtime in self.runtimes) and (
            architecture is None or architecture in self.architectures
        )


Find = Callable[[LayerKey, int], LayerVersion | None]


def parse_arn(arn: str) -> tuple[LayerKey, int | None] | None:
    """The layer and, if the ARN has one, the number; None for what is no layer's ARN."""
    match = _ARN.fullmatch(arn)
    if match is None:
        return None
    region, account, name, number = match.groups()
    return LayerKey(account, region, name), int(number) if number else None


def resolve(arns: Sequence[str], region: str, caller: Caller, find: Find) -> tuple[LayerUse, ...]:
    """What a function of this region keeps of the layer versions that it names, in order.

    Raises:
        ApiError: InvalidParameterValueException for too many, of another region, two versions of one layer, or one
            that does not exist; AccessDeniedException for one of another account that does not allow it.

    Source: AWS Lambda Developer Guide, "Adding layers to functions"; messages as recorded from AWS.
    """
    if len(arns) > quotas.LAYERS:
        raise _invalid(f"Cannot reference more than {quotas.LAYERS} layers.")
    named = [(arn, parse_arn(arn)) for arn in arns]
    seen: dict[LayerKey, str] = {}
    for arn, found in named:
        if found is None:
            raise does_not_exist(arn)
        key, _number = found
        if key.region != region:
            raise _invalid(
                f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )
        if seen.setdefault(key, arn) != arn:
            raise _invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[key]} and {arn} are versions of the same layer."
            )
    used = []
    for arn, found in named:
        assert found is not None
        version = _usable(arn, found, caller, find)
        used.append(LayerUse(arn=arn, code=version.code))
    return tuple(used)


def _usable(arn: str, named: tuple[LayerKey, int | None], caller: Caller, find: Find) -> LayerVersion:
    key, number = named
    version = find(key, number or 0)
    if key.account != caller.account and (version is None or not may_use(version, caller.account)):
        raise not_allowed(caller, "GetLayerVersion", arn)  # nor does it say whether it exists
    if version is None:
        raise does_not_exist(arn)
    return version


def may_use(version: LayerVersion, account: str) -> bool:
    """Whether the policy lets another account use the layer version.

    A statement for an organization allows nobody: there are no organizations here.
    """
    root = f"arn:aws:iam::{account}:root"
    return any(
        statement["Principal"] in ("*", {"AWS": root}) and "Condition" not in statement
        for statement in version.statements
    )


def check_size(code: Code, layers: Sequence[LayerUse]) -> None:
    """Raises ApiError InvalidParameterValueException when code and layers are over 250 MB unpacked.

    Source: AWS Lambda Developer Guide, "Lambda quotas"; messages as users of AWS report them.
    """
    of_layers = sum(layer.code.unzipped_bytes for layer in layers)
    if of_layers > quotas.UNZIPPED_BYTES:
        raise _invalid(f"Layers consume more than the available size of {quotas.UNZIPPED_BYTES} bytes")
    total = of_layers + code.unzipped_bytes
    if total > quotas.UNZIPPED_BYTES:
        raise _invalid(
            f"Function code combined with layers exceeds the maximum allowed size of {quotas.UNZIPPED_BYTES} bytes. "
            f"The actual size is {total} bytes."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What AddLayerVersionPermission is asked for. `principal` is an account, its root's ARN, or `*`."""

    sid: str
    action: str
    principal: str
    organization: str | None = None

    def statement(self, resource: str) -> dict[str, Any]:
        """The statement of the policy."""
        account = f"arn:aws:iam::{self.principal}:root" if self.principal.isdigit() else self.principal
        statement: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Principal": "*" if account == "*" else {"AWS": account},
            "Action": self.action,
            "Resource": resource,
        }
        if self.organization:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": self.organization}}
        return statement


def granted(version: LayerVersion, grant: Grant, *, expected: str | None, revision_id: str) -> LayerVersion:
    """The version with one more statement.

    Raises:
        ApiError: PreconditionFailedException; ResourceConflictException, when the id is taken;
            PolicyLengthExceededException.
    """
    _check_policy_revision(version, expected)
    document = with_statement(version.document, grant.statement(version.arn))
    return replace(version, statements=tuple(document["Statement"]), policy_revision_id=revision_id)


def revoked(version: LayerVersion, sid: str, *, expected: str | None, revision_id: str) -> LayerVersion:
    """The version without that statement.

    Raises:
        ApiError: ResourceNotFoundException; PreconditionFailedException.
    """
    left = without_statement(version.document, sid)
    _check_policy_revision(version, expected)
    return replace(version, statements=tuple(left["Statement"]) if left else (), policy_revision_id=revision_id)


def _check_policy_revision(version: LayerVersion, expected: str | None) -> None:
    check_revision(expected, version.policy_revision_id, operation="GetLayerPolicy")


def does_not_exist(arn: str) -> ApiError:
    """InvalidParameterValueException for a layer version that a function names and that is not there."""
    return _invalid(f"Layer version {arn} does not exist.")


def not_allowed(caller: Caller, action: str, arn: str) -> ApiError:
    """AccessDeniedException in the words for a resource of another account."""
    return ApiError(
        "AccessDeniedException",
        f"User: {caller.principal} is not authorized to perform: lambda:{action} on resource: {arn} "
        f"because no resource-based policy allows the lambda:{action} action",
    )


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
