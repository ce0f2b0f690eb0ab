"""Uploads in parts: joined, checked, copied, listed, given up."""

import asyncio
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_service import Client, streamed, whole, with_s3

from lambent.aws import checksums
from lambent.aws.errors import ApiError
from lambent.services.s3.multiparts import LEAST_PART_BYTES

FIRST = random.Random(1).randbytes(LEAST_PART_BYTES)
LAST = random.Random(2).randbytes(1_000)
BOTH = FIRST + LAST


async def _begin(client: Client, **params) -> str:
    return (await client("CreateMultipartUpload", Bucket="bucket", Key="k", **params))["UploadId"]


async def _complete(client: Client, upload: str, parts: list, **params):
    named = {"Bucket": "bucket", "Key": "k", "UploadId": upload}
    return await client("CompleteMultipartUpload", MultipartUpload={"Parts": parts}, **named, **params)


def _etag(*parts: bytes) -> str:
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def test_parts_become_an_object_that_reads_as_one(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        upload = await _begin(client, Metadata={"a": "b"})
        last = await client.part("k", upload, 7, LAST)
        await client.part("k", upload, 2, b"replaced")
        first = await client.part("k", upload, 2, FIRST)
        await client.part("k", upload, 9, b"not wanted")
        listed = await client("ListParts", Bucket="bucket", Key="k", UploadId=upload, MaxParts=2)
        assert ([one["PartNumber"] for one in listed["Parts"]], listed["IsTruncated"]) == ([2, 7], True)
        answer = await _complete(client, upload, [first, last])
        assert answer["ETag"] == _etag(FIRST, LAST)
        assert await client.body("k") == BOTH
        edge = len(FIRST)
        assert await client.body("k", Range=f"bytes={edge - 3}-{edge + 2}") == BOTH[edge - 3 : edge + 3]
        part = await client("GetObject", Bucket="bucket", Key="k", PartNumber=7)
        assert (await whole(part["Body"]), part["PartsCount"]) == (LAST, 2)
        await client.cleaned()
        assert len(client.files()) == 2
        with client.refused("NoSuchUpload"):
            await _complete(client, upload, [first, last])

    with_s3(tmp_path, test)


def test_what_cannot_be_joined_is_refused_and_can_be_mended(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        upload = await _begin(client)
        one, two = await client.part("k", upload, 1, b"small"), await client.part("k", upload, 2, LAST)
        for code, parts in (
            ("EntityTooSmall", [one, two]),
            ("InvalidPartOrder", [two, one]),
            ("InvalidPart", [one, {**two, "ETag": '"0"'}]),
            ("InvalidPart", [one, {**two, "PartNumber": 3}]),
            ("MalformedXML", []),
        ):
            with client.refused(code):
                await _complete(client, upload, parts)
        with client.refused("InvalidRequest"):
            await _complete(client, upload, [two], MpuObjectSize=1)
        with client.refused("InvalidArgument"):
            await client.part("k", upload, 10_001, b"x")
        assert (await _complete(client, upload, [one]))["ETag"] == _etag(b"small")

    with_s3(tmp_path, test)


def test_of_many_completions_at_once_one_makes_the_object(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        upload = await _begin(client)
        part = await client.part("k", upload, 1, LAST)

        async def complete() -> str:
            try:
                await _complete(client, upload, [part])
            except ApiError as error:
                return error.code
            return "made"

        async with asyncio.TaskGroup() as tasks:
            done = [tasks.create_task(complete()) for _ in range(10)]
        assert sorted(one.result() for one in done) == ["NoSuchUpload"] * 9 + ["made"]
        assert len((await client("ListObjectVersions", Bucket="bucket"))["Versions"]) == 1
        assert await client.body("k") == LAST

    with_s3(tmp_path, test)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_the_whole_is_checked_as_was_agreed(tmp_path, algorithm):
    def value(data: bytes) -> bytes:
        made = checksums.of(algorithm)
        made.update(data)
        return made.digest()

    async def test(client: Client) -> None:
        await client.bucket()
        upload = await _begin(client, ChecksumAlgorithm=algorithm)
        name = f"Checksum{algorithm}"
        parts = []
        for number, data in ((1, FIRST), (2, LAST)):
            part = await client.part("k", upload, number, data, **{name: checksums.text(value(data))})
            parts.append({**part, name: checksums.text(value(data))})
        is_full = algorithm == "CRC64NVME"
        composite = f"{checksums.text(value(value(FIRST) + value(LAST)))}-2"
        expected = checksums.text(value(BOTH)) if is_full else composite
        if not is_full:
            with client.refused("InvalidRequest"):
                await _complete(
                    client, upload, [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in parts]
                )
        answer = await _complete(client, upload, parts)
        assert (answer[name], answer["ChecksumType"]) == (expected, "FULL_OBJECT" if is_full else "COMPOSITE")
        found = await client(
            "GetObjectAttributes",
            Bucket="bucket",
            Key="k",
            ObjectAttributes=["ETag", "Checksum", "ObjectParts", "ObjectSize"],
        )
        assert (found["Checksum"][name], found["ObjectParts"]["TotalPartsCount"]) == (expected, 2)
        await client("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/k")
        copy = await client("HeadObject", Bucket="bucket", Key="copy", ChecksumMode="ENABLED")
        assert (copy[name], copy["ETag"]) == (checksums.text(value(BOTH)), f'"{hashlib.md5(BOTH).hexdigest()}"')

    with_s3(tmp_path, test)


def test_without_an_algorithm_the_whole_has_s3s_own_checksum(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        upload = await _begin(client)
        crc = checksums.of("CRC32")
        crc.update(LAST)
        # As boto3 does: each part has a checksum, of which the upload was told nothing.
        last = await client.part("k", upload, 2, LAST, ChecksumCRC32=checksums.text(crc.digest()))
        parts = [await client.part("k", upload, 1, FIRST), last]
        answer = await _complete(client, upload, parts)
        made = checksums.of("CRC64NVME")
        made.update(BOTH)
        assert answer["ChecksumCRC64NVME"] == checksums.text(made.digest())

    with_s3(tmp_path, test)


@given(st.sampled_from(["CRC32", "CRC32C", "CRC64NVME"]), st.binary(max_size=99), st.binary(max_size=99))
def test_two_checksums_make_that_of_both(algorithm, first, second):
    def value(data: bytes) -> bytes:
        made = checksums.of(algorithm)
        made.update(data)
        return made.digest()

    assert checksums.combine(algorithm, value(first), value(second), len(second)) == value(first + second)


def test_parts_are_copied_from_objects_and_from_ranges(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client("PutObject", Bucket="bucket", Key="source", Body=streamed(BOTH, 100_000))
        upload = await _begin(client)
        named = {"Bucket": "bucket", "Key": "k", "UploadId": upload, "CopySource": "bucket/source"}
        first = await client("UploadPartCopy", PartNumber=1, **named)
        second = await client("UploadPartCopy", PartNumber=2, CopySourceRange="bytes=10-19", **named)
        parts = [{"PartNumber": n, "ETag": one["CopyPartResult"]["ETag"]} for n, one in ((1, first), (2, second))]
        with client.refused("InvalidRequest"):
            await client("UploadPartCopy", PartNumber=3, CopySourceRange=f"bytes=0-{len(BOTH)}", **named)
        with client.refused("InvalidArgument"):
            await client("UploadPartCopy", PartNumber=3, CopySourceRange="bytes=-5", **named)
        await _complete(client, upload, parts)
        assert await client.body("k") == BOTH + BOTH[10:20]

    with_s3(tmp_path, test)


def test_uploads_are_listed_and_given_up(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        made = []
        for key in ("a/1", "a/2", "b", "b", "b"):
            await client.clock.sleep(1)
            answer = await client("CreateMultipartUpload", Bucket="bucket", Key=key)
            made.append((key, answer["UploadId"]))
        found, marker = [], {}
        while True:
            answer = await client("ListMultipartUploads", Bucket="bucket", MaxUploads=2, **marker)
            found += [(one["Key"], one["UploadId"]) for one in answer["Uploads"]]
            if not answer["IsTruncated"]:
                break
            marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}
        assert found == made
        rolled = await client("ListMultipartUploads", Bucket="bucket", Delimiter="/")
        assert (rolled["CommonPrefixes"], len(rolled["Uploads"])) == ([{"Prefix": "a/"}], 3)
        await client.part("b", made[2][1], 1, b"x" * 100)
        await client("AbortMultipartUpload", Bucket="bucket", Key="b", UploadId=made[2][1])
        await client.cleaned()
        assert client.files() == []
        with client.refused("NoSuchUpload"):
            await client.part("b", made[2][1], 1, b"x")
        await client("DeleteBucket", Bucket="bucket")  # uploads under way do not keep it

    with_s3(tmp_path, test)
