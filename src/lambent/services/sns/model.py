"""Topics and subscriptions: what they are, their names, and the errors that everybody needs. Pure.

Source: Amazon SNS API Reference, CreateTopic, Subscribe and GetSubscriptionAttributes; facts sheet B.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError

MAX_TAGS: Final = 50
_MAX_TAG_KEY: Final = 128
_MAX_TAG_VALUE: Final = 256
DEDUPLICATION_MS: Final = 300_000
"""How long a message of a FIFO topic that is published again is the same one."""
TOKEN_MS: Final = 2 * 86_400_000
"""How long a subscription may be confirmed, and is there without that."""
FIFO_SUFFIX: Final = ".fifo"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_TAG: Final = re.compile(r"[\w .:/=+@-]*")

MESSAGE_ATTRIBUTES: Final = "MessageAttributes"
MESSAGE_BODY: Final = "MessageBody"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic. `attributes` are those that were set, as they are on the wire."""

    scope: Scope
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    data_protection: str = ""
    created_ms: int = 0
    deleted_subscriptions: int = 0

    @cached_property
    def arn(self) -> str:
        return f"arn:aws:sns:{self.scope.region}:{self.scope.account}:{self.name}"

    @cached_property
    def is_fifo(self) -> bool:
        return self.name.endswith(FIFO_SUFFIX)

    @cached_property
    def signature_version(self) -> str:
        return self.attributes.get("SignatureVersion") or "1"

    @cached_property
    def most_bytes(self) -> int:
        return int(self.attributes.get("MaximumMessageSize") or 262_144)

    @cached_property
    def deduplicates_by_content(self) -> bool:
        return self.attributes.get("ContentBasedDeduplication") == "true"

    @cached_property
    def deduplicates_per_group(self) -> bool:
        return self.attributes.get("FifoThroughputScope") == "MessageGroup"

    @cached_property
    def archive_days(self) -> int:
        """For how many days its messages are kept to be replayed; 0 is not at all."""
        return int(self.json("ArchivePolicy").get("MessageRetentionPeriod", 0))

    def json(self, name: str) -> dict[str, Any]:
        """An attribute that is a JSON object; empty when it is not set."""
        return _object(self.attributes.get(name))


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription. `attributes` are those that were set, as they are on the wire."""

    id: int
    arn: str
    topic_arn: str
    owner: str
    protocol: str
    endpoint: str
    attributes: dict[str, str] = field(default_factory=dict)
    is_confirmed: bool = True
    was_authenticated: bool = True
    is_private: bool = True
    """Whether it was made from outside of functions: then its endpoint may be in this machine's networks."""
    token: str = ""
    base_url: str = ""
    """The address at which who subscribed reaches this platform."""
    created_ms: int = 0
    replayed_seq: int = 0
    """How far a replay has come; 0 is not begun."""
    replay_status: str = ""

    @cached_property
    def is_raw(self) -> bool:
        return self.attributes.get("RawMessageDelivery") == "true"

    @cached_property
    def is_http(self) -> bool:
        return self.protocol in ("http", "https")

    @cached_property
    def dead_letter_arn(self) -> str:
        return str(self.json("RedrivePolicy").get("deadLetterTargetArn", ""))

    @cached_property
    def filter_scope(self) -> str:
        return self.attributes.get("FilterPolicyScope") or MESSAGE_ATTRIBUTES

    @cached_property
    def filter_policy(self) -> str:
        """The text of the policy; empty for none."""
        found = self.attributes.get("FilterPolicy", "")
        return "" if found.strip() in ("", "{}") else found

    def json(self, name: str) -> dict[str, Any]:
        """An attribute that is a JSON object; empty when it is not set."""
        return _object(self.attributes.get(name))


def _object(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(text) if text else {}
    return found


def check_name(name: str, *, is_fifo: bool) -> None:
    """Raises ApiError InvalidParameter for what cannot be a topic's name."""
    if is_fifo:
        if not name.endswith(FIFO_SUFFIX):
            raise invalid(
                "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase "
                "ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters "
                "long."
            )
        name, longest = name.removesuffix(FIFO_SUFFIX), 256 - len(FIFO_SUFFIX)
    else:
        longest = 256
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise invalid("Topic Name")


def checked_tags(given: list[dict[str, str]]) -> dict[str, str]:
    """The tags of a request, by key.

    Raises:
        ApiError: InvalidParameter.
    """
    tags: dict[str, str] = {}
    for tag in given:
        key, value = tag["Key"], tag["Value"]
        if not 1 <= len(key) <= _MAX_TAG_KEY or not _TAG.fullmatch(key) or key.lower().startswith("aws:"):
            raise invalid(f"Tags Reason: Invalid tag key {key}")
        if len(value) > _MAX_TAG_VALUE or not _TAG.fullmatch(value):
            raise invalid(f"Tags Reason: Invalid tag value {value}")
        if key in tags:
            raise invalid("Duplicated keys are not allowed.")
        tags[key] = value
    return tags


def topic_arn_of(text: str) -> str | None:
    """The ARN, if it may be one of a topic."""
    try:
        arn = Arn.parse(text)
    except ValueError:
        return None
    return text if arn.service == "sns" and arn.resource and ":" not in arn.resource else None


def invalid(reason: str) -> ApiError:
    """The error for a parameter that cannot be, as SNS says it."""
    return ApiError("InvalidParameter", f"Invalid parameter: {reason}")


def no_topic() -> ApiError:
    """The error for a topic that is not there."""
    return ApiError("NotFound", "Topic does not exist")


def no_subscription() -> ApiError:
    """The error for a subscription that is not there."""
    return ApiError("NotFound", "Subscription does not exist")
