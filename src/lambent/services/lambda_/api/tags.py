"""TagResource, UntagResource, ListTags."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.mappings.tags import change_tags, find_tagged
from lambent.services.lambda_.model import Function, FunctionKey

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATEST: Final = 0


async def tag_resource(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """TagResource: a tag that is there gets the new value. Source: AWS Lambda API Reference."""

    def new(tags: Mapping[str, str]) -> dict[str, str]:
        return {**tags, **params["Tags"]}

    mapping = find_tagged(service, caller, params["Resource"])
    if mapping is not None:
        await change_tags(service, mapping, new)
    else:
        await _change_tags(service, _locate(caller, params), new, is_refused_while_updating=True)
    return {}


async def untag_resource(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UntagResource: a tag that is not there is no error. Source: AWS Lambda API Reference."""
    unwanted = set(params["TagKeys"])

    def new(tags: Mapping[str, str]) -> dict[str, str]:
        return {name: tags[name] for name in tags if name not in unwanted}

    mapping = find_tagged(service, caller, params["Resource"])
    if mapping is not None:
        await change_tags(service, mapping, new)
    else:
        await _change_tags(service, _locate(caller, params), new)
    return {}


async def list_tags(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListTags. Source: AWS Lambda API Reference."""
    mapping = find_tagged(service, caller, params["Resource"])
    tags = mapping.tags if mapping else service.catalogue.get(_locate(caller, params)).function.tags
    return {"Tags": dict(tags)}


async def _change_tags(
    service: "Lambda",
    key: FunctionKey,
    new: Callable[[Mapping[str, str]], dict[str, str]],
    *,
    is_refused_while_updating: bool = False,
) -> None:
    def change(tx: Connection) -> Function:
        function, latest = rows.function(tx, key), rows.version(tx, key, _LATEST)
        if function is None or latest is None:
            raise model.not_found(key)
        if is_refused_while_updating:
            model.check_may_change(latest)
        tags = new(function.tags)
        quotas.check_tags(tags)
        function = replace(function, tags=tags)
        rows.update_function(tx, function)
        return function

    await service.database.write(change, committed=service.catalogue.put)


def _locate(caller: Caller, params: Shape) -> FunctionKey:
    resource: str = params["Resource"]
    if ":function:" not in resource:
        raise ApiError("ResourceNotFoundException", "The resource you requested does not exist.")
    key, qualifier = locate(caller, resource)
    if qualifier is not None:
        raise ApiError(
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )
    return key
