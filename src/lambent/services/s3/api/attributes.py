"""GetObjectAttributes."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import described, keep, rows
from lambent.services.s3.api.buckets import check_page
from lambent.services.s3.api.read import version_asked
from lambent.services.s3.model import Segment, Version

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


async def get_object_attributes(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """GetObjectAttributes: those that are asked for; the ETag comes without quotes."""
    bucket, asked = service.named(params), set(params["ObjectAttributes"])
    most, marker = check_page(params.get("MaxParts"), "max-parts"), int(params.get("PartNumberMarker") or 0)

    def look(tx: Connection) -> tuple[Version, list[Segment]]:
        version = version_asked(tx, bucket, params)
        described.check_customer_key(version.facts, params)
        has_parts = version.facts.parts and "ObjectParts" in asked
        return version, rows.segments_after(tx, version.id, marker, most + 1) if has_parts else []

    version, segments = await service.database.read(look)
    facts = version.facts
    all_there: dict[str, Any] = {
        "ETag": version.etag,
        "Checksum": described.checksum(facts) or None,
        "ObjectParts": _parts(version, segments, marker, most) if facts.parts else None,
        "StorageClass": facts.storage_class,
        "ObjectSize": version.size,
    }
    return {
        "LastModified": version.modified,
        "VersionId": keep.shown_version(bucket, version),
        **{name: value for name, value in all_there.items() if name in asked},
    }


def _parts(version: Version, segments: list[Segment], marker: int, most: int) -> dict[str, Any]:
    facts, page = version.facts, segments[:most]
    shape: dict[str, Any] = {"TotalPartsCount": facts.parts}
    if facts.checksum_type == "COMPOSITE":  # without checksums of their own parts are not told one by one
        shape |= {
            "PartNumberMarker": marker,
            "NextPartNumberMarker": page[-1].number if page else 0,
            "MaxParts": most,
            "IsTruncated": len(segments) > most,
            "Parts": [
                {"PartNumber": one.number, "Size": one.size, f"Checksum{facts.algorithm}": one.checksum} for one in page
            ],
        }
    return shape
