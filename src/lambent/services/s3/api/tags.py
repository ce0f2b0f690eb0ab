"""Tags and access control lists of objects."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import acls, keep, notices, rows
from lambent.services.s3.api.read import version_asked
from lambent.services.s3.described import checked_tags
from lambent.services.s3.model import Bucket, Facts, Version

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


async def change_facts(
    service: "S3", bucket: Bucket, params: Shape, edit: Callable[[Version], Facts], notify: notices.Notify | None = None
) -> Version:
    """Changes what is kept of a version; the version as it is then.

    Raises:
        ApiError: NoSuchKey, NoSuchVersion, MethodNotAllowed, or what `edit` raises.
    """

    def change(tx: Connection) -> Version:
        found = version_asked(tx, bucket, params)
        facts = edit(found)
        rows.update_facts(tx, found.id, facts)
        changed = msgspec.structs.replace(facts)
        if notify is not None:
            rows.insert_notifications(tx, notify(found))
        return _with(found, changed)

    return await service.database.write(change, committed=lambda _: keep.after(service))


def _with(version: Version, facts: Facts) -> Version:
    values = {name: getattr(version, name) for name in Version.__dataclass_fields__}
    return Version(**(values | {"facts": facts}))


async def get_object_tagging(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetObjectTagging."""
    bucket = service.named(params)
    found = await service.database.read(lambda tx: version_asked(tx, bucket, params))
    tag_set = [{"Key": key, "Value": value} for key, value in found.facts.tags.items()]
    return {"VersionId": keep.shown_version(bucket, found), "TagSet": tag_set}


async def put_object_tagging(service: "S3", caller: Caller, params: Shape) -> Shape:
    """PutObjectTagging: replaces them all."""
    bucket, tags = service.named(params), checked_tags(params["Tagging"]["TagSet"])
    return await _tagged(service, caller, bucket, params, tags)


async def delete_object_tagging(service: "S3", caller: Caller, params: Shape) -> Shape:
    """DeleteObjectTagging."""
    return await _tagged(service, caller, service.named(params), params, {})


async def _tagged(service: "S3", caller: Caller, bucket: Bucket, params: Shape, tags: dict[str, str]) -> Shape:
    notify = notices.of(service, caller, bucket, f"ObjectTagging:{'Put' if tags else 'Delete'}")

    def edit(found: Version) -> Facts:
        return msgspec.structs.replace(found.facts, tags=tags)

    found = await change_facts(service, bucket, params, edit, notify)
    return {"VersionId": keep.shown_version(bucket, found)}


async def get_object_acl(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetObjectAcl."""
    bucket = service.named(params)
    found = await service.database.read(lambda tx: version_asked(tx, bucket, params))
    return acls.shape(found.facts.acl, bucket)


async def put_object_acl(service: "S3", caller: Caller, params: Shape) -> Shape:
    """PutObjectAcl: kept and told; nobody is refused because of it."""
    bucket = service.named(params)
    acl = acls.of_request(bucket, params)
    notify = notices.of(service, caller, bucket, "ObjectAcl:Put")

    def edit(found: Version) -> Facts:
        return msgspec.structs.replace(found.facts, acl=acl)

    await change_facts(service, bucket, params, edit, notify)
    return {}
