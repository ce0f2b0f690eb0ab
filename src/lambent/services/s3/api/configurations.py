"""What is configured of buckets: kept, told again, and, where it means something here, followed.

Most are kept as they came. `Simple` says of each which member of the request holds it, how it is told again, and which
error says that there is none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lambent.aws import policy
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3 import acls, rules
from lambent.services.s3.api import notifications
from lambent.services.s3.api.buckets import change_settings
from lambent.services.s3.described import checked_tags
from lambent.services.s3.model import Bucket, malformed_xml

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_MOST_TAGS: Final = 50
_PUBLIC: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_MOST_POLICY_BYTES: Final = 20 * 1024

Check = Callable[[Bucket, Any], Any]


def _as_it_is(_bucket: Bucket, value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """A configuration that is kept. `payload` is the output's member that holds it all, None when it is the output."""

    setting: str
    given: str
    payload: str | None = None
    missing: tuple[str, str] | None = None
    check: Check = _as_it_is


def _missing(code: str, message: str) -> tuple[str, str]:
    return code, message


_KINDS: Final = {
    "BucketAbac": Simple(setting="Abac", given="AbacStatus", payload="AbacStatus"),
    "BucketAccelerateConfiguration": Simple(setting="Accelerate", given="AccelerateConfiguration"),
    "BucketCors": Simple(
        setting="CORS",
        given="CORSConfiguration",
        missing=_missing("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
        check=rules.checked_cors,
    ),
    "BucketEncryption": Simple(
        setting="ServerSideEncryptionConfiguration",
        given="ServerSideEncryptionConfiguration",
        payload="ServerSideEncryptionConfiguration",
    ),
    "BucketLogging": Simple(setting="Logging", given="BucketLoggingStatus"),
    "BucketOwnershipControls": Simple(
        setting="OwnershipControls",
        given="OwnershipControls",
        payload="OwnershipControls",
        missing=_missing("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
    ),
    "BucketReplication": Simple(
        setting="ReplicationConfiguration",
        given="ReplicationConfiguration",
        payload="ReplicationConfiguration",
        missing=_missing("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
    ),
    "BucketRequestPayment": Simple(setting="RequestPayment", given="RequestPaymentConfiguration"),
    "BucketVersioning": Simple(setting="Versioning", given="VersioningConfiguration", check=rules.checked_versioning),
    "BucketWebsite": Simple(
        setting="Website",
        given="WebsiteConfiguration",
        missing=_missing("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    ),
    "ObjectLockConfiguration": Simple(
        setting="ObjectLockConfiguration",
        given="ObjectLockConfiguration",
        payload="ObjectLockConfiguration",
        missing=_missing(
            "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket"
        ),
        check=rules.checked_lock,
    ),
    "PublicAccessBlock": Simple(
        setting="PublicAccessBlock",
        given="PublicAccessBlockConfiguration",
        payload="PublicAccessBlockConfiguration",
        missing=_missing("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"),
        check=lambda _bucket, value: {name: value.get(name, False) for name in _PUBLIC},
    ),
}
_DEFAULTS: Final[Mapping[str, Shape]] = {
    "ServerSideEncryptionConfiguration": {
        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    },
    "RequestPayment": {"Payer": "BucketOwner"},
    "Abac": {"Status": "Disabled"},
}
# Several of a kind, each with an id.
_NUMBERED: Final = {
    "BucketAnalyticsConfiguration": ("AnalyticsConfiguration", "ListBucketAnalyticsConfigurations"),
    "BucketIntelligentTieringConfiguration": (
        "IntelligentTieringConfiguration",
        "ListBucketIntelligentTieringConfigurations",
    ),
    "BucketInventoryConfiguration": ("InventoryConfiguration", "ListBucketInventoryConfigurations"),
    "BucketMetricsConfiguration": ("MetricsConfiguration", "ListBucketMetricsConfigurations"),
}


async def _put(kind: Simple, service: "S3", _caller: Caller, params: Shape) -> Shape:
    bucket = service.named(params)
    value = params.get(kind.given)
    if value is None:
        raise ApiError("MissingRequestBodyError", "Request Body is empty")
    await change_settings(service, bucket.name, kind.setting, plain(kind.check(bucket, value)))
    return {}


async def _get(kind: Simple, service: "S3", _caller: Caller, params: Shape) -> Shape:
    bucket = service.named(params)
    value = bucket.settings.get(kind.setting, _DEFAULTS.get(kind.setting))
    if value is None and kind.missing is not None:
        code, message = kind.missing
        raise ApiError(code, message, BucketName=bucket.name)
    return {kind.payload: value} if kind.payload else dict(value or {})


async def _delete(kind: Simple, service: "S3", _caller: Caller, params: Shape) -> Shape:
    await change_settings(service, service.named(params).name, kind.setting, None)
    return {}


def plain(value: Any) -> Any:
    """As it comes back from the store: moments are text."""
    return msgspec.json.decode(msgspec.json.encode(value))


# --- those with an id


async def _put_numbered(name: str, service: "S3", _caller: Caller, params: Shape) -> Shape:
    bucket = service.named(params)
    held = {**bucket.settings.get(name, {}), params["Id"]: plain(params[name])}
    await change_settings(service, bucket.name, name, held)
    return {}


async def _get_numbered(name: str, service: "S3", _caller: Caller, params: Shape) -> Shape:
    found = service.named(params).settings.get(name, {}).get(params["Id"])
    if found is None:
        raise ApiError("NoSuchConfiguration", "The specified configuration does not exist.")
    return {name: found}


async def _delete_numbered(name: str, service: "S3", _caller: Caller, params: Shape) -> Shape:
    bucket = service.named(params)
    held = dict(bucket.settings.get(name, {}))
    if held.pop(params["Id"], None) is None:
        raise ApiError("NoSuchConfiguration", "The specified configuration does not exist.")
    await change_settings(service, bucket.name, name, held or None)
    return {}


async def _list_numbered(name: str, service: "S3", _caller: Caller, params: Shape) -> Shape:
    held = service.named(params).settings.get(name, {})
    return {"IsTruncated": False, f"{name}List": [held[key] for key in sorted(held)] or None}


# --- those with rules of their own


async def get_bucket_acl(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketAcl."""
    bucket = service.named(params)
    return acls.shape(bucket.settings.get("ACL", {}), bucket)


async def put_bucket_acl(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutBucketAcl."""
    bucket = service.named(params)
    await change_settings(service, bucket.name, "ACL", plain(acls.of_request(bucket, params)))
    return {}


async def get_bucket_tagging(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketTagging."""
    bucket = service.named(params)
    found = bucket.settings.get("Tagging")
    if not found:
        raise ApiError("NoSuchTagSet", "The TagSet does not exist", BucketName=bucket.name)
    return dict(found)


async def put_bucket_tagging(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutBucketTagging: replaces them all."""
    bucket = service.named(params)
    tags = checked_tags(params["Tagging"]["TagSet"], _MOST_TAGS)
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    await change_settings(service, bucket.name, "Tagging", {"TagSet": tag_set} if tags else None)
    return {}


async def get_bucket_policy(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketPolicy: the document as it was put."""
    bucket = service.named(params)
    return {"Policy": _policy(bucket)}


def _policy(bucket: Bucket) -> str:
    found: str | None = bucket.settings.get("Policy")
    if found is None:
        raise ApiError("NoSuchBucketPolicy", "The bucket policy does not exist", BucketName=bucket.name)
    return found


async def put_bucket_policy(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutBucketPolicy."""
    bucket, text = service.named(params), params["Policy"]
    if len(text.encode()) > _MOST_POLICY_BYTES:
        raise ApiError("PolicyTooLarge", "Bucket policies are limited to 20 KB in size")
    try:
        policy.decode(text, "resource")
    except policy.MalformedPolicyError as error:
        raise ApiError("MalformedPolicy", error.message) from error
    await change_settings(service, bucket.name, "Policy", text)
    return {}


async def get_bucket_policy_status(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketPolicyStatus: public when everybody is allowed something without a condition."""
    document = msgspec.json.decode(_policy(service.named(params)))
    statements = document.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    return {"PolicyStatus": {"IsPublic": any(map(rules.is_public, statements))}}


async def get_bucket_lifecycle(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketLifecycleConfiguration."""
    bucket = service.named(params)
    found = bucket.settings.get("LifecycleConfiguration")
    if found is None:
        message = "The lifecycle configuration does not exist"
        raise ApiError("NoSuchLifecycleConfiguration", message, BucketName=bucket.name)
    return {**found, "Rules": [rules.with_dates(rule) for rule in found["Rules"]]}


async def put_bucket_lifecycle(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """PutBucketLifecycleConfiguration: followed by the worker of `lifecycle`."""
    bucket = service.named(params)
    size = params.get("TransitionDefaultMinimumObjectSize") or "all_storage_classes_128K"
    given = params.get("LifecycleConfiguration")
    if not given or not given.get("Rules"):
        raise malformed_xml()
    held = plain({"Rules": rules.checked_lifecycle(given["Rules"]), "TransitionDefaultMinimumObjectSize": size})
    await change_settings(service, bucket.name, "LifecycleConfiguration", held)
    return {"TransitionDefaultMinimumObjectSize": size}


async def delete_bucket_setting(setting: str, service: "S3", _caller: Caller, params: Shape) -> Shape:
    """Takes a setting away."""
    await change_settings(service, service.named(params).name, setting, None)
    return {}


_Handler = Callable[..., Any]
_OWN: Final[dict[str, _Handler]] = {
    "DeleteBucketLifecycle": partial(delete_bucket_setting, "LifecycleConfiguration"),
    "DeleteBucketPolicy": partial(delete_bucket_setting, "Policy"),
    "DeleteBucketTagging": partial(delete_bucket_setting, "Tagging"),
    "GetBucketAcl": get_bucket_acl,
    "GetBucketLifecycle": get_bucket_lifecycle,
    "GetBucketLifecycleConfiguration": get_bucket_lifecycle,
    "GetBucketNotificationConfiguration": notifications.get_bucket_notification_configuration,
    "GetBucketPolicy": get_bucket_policy,
    "GetBucketPolicyStatus": get_bucket_policy_status,
    "GetBucketTagging": get_bucket_tagging,
    "PutBucketAcl": put_bucket_acl,
    "PutBucketLifecycle": put_bucket_lifecycle,
    "PutBucketLifecycleConfiguration": put_bucket_lifecycle,
    "PutBucketNotificationConfiguration": notifications.put_bucket_notification_configuration,
    "PutBucketPolicy": put_bucket_policy,
    "PutBucketTagging": put_bucket_tagging,
}
_DELETED: Final = {
    "DeleteBucketCors": "BucketCors",
    "DeleteBucketEncryption": "BucketEncryption",
    "DeleteBucketOwnershipControls": "BucketOwnershipControls",
    "DeleteBucketReplication": "BucketReplication",
    "DeleteBucketWebsite": "BucketWebsite",
    "DeletePublicAccessBlock": "PublicAccessBlock",
}
HANDLERS: Final[dict[str, _Handler]] = {
    **{f"Put{name}": partial(_put, kind) for name, kind in _KINDS.items()},
    **{f"Get{name}": partial(_get, kind) for name, kind in _KINDS.items()},
    **{name: partial(_delete, _KINDS[kind]) for name, kind in _DELETED.items()},
    **{f"Put{name}": partial(_put_numbered, member) for name, (member, _) in _NUMBERED.items()},
    **{f"Get{name}": partial(_get_numbered, member) for name, (member, _) in _NUMBERED.items()},
    **{f"Delete{name}": partial(_delete_numbered, member) for name, (member, _) in _NUMBERED.items()},
    **{listing: partial(_list_numbered, member) for member, listing in _NUMBERED.values()},
    **_OWN,
}
"""Every operation on a configuration, by its name; each takes the service first."""
