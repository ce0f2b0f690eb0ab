"""Object Lock: what keeps versions from being removed.

Source: Amazon S3 User Guide, "Locking objects with Object Lock"; facts sheet C5.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

from lambent.dispatch import Shape
from lambent.services.s3.model import Bucket, Facts, Version, access_denied, bad_request, invalid, is_locked

_DAY_MS: Final = 86_400_000


class Lock(NamedTuple):
    """The retention and the legal hold of a new object."""

    mode: str = ""
    until_ms: int = 0
    hold: bool = False


def lock_of(bucket: Bucket, params: Shape, now_ms: int) -> Lock:
    """What an upload asks for, or the bucket's default.

    Raises:
        ApiError: InvalidRequest where the bucket has no Object Lock, InvalidArgument.
    """
    mode, until = params.get("ObjectLockMode"), params.get("ObjectLockRetainUntilDate")
    hold = params.get("ObjectLockLegalHoldStatus")
    if (mode or until or hold) and not bucket.has_lock:
        raise bad_request("Bucket is missing Object Lock Configuration")
    if bool(mode) != bool(until):
        message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
        raise invalid(
            message, "x-amz-object-lock-mode" if mode else "x-amz-object-lock-retain-until-date", mode or until
        )
    is_held = hold == "ON"
    if mode:
        return Lock(mode, _future_ms(until, now_ms), is_held)
    default = bucket.settings.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
    return Lock(default["Mode"], now_ms + _length_ms(default), is_held) if default else Lock(hold=is_held)


def _length_ms(retention: dict[str, Any]) -> int:
    days = retention.get("Days") or retention.get("Years", 0) * 365
    return int(days) * _DAY_MS


def _future_ms(until: datetime | None, now_ms: int) -> int:
    ms = int(until.timestamp() * 1000) if until is not None else 0
    if ms <= now_ms:
        raise invalid("The retain until date must be in the future!")
    return ms


def check_removal(version: Version, params: Shape, now_ms: int) -> None:
    """Raises ApiError AccessDenied for a version that is protected."""
    if is_locked(version, now_ms, bypasses_governance=bool(params.get("BypassGovernanceRetention"))):
        raise access_denied("Access Denied because object protected by object lock.")


def changed_retention(facts: Facts, retention: Shape, now_ms: int, *, bypasses: bool) -> tuple[str, int]:
    """The mode and the end of a version's new retention.

    Raises:
        ApiError: AccessDenied where it would be shorter or weaker than what holds, MalformedXML, InvalidArgument.
    """
    mode, until = retention.get("Mode"), retention.get("RetainUntilDate")
    if bool(mode) != bool(until):
        raise invalid("Mode and RetainUntilDate must both be given")
    until_ms = _future_ms(until, now_ms) if until else 0
    is_active = bool(facts.lock_mode) and facts.retain_until_ms > now_ms
    if is_active:
        is_weaker = until_ms < facts.retain_until_ms or (facts.lock_mode == "COMPLIANCE" and mode != "COMPLIANCE")
        is_weaker |= facts.lock_mode == "GOVERNANCE" and mode != "GOVERNANCE" and not mode
        may = facts.lock_mode == "GOVERNANCE" and bypasses
        if is_weaker and not may:
            raise access_denied("Access Denied because object protected by object lock.")
    return mode or "", until_ms
