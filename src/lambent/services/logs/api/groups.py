"""Log groups: made, listed, removed; their retention."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.logs import model, rows, tokens
from lambent.services.logs.model import Group

if TYPE_CHECKING:
    from lambent.services.logs.service import Logs

_PAGE = 50


async def create_log_group(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """CreateLogGroup."""
    group = Group(
        name=params["logGroupName"],
        created_at=service.clock.now_ms(),
        log_class=params.get("logGroupClass", "STANDARD"),
        kms_key_id=params.get("kmsKeyId"),
        is_protected=params.get("deletionProtectionEnabled", False),
    )
    group = replace(group, tags=model.with_tags(group, params.get("tags", {})))

    def change(tx: Connection) -> None:
        if rows.group(tx, caller.scope, group.name):
            raise ApiError("ResourceAlreadyExistsException", "The specified log group already exists")
        rows.insert_group(tx, caller.scope, group)

    await service.main.write(change)
    return {}


async def delete_log_group(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """DeleteLogGroup: with its streams; the events are out of sight at once and removed by the worker."""
    name = params["logGroupName"]

    def change(tx: Connection) -> None:
        group = find(tx, caller.scope, name)
        if group.is_protected:
            raise ApiError(
                "ValidationException",
                "Deletion protection is enabled for the log group. Disable it first.",
            )
        rows.delete_group(tx, group.id, service.clock.now_ms())

    await service.main.write(change, committed=lambda _: service.sink.forget(caller.scope, name))
    return {}


async def describe_log_groups(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """DescribeLogGroups: in the order of their names."""
    prefix, pattern = params.get("logGroupNamePrefix", ""), params.get("logGroupNamePattern", "")
    identifiers = params.get("logGroupIdentifiers", [])
    if prefix and pattern:
        raise _invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    if identifiers and (prefix or pattern or "logGroupClass" in params):
        raise _invalid("LogGroupIdentifiers cannot be combined with other filters.")
    limit = params.get("limit", _PAGE)
    subject = "\n".join((*caller.scope, prefix, pattern, params.get("logGroupClass", ""), *identifiers))
    after = tokens.read_list_token(params["nextToken"], subject) if "nextToken" in params else ""
    filters = {
        "pattern": pattern,
        "log_class": params.get("logGroupClass"),
        "names": [model.group_name(each, caller.scope) for each in identifiers],
    }
    await service.sink.flush()
    found = await service.main.read(
        lambda tx: rows.groups(tx, caller.scope, prefix=prefix, after=after, limit=limit + 1, **filters)
    )
    shown = found[:limit]
    stored = await service.bulk.read(lambda tx: rows.stored_bytes(tx, [group.id for group in shown]))
    answer: Shape = {"logGroups": [group.to_shape(caller.scope, stored.get(group.id, 0)) for group in shown]}
    if len(found) > limit:
        answer["nextToken"] = tokens.list_token(shown[-1].name, subject)
    return answer


async def put_retention_policy(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """PutRetentionPolicy: older events are out of sight at once and removed by the worker."""
    model.check_retention(params["retentionInDays"])
    await _update(service, caller.scope, params["logGroupName"], retention_days=params["retentionInDays"])
    return {}


async def delete_retention_policy(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """DeleteRetentionPolicy: events never expire."""
    await _update(service, caller.scope, params["logGroupName"], retention_days=None)
    return {}


async def put_log_group_deletion_protection(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """PutLogGroupDeletionProtection."""
    name = model.group_name(params["logGroupIdentifier"], caller.scope)
    await _update(service, caller.scope, name, is_protected=params["deletionProtectionEnabled"])
    return {}


def find(tx: Connection, scope: Scope, name: str) -> Group:
    """The group of that name.

    Raises:
        ApiError: ResourceNotFoundException.
    """
    group = rows.group(tx, scope, name)
    if group is None:
        raise model.no_group()
    return group


def named(params: Shape, scope: Scope) -> str:
    """The group's name, from `logGroupName` or `logGroupIdentifier`.

    Raises:
        ApiError: InvalidParameterException, unless exactly one of them is there.
    """
    if ("logGroupName" in params) == ("logGroupIdentifier" in params):
        raise _invalid("Exactly one of logGroupName and logGroupIdentifier must be specified.")
    if "logGroupName" in params:
        return str(params["logGroupName"])
    return model.group_name(params["logGroupIdentifier"], scope)


async def _update(service: "Logs", scope: Scope, name: str, **values: int | bool | None) -> None:
    await service.main.write(lambda tx: rows.update_group(tx, find(tx, scope, name).id, **values))


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)
