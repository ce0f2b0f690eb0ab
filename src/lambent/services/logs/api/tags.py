"""Tags of log groups, by the operations of today and those of before."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller, Scope
from lambent.dispatch import Shape
from lambent.services.logs import model, rows
from lambent.services.logs.api.groups import find

if TYPE_CHECKING:
    from lambent.services.logs.service import Logs


async def tag_resource(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """TagResource."""
    await _tag(service, caller.scope, model.group_name(params["resourceArn"], caller.scope), params["tags"])
    return {}


async def untag_resource(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """UntagResource."""
    await _untag(service, caller.scope, model.group_name(params["resourceArn"], caller.scope), params["tagKeys"])
    return {}


async def list_tags_for_resource(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """ListTagsForResource."""
    return await _tags(service, caller.scope, model.group_name(params["resourceArn"], caller.scope))


async def tag_log_group(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """TagLogGroup."""
    await _tag(service, caller.scope, params["logGroupName"], params["tags"])
    return {}


async def untag_log_group(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """UntagLogGroup."""
    await _untag(service, caller.scope, params["logGroupName"], params["tags"])
    return {}


async def list_tags_log_group(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """ListTagsLogGroup."""
    return await _tags(service, caller.scope, params["logGroupName"])


async def _tag(service: "Logs", scope: Scope, name: str, tags: dict[str, str]) -> None:
    def change(tx: Connection) -> None:
        group = find(tx, scope, name)
        rows.update_group(tx, group.id, tags=model.with_tags(group, tags))

    await service.main.write(change)


async def _untag(service: "Logs", scope: Scope, name: str, keys: list[str]) -> None:
    def change(tx: Connection) -> None:
        group = find(tx, scope, name)
        rows.update_group(tx, group.id, tags={key: value for key, value in group.tags.items() if key not in keys})

    await service.main.write(change)


async def _tags(service: "Logs", scope: Scope, name: str) -> Shape:
    group = await service.main.read(lambda tx: find(tx, scope, name))
    return {"tags": group.tags}
