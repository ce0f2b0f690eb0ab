"""What SNS does in the background: what is too old goes."""

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.services.sns import rows
from lambent.services.sns.live import LiveSubscription
from lambent.services.sns.model import DEDUPLICATION_MS, TOKEN_MS

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

_EVERY_S: Final = 60.0
_DAY_MS: Final = 86_400_000


async def clear_away(service: "Sns") -> None:
    """Remove what nobody asks for any more, every minute, until cancelled."""
    while True:
        await _forget(service)
        await service.clock.sleep(_EVERY_S, tidying=True)


async def _forget(service: "Sns") -> None:
    now = service.clock.now_ms()
    stale = [
        live
        for live in service.subscriptions.values()
        if not live.subscription.is_confirmed and live.subscription.created_ms + TOKEN_MS <= now
    ]
    kept = {arn: live.topic.archive_days for arn, live in service.topics.items() if live.topic.archive_days}

    def change(tx: Connection) -> list[LiveSubscription]:
        rows.forget_published(tx, now - DEDUPLICATION_MS)
        for arn, days in kept.items():
            rows.forget_archived(tx, arn, now - days * _DAY_MS)
        for live in stale:
            rows.delete_subscription(tx, live.subscription.id)
        return stale

    def follow(gone: list[LiveSubscription]) -> None:
        for live in gone:
            service.remove(live)

    if service.topics:
        await service.database.write(change, committed=follow)
