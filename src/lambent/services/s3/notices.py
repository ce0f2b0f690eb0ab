"""What S3 tells about what happens in a bucket: whom, and in which words. Pure.

Source: Amazon S3 User Guide, "Event message structure" and "Configuring event notifications using object key name
filtering"; facts sheet C7; sample events that AWS publishes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

import msgspec

from lambent.aws.caller import Caller
from lambent.protocol.serialize_errors import host_id
from lambent.protocol.timestamps import to_iso8601, to_iso8601_with_milliseconds
from lambent.services.s3.model import NULL, Bucket, Version, moment
from lambent.services.s3.rows import Notification

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

TARGETS: Final = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}
"""The lists of a notification configuration, and where each entry says who is told."""

# Events whose records are of a later version, with their full name. Source: facts sheet, lambda-facts 28.
_LATER: Final = ("LifecycleExpiration", "ObjectAcl", "ObjectTagging", "LifecycleTransition", "IntelligentTiering")
_REASONS: Final = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
    "LifecycleExpiration:Delete": "Lifecycle Expiration",
    "LifecycleExpiration:DeleteMarkerCreated": "Lifecycle Expiration",
}
_DETAIL_TYPES: Final = {
    "ObjectCreated": "Object Created",
    "ObjectRemoved": "Object Deleted",
    "LifecycleExpiration": "Object Deleted",
    "ObjectAcl": "Object ACL Updated",
}

Notify = Callable[[Version], list[Notification]]
"""A version that something happened to into the rows of what is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened in a bucket: `name` without its `s3:`."""

    name: str
    bucket: Bucket
    caller: Caller
    at_ms: int


def of(service: "S3", caller: Caller, bucket: Bucket, name: str) -> Notify:
    """What to keep, in the transaction in which it happens, so that it is told."""
    configuration = bucket.settings.get("Notification")
    if not configuration:
        return lambda _version: []
    happening = Happening(name=name, bucket=bucket, caller=caller, at_ms=service.clock.now_ms())

    def notify(version: Version) -> list[Notification]:
        return [
            Notification(service.next_id(), target, bucket.arn, bucket.account, body, happening.at_ms)
            for target, body in messages(happening, version)
        ]

    return notify


def messages(happening: Happening, version: Version) -> Iterator[tuple[str, bytes]]:
    """Who is told, by ARN, and what."""
    bucket = happening.bucket
    configuration = bucket.settings["Notification"]
    for name, member in TARGETS.items():
        for entry in configuration.get(name, ()):
            if wants(entry, happening.name, version.key):
                record = record_of(happening, version, entry["Id"])
                yield entry[member], msgspec.json.encode({"Records": [record]})
    if "EventBridgeConfiguration" in configuration and (entry := bus_entry(happening, version)):
        yield f"arn:aws:events:{bucket.region}:{bucket.account}:event-bus/default", msgspec.json.encode(entry)


def wants(entry: dict[str, Any], name: str, key: str) -> bool:
    """Whether an entry of a configuration is about this event of this key."""
    kind = name.partition(":")[0]
    if not any(event.removeprefix("s3:") in (name, f"{kind}:*") for event in entry["Events"]):
        return False
    prefix, suffix = affixes(entry)
    return key.startswith(prefix) and key.endswith(suffix)


def affixes(entry: dict[str, Any]) -> tuple[str, str]:
    """The prefix and the suffix of the keys that an entry is about."""
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    named = {rule["Name"].lower(): rule.get("Value", "") for rule in rules}
    return named.get("prefix", ""), named.get("suffix", "")


def record_of(happening: Happening, version: Version, configuration_id: str) -> dict[str, Any]:
    """A record as functions, queues and topics get it."""
    bucket, caller = happening.bucket, happening.caller
    is_removal = happening.name.startswith(("ObjectRemoved", "LifecycleExpiration"))
    item: dict[str, Any] = {"key": quote_plus(version.key, safe="/*-._")}
    if not is_removal:
        item |= {"size": version.size, "eTag": version.etag}
    if version.version_id != NULL:
        item["versionId"] = version.version_id
    item["sequencer"] = version.sequencer
    is_later = happening.name.startswith(_LATER)
    return {
        "eventVersion": "2.3" if is_later else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region,
        "eventTime": to_iso8601_with_milliseconds(moment(happening.at_ms)),
        "eventName": happening.name,
        "userIdentity": {"principalId": f"AWS:{caller.user_id}"},
        "requestParameters": {"sourceIPAddress": caller.client or "127.0.0.1"},
        "responseElements": {"x-amz-request-id": caller.request_id, "x-amz-id-2": host_id(caller.request_id)},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {"name": bucket.name, "ownerIdentity": {"principalId": bucket.owner}, "arn": bucket.arn},
            "object": item,
        },
    }


def bus_entry(happening: Happening, version: Version) -> dict[str, Any] | None:
    """What an event bus is told, as an entry of PutEvents; None for what it is not told."""
    bucket, caller, name = happening.bucket, happening.caller, happening.name
    detail_type = _DETAIL_TYPES.get(name.partition(":")[0])
    if name.startswith("ObjectTagging"):
        detail_type = "Object Tags Deleted" if name.endswith("Delete") else "Object Tags Added"
    if detail_type is None:
        return None
    item: dict[str, Any] = {"key": version.key, "sequencer": version.sequencer}
    if detail_type != "Object Deleted":
        item |= {"size": version.size, "etag": version.etag}
    if version.version_id != NULL:
        item["version-id"] = version.version_id
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": item,
        "request-id": caller.request_id,
        "requester": caller.account,
        "source-ip-address": caller.client or "127.0.0.1",
    }
    if name in _REASONS:
        detail["reason"] = _REASONS[name]
    if detail_type == "Object Deleted":
        detail["deletion-type"] = "Permanently Deleted" if name.endswith(":Delete") else "Delete Marker Created"
    return {
        "Source": "aws.s3",
        "DetailType": detail_type,
        "Resources": [bucket.arn],
        "Time": to_iso8601(moment(happening.at_ms // 1000 * 1000)),
        "Detail": msgspec.json.encode(detail).decode(),
    }


def test_event(bucket: Bucket, caller: Caller, at_ms: int) -> bytes:
    """What a queue or topic gets when it is configured."""
    said = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": to_iso8601_with_milliseconds(moment(at_ms)),
        "Bucket": bucket.name,
        "RequestId": caller.request_id,
        "HostId": host_id(caller.request_id),
    }
    return msgspec.json.encode(said)
