"""Reserved and provisioned concurrency: who may have how much, and which environments that means. Pure.

Source: AWS Lambda Developer Guide, "Configuring reserved concurrency for a function", "Configuring provisioned
concurrency for a function"; messages as recorded (facts sheet section 10).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from lambent.aws.errors import ApiError
from lambent.engine.admission import Allotment
from lambent.engine.provisioned import Plan, Progress, Status
from lambent.services.lambda_.attached import ProvisionedConcurrency, ReservedConcurrency
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import LATEST, Alias, FunctionKey, FunctionVersion

UNRESERVED_FLOOR: Final = 100
"""So much of an account's limit cannot be reserved, nor provisioned for functions that reserve nothing."""

_NO_SNAP_START: Final = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the functions of an account have for themselves: by function, what is reserved and what is provisioned."""

    limit: int
    reserved: dict[FunctionKey, int]
    provisioned: dict[FunctionKey, dict[str, int]]  # by qualifier

    @classmethod
    def of(
        cls, limit: int, reserved: Collection[ReservedConcurrency], provisioned: Collection[ProvisionedConcurrency]
    ) -> "Account":
        amounts: dict[FunctionKey, dict[str, int]] = {}
        for config in provisioned:
            amounts.setdefault(config.key, {})[config.qualifier] = config.requested
        return cls(limit=limit, reserved={each.key: each.limit for each in reserved}, provisioned=amounts)

    @property
    def unreserved(self) -> int:
        """UnreservedConcurrentExecutions: what functions without a reservation share on demand."""
        alone = (sum(each.values()) for key, each in self.provisioned.items() if key not in self.reserved)
        return self.limit - sum(self.reserved.values()) - sum(alone)

    @property
    def floor(self) -> int:
        """What `unreserved` must not fall below; an account with a lower limit can give nothing away."""
        return min(UNRESERVED_FLOOR, self.limit)

    def check_reserve(self, key: FunctionKey, amount: int) -> None:
        """Raises InvalidParameterValueException when a function may not reserve so much."""
        provisioned = sum(self.provisioned.get(key, {}).values())
        if amount < provisioned:
            raise _invalid(
                f" ReservedConcurrentExecutions  {amount} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}]."
            )
        taken = amount - self.reserved.get(key, provisioned)
        if taken > 0 and self.unreserved - taken < self.floor:
            raise _invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{self.floor}]."
            )

    def check_provision(self, key: FunctionKey, qualifier: str, amount: int) -> None:
        """Raises InvalidParameterValueException when so much may not be provisioned for a version or an alias."""
        before = self.provisioned.get(key, {})
        if key in self.reserved:
            others = sum(before.values()) - before.get(qualifier, 0)
            if others + amount > self.reserved[key]:
                raise _invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                    "for function"
                )
            return
        there = self.unreserved + before.get(qualifier, 0)
        if amount > there:
            raise _invalid(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{there}]."
            )
        if amount > before.get(qualifier, 0) and there - amount < self.floor:
            raise _invalid(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{self.floor}]."
            )


def check_provisionable(version: FunctionVersion) -> None:
    """Raises InvalidParameterValueException for a version that cannot have provisioned concurrency."""
    if version.version == LATEST:
        raise _invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    if version.configuration.snap_start != _NO_SNAP_START:
        raise _invalid("Provisioned Concurrency is not supported for SnapStart enabled functions.")


def check_free(qualifier: str, alias: Alias | None, aliases: Sequence[Alias], provisioned: Collection[str]) -> None:
    """Raises ResourceConflictException when a version would be provisioned twice: for itself and for an alias.

    `alias` is what the qualifier names, if it is an alias; `aliases` are the function's, `provisioned` the qualifiers
    that have an amount already.
    """
    others = [each for each in aliases if each.name in provisioned and each.name != qualifier]
    if alias is None:
        if any(qualifier in each.versions for each in others):
            raise ApiError("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias")
        return
    taken = {version for each in others for version in each.versions} | set(provisioned)
    if alias.versions & taken:
        raise ApiError(
            "ResourceConflictException",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        )


def shares(amount: int, alias: Alias) -> dict[str, int]:
    """An alias's amount for each of its versions, by weight.

    Source: the guide, "Configuring provisioned concurrency": an alias with weights has its amount split by them.
    """
    if alias.additional_version is None:
        return {alias.function_version: amount}
    additional = int(amount * alias.additional_weight + 0.5)
    return {alias.function_version: amount - additional, alias.additional_version: additional}


def allotment(entry: Entry) -> Allotment:
    """What a function has for itself."""
    reserved = entry.its(ReservedConcurrency)
    provisioned = sum(each.requested for each in entry.all_its(ProvisionedConcurrency))
    return Allotment(reserved=reserved.limit if reserved else None, provisioned=provisioned)


def plans(entry: Entry) -> list[Plan]:
    """The environments that are to be kept for a function."""
    return [plan for config in entry.all_its(ProvisionedConcurrency) for plan in plans_of(entry, config)]


def plans_of(entry: Entry, config: ProvisionedConcurrency) -> list[Plan]:
    """The environments that are to be kept for one version or alias."""
    alias = entry.aliases.get(config.qualifier)
    amounts = shares(config.requested, alias) if alias else {config.qualifier: config.requested}
    return [
        Plan(spec=entry.specs[version], qualifier=config.qualifier, count=count, asked_ms=config.last_modified_ms)
        for version, count in amounts.items()
        if count and version in entry.specs
    ]


def together(parts: Sequence[Progress | None]) -> Progress:
    """How far a version or an alias is, from how far its plans are; None is a plan that nobody has begun with."""
    known = [part for part in parts if part is not None]
    failed = next((part for part in known if part.status is Status.FAILED), None)
    is_ready = len(known) == len(parts) and all(part.status is Status.READY for part in known)
    return Progress(
        status=Status.FAILED if failed else Status.READY if is_ready else Status.IN_PROGRESS,
        allocated=sum(part.allocated for part in known),
        available=sum(part.available for part in known),
        reason=failed.reason if failed else None,
    )


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
