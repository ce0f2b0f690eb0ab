"""PublishVersion, ListVersionsByFunction."""

import uuid
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.api.settings import check_code_storage
from lambent.services.lambda_.api.shapes import check_supported, page, write_version
from lambent.services.lambda_.model import Function, FunctionVersion

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATEST = 0


async def publish_version(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PublishVersion. Without a change since the newest version it answers that one. Source: AWS Lambda API Reference.

    The version is Active at once, as AWS's are: its code is that of `$LATEST`. With SnapStart it is Pending while its
    snapshot is taken. Where the last update of `$LATEST` failed, the version has to come into force itself.
    """
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    entry = service.catalogue.get(key)
    if not model.is_published(entry.latest, entry.function):
        check_code_storage(service, key.scope, entry.latest.code.zipped_bytes)

    def change(tx: Connection) -> tuple[Function, FunctionVersion]:
        function, latest = rows.function(tx, key), rows.version(tx, key, _LATEST)
        if function is None or latest is None:
            raise model.not_found(key)
        model.check_may_change(latest)
        model.check_revision(params.get("RevisionId"), latest.revision_id)
        _check_code(params.get("CodeSha256"), latest.code.sha256)
        newest = rows.version(tx, key, function.next_number - 1) if function.next_number > 1 else None
        if newest is not None and model.is_published(latest, function):
            return function, newest
        has_snap_start = latest.configuration.snap_start != "None"
        function, version = model.publish(
            latest,
            function,
            description=params.get("Description"),
            state=latest.state if latest.last_update == model.SUCCESSFUL and not has_snap_start else model.PENDING,
            revision_id=str(uuid.uuid4()),
        )
        rows.update_function(tx, function)
        rows.insert_version(tx, version)
        return function, version

    def committed(made: tuple[Function, FunctionVersion]) -> None:
        service.catalogue.put(*made)
        if made[1].is_settling:
            service.worker.settle_soon(made[1])

    _, version = await service.database.write(change, committed=committed)
    return write_version(version, service.seal, arn=key.arn(version.version))


def _check_code(expected: str | None, actual: str) -> None:
    if expected is not None and expected != actual:
        raise ApiError(
            "InvalidParameterValueException",
            f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({actual}). "
            "Please try again with the CodeSHA256 in $LATEST.",
        )


async def list_versions_by_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListVersionsByFunction, `$LATEST` first. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    entry = service.catalogue.get(key)
    versions = sorted(entry.versions.values(), key=lambda version: version.number)
    shown, more = page(versions, params, key=lambda version: ("", version.number))
    return {
        "Versions": [write_version(each, service.seal, arn=key.arn(each.version), with_state=False) for each in shown],
        **more,
    }
