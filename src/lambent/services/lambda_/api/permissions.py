"""AddPermission, RemovePermission, GetPolicy; GetResourcePolicy, PutResourcePolicy, DeleteResourcePolicy.

The first three change a policy statement by statement, the others as a whole: it is the same policy.
"""

import uuid
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import policies, rows
from lambent.services.lambda_.api.names import find, locate
from lambent.services.lambda_.attached import ResourcePolicy
from lambent.services.lambda_.model import FunctionKey, check_revision, not_found
from lambent.services.lambda_.policies import Permission

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_NOT_THERE: Final = "The resource you requested does not exist."


async def add_permission(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """AddPermission. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_with_policy(service, caller, params["FunctionName"], params.get("Qualifier"))
    permission = Permission(
        sid=params["StatementId"],
        action=params["Action"],
        principal=params["Principal"],
        source_arn=params.get("SourceArn"),
        source_account=params.get("SourceAccount"),
        organization=params.get("PrincipalOrgID"),
        event_source_token=params.get("EventSourceToken"),
        url_auth_type=params.get("FunctionUrlAuthType"),
        via_url=params.get("InvokedViaFunctionUrl"),
    )
    statement = permission.to_statement(key.arn(qualifier))
    revision_id = str(uuid.uuid4())

    def change(tx: Connection) -> ResourcePolicy:
        before = _before(tx, key, qualifier)
        _check_revision(before, params.get("RevisionId"), "GetPolicy")
        document = policies.with_statement(before.document if before else None, statement)
        after = ResourcePolicy(key=key, qualifier=qualifier or "", document=document, revision_id=revision_id)
        rows.put_attached(tx, after)
        return after

    await service.database.write(change, committed=service.catalogue.put)
    return {"Statement": policies.text_of(statement)}


async def remove_permission(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """RemovePermission: with its last statement a policy is gone. Source: AWS Lambda API Reference."""
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    if service.catalogue.find(key) is None:
        raise ApiError("ResourceNotFoundException", f"No policy found for: {key.arn(qualifier)}")
    policies.check_qualifier(service.catalogue.get(key), qualifier)
    revision_id = str(uuid.uuid4())

    def change(tx: Connection) -> ResourcePolicy | None:
        before = _before(tx, key, qualifier)
        if before is None:
            raise ApiError("ResourceNotFoundException", "No policy is associated with the given resource.")
        document = policies.without_statement(before.document, params["StatementId"])
        _check_revision(before, params.get("RevisionId"), "GetPolicy")
        if document is None:
            rows.delete_attached(tx, key, ResourcePolicy, qualifier or "")
            return None
        after = ResourcePolicy(key=key, qualifier=qualifier or "", document=document, revision_id=revision_id)
        rows.put_attached(tx, after)
        return after

    def committed(after: ResourcePolicy | None) -> None:
        if after is None:
            service.catalogue.remove_attached(key, ResourcePolicy, qualifier or "")
        else:
            service.catalogue.put(after)

    await service.database.write(change, committed=committed)
    return {}


async def get_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetPolicy. Source: AWS Lambda API Reference."""
    entry, _, qualifier = find(service, caller, params)
    return _shown(entry.its(ResourcePolicy, qualifier or ""))


async def get_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetResourcePolicy. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])
    return _shown(service.catalogue.get(key).its(ResourcePolicy, qualifier or ""))


async def put_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutResourcePolicy: the whole policy, in the place of any that was there. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])
    after = ResourcePolicy(
        key=key,
        qualifier=qualifier or "",
        document=policies.read_document(params["Policy"]),
        revision_id=str(uuid.uuid4()),
    )

    def change(tx: Connection) -> ResourcePolicy:
        _check_revision(_before(tx, key, qualifier), params.get("RevisionId"), "GetResourcePolicy")
        rows.put_attached(tx, after)
        return after

    await service.database.write(change, committed=service.catalogue.put)
    return _shown(after)


async def delete_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteResourcePolicy. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])

    def change(tx: Connection) -> None:
        before = _before(tx, key, qualifier)
        if before is None:
            raise ApiError("ResourceNotFoundException", _NOT_THERE)
        _check_revision(before, params.get("RevisionId"), "GetResourcePolicy")
        rows.delete_attached(tx, key, ResourcePolicy, qualifier or "")

    def committed(_none: None) -> None:
        service.catalogue.remove_attached(key, ResourcePolicy, qualifier or "")

    await service.database.write(change, committed=committed)
    return {}


def _locate_resource(service: "Lambda", caller: Caller, arn: str) -> tuple[FunctionKey, str | None]:
    if ":runtime/" in arn:
        raise ApiError("NotImplemented", "Resource policies of runtimes are not supported by Lambent: functions' are.")
    return _locate_with_policy(service, caller, arn, None)


def _locate_with_policy(
    service: "Lambda", caller: Caller, name: str, qualifier: str | None
) -> tuple[FunctionKey, str | None]:
    """The function, and the version or alias, that is to have a policy."""
    key, qualifier = locate(caller, name, qualifier)
    entry = service.catalogue.find(key)
    if entry is None:
        raise not_found(key, qualifier)
    policies.check_qualifier(entry, qualifier)
    return key, qualifier


def _before(tx: Connection, key: FunctionKey, qualifier: str | None) -> ResourcePolicy | None:
    """The policy now. Raises ResourceNotFoundException when what it hangs on was deleted meanwhile."""
    is_there = rows.function(tx, key) is not None
    if is_there and qualifier is not None:
        is_there = (
            rows.version(tx, key, int(qualifier)) if qualifier.isdigit() else rows.alias(tx, key, qualifier)
        ) is not None
    if not is_there:
        raise not_found(key, qualifier)
    return rows.attached(tx, key, ResourcePolicy, qualifier or "")


def _check_revision(before: ResourcePolicy | None, expected: str | None, operation: str) -> None:
    check_revision(expected, before.revision_id if before else "", operation=operation)


def _shown(policy: ResourcePolicy | None) -> Shape:
    if policy is None:
        raise ApiError("ResourceNotFoundException", _NOT_THERE)
    return {"Policy": policies.text_of(policy.document), "RevisionId": policy.revision_id}
