"""The tags of event source mappings."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.services.lambda_.mappings import rows
from lambent.services.lambda_.mappings.model import EventSourceMapping

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


def find_tagged(service: "Lambda", caller: Caller, arn: str) -> EventSourceMapping | None:
    """The mapping with this ARN; None where it is the ARN of something else.

    Raises:
        ApiError: ResourceNotFoundException, when there is no such mapping.
    """
    if ":event-source-mapping:" not in arn:
        return None
    mapping = service.mappings.find(arn.rpartition(":")[2].lower())
    if mapping is None or mapping.arn != arn or mapping.scope.region != caller.region:
        raise _not_there(arn)
    return mapping


async def change_tags(
    service: "Lambda", mapping: EventSourceMapping, new: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    """Gives a mapping other tags; its poller does not notice.

    Raises:
        ApiError: ResourceNotFoundException; InvalidParameterValueException for more than 50.
    """

    def change(tx: Connection) -> EventSourceMapping:
        was = rows.mapping(tx, mapping.uuid)
        if was is None:
            raise _not_there(mapping.arn)
        tagged = replace(was, tags=new(was.tags))
        quotas.check_tags(tagged.tags)
        rows.update_mapping(tx, tagged)
        return tagged

    await service.database.write(change, committed=service.mappings.put)


def _not_there(arn: str) -> ApiError:
    return ApiError("ResourceNotFoundException", f"Event source mapping not found: {arn}")
