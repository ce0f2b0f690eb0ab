"""Buckets: made, found, listed, deleted."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws.caller import DEFAULT_REGION, Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.services.s3 import keep, rows
from lambent.services.s3.model import ENABLED, Bucket, check_bucket_name, invalid, moment

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_MOST_LISTED: Final = 10_000
_BLOCKED: Final = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


async def create_bucket(service: "S3", caller: Caller, params: Shape) -> Shape:
    """CreateBucket. In us-east-1 whoever has it already may make it again, as on AWS."""
    name = params["Bucket"]
    check_bucket_name(name)
    region = _region(caller, (params.get("CreateBucketConfiguration") or {}).get("LocationConstraint"))
    async with service.changing:
        there = service.by_name.get(name)
        if there is None:
            bucket = Bucket(
                id=service.next_id(),
                account=caller.account,
                region=region,
                name=name,
                created_ms=service.clock.now_ms(),
                settings=_settings(params),
            )

            def made(_nothing: None) -> None:
                service.by_name[name] = bucket

            await service.database.write(lambda tx: rows.insert_bucket(tx, bucket), committed=made)
        elif there.account != caller.account:
            message = (
                "The requested bucket name is not available. The bucket namespace is shared by all users of the "
                "system. Please select a different name and try again."
            )
            raise ApiError("BucketAlreadyExists", message, BucketName=name)
        elif region != DEFAULT_REGION or there.region != region:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise ApiError("BucketAlreadyOwnedByYou", message, BucketName=name)
    location = f"/{name}" if region == DEFAULT_REGION else f"http://{name}.s3.amazonaws.com/"
    return {"Location": location, "BucketArn": f"arn:aws:s3:::{name}"}


def _region(caller: Caller, constraint: str | None) -> str:
    if not constraint:
        if caller.region != DEFAULT_REGION:
            raise _illegal("unspecified")
        return caller.region
    if constraint == DEFAULT_REGION:
        message = "The specified location-constraint is not valid"
        raise ApiError("InvalidLocationConstraint", message, LocationConstraint=constraint)
    named = {"EU": "eu-west-1"}.get(constraint, constraint)
    if named != caller.region and caller.region != DEFAULT_REGION:
        raise _illegal(constraint)
    return named


def _illegal(constraint: str) -> ApiError:
    message = (
        f"The {constraint} location constraint is incompatible for the region specific endpoint "
        "this request was sent to."
    )
    return ApiError("IllegalLocationConstraintException", message)


def _settings(params: Shape) -> Shape:
    ownership = params.get("ObjectOwnership") or "BucketOwnerEnforced"
    settings: Shape = {
        "PublicAccessBlock": _BLOCKED,
        "OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]},
    }
    if params.get("ObjectLockEnabledForBucket"):
        settings["ObjectLockConfiguration"] = {"ObjectLockEnabled": ENABLED}
        settings["Versioning"] = {"Status": ENABLED}
    tags = (params.get("CreateBucketConfiguration") or {}).get("Tags")
    return settings | ({"Tagging": {"TagSet": tags}} if tags else {})


async def head_bucket(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """HeadBucket."""
    bucket = service.named(params)
    return {"BucketRegion": bucket.region, "BucketArn": bucket.arn, "AccessPointAlias": False}


async def get_bucket_location(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketLocation: nothing for us-east-1."""
    bucket = service.named(params)
    location = None if bucket.region == DEFAULT_REGION else bucket.region
    return {"LocationConstraint": location, UNMODELLED_HEADERS: [("x-amz-bucket-region", bucket.region)]}


async def list_buckets(service: "S3", caller: Caller, params: Shape) -> Shape:
    """ListBuckets: those of the account, by name."""
    prefix, region, after = (
        params.get("Prefix") or "",
        params.get("BucketRegion"),
        params.get("ContinuationToken") or "",
    )
    most = params.get("MaxBuckets") or _MOST_LISTED
    own = sorted(
        (bucket for bucket in service.by_name.values() if bucket.account == caller.account), key=lambda one: one.name
    )
    wanted = [one for one in own if one.name.startswith(prefix) and one.name > after and region in (None, one.region)]
    page = wanted[:most]
    is_paged = params.get("MaxBuckets") is not None or bool(prefix) or region is not None
    return {
        "Buckets": [
            {
                "Name": one.name,
                "CreationDate": moment(one.created_ms // 1000 * 1000),
                **({"BucketRegion": one.region} if is_paged else {}),
            }
            for one in page
        ],
        "Owner": {"ID": Bucket(id=0, account=caller.account, region="", name="", created_ms=0).owner},
        "ContinuationToken": page[-1].name if len(wanted) > most else None,
        "Prefix": params.get("Prefix"),
    }


async def delete_bucket(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """DeleteBucket: only when it has no versions and no delete markers. Uploads under way go with it."""
    async with service.changing:
        bucket = service.named(params)

        def remove(tx: Connection) -> None:
            if rows.has_versions(tx, bucket.id):
                message = "The bucket you tried to delete is not empty"
                raise ApiError("BucketNotEmpty", message, BucketName=bucket.name)
            rows.delete_bucket(tx, bucket.id)

        def gone(_nothing: None) -> None:
            del service.by_name[bucket.name]
            keep.after(service)

        await service.database.write(remove, committed=gone)
    return {}


async def change_settings(service: "S3", name: str, setting: str, value: object | None) -> None:
    """Sets one of a bucket's settings, or takes it away.

    Raises:
        ApiError: NoSuchBucket, when it was deleted meanwhile.
    """
    async with service.changing:
        bucket = service.named({"Bucket": name})
        settings = {key: held for key, held in bucket.settings.items() if key != setting}
        if value is not None:
            settings[setting] = value
        changed = replace(bucket, settings=settings)

        def made(_is_there: bool) -> None:
            service.by_name[name] = changed

        await service.database.write(lambda tx: rows.update_settings(tx, changed), committed=made)


def check_page(most: int | None, name: str) -> int:
    """How many entries a page may have. Raises ApiError InvalidArgument for less than none."""
    if most is not None and most < 0:
        raise invalid(f"Argument {name} must be an integer between 0 and 2147483647", name, most)
    return min(1_000 if most is None else most, 1_000)
