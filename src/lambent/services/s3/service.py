"""S3: buckets of objects."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.clock import Clock
from lambent.dispatch import Call, Handler, Shape
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.services.s3 import cleaning, deliveries, lifecycle, rows
from lambent.services.s3.api import (
    attributes,
    buckets,
    configurations,
    copy,
    lists,
    locks,
    multipart,
    parts,
    put,
    read,
    remove,
    tags,
)
from lambent.services.s3.contents import Contents
from lambent.services.s3.model import Bucket, access_denied, no_bucket
from lambent.store.database import Database

_HANDLERS: Final = {
    **configurations.HANDLERS,
    "AbortMultipartUpload": multipart.abort_multipart_upload,
    "CompleteMultipartUpload": multipart.complete_multipart_upload,
    "CopyObject": copy.copy_object,
    "CreateBucket": buckets.create_bucket,
    "CreateMultipartUpload": multipart.create_multipart_upload,
    "DeleteBucket": buckets.delete_bucket,
    "DeleteObject": remove.delete_object,
    "DeleteObjectTagging": tags.delete_object_tagging,
    "DeleteObjects": remove.delete_objects,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetObject": read.get_object,
    "GetObjectAcl": tags.get_object_acl,
    "GetObjectAttributes": attributes.get_object_attributes,
    "GetObjectLegalHold": locks.get_object_legal_hold,
    "GetObjectRetention": locks.get_object_retention,
    "GetObjectTagging": tags.get_object_tagging,
    "HeadBucket": buckets.head_bucket,
    "HeadObject": read.head_object,
    "ListBuckets": buckets.list_buckets,
    "ListMultipartUploads": multipart.list_multipart_uploads,
    "ListObjectVersions": lists.list_object_versions,
    "ListObjects": lists.list_objects,
    "ListObjectsV2": lists.list_objects_v2,
    "ListParts": parts.list_parts,
    "PutObject": put.put_object,
    "PutObjectAcl": tags.put_object_acl,
    "PutObjectLegalHold": locks.put_object_legal_hold,
    "PutObjectRetention": locks.put_object_retention,
    "PutObjectTagging": tags.put_object_tagging,
    "UploadPart": parts.upload_part,
    "UploadPartCopy": copy.upload_part_copy,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """The service. `load` it before anything else; its `run` must be awaited by whoever made it."""

    database: Database
    folder: Path
    durable: bool
    clock: Clock
    log: Log
    call: Call
    contents: Contents = field(init=False)
    by_name: dict[str, Bucket] = field(default_factory=dict, init=False)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Buckets are made, changed and deleted one after the other."""
    has_notifications: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _numbers: list[int] = field(default_factory=lambda: [0, 0], init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", Contents(self.folder, durable=self.durable))

    def operations(self) -> Mapping[str, Handler]:
        return {name: partial(handler, self) for name, handler in _HANDLERS.items()}

    async def load(self) -> None:
        """Learns which buckets there are, and removes bodies that a killed node was writing."""
        await asyncio.to_thread(self.contents.open)

        def look(tx: Connection) -> tuple[list[Bucket], int, int]:
            return rows.all_buckets(tx), *rows.highest(tx)

        found, last_id, last_seq = await self.database.read(look)
        self._numbers[:] = [last_id, last_seq]
        for bucket in found:
            self.by_name[bucket.name] = bucket

    def next_id(self) -> int:
        """A number that nothing in the store has."""
        self._numbers[0] += 1
        return self._numbers[0]

    def next_seq(self) -> int:
        """A number that is higher than all before: of whatever is written, the later has the higher."""
        self._numbers[1] = max(self._numbers[1] + 1, int(self.clock.now() * 1_000_000) << 4)
        return self._numbers[1]

    def named(self, params: Shape) -> Bucket:
        """The bucket that a request names.

        Raises:
            ApiError: NoSuchBucket; AccessDenied when another account than the expected one has it.
        """
        found = self.by_name.get(params["Bucket"])
        if found is None:
            raise no_bucket(params["Bucket"])
        expected = params.get("ExpectedBucketOwner")
        if expected is not None and expected != found.account:
            raise access_denied()
        return found

    def caller_of(self, bucket: Bucket) -> Caller:
        """S3 itself, at work for a bucket."""
        principal = "s3.amazonaws.com"
        return Caller(account=bucket.account, region=bucket.region, principal=principal, user_id=principal)

    async def run(self) -> None:
        """Deliver notifications, let expire what is to, and remove garbage, until cancelled."""
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "s3.deliveries": partial(deliveries.deliver_all, self),
            "s3.lifecycle": partial(lifecycle.run, self),
            "s3.cleaning": partial(cleaning.run, self),
        }
        async with asyncio.TaskGroup() as tasks:
            for name, run in work.items():
                tasks.create_task(supervise(name, run, self.log), name=name)
