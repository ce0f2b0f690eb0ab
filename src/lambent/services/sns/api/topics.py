"""Topics: made, found, changed and deleted."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sns import rows, topic_attributes
from lambent.services.sns.api import paging
from lambent.services.sns.live import LiveTopic
from lambent.services.sns.model import MAX_TAGS, Topic, check_name, checked_tags, invalid, no_topic, topic_arn_of

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

_OTHERWISE: Final = "Attributes Reason: Topic already exists with different attributes"


async def create_topic(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """CreateTopic: of a topic that is there already it answers the ARN, if nothing that is asked for differs."""
    name, given = params["Name"], params.get("Attributes") or {}
    is_fifo = given.get("FifoTopic", "false").lower() == "true"
    check_name(name, is_fifo=is_fifo)
    kept = topic_attributes.checked(given, is_fifo=is_fifo)
    asked_tags = checked_tags(params.get("Tags") or [])
    if len(asked_tags) > MAX_TAGS:
        raise ApiError("TagLimitExceeded", f"Could not complete request: tag quota of {MAX_TAGS} per resource exceeded")
    topic = Topic(
        scope=Scope(*caller.scope),
        name=name,
        attributes={each: value for each, value in kept.items() if value and (each != "FifoTopic" or is_fifo)},
        tags=asked_tags,
        data_protection=params.get("DataProtectionPolicy") or "",
        created_ms=service.clock.now_ms(),
    )
    async with service.changing:  # nobody makes the same one meanwhile
        there = service.topics.get(topic.arn)
        if there is not None:
            _check_same(there.topic, kept, asked_tags)
            return {"TopicArn": topic.arn}
        await service.database.write(
            lambda tx: rows.insert_topic(tx, topic),
            committed=lambda _done: service.topics.update({topic.arn: LiveTopic(topic)}),
        )
    return {"TopicArn": topic.arn}


def _check_same(topic: Topic, asked: dict[str, str], asked_tags: dict[str, str]) -> None:
    there = topic_attributes.effective(topic)
    if any(not topic_attributes.same(name, there.get(name, ""), value) for name, value in asked.items()):
        raise invalid(_OTHERWISE)
    if any(topic.tags.get(key) != value for key, value in asked_tags.items()):
        raise invalid("Tags Reason: Topic already exists with different tags")


async def delete_topic(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """DeleteTopic: a topic that is not there is gone, too. Its subscriptions, and what is on its way, go with it."""
    arn = params["TopicArn"]
    async with service.changing:
        live = service.topics.get(arn)
        if live is None:
            if topic_arn_of(arn) is None:
                raise invalid("TopicArn")
            return {}
        if live.topic.archive_days:
            raise ApiError("InvalidState", "Invalid State: Cannot delete a topic with an ArchivePolicy")
        topic = live

        def follow(_done: None) -> None:
            for each in list(topic.subscriptions.values()):
                service.remove(each)
            topic.is_gone = True
            del service.topics[arn]

        await service.database.write(lambda tx: rows.delete_topic(tx, arn), committed=follow)
    return {}


async def get_topic_attributes(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """GetTopicAttributes."""
    live = service.topic(params["TopicArn"])
    confirmed = sum(each.subscription.is_confirmed for each in live.subscriptions.values())
    counts = (confirmed, len(live.subscriptions) - confirmed)
    found = topic_attributes.shown(live.topic, counts)
    if live.topic.archive_days:
        oldest = await service.database.read(lambda tx: rows.oldest_archived(tx, live.topic.arn))
        if oldest is not None:
            found["BeginningArchiveTime"] = paging.moment(oldest)
    return {"Attributes": found}


async def set_topic_attributes(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """SetTopicAttributes: holds at once. An empty text takes an attribute away."""
    name, value = params["AttributeName"], params.get("AttributeValue") or ""
    live = service.topic(params["TopicArn"])
    if name == "FifoTopic":
        raise invalid("AttributeName")
    kept = topic_attributes.check(name, value, is_fifo=live.topic.is_fifo)

    def edit(topic: Topic) -> Topic:
        attributes = {each: text for each, text in {**topic.attributes, name: kept}.items() if text}
        return replace(topic, attributes=attributes)

    await keep(service, live, edit)
    return {}


async def keep(service: "Sns", live: LiveTopic, edit: Callable[[Topic], Topic]) -> None:
    """Makes a topic what `edit` makes of it, which may raise."""
    async with service.changing:
        if live.is_gone:
            raise no_topic()
        topic = edit(live.topic)

        def follow(_done: None) -> None:
            live.topic = topic

        await service.database.write(lambda tx: rows.update_topic(tx, topic), committed=follow)


async def list_topics(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """ListTopics, in the order of their names."""
    names = sorted(arn for arn, live in service.topics.items() if live.topic.scope == caller.scope)
    shown, token = paging.page(names, params.get("NextToken"))
    return {"Topics": [{"TopicArn": arn} for arn in shown], "NextToken": token}
