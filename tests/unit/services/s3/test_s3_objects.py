"""Objects: put, read whole and in part, listed, copied, deleted; and what is on the disk afterwards."""

import asyncio
import base64
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_service import CALLER, LARGE, Client, streamed, whole, with_s3

from lambent.aws import checksums
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.services.s3.conditions import span
from lambent.services.s3.listing import Wanted, page

BODIES = [b"", b"small", b"x" * 65_536, b"y" * 65_537, random.Random(1).randbytes(3_000_000)]
KEYS = [
    "plain",
    "../../etc/passwd",
    "a//b",
    "/leading",
    "nul\0inside",
    "ümlaut",
    "a" * 1024,
    "..",
    "%2e%2e/x",
    "\U0001f600",
]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_an_object_comes_back_as_it_was(tmp_path, body):
    async def test(client: Client) -> None:
        await client.bucket()
        answer = await client("PutObject", Bucket="bucket", Key="k", Body=streamed(body))
        assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert await client.body("k") == body
        found = await client("HeadObject", Bucket="bucket", Key="k", ChecksumMode="ENABLED")
        assert (found["ContentLength"], found["ContentType"]) == (len(body), "binary/octet-stream")
        checksum = checksums.of("CRC64NVME")
        checksum.update(body)
        assert found["ChecksumCRC64NVME"] == checksums.text(checksum.digest())

    with_s3(tmp_path, test)


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_no_key_is_a_path(tmp_path, key):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put(key, b"z" * LARGE)
        assert await client.body(key) == b"z" * LARGE
        assert await client.keys() == [key]
        digest = hashlib.sha256(b"z" * LARGE).hexdigest()
        assert [path.relative_to(client.service.folder) for path in client.files()] == [
            client.service.contents.path(digest).relative_to(client.service.folder)
        ]

    with_s3(tmp_path, test)


def test_keys_that_are_too_long_and_names_that_are_none_are_refused(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        with client.refused("KeyTooLongError"):
            await client.put("ü" * 513)
        for name in ("ab", "Upper", "under_score", "1.2.3.4", "xn--a", "a..b", "-ab", "a" * 64, "b-s3alias"):
            with client.refused("InvalidBucketName"):
                await client("CreateBucket", Bucket=name)

    with_s3(tmp_path, test)


def test_bytes_are_kept_once_and_go_with_the_last_object_that_has_them(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("a", b"w" * LARGE)
        await client.put("b", b"w" * LARGE)
        await client("CopyObject", Bucket="bucket", Key="c", CopySource="bucket/a")
        assert len(client.files()) == 1
        await client("DeleteObject", Bucket="bucket", Key="a")
        await client.put("b", b"another")
        await client.cleaned()
        assert await client.body("c") == b"w" * LARGE
        await client("DeleteObject", Bucket="bucket", Key="c")
        await client.cleaned()
        assert client.files() == []

    with_s3(tmp_path, test)


def test_a_body_that_breaks_off_or_is_not_what_was_said_leaves_nothing(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        for size in (5, LARGE):
            data = b"q" * size
            for code, body, more in (
                ("IncompleteBody", streamed(data, content_length=str(size + 1)), {}),
                ("BadDigest", streamed(data), {"ContentMD5": md5}),
                ("BadDigest", streamed(data), {"ChecksumCRC32": "AAAAAA=="}),
                ("XAmzContentSHA256Mismatch", streamed(data, x_amz_content_sha256="0" * 64), {}),
                ("InvalidDigest", streamed(data), {"ContentMD5": "nonsense"}),
                ("InvalidRequest", streamed(data), {"ChecksumCRC32": "AAAAAA==", "ChecksumCRC32C": "AAAAAA=="}),
                ("InvalidRequest", streamed(data), {"ChecksumAlgorithm": "SHA256"}),
            ):
                with client.refused(code):
                    await client("PutObject", Bucket="bucket", Key="k", Body=body, **more)
        await client.cleaned()
        assert (await client.keys(), client.files()) == ([], [])

    with_s3(tmp_path, test)


def test_a_checksum_may_come_behind_the_body(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        checksum = checksums.of("CRC32C")
        checksum.update(b"hello")
        text = checksums.text(checksum.digest())
        framed = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:%b\r\n\r\n" % text.encode()
        headers = {"content_encoding": "gzip,aws-chunked", "x_amz_trailer": "x-amz-checksum-crc32c"}
        headers["x_amz_decoded_content_length"] = "5"
        answer = await client(
            "PutObject",
            Bucket="bucket",
            Key="k",
            Body=streamed(framed, 3, **headers),
            ContentEncoding="gzip,aws-chunked",
        )
        assert answer["ChecksumCRC32C"] == text
        found = await client("GetObject", Bucket="bucket", Key="k")
        assert (await whole(found["Body"]), found["ContentEncoding"]) == (b"hello", "gzip")
        wrong = framed.replace(text.encode(), b"AAAAAA==")
        with client.refused("BadDigest"):
            await client("PutObject", Bucket="bucket", Key="k", Body=streamed(wrong, 3, **headers))

    with_s3(tmp_path, test)


def test_ranges_of_files_and_of_rows(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        for size in (1000, LARGE):
            data = random.Random(size).randbytes(size)
            await client.put("k", data)
            for asked, wanted in (
                ("bytes=0-0", data[:1]),
                ("bytes=10-19", data[10:20]),
                ("bytes=-7", data[-7:]),
                ("bytes=990-", data[990:]),
                ("bytes=0-999999", data),
                ("bytes=1-2,4-5", data),
                ("bytes=5-4", data),
                ("lines=1-2", data),
            ):
                assert await client.body("k", Range=asked) == wanted
            with client.refused("InvalidRange"):
                await client.body("k", Range=f"bytes={size}-")
        await client.put("empty", b"")
        with client.refused("InvalidRange"):
            await client.body("empty", Range="bytes=-1")

    with_s3(tmp_path, test)


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_a_slice(data, first, last):
    if first >= len(data):
        with pytest.raises(ApiError, match="InvalidRange"):
            span(f"bytes={first}-", len(data))
        return
    found = span(f"bytes={first}-{last}", len(data))
    start, end = (found.start, found.end) if found else (0, len(data))
    assert data[start:end] == (data[first : last + 1] if last >= first else data)


@given(st.text(max_size=30))
def test_any_range_is_read_or_refused(text):
    try:
        found = span(text, 10)
    except ApiError:
        return
    assert found is None or 0 <= found.start < found.end <= 10


def test_conditions_on_reading_and_writing(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        etag = (await client.put("k", b"one"))["ETag"]
        get = {"Bucket": "bucket", "Key": "k"}
        for code, params in (
            ("PreconditionFailed", {"IfMatch": '"0"'}),
            ("NotModified", {"IfNoneMatch": etag}),
            ("NotModified", {"IfModifiedSince": client.clock.utc()}),
        ):
            with client.refused(code):
                await client("GetObject", **get, **params)
        assert await client.body("k", IfMatch=etag, IfNoneMatch='"0"') == b"one"
        with client.refused("PreconditionFailed"):
            await client.put("k", b"two", IfNoneMatch="*")
        with client.refused("PreconditionFailed"):
            await client.put("k", b"two", IfMatch='"0"')
        with client.refused("NoSuchKey"):
            await client.put("absent", b"two", IfMatch=etag)
        with client.refused("NotImplemented"):
            await client.put("k", b"two", IfNoneMatch=etag)
        with client.refused("PreconditionFailed"):
            await client("DeleteObject", **get, IfMatch='"0"')
        await client.put("k", b"two", IfMatch=etag)
        assert await client.body("k") == b"two"

    with_s3(tmp_path, test)


def test_of_many_that_ask_for_a_new_key_one_gets_it(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()

        async def put(number: int) -> str:
            try:
                await client.put("k", b"%d" % number, IfNoneMatch="*")
            except ApiError as error:
                return error.code
            return "kept"

        async with asyncio.TaskGroup() as tasks:
            done = [tasks.create_task(put(number)) for number in range(20)]
        assert sorted(one.result() for one in done) == ["PreconditionFailed"] * 19 + ["kept"]

    with_s3(tmp_path, test)


def test_buckets_of_others_are_taken_and_ones_own_depends_on_the_region(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.bucket()
        with client.refused("BucketAlreadyExists"):
            await client("CreateBucket", Caller(account="210987654321"), Bucket="bucket")
        abroad = Caller(account="123456789012", region="eu-west-1")
        place = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
        await client("CreateBucket", abroad, Bucket="abroad", **place)
        with client.refused("BucketAlreadyOwnedByYou"):
            await client("CreateBucket", abroad, Bucket="abroad", **place)
        with client.refused("IllegalLocationConstraintException"):
            await client("CreateBucket", abroad, Bucket="elsewhere")
        assert (await client("GetBucketLocation", Bucket="abroad"))["LocationConstraint"] == "eu-west-1"
        listed = await client("ListBuckets")
        assert [one["Name"] for one in listed["Buckets"]] == ["abroad", "bucket"]
        first = await client("ListBuckets", MaxBuckets=1)
        rest = await client("ListBuckets", MaxBuckets=1, ContinuationToken=first["ContinuationToken"])
        assert ([one["Name"] for one in rest["Buckets"]], "ContinuationToken" in rest) == (["bucket"], False)
        with client.refused("AccessDenied"):
            await client("HeadBucket", Bucket="bucket", ExpectedBucketOwner="210987654321")
        await client.put("k")
        with client.refused("BucketNotEmpty"):
            await client("DeleteBucket", Bucket="bucket")
        await client("DeleteObject", Bucket="bucket", Key="k")
        await client("DeleteBucket", Bucket="bucket")
        with client.refused("NoSuchBucket"):
            await client("HeadBucket", Bucket="bucket")

    with_s3(tmp_path, test)


def test_copies_take_metadata_and_tags_along_or_get_new_ones(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("a", b"1", Metadata={"One": "1"}, ContentType="text/plain", Tagging="t=1&u=%C3%BC")
        await client("CopyObject", Bucket="bucket", Key="b", CopySource="/bucket/a")
        found = await client("GetObject", Bucket="bucket", Key="b")
        assert (found["Metadata"], found["ContentType"], found["TagCount"]) == ({"one": "1"}, "text/plain", 2)
        new = {
            "MetadataDirective": "REPLACE",
            "Metadata": {"two": "2"},
            "TaggingDirective": "REPLACE",
            "Tagging": "v=1",
        }
        await client("CopyObject", Bucket="bucket", Key="a", CopySource="bucket/a", **new)
        found = await client("GetObject", Bucket="bucket", Key="a")
        assert (found["Metadata"], found["ContentType"]) == ({"two": "2"}, "binary/octet-stream")
        tagging = await client("GetObjectTagging", Bucket="bucket", Key="a")
        assert tagging["TagSet"] == [{"Key": "v", "Value": "1"}]
        with client.refused("InvalidRequest"):
            await client("CopyObject", Bucket="bucket", Key="a", CopySource="bucket/a")
        with client.refused("PreconditionFailed"):
            await client("CopyObject", Bucket="bucket", Key="c", CopySource="bucket/a", CopySourceIfMatch='"0"')
        with client.refused("NoSuchKey"):
            await client("CopyObject", Bucket="bucket", Key="c", CopySource="bucket/absent")

    with_s3(tmp_path, test)


def test_many_are_deleted_at_once_and_each_is_told(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("a")
        wanted = {"Objects": [{"Key": "a"}, {"Key": "absent"}, {"Key": "x" * 1024}]}
        answer = await client("DeleteObjects", Bucket="bucket", Delete=wanted)
        assert [one["Key"] for one in answer["Deleted"]] == ["a", "absent", "x" * 1024]
        with client.refused("MalformedXML"):
            await client("DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": "k"}] * 1001})
        assert await client.keys() == []

    with_s3(tmp_path, test)


# --- listing


class _Key:
    def __init__(self, key: str) -> None:
        self.key = key


@settings(max_examples=200)
@given(
    st.sets(st.text("ab/ü", min_size=1, max_size=6), max_size=40),
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "b", "a/"]),
    st.integers(1, 7),
)
def test_pages_have_each_key_or_its_common_prefix_once(keys, prefix, delimiter, most):
    ordered = sorted(keys, key=str.encode)

    def fetch(after: bytes, before: bytes, count: int) -> list[_Key]:
        return [_Key(key) for key in ordered if after < key.encode() < before][:count]

    wanted, found = Wanted(prefix=prefix, delimiter=delimiter, most=most), []
    while True:
        one = page(wanted, fetch)
        assert len(one.entries) + len(one.prefixes) <= most
        found += [*(entry.key for entry in one.entries), *one.prefixes]
        if one.after is None:
            break
        wanted = Wanted(prefix=prefix, delimiter=delimiter, most=most, after=one.after)
    expected = set()
    for key in ordered:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            expected.add(key if end < 0 else key[: end + len(delimiter)])
    assert sorted(found) == sorted(expected)


def test_a_common_prefix_is_passed_without_reading_its_keys(tmp_path):
    read = []
    keys = [f"{folder}/{number:05}" for folder in ("a", "b", "c") for number in range(10_000)]

    def fetch(after: bytes, before: bytes, count: int) -> list[_Key]:
        found = [_Key(key) for key in keys if after < key.encode() < before][:count]
        read.extend(found)
        return found

    assert page(Wanted(delimiter="/"), fetch).prefixes == ["a/", "b/", "c/"]
    assert len(read) < 100


def test_both_lists_page_by_bytes_and_encode(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        keys = ["a b", "a+b", "a/1", "a/2", "b/1", "c", "ü", "\U0001f600", "\uffee"]
        for key in keys:
            await client.put(key)
        ordered = sorted(keys, key=str.encode)
        found, token = [], {}
        while True:
            answer = await client("ListObjectsV2", Bucket="bucket", MaxKeys=2, **token)
            found += [one["Key"] for one in answer["Contents"]]
            if not answer["IsTruncated"]:
                break
            token = {"ContinuationToken": answer["NextContinuationToken"]}
        assert found == ordered
        rolled, marker = [], {}
        while True:
            answer = await client("ListObjects", Bucket="bucket", MaxKeys=1, Delimiter="/", **marker)
            rolled += [one["Key"] for one in answer.get("Contents", [])]
            rolled += [one["Prefix"] for one in answer.get("CommonPrefixes", [])]
            if not answer["IsTruncated"]:
                break
            marker = {"Marker": answer["NextMarker"]}
        assert rolled == ["a b", "a+b", "a/", "b/", "c", "ü", "\uffee", "\U0001f600"]
        encoded = await client("ListObjectsV2", Bucket="bucket", EncodingType="url", Prefix="a ")
        assert (encoded["Contents"][0]["Key"], encoded["Prefix"]) == ("a%20b", "a%20")
        assert await client.keys(StartAfter="c") == ["ü", "\uffee", "\U0001f600"]
        none = await client("ListObjectsV2", Bucket="bucket", MaxKeys=0)
        assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
        with client.refused("InvalidArgument"):
            await client("ListObjectsV2", Bucket="bucket", ContinuationToken="nonsense")

    with_s3(tmp_path, test)


def test_answers_to_nobody_take_no_other_headers(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("k")
        asked = {"Bucket": "bucket", "Key": "k", "ResponseContentType": "text/html"}
        assert (await client("GetObject", CALLER, **asked))["ContentType"] == "text/html"
        with client.refused("InvalidRequest"):
            await client("GetObject", Caller(), **asked)

    with_s3(tmp_path, test)
