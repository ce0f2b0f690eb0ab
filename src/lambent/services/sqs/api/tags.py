"""TagQueue, UntagQueue, ListQueueTags."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.sqs.api.queues import keep
from lambent.services.sqs.model import Queue, check_tags

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs


async def tag_queue(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """TagQueue: a key that is there gets the new value."""
    live = service.named(caller, params)
    await keep(service, live, lambda queue: _tagged(queue, queue.tags | params["Tags"]))
    return {}


def _tagged(queue: Queue, tags: dict[str, str]) -> Queue:
    check_tags(tags, queue.name)
    return replace(queue, tags=tags)


async def untag_queue(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """UntagQueue: keys that are not there do not matter."""
    live, gone = service.named(caller, params), set(params["TagKeys"])

    def edit(queue: Queue) -> Queue:
        return _tagged(queue, {key: value for key, value in queue.tags.items() if key not in gone})

    await keep(service, live, edit)
    return {}


async def list_queue_tags(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ListQueueTags: nothing at all when there are none."""
    return {"Tags": service.named(caller, params).queue.tags or None}
