"""Subscriptions: made, confirmed, changed, listed and ended."""

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sns import endpoints, replays, rows, subscription_attributes
from lambent.services.sns.api import paging
from lambent.services.sns.live import LiveSubscription, LiveTopic
from lambent.services.sns.model import Subscription, invalid, no_subscription, no_topic

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

MAX_FIFO_SUBSCRIPTIONS: Final = 100
MAX_FILTERS: Final = 200
"""Subscriptions of a topic with a filter policy."""
_ACCOUNT_FILTERS: Final = 10_000
_PENDING: Final = "pending confirmation"


async def subscribe(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """Subscribe: once more answers the same ARN. Queues and functions are confirmed at once."""
    live, protocol, endpoint = service.topic(params["TopicArn"]), params["Protocol"], params.get("Endpoint") or ""
    endpoints.check(live.topic, protocol, endpoint)
    given = subscription_attributes.checked(live.topic, protocol, params.get("Attributes") or {})
    kept = {name: value for name, value in given.items() if value}
    async with service.changing:
        if live.is_gone:
            raise no_topic()
        there = _same(live, protocol, endpoint)
        if there is None:
            there = await _create(service, live, _new(service, caller, params, kept))
        elif not subscription_attributes.same(there.subscription, given):
            raise invalid("Attributes Reason: Subscription already exists with different attributes")
    if not there.subscription.is_confirmed:
        endpoints.ask_to_confirm(service, there)
    is_shown = there.subscription.is_confirmed or params.get("ReturnSubscriptionArn")
    return {"SubscriptionArn": there.subscription.arn if is_shown else _PENDING}


def _same(live: LiveTopic, protocol: str, endpoint: str) -> LiveSubscription | None:
    for each in live.subscriptions.values():
        if each.subscription.endpoint == endpoint and each.subscription.protocol == protocol:
            return each
    return None


def _new(service: "Sns", caller: Caller, params: Shape, attributes: dict[str, str]) -> Subscription:
    protocol = params["Protocol"]
    is_confirmed = protocol in endpoints.CONFIRMED
    return Subscription(
        id=service.next_number(),
        arn=f"{params['TopicArn']}:{uuid.uuid4()}",
        topic_arn=params["TopicArn"],
        owner=caller.account,
        protocol=protocol,
        endpoint=params.get("Endpoint") or "",
        attributes=attributes,
        is_confirmed=is_confirmed,
        was_authenticated=is_confirmed,
        is_private=not caller.is_inside,
        token="" if is_confirmed else secrets.token_hex(120),
        base_url=caller.base_url,
        created_ms=service.clock.now_ms(),
        replay_status=replays.PENDING if attributes.get("ReplayPolicy") else "",
    )


async def _create(service: "Sns", live: LiveTopic, subscription: Subscription) -> LiveSubscription:
    if live.topic.is_fifo and len(live.subscriptions) >= MAX_FIFO_SUBSCRIPTIONS:
        raise ApiError("SubscriptionLimitExceeded", "Subscription limit exceeded for this topic")
    if subscription.filter_policy:
        _check_filters(service, live.topic.arn, subscription.owner)
    made: list[LiveSubscription] = []
    await service.database.write(
        lambda tx: rows.insert_subscription(tx, subscription),
        committed=lambda _done: made.append(service.put(subscription)),
    )
    replays.begin(service, made[0])
    return made[0]


def _check_filters(service: "Sns", topic_arn: str, owner: str) -> None:
    filtered = [live.subscription for live in service.subscriptions.values() if live.filter is not None]
    of_topic = sum(each.topic_arn == topic_arn for each in filtered)
    if of_topic >= MAX_FILTERS or sum(each.owner == owner for each in filtered) >= _ACCOUNT_FILTERS:
        raise subscription_attributes.no_more_filters()


async def confirm_subscription(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """ConfirmSubscription: once more answers the same ARN."""
    live, token = service.topic(params["TopicArn"]), params["Token"]
    found = [
        each
        for each in live.subscriptions.values()
        if each.subscription.token and secrets.compare_digest(each.subscription.token, token)
    ]
    returned = service.returning.take(token) if not found else None
    if returned is not None and returned.topic_arn == params["TopicArn"]:
        async with service.changing:
            return {"SubscriptionArn": (await _create(service, live, returned)).subscription.arn}
    if not found:
        raise invalid("Token")
    is_authenticated = str(params.get("AuthenticateOnUnsubscribe", "")).lower() == "true"
    if not found[0].subscription.is_confirmed:
        await _keep(service, found[0], is_confirmed=True, was_authenticated=is_authenticated)
    return {"SubscriptionArn": found[0].subscription.arn}


async def _keep(service: "Sns", live: LiveSubscription, **changes: object) -> None:
    async with service.changing:
        if live.is_gone:
            raise no_subscription()
        subscription = replace(live.subscription, **changes)  # type: ignore[arg-type]
        await service.database.write(
            lambda tx: rows.update_subscription(tx, subscription), committed=lambda _done: live.become(subscription)
        )


async def unsubscribe(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """Unsubscribe: what is not there is gone, too."""
    try:
        live = service.subscription(params)
    except ApiError as error:
        if error.code != "NotFound":
            raise
        return {}
    if not live.subscription.is_confirmed:
        raise invalid("SubscriptionArn Reason: a subscription that is not confirmed yet cannot be deleted")
    if live.subscription.is_http and live.subscription.was_authenticated and not caller.access_key:
        raise ApiError("AuthorizationError", "This subscription was confirmed to be ended by signed requests alone")
    async with service.changing:
        await _end(service, live)
    if live.subscription.is_http:
        service.returning.keep(live.subscription)
        endpoints.ask_to_return(service, live.subscription)
    return {}


async def _end(service: "Sns", live: LiveSubscription) -> None:
    subscription, topic = live.subscription, service.topics.get(live.subscription.topic_arn)
    if topic is None or live.is_gone:
        return
    changed = replace(topic.topic, deleted_subscriptions=topic.topic.deleted_subscriptions + 1)

    def follow(_done: None) -> None:
        service.remove(live)
        topic.topic = changed

    def change(tx: Connection) -> None:
        rows.delete_subscription(tx, subscription.id)
        rows.update_topic(tx, changed)

    await service.database.write(change, committed=follow)


async def get_subscription_attributes(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """GetSubscriptionAttributes."""
    subscription = service.subscription(params).subscription
    topic = service.topics[subscription.topic_arn].topic
    return {"Attributes": subscription_attributes.shown(topic, subscription)}


async def set_subscription_attributes(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """SetSubscriptionAttributes: holds for what is published from now on. An empty text takes an attribute away."""
    live, name, value = service.subscription(params), params["AttributeName"], params.get("AttributeValue") or ""
    topic = service.topics[live.subscription.topic_arn].topic
    attributes = subscription_attributes.changed(topic, live.subscription, name, value)
    changes: dict[str, object] = {"attributes": attributes}
    if name == "FilterPolicy" and value and not live.subscription.filter_policy:
        _check_filters(service, topic.arn, live.subscription.owner)
    if name == "ReplayPolicy":
        changes |= {"replayed_seq": 0, "replay_status": replays.PENDING if attributes.get(name) else ""}
    await _keep(service, live, **changes)
    replays.begin(service, live)
    return {}


async def list_subscriptions(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """ListSubscriptions: those of the caller's account and region."""
    mine = (
        live.subscription
        for live in service.subscriptions.values()
        if live.subscription.owner == caller.account and live.subscription.arn.split(":")[3] == caller.region
    )
    return _listed(mine, params)


async def list_subscriptions_by_topic(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """ListSubscriptionsByTopic."""
    live = service.topic(params["TopicArn"])
    return _listed((each.subscription for each in live.subscriptions.values()), params)


def _listed(found: Iterable[Subscription], params: Shape) -> Shape:
    by_arn = {each.arn: each for each in found}
    shown, token = paging.page(sorted(by_arn), params.get("NextToken"))
    return {"Subscriptions": [_row(by_arn[arn]) for arn in shown], "NextToken": token}


def _row(subscription: Subscription) -> Shape:
    return {
        "SubscriptionArn": subscription.arn if subscription.is_confirmed else "PendingConfirmation",
        "Owner": subscription.owner,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.endpoint,
        "TopicArn": subscription.topic_arn,
    }
