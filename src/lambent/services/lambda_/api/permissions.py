"""AddPermission, RemovePermission, GetPolicy; GetResourcePolicy, PutResourcePolicy, DeleteResourcePolicy.

The first three change a policy statement by statement, the others as a whole: it is the same policy. A change of it is
one of the function, the version or the alias that it hangs on: the revision id is theirs.
"""

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import policies, rows, statements
from lambent.services.lambda_.api.names import find, locate
from lambent.services.lambda_.attached import ResourcePolicy
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import Alias, FunctionKey, FunctionVersion, check_revision, not_found
from lambent.services.lambda_.policies import Permission

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

Owner = FunctionVersion | Alias
"""What a resource policy hangs on: `$LATEST` stands for the function."""

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

    def change(tx: Connection) -> tuple[ResourcePolicy, Owner]:
        owner, before = _revised(tx, key, qualifier), rows.attached(tx, key, ResourcePolicy, qualifier or "")
        owner.check(params.get("RevisionId"), "GetPolicy")
        document = statements.with_statement(before.document if before else None, statement)
        after = ResourcePolicy(key=key, qualifier=qualifier or "", document=document)
        rows.put_attached(tx, after)
        return after, owner.update(tx)

    await service.database.write(change, committed=lambda made: service.catalogue.put(*made))
    return {"Statement": statements.text_of(statement)}


async def remove_permission(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """RemovePermission: with its last statement a policy is gone. Source: AWS Lambda API Reference."""
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    if service.catalogue.find(key) is None:
        raise ApiError("ResourceNotFoundException", f"No policy found for: {key.arn(qualifier)}")
    policies.check_qualifier(service.catalogue.get(key), qualifier)

    def change(tx: Connection) -> tuple[ResourcePolicy | None, Owner]:
        owner, before = _revised(tx, key, qualifier), rows.attached(tx, key, ResourcePolicy, qualifier or "")
        if before is None:
            raise ApiError("ResourceNotFoundException", "No policy is associated with the given resource.")
        document = statements.without_statement(before.document, params["StatementId"])
        owner.check(params.get("RevisionId"), "GetPolicy")
        if document is None:
            rows.delete_attached(tx, key, ResourcePolicy, qualifier or "")
            return None, owner.update(tx)
        after = ResourcePolicy(key=key, qualifier=qualifier or "", document=document)
        rows.put_attached(tx, after)
        return after, owner.update(tx)

    def committed(made: tuple[ResourcePolicy | None, Owner]) -> None:
        after, owner = made
        if after is None:
            service.catalogue.remove_attached(key, ResourcePolicy, qualifier or "")
        service.catalogue.put(*([owner] if after is None else [after, owner]))

    await service.database.write(change, committed=committed)
    return {}


async def get_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetPolicy. Source: AWS Lambda API Reference."""
    entry, _, qualifier = find(service, caller, params)
    return _shown(entry, qualifier)


async def get_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetResourcePolicy. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])
    return _shown(service.catalogue.get(key), qualifier)


async def put_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutResourcePolicy: the whole policy, in the place of any that was there. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])
    after = ResourcePolicy(
        key=key,
        qualifier=qualifier or "",
        document=policies.read_document(params["Policy"]),
    )

    def change(tx: Connection) -> tuple[ResourcePolicy, Owner]:
        owner = _revised(tx, key, qualifier)
        owner.check(params.get("RevisionId"), "GetResourcePolicy")
        rows.put_attached(tx, after)
        return after, owner.update(tx)

    await service.database.write(change, committed=lambda made: service.catalogue.put(*made))
    return _shown(service.catalogue.get(key), qualifier)


async def delete_resource_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteResourcePolicy. Source: AWS Lambda API Reference."""
    key, qualifier = _locate_resource(service, caller, params["ResourceArn"])

    def change(tx: Connection) -> Owner:
        owner = _revised(tx, key, qualifier)
        if rows.attached(tx, key, ResourcePolicy, qualifier or "") is None:
            raise ApiError("ResourceNotFoundException", _NOT_THERE)
        owner.check(params.get("RevisionId"), "GetResourcePolicy")
        rows.delete_attached(tx, key, ResourcePolicy, qualifier or "")
        return owner.update(tx)

    def committed(owner: Owner) -> None:
        service.catalogue.remove_attached(key, ResourcePolicy, qualifier or "")
        service.catalogue.put(owner)

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


@dataclass(frozen=True, slots=True)
class _Revised:
    """What a policy hangs on, and its revision before the change."""

    owner: Owner

    def check(self, expected: str | None, operation: str) -> None:
        check_revision(expected, self.owner.revision_id, operation=operation)

    def update(self, tx: Connection) -> Owner:
        """The owner under a new revision id, kept."""
        revision_id = str(uuid.uuid4())
        if isinstance(self.owner, Alias):
            alias = replace(self.owner, revision_id=revision_id)
            rows.update_alias(tx, alias)
            return alias
        version = replace(self.owner, revision_id=revision_id)
        rows.update_version(tx, version)
        return version


def _revised(tx: Connection, key: FunctionKey, qualifier: str | None) -> _Revised:
    """What the policy hangs on now. Raises ResourceNotFoundException when it was deleted meanwhile."""
    owner: Owner | None
    if qualifier is None or qualifier.isdigit():
        owner = rows.version(tx, key, int(qualifier or 0))
    else:
        owner = rows.alias(tx, key, qualifier)
    if owner is None:
        raise not_found(key, qualifier)
    return _Revised(owner)


def _shown(entry: Entry, qualifier: str | None) -> Shape:
    policy = entry.its(ResourcePolicy, qualifier or "")
    if policy is None:
        raise ApiError("ResourceNotFoundException", _NOT_THERE)
    owner = entry.aliases.get(qualifier or "") or entry.resolve(qualifier)
    return {"Policy": statements.text_of(policy.document), "RevisionId": owner.revision_id}
