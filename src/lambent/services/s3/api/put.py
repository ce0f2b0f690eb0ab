"""PutObject."""

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection

from lambent.aws import checksums
from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import described, keep, lifecycle, rows
from lambent.services.s3.conditions import check_write
from lambent.services.s3.model import Bucket, Version, check_key
from lambent.services.s3.receive import received, told

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


async def put_object(service: "S3", caller: Caller, params: Shape) -> Shape:
    """PutObject: acknowledged when the object is whole on disk, under its key."""
    return await put(service, caller, params, "ObjectCreated:Put")


async def put(service: "S3", caller: Caller, params: Shape, event: str) -> Shape:
    """PutObject, or what does the same under another name.

    Raises:
        ApiError: NoSuchBucket, PreconditionFailed, BadDigest, and what else the body or its description is refused for.
    """
    bucket, key = service.named(params), params["Key"]
    check_key(key)
    facts = described.facts_of(bucket, params, service.clock.now_ms())
    expected = told(params)
    if params.get("IfNoneMatch") or params.get("IfMatch"):
        await _check_early(service, bucket, key, params)
    async with received(service.contents, params.get("Body"), expected) as body:
        facts = msgspec.structs.replace(
            facts, algorithm=body.algorithm, checksum=body.checksum, checksum_type=checksums.FULL_OBJECT
        )
        new = keep.New(
            key=key,
            size=body.size,
            etag=described.etag_of(body.md5, facts, service.next_id()),
            facts=facts,
            event=event,
            content=body.content,
            segments=body.segments,
            conditions=params,
        )
        version = await keep.kept(service, keep.keeping(service, caller, bucket, new))
    return put_answer(bucket, version)


async def _check_early(service: "S3", bucket: Bucket, key: str, params: Shape) -> None:
    """Before a body comes that would be of no use."""

    def look(tx: Connection) -> Version | None:
        return rows.latest(tx, bucket.id, key)

    check_write(await service.database.read(look), key, params)


def put_answer(bucket: Bucket, version: Version) -> Shape:
    """What is answered to who wrote an object."""
    return {
        "ETag": described.quoted(version.etag),
        "VersionId": keep.shown_version(bucket, version),
        "Expiration": lifecycle.expiration_header(bucket, version),
        **described.encryption(version.facts),
        **described.checksum(version.facts),
    }
