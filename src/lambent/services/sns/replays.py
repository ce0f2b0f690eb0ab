"""Replays: a subscription is told once more what its topic's archive has of a time, in order.

How far a replay has come is on disk; a crash repeats the last messages. What is published meanwhile is delivered beside
it. A message that the endpoint refuses for good ends the replay as failed.

Source: Amazon SNS Developer Guide, "Message archiving and replay for FIFO topics".
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.observe.supervise import supervise
from lambent.services.sns import attempts, messages, rows
from lambent.services.sns.delivery_policy import MANAGED
from lambent.services.sns.live import LiveSubscription
from lambent.services.sns.messages import Message
from lambent.services.sns.subscription_attributes import moment_ms

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

PENDING: Final = "Pending"
_RUNNING: Final = "In progress"
_COMPLETED: Final = "Completed"
_FAILED: Final = "Failed"
_SOME: Final = 50  # messages that are read at a time, and repeated by a crash at most
_ENDLESS: Final = 2**62


def begin(service: "Sns", live: LiveSubscription) -> None:
    """Replays what a subscription has still to be told, in the background; nothing when that is at work already."""
    tasks, subscription = service.deliverer.tasks, live.subscription
    if tasks is None or subscription.id in service.replaying or subscription.replay_status not in (PENDING, _RUNNING):
        return
    service.replaying.add(subscription.id)
    work = supervise("sns.replay", partial(_replay, service, live), service.log)
    tasks.create_task(work, name=f"sns.replay {subscription.id}")


async def _replay(service: "Sns", live: LiveSubscription) -> None:
    try:
        while not live.is_gone and live.subscription.replay_status in (PENDING, _RUNNING):
            await _some(service, live)
    finally:
        service.replaying.discard(live.subscription.id)


async def _some(service: "Sns", live: LiveSubscription) -> None:
    """The next messages, and how far that is."""
    subscription = live.subscription
    policy = subscription.json("ReplayPolicy")
    start, end = moment_ms(policy.get("StartingPoint")), moment_ms(policy.get("EndingPoint"))
    between = (start or 0, _ENDLESS if end is None else end)
    # Without an end, everything that was published until now is replayed: what comes later is delivered anyway.
    found = await service.database.read(
        lambda tx: rows.archived(tx, subscription.topic_arn, subscription.replayed_seq, between, _SOME)
    )
    status, seq = _RUNNING if found else _COMPLETED, subscription.replayed_seq
    for row in found:
        message = msgspec.structs.replace(messages.decoded(row.content), is_replayed=True)
        if live.passes(message) and not await _tell(service, live, message, row.seq):
            status = _FAILED
            break
        seq = row.seq
    await _keep(service, live, subscription.attributes.get("ReplayPolicy", ""), seq, status)


async def _tell(service: "Sns", live: LiveSubscription, message: Message, seq: int) -> bool:
    """Whether the endpoint took the message, as often as that has to be tried."""
    failures = 0
    await service.open_signer()
    while not live.is_gone:
        try:
            with service.clock.holding():
                await attempts.send(service, live, message, seq)
        except ApiError as error:
            failures += 1
            wait_s = MANAGED.wait_s(failures) if attempts.is_busy(error) else None
            if wait_s is None:
                service.log.warning("sns.replay_failed", subscription=live.subscription.arn, code=error.code)
                return False
            await service.clock.sleep(wait_s)
        else:
            return True
    return False


async def _keep(service: "Sns", live: LiveSubscription, policy: str, seq: int, status: str) -> None:
    async with service.changing:
        if live.is_gone or live.subscription.attributes.get("ReplayPolicy", "") != policy:
            return  # it was told to begin another one meanwhile
        kept = replace(live.subscription, replayed_seq=seq, replay_status=status)
        await service.database.write(
            lambda tx: rows.update_subscription(tx, kept), committed=lambda _done: live.become(kept)
        )
