"""Whom a bucket tells of what: PutBucketNotificationConfiguration and GetBucketNotificationConfiguration.

Who is to be told must be there and must allow it: a function's and a queue's or topic's policy is asked. Queues and
topics then get a test event.

Source: Amazon S3 User Guide, "Amazon S3 Event Notifications"; facts sheet C7.
"""

import secrets
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from lambent.aws import policy
from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3 import deliveries, notices
from lambent.services.s3.api.buckets import change_settings
from lambent.services.s3.model import Bucket, invalid

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_MOST: Final = 100
_SERVICES: Final = {
    "LambdaFunctionConfigurations": "lambda",
    "QueueConfigurations": "sqs",
    "TopicConfigurations": "sns",
}
_ACTIONS: Final = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
_UNABLE: Final = "Unable to validate the following destination configurations"
_OVERLAP: Final = "Configurations overlap. Configurations on the same bucket cannot share a common event type."
_AMBIGUOUS: Final = (
    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
    "overlapping for the same event type."
)


async def get_bucket_notification_configuration(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetBucketNotificationConfiguration: empty when there is none."""
    return dict(service.named(params).settings.get("Notification", {}))


async def put_bucket_notification_configuration(service: "S3", caller: Caller, params: Shape) -> Shape:
    """PutBucketNotificationConfiguration: replaces it all; an empty one takes it away."""
    bucket = service.named(params)
    given = params["NotificationConfiguration"]
    held: dict[str, Any] = {}
    for name in notices.TARGETS:
        if given.get(name):
            held[name] = [_checked(bucket, name, entry) for entry in given[name]]
    if "EventBridgeConfiguration" in given:
        held["EventBridgeConfiguration"] = {}
    entries = list(_entries(held))
    if len(entries) > _MOST:
        raise invalid(f"The number of notification configurations is more than {_MOST}")
    _check_overlaps([entry for _, entry in entries])
    if not params.get("SkipDestinationValidation"):
        await _check_targets(service, caller, bucket, held)
    await change_settings(service, bucket.name, "Notification", held or None)
    return {}


def _entries(held: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry with the ARN of who is told."""
    for name, member in notices.TARGETS.items():
        for entry in held.get(name, ()):
            yield entry[member], entry


def _checked(bucket: Bucket, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as it is kept, with an id. Raises ApiError InvalidArgument."""
    target = entry.get(notices.TARGETS[name]) or ""
    try:
        arn = Arn.parse(target)
    except ValueError:
        raise invalid("The ARN could not be parsed", notices.TARGETS[name], target) from None
    if arn.service != _SERVICES[name]:
        raise invalid("The ARN is not well formed", notices.TARGETS[name], target)
    if arn.region != bucket.region:
        message = "The notification destination service region is not valid for the bucket location constraint"
        raise invalid(message, notices.TARGETS[name], target)
    if arn.service in ("sqs", "sns") and arn.resource.endswith(".fifo"):
        raise invalid("FIFO queues and topics are not supported as destinations", notices.TARGETS[name], target)
    names = [rule["Name"].lower() for rule in entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())]
    for rule in names:
        if rule not in ("prefix", "suffix"):
            raise invalid("filter rule name must be either prefix or suffix", "FilterRule.Name", rule)
        if names.count(rule) > 1:
            raise invalid(f"Cannot specify more than one {rule} rule in a filter.", "FilterRule.Name", rule)
    return {**entry, "Id": entry.get("Id") or secrets.token_urlsafe(36)}


def _check_overlaps(entries: list[dict[str, Any]]) -> None:
    """Refuses two entries that would tell of one event twice. Raises ApiError InvalidArgument."""
    for first, second in combinations(entries, 2):
        shared = [(a, b) for a in first["Events"] for b in second["Events"] if _is_same(a, b)]
        if not shared:
            continue
        (prefix, suffix), (other_prefix, other_suffix) = notices.affixes(first), notices.affixes(second)
        is_prefix = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
        is_suffix = suffix.endswith(other_suffix) or other_suffix.endswith(suffix)
        if is_prefix and is_suffix:
            has_filters = any((prefix, suffix, other_prefix, other_suffix))
            raise invalid(_AMBIGUOUS if has_filters else _OVERLAP, "Event", ", ".join(shared[0]))


def _is_same(first: str, second: str) -> bool:
    """Whether two names of events, which may end in `*`, mean one event both."""
    kind, _, name = first.partition(":")[2].partition(":")
    other_kind, _, other_name = second.partition(":")[2].partition(":")
    return kind == other_kind and (name == other_name or "*" in (name, other_name))


async def _check_targets(service: "S3", caller: Caller, bucket: Bucket, held: dict[str, Any]) -> None:
    own = service.caller_of(bucket)
    targets = sorted({target for target, _ in _entries(held)})
    for target in targets:
        if not await _may_tell(service, bucket, Arn.parse(target), own):
            raise invalid(_UNABLE, target, "Not authorized to invoke, or not there")
    before = {target for target, _ in _entries(bucket.settings.get("Notification", {}))}
    test = notices.test_event(bucket, caller, service.clock.now_ms())
    for target in targets:
        if Arn.parse(target).service in ("sqs", "sns") and target not in before:
            await deliveries.tell(service.call, target, test, own)


async def _may_tell(service: "S3", bucket: Bucket, target: Arn, own: Caller) -> bool:
    """Whether the target is there, and its policy allows S3 to tell it for this bucket."""
    try:
        document = await _policy(service, target, own)
        if document is None:
            return False
        request = policy.Request(
            action=_ACTIONS[target.service],
            resource=str(target),
            principal=policy.Principal.service("s3.amazonaws.com"),
            context={"aws:SourceArn": bucket.arn, "aws:SourceAccount": bucket.account},
        )
        decision = policy.evaluate(request, identity=[], resource=[policy.decode(document, "resource")])
    except (ApiError, policy.MalformedPolicyError):
        return False
    return decision.allowed


async def _policy(service: "S3", target: Arn, own: Caller) -> str | None:
    """The policy document of a target; None when it has none."""
    if target.service == "lambda":
        name, _, qualifier = target.resource.removeprefix("function:").partition(":")
        asked = {"FunctionName": str(target._replace(resource=f"function:{name}"))}
        answer = await service.call(
            "lambda", "GetPolicy", asked | ({"Qualifier": qualifier} if qualifier else {}), caller=own
        )
        return str(answer["Policy"])
    if target.service == "sqs":
        url = f"https://sqs.{target.region}.amazonaws.com/{target.account}/{target.resource}"
        asked_for = {"QueueUrl": url, "AttributeNames": ["Policy"]}
        answer = await service.call("sqs", "GetQueueAttributes", asked_for, caller=own)
    else:
        answer = await service.call("sns", "GetTopicAttributes", {"TopicArn": str(target)}, caller=own)
    found: str | None = (answer.get("Attributes") or {}).get("Policy")
    return found
