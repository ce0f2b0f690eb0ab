"""Versions, delete markers, locks, tags, and what expires."""

from datetime import UTC, datetime, timedelta

import pytest
from s3_service import Client, with_s3

DAY_S = 86_400


async def _versioned(client: Client, status: str = "Enabled") -> None:
    await client("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": status})


async def _history(client: Client) -> list[tuple]:
    answer = await client("ListObjectVersions", Bucket="bucket")
    versions = [(one["Key"], one["VersionId"], one["IsLatest"], one["Size"]) for one in answer.get("Versions", [])]
    return versions + [(one["Key"], one["VersionId"], one["IsLatest"]) for one in answer.get("DeleteMarkers", [])]


def test_versions_and_delete_markers(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("k", b"before")
        await _versioned(client)
        one = (await client.put("k", b"1"))["VersionId"]
        two = (await client.put("k", b"22"))["VersionId"]
        gone = await client("DeleteObject", Bucket="bucket", Key="k")
        assert gone["DeleteMarker"] is True
        marker = gone["VersionId"]
        with client.refused("NoSuchKey"):
            await client.body("k")
        with client.refused("MethodNotAllowed"):
            await client.body("k", VersionId=marker)
        with client.refused("NoSuchVersion"):
            await client.body("k", VersionId="x" * 32)
        with client.refused("InvalidArgument"):
            await client.body("k", VersionId="short")
        assert [await client.body("k", VersionId=each) for each in ("null", one, two)] == [b"before", b"1", b"22"]
        assert await client.keys() == []
        assert await _history(client) == [
            ("k", two, False, 2),
            ("k", one, False, 1),
            ("k", "null", False, 6),
            ("k", marker, True),
        ]
        back = await client("DeleteObject", Bucket="bucket", Key="k", VersionId=marker)
        assert back == {"VersionId": marker, "DeleteMarker": True}
        assert await client.body("k") == b"22"
        await client("DeleteObject", Bucket="bucket", Key="k", VersionId=two)
        assert (await client.body("k"), await client.keys()) == (b"1", ["k"])
        with client.refused("BucketNotEmpty"):
            await client("DeleteBucket", Bucket="bucket")

    with_s3(tmp_path, test)


def test_suspended_there_is_one_version_without_an_id(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await _versioned(client)
        kept = (await client.put("k", b"1"))["VersionId"]
        await _versioned(client, "Suspended")
        for body in (b"2", b"3"):
            assert (await client.put("k", body))["VersionId"] == "null"
        assert [one[:2] for one in await _history(client)] == [("k", "null"), ("k", kept)]
        await client("DeleteObject", Bucket="bucket", Key="k")
        assert await _history(client) == [("k", kept, False, 1), ("k", "null", True)]

    with_s3(tmp_path, test)


def test_versions_are_paged_within_a_key(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await _versioned(client)
        made = []
        for key in ("a", "b", "b", "b", "b", "c"):
            made.append((key, (await client.put(key))["VersionId"]))
        for most in (1, 2, 3, 10):
            found, marker = [], {}
            while True:
                answer = await client("ListObjectVersions", Bucket="bucket", MaxKeys=most, **marker)
                found += [(one["Key"], one["VersionId"]) for one in answer["Versions"]]
                if not answer["IsTruncated"]:
                    break
                marker = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer["NextVersionIdMarker"]}
            assert found == [made[0], *reversed(made[1:5]), made[5]]

    with_s3(tmp_path, test)


def test_what_is_locked_stays(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket(ObjectLockEnabledForBucket=True)
        until = client.clock.utc() + timedelta(days=1)
        locked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        governed = (await client.put("k", b"1", **locked))["VersionId"]
        complied = (await client.put("k", b"2", **{**locked, "ObjectLockMode": "COMPLIANCE"}))["VersionId"]
        held = (await client.put("k", b"3", ObjectLockLegalHoldStatus="ON"))["VersionId"]
        named = {"Bucket": "bucket", "Key": "k"}
        for version in (governed, complied, held):
            with client.refused("AccessDenied", "Access Denied because object protected by object lock."):
                await client("DeleteObject", **named, VersionId=version)
        for version in (complied, held):
            with client.refused("AccessDenied"):
                await client("DeleteObject", **named, VersionId=version, BypassGovernanceRetention=True)
        many = {"Objects": [{"Key": "k", "VersionId": held}]}
        answer = await client("DeleteObjects", Bucket="bucket", Delete=many)
        assert answer["Errors"][0]["Code"] == "AccessDenied"
        sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(hours=1)}
        with client.refused("AccessDenied"):
            await client("PutObjectRetention", **named, VersionId=complied, Retention=sooner)
        await client("DeleteObject", **named, VersionId=governed, BypassGovernanceRetention=True)
        await client("PutObjectLegalHold", **named, VersionId=held, LegalHold={"Status": "OFF"})
        await client("DeleteObject", **named, VersionId=held)
        await client("DeleteObject", **named)  # a marker may always be put
        await client.clock.sleep(DAY_S + 1)
        await client("DeleteObject", **named, VersionId=complied)
        with client.refused("InvalidBucketState"):
            await _versioned(client, "Suspended")

    with_s3(tmp_path, test)


def test_a_bucket_locks_what_comes_without_a_lock(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        with client.refused("InvalidRequest"):
            await client.put("k", ObjectLockLegalHoldStatus="ON")
        configuration = {
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 2}},
        }
        with client.refused("InvalidBucketState"):
            await client("PutObjectLockConfiguration", Bucket="bucket", ObjectLockConfiguration=configuration)
        await _versioned(client)
        await client("PutObjectLockConfiguration", Bucket="bucket", ObjectLockConfiguration=configuration)
        await client.put("k")
        found = await client("GetObjectRetention", Bucket="bucket", Key="k")
        left = found["Retention"]["RetainUntilDate"] - client.clock.utc()
        assert timedelta(days=1.9) < left <= timedelta(days=2)

    with_s3(tmp_path, test)


def _rule(**more) -> dict:
    return {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "old/"}, **more}]}


@pytest.mark.parametrize("versioning", [None, "Enabled"])
def test_objects_expire_by_the_platforms_clock(tmp_path, versioning):
    async def test(client: Client) -> None:
        await client.bucket()
        if versioning:
            await _versioned(client)
        await client(
            "PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration=_rule(Expiration={"Days": 3})
        )
        answer = await client.put("old/1")
        assert 'rule-id="r"' in answer["Expiration"]
        assert "Expiration" not in await client.put("new/1")
        await client.clock.sleep(2 * DAY_S)
        assert await client.keys() == ["new/1", "old/1"]
        await client.clock.sleep(2 * DAY_S + 7_200)
        assert await client.keys() == ["new/1"]
        left = [one[0] for one in await _history(client)]
        assert left == (["new/1", "old/1", "old/1"] if versioning else ["new/1"])

    with_s3(tmp_path, test)


def test_old_versions_lone_markers_and_forgotten_uploads_go(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await _versioned(client)
        rules = _rule(
            NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 1},
            AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2},
            Expiration={"ExpiredObjectDeleteMarker": True},
        )
        await client("PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration=rules)
        for body in (b"1", b"2", b"3", b"4"):
            await client.put("old/k", body)
        upload = await client("CreateMultipartUpload", Bucket="bucket", Key="old/u")
        await client("DeleteObject", Bucket="bucket", Key="old/marker")
        assert "AbortDate" in upload
        await client.clock.sleep(4 * DAY_S)
        answer = await client("ListObjectVersions", Bucket="bucket")
        assert ([one["Size"] for one in answer["Versions"]], answer.get("DeleteMarkers")) == ([1, 1], None)
        assert await client.body("old/k") == b"4"
        assert "Uploads" not in await client("ListMultipartUploads", Bucket="bucket")

    with_s3(tmp_path, test)


def test_lifecycles_are_told_as_they_were_put(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        with client.refused("NoSuchLifecycleConfiguration"):
            await client("GetBucketLifecycleConfiguration", Bucket="bucket")
        rules = _rule(Expiration={"Date": datetime(2030, 1, 1, tzinfo=UTC)})
        await client("PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration=rules)
        found = await client("GetBucketLifecycleConfiguration", Bucket="bucket")
        assert found["Rules"] == rules["Rules"]
        for code, wrong in (
            ("InvalidRequest", {}),
            ("InvalidArgument", {"Expiration": {"Days": 0}}),
            ("MalformedXML", {"Expiration": {"Days": 1, "Date": datetime(2030, 1, 1, tzinfo=UTC)}}),
        ):
            with client.refused(code):
                await client("PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration=_rule(**wrong))

    with_s3(tmp_path, test)


def test_tags_of_objects_and_buckets(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        with client.refused("NoSuchTagSet"):
            await client("GetBucketTagging", Bucket="bucket")
        await client.put("k")
        tags = [{"Key": f"k{number}", "Value": "v"} for number in range(11)]
        with client.refused("BadRequest"):
            await client("PutObjectTagging", Bucket="bucket", Key="k", Tagging={"TagSet": tags})
        await client("PutObjectTagging", Bucket="bucket", Key="k", Tagging={"TagSet": tags[:10]})
        assert (await client("HeadObject", Bucket="bucket", Key="k"))["TagCount"] == 10
        await client("DeleteObjectTagging", Bucket="bucket", Key="k")
        assert (await client("GetObjectTagging", Bucket="bucket", Key="k"))["TagSet"] == []
        await client("PutBucketTagging", Bucket="bucket", Tagging={"TagSet": tags})
        assert (await client("GetBucketTagging", Bucket="bucket"))["TagSet"] == tags

    with_s3(tmp_path, test)
