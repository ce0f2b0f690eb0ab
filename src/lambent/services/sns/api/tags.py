"""TagResource, UntagResource, ListTagsForResource."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sns.api.topics import keep
from lambent.services.sns.live import LiveTopic
from lambent.services.sns.model import MAX_TAGS, Topic, checked_tags

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns


async def tag_resource(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """TagResource: a key that is there gets the new value."""
    added = checked_tags(params["Tags"])

    def edit(topic: Topic) -> Topic:
        tags = {**topic.tags, **added}
        if len(tags) > MAX_TAGS:
            message = f"Could not complete request: tag quota of {MAX_TAGS} per resource exceeded"
            raise ApiError("TagLimitExceeded", message)
        return replace(topic, tags=tags)

    await keep(service, _topic(service, params), edit)
    return {}


async def untag_resource(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """UntagResource: keys that are not there do not matter."""
    gone = set(params["TagKeys"])

    def edit(topic: Topic) -> Topic:
        return replace(topic, tags={key: value for key, value in topic.tags.items() if key not in gone})

    await keep(service, _topic(service, params), edit)
    return {}


async def list_tags_for_resource(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """ListTagsForResource."""
    tags = _topic(service, params).topic.tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _topic(service: "Sns", params: Shape) -> LiveTopic:
    found = service.topics.get(params["ResourceArn"])
    if found is None:
        raise ApiError("ResourceNotFound", "Resource does not exist")
    return found
