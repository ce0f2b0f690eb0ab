"""UploadPart and ListParts."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws import checksums
from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.protocol.payload import Payload
from lambent.services.s3 import described, keep, lifecycle, rows
from lambent.services.s3.api.buckets import check_page
from lambent.services.s3.model import Bucket, Segment, Upload, bad_request, invalid, moment, no_upload
from lambent.services.s3.receive import Told, received, told

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

MOST_PARTS: Final = 10_000


async def upload_part(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """UploadPart: a part of the same number is replaced."""
    bucket = service.named(params)
    upload = await find_upload(service, bucket, params)
    algorithm = upload.facts.algorithm
    expected = told(params, default=algorithm or checksums.DEFAULT)
    if algorithm and expected.algorithm != algorithm and (expected.expected or params.get("ChecksumAlgorithm")):
        asked = expected.algorithm.lower()
        raise bad_request(
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.lower()}, "
            f"actual checksum Type: {asked}"
        )
    if algorithm and expected.algorithm != algorithm:
        expected = Told(algorithm=algorithm, expected=None, md5=expected.md5)
    # Without an algorithm of its own the whole will have S3's.
    expected = replace(expected, kept=algorithm or checksums.DEFAULT)
    part, checksum = await keep_part(service, bucket, upload, params, params.get("Body"), expected)
    shown = (
        {f"Checksum{expected.algorithm}": checksum}
        if algorithm or expected.expected or params.get("ChecksumAlgorithm")
        else {}
    )
    return {"ETag": described.quoted(part.etag), **described.encryption(upload.facts), **shown}


async def keep_part(
    service: "S3", bucket: Bucket, upload: Upload, params: Shape, body: "bytes | Payload | None", expected: Told
) -> tuple[Segment, str]:
    """Takes a part into a file of its own and keeps it, if its upload is still there; the part and its checksum.

    Raises:
        ApiError: NoSuchUpload, InvalidArgument, and what `received` raises.
    """
    number = params["PartNumber"]
    if not 1 <= number <= MOST_PARTS:
        message = f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
        raise invalid(message, "partNumber", number)
    described.check_customer_key(upload.facts, params)
    async with received(service.contents, body, expected, most_small=-1) as found:
        assert found.digest is not None
        segment = Segment(
            number=number,
            offset=0,
            size=found.size,
            digest=found.digest,
            etag=found.md5.hex(),
            checksum=found.checksums[expected.kept or expected.algorithm],
            modified_ms=service.clock.now_ms(),
        )

        def change(tx: Connection) -> None:
            _upload(tx, bucket, params)
            rows.delete_segments(tx, upload.id, number)
            rows.insert_segments(tx, upload.id, [segment])

        await service.database.write(change, committed=lambda _: keep.after(service))
    return segment, found.checksum


async def find_upload(service: "S3", bucket: Bucket, params: Shape) -> Upload:
    """The upload of UploadId. Raises ApiError NoSuchUpload."""
    return await service.database.read(lambda tx: _upload(tx, bucket, params))


def _upload(tx: Connection, bucket: Bucket, params: Shape) -> Upload:
    found = rows.upload_named(tx, bucket.id, params["Key"], params["UploadId"])
    if found is None:
        raise no_upload(params["UploadId"])
    return found


async def list_parts(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """ListParts: by number."""
    bucket = service.named(params)
    most, marker = check_page(params.get("MaxParts"), "max-parts"), int(params.get("PartNumberMarker") or 0)

    def look(tx: Connection) -> tuple[Upload, list[Segment]]:
        upload = _upload(tx, bucket, params)
        return upload, rows.segments_after(tx, upload.id, marker, most + 1)

    upload, found = await service.database.read(look)
    page = found[:most]
    person = {"ID": bucket.owner}
    abort = lifecycle.abort_date(bucket, upload.key, upload.started_ms)
    return {
        "Bucket": bucket.name,
        "Key": upload.key,
        "UploadId": upload.upload_id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": most,
        "IsTruncated": len(found) > most,
        "Parts": [part_shape(upload, one) for one in page] or None,
        "Initiator": person,
        "Owner": person,
        "StorageClass": upload.facts.storage_class,
        "ChecksumAlgorithm": upload.facts.algorithm or None,
        "ChecksumType": upload.facts.checksum_type or None,
        "AbortDate": abort[0] if abort else None,
        "AbortRuleId": abort[1] if abort else None,
    }


def part_shape(upload: Upload, segment: Segment) -> Shape:
    """A part as it is listed."""
    checksum = {f"Checksum{upload.facts.algorithm}": segment.checksum} if upload.facts.algorithm else {}
    return {
        "PartNumber": segment.number,
        "LastModified": moment(segment.modified_ms // 1000 * 1000),
        "ETag": described.quoted(segment.etag),
        "Size": segment.size,
        **checksum,
    }
