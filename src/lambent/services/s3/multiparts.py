"""What becomes of an upload's parts: which may be joined, and what the whole is then called and checked by. Pure.

Source: Amazon S3 API Reference, CompleteMultipartUpload; facts sheet C3 and C4.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from lambent.aws import checksums
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3.model import Facts, Segment, Upload, bad_request, malformed_xml

LEAST_PART_BYTES: Final = 5 * 1024 * 1024
_ANY: Final = ("CRC32", "CRC32C")


def checksum_type(algorithm: str, asked: str | None) -> str:
    """How the whole will be checked. Raises ApiError InvalidRequest where that cannot be."""
    if not algorithm:
        if asked:
            raise bad_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return ""
    default = checksums.FULL_OBJECT if algorithm == "CRC64NVME" else checksums.COMPOSITE
    if asked in (None, default) or algorithm in _ANY:
        return asked or default
    raise bad_request(f"The {asked} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.")


def chosen(upload: Upload, there: Mapping[int, Segment], wanted: Sequence[Shape]) -> list[Segment]:
    """The parts of the whole, each where it begins.

    Raises:
        ApiError: InvalidPart, InvalidPartOrder, EntityTooSmall, InvalidRequest, MalformedXML.
    """
    if not wanted:
        raise malformed_xml()
    found: list[Segment] = []
    position, before = 0, 0
    for one in wanted:
        number = one.get("PartNumber") or 0
        if number <= before:
            message = "The list of parts was not in ascending order. Parts must be ordered by part number."
            raise ApiError("InvalidPartOrder", message, UploadId=upload.upload_id)
        before = number
        part = there.get(number)
        if part is None or (one.get("ETag") or "").strip('"') != part.etag:
            raise _no_part(upload, number, one.get("ETag"))
        _check_checksum(upload, part, one)
        found.append(replace(part, offset=position))
        position += part.size
    for part in found[:-1]:
        if part.size < LEAST_PART_BYTES:
            members: dict[str, Any] = {"ProposedSize": part.size, "MinSizeAllowed": LEAST_PART_BYTES}
            members |= {"PartNumber": part.number, "ETag": part.etag}
            raise ApiError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", **members)
    return found


def _no_part(upload: Upload, number: int, etag: str | None) -> ApiError:
    message = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified "
        "entity tag may not match the part's entity tag."
    )
    return ApiError("InvalidPart", message, UploadId=upload.upload_id, PartNumber=number, ETag=(etag or "").strip('"'))


def _check_checksum(upload: Upload, part: Segment, one: Shape) -> None:
    facts = upload.facts
    if not facts.algorithm:
        return
    said = one.get(f"Checksum{facts.algorithm}")
    if said is None and facts.checksum_type == checksums.COMPOSITE:
        message = (
            f"The upload was created using a {facts.algorithm.lower()} checksum. The complete request must include the "
            f"checksum for each part. It was missing for part {part.number} in the request."
        )
        raise bad_request(message)
    if said is not None and said != part.checksum:
        raise _no_part(upload, part.number, one.get("ETag"))


def etag(parts: Sequence[Segment]) -> str:
    """Of the whole."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def whole(upload: Upload, parts: Sequence[Segment], params: Shape) -> Facts:
    """What is kept of the whole. Raises ApiError BadDigest, InvalidRequest for what the request says otherwise."""
    facts = upload.facts
    size = sum(part.size for part in parts)
    told_size = params.get("MpuObjectSize")
    if told_size is not None and told_size != size:
        raise bad_request(
            f"The provided 'x-amz-mp-object-size' header value {told_size} does not match what was computed: {size}"
        )
    if params.get("ChecksumType") not in (None, facts.checksum_type or checksums.FULL_OBJECT):
        message = (
            f"The upload was created using the {facts.checksum_type} checksum mode. The complete request must use the "
            "same checksum mode."
        )
        raise bad_request(message)
    # Without an algorithm the client did not ask for one: S3 computes its own of the whole.
    algorithm = facts.algorithm or checksums.DEFAULT
    kind = facts.checksum_type or checksums.FULL_OBJECT
    made = _joined(algorithm, kind, parts)
    said = params.get(f"Checksum{algorithm}")
    if said is not None and said.partition("-")[0] != made.partition("-")[0]:
        raise ApiError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    return msgspec.structs.replace(facts, algorithm=algorithm, checksum=made, checksum_type=kind, parts=len(parts))


def _joined(algorithm: str, kind: str, parts: Sequence[Segment]) -> str:
    found = [checksums.value(part.checksum, algorithm) for part in parts]
    values = [value for value in found if value is not None]
    assert len(values) == len(parts), "a part was kept with another checksum than its upload's"
    if kind == checksums.COMPOSITE:
        made = checksums.of(algorithm)
        made.update(b"".join(values))
        return f"{checksums.text(made.digest())}-{len(parts)}"
    joined = values[0]
    for value, part in zip(values[1:], parts[1:], strict=True):
        joined = checksums.combine(algorithm, joined, value, part.size)
    return checksums.text(joined)
