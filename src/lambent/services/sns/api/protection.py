"""Data protection policies: kept and shown, and held by nobody: messages are delivered as they are."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.sns.api.topics import keep
from lambent.services.sns.model import invalid

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

MAX_PROTECTION_BYTES: Final = 30_720


async def get_data_protection_policy(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """GetDataProtectionPolicy: empty when there is none."""
    return {"DataProtectionPolicy": service.topic(params["ResourceArn"], "ResourceArn").topic.data_protection}


async def put_data_protection_policy(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """PutDataProtectionPolicy: an empty text takes it away."""
    live, text = service.topic(params["ResourceArn"], "ResourceArn"), params["DataProtectionPolicy"]
    check(text)
    await keep(service, live, lambda topic: replace(topic, data_protection=text))
    service.log.warning("sns.data_protection_is_not_held", topic=live.topic.arn)
    return {}


def check(text: str) -> None:
    """Raises ApiError InvalidParameter for what is no policy."""
    if len(text.encode()) > MAX_PROTECTION_BYTES:
        raise invalid(f"DataProtectionPolicy Reason: it can have at most {MAX_PROTECTION_BYTES} bytes")
    if not text:
        return
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("Statement"), list):
        raise invalid("DataProtectionPolicy Reason: it must be a JSON object with a Statement")
