"""Retention and legal holds of objects."""

from typing import TYPE_CHECKING

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3.api.read import version_asked
from lambent.services.s3.api.tags import change_facts
from lambent.services.s3.locking import changed_retention
from lambent.services.s3.model import Bucket, Facts, Version, bad_request, moment

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


def _locked_bucket(service: "S3", params: Shape) -> Bucket:
    bucket = service.named(params)
    if not bucket.has_lock:
        raise bad_request("Bucket is missing Object Lock Configuration")
    return bucket


async def put_object_retention(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutObjectRetention: what is protected may be protected longer, and less only where it may be bypassed."""
    bucket, now = _locked_bucket(service, params), service.clock.now_ms()
    bypasses = bool(params.get("BypassGovernanceRetention"))

    def edit(found: Version) -> Facts:
        mode, until = changed_retention(found.facts, params.get("Retention") or {}, now, bypasses=bypasses)
        return msgspec.structs.replace(found.facts, lock_mode=mode, retain_until_ms=until)

    await change_facts(service, bucket, params, edit)
    return {}


async def get_object_retention(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetObjectRetention."""
    facts = await _facts(service, params)
    if not facts.lock_mode:
        raise _nothing_set()
    return {"Retention": {"Mode": facts.lock_mode, "RetainUntilDate": moment(facts.retain_until_ms)}}


async def put_object_legal_hold(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutObjectLegalHold."""
    bucket, status = _locked_bucket(service, params), (params.get("LegalHold") or {}).get("Status")
    if status not in ("ON", "OFF"):
        raise ApiError(
            "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
        )

    def edit(found: Version) -> Facts:
        return msgspec.structs.replace(found.facts, legal_hold=status == "ON")

    await change_facts(service, bucket, params, edit)
    return {}


async def get_object_legal_hold(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetObjectLegalHold."""
    facts = await _facts(service, params)
    return {"LegalHold": {"Status": "ON" if facts.legal_hold else "OFF"}}


async def _facts(service: "S3", params: Shape) -> Facts:
    bucket = _locked_bucket(service, params)
    found = await service.database.read(lambda tx: version_asked(tx, bucket, params))
    return found.facts


def _nothing_set() -> ApiError:
    message = "The specified object does not have a ObjectLock configuration"
    return ApiError("NoSuchObjectLockConfiguration", message)
