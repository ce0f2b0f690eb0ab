"""S3 as its clients use it: boto3 and its transfer manager, the AWS CLI, plain HTTP, pages in a browser."""

import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def s3(lambent):
    return lambent.client("s3")


@pytest.fixture
def bucket(s3):
    """A new bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def _ask(endpoint, method, path, body=None, **headers):
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request(
        method, path, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, content


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"request_checksum_calculation": "when_required"},
        {"s3": {"payload_signing_enabled": True}},
        {"signature_version": "s3"},
    ],
    ids=str,
)
def test_boto3_puts_and_gets_whatever_its_settings(lambent, bucket, settings):
    client = boto3.client(
        "s3",
        endpoint_url=lambent.endpoint,
        region_name="us-east-1",
        aws_access_key_id="000000000000",
        aws_secret_access_key="x",
        config=Config(**settings),
    )
    body = os.urandom(200_000)
    client.put_object(Bucket=bucket, Key="ä b+c/%41", Body=io.BytesIO(body), Metadata={"One": "1"})
    answer = client.get_object(Bucket=bucket, Key="ä b+c/%41")
    assert (answer["Body"].read(), answer["Metadata"]) == (body, {"one": "1"})
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [(one["Key"], one["Size"]) for one in listed] == [("ä b+c/%41", 200_000)]


def test_chunks_with_trailers_are_taken_apart(lambent, bucket):
    """What SDKs send over TLS: here by hand, as the endpoint has none."""
    framed = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    headers = {
        "x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x_amz_decoded_content_length": "5",
        "x_amz_trailer": "x-amz-checksum-crc32",
        "x_amz_sdk_checksum_algorithm": "CRC32",
        "content_encoding": "aws-chunked",
    }
    assert _ask(lambent.endpoint, "PUT", f"/{bucket}/k", framed, **headers)[0] == 200
    status, answered, body = _ask(lambent.endpoint, "GET", f"/{bucket}/k", x_amz_checksum_mode="ENABLED")
    assert (status, body, answered["x-amz-checksum-crc32"]) == (200, b"hello", "NhCmhg==")
    assert "content-encoding" not in answered
    wrong = framed.replace(b"NhCmhg==", b"AAAAAA==")
    status, _, body = _ask(lambent.endpoint, "PUT", f"/{bucket}/k", wrong, **headers)
    assert (status, b"<Code>BadDigest</Code>" in body) == (400, True)


def test_the_transfer_manager_uploads_copies_and_downloads(s3, bucket):
    body = os.urandom(20_000_000)
    s3.upload_fileobj(io.BytesIO(body), bucket, "large")
    s3.copy(
        {"Bucket": bucket, "Key": "large"},
        bucket,
        "copy",
        Config=boto3.s3.transfer.TransferConfig(multipart_threshold=1),
    )
    for key in ("large", "copy"):
        out = io.BytesIO()
        s3.download_fileobj(bucket, key, out)
        assert out.getvalue() == body


def test_the_aws_cli_syncs_both_ways(lambent, bucket, tmp_path):
    files = {"a.txt": b"1", "folder/ü b.bin": os.urandom(100_000), "folder/deep/empty": b""}
    for name, body in files.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(body)
    environ = os.environ | {
        "AWS_ENDPOINT_URL": lambent.endpoint,
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def sync(*arguments):
        done = subprocess.run([AWS, "s3", "sync", *arguments], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert sync(tmp_path / "from", f"s3://{bucket}/x").count("upload:") == 3
    assert sync(tmp_path / "from", f"s3://{bucket}/x") == ""  # nothing has changed
    (tmp_path / "from/a.txt").unlink()
    assert sync(tmp_path / "from", f"s3://{bucket}/x", "--delete").count("delete:") == 1
    sync(f"s3://{bucket}/x", tmp_path / "to")
    there = {
        str(path.relative_to(tmp_path / "to")): path.read_bytes()
        for path in (tmp_path / "to").rglob("*")
        if path.is_file()
    }
    assert there == {name: body for name, body in files.items() if name != "a.txt"}


def test_answers_are_as_sdks_read_them(s3, bucket):
    def code(call, **params):
        with pytest.raises(ClientError) as raised:
            call(Bucket=params.pop("Bucket", bucket), **params)
        error = raised.value.response
        return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]

    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    assert code(s3.get_object, Key="absent") == ("NoSuchKey", 404)
    assert code(s3.head_object, Key="absent") == ("404", 404)
    assert code(s3.get_object, Bucket="no-such-bucket", Key="k") == ("NoSuchBucket", 404)
    assert code(s3.put_object, Key="k", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert code(s3.get_object, Key="k", Range="bytes=9-") == ("InvalidRange", 416)
    assert code(s3.delete_bucket) == ("BucketNotEmpty", 409)
    assert code(s3.get_bucket_policy) == ("NoSuchBucketPolicy", 404)
    assert code(s3.get_bucket_cors) == ("NoSuchCORSConfiguration", 404)
    assert code(s3.get_bucket_website) == ("NoSuchWebsiteConfiguration", 404)
    assert code(s3.get_bucket_replication) == ("ReplicationConfigurationNotFoundError", 404)
    assert code(s3.get_object_lock_configuration) == ("ObjectLockConfigurationNotFoundError", 404)
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    assert code(s3.get_object, Key="k", IfNoneMatch=etag) == ("304", 304)
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    acl = s3.get_object_acl(Bucket=bucket, Key="k")
    assert acl["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert code(s3.put_bucket_acl, ACL="public-read") == ("AccessControlListNotSupported", 400)


def test_signed_urls_work_until_their_time_is_over(lambent, s3, bucket):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(put, data=b"signed", method="PUT")).close()
    get = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "k", "ResponseContentType": "text/x"}
    )
    with urllib.request.urlopen(get) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (b"signed", "text/x")
    signer = S3SigV4QueryAuth(Credentials("000000000000", "x"), "s3", "us-east-1", expires=60)
    request = AWSRequest("GET", f"{lambent.endpoint}/{bucket}/k")
    long_ago = datetime.now(UTC) - timedelta(seconds=61)
    request.context["timestamp"] = long_ago.strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)
    query = urllib.parse.urlsplit(request.url).query + "&X-Amz-Signature=" + "0" * 64
    query = "&".join(
        f"X-Amz-Date={request.context['timestamp']}" if one.startswith("X-Amz-Date=") else one
        for one in query.split("&")
    )
    status, _, body = _ask(lambent.endpoint, "GET", f"/{bucket}/k?{query}")
    assert (status, b"<Message>Request has expired</Message>" in body) == (403, True)
    old = f"/{bucket}/k?AWSAccessKeyId=k&Signature=s&Expires={int(long_ago.timestamp())}"
    assert _ask(lambent.endpoint, "GET", old)[0] == 403


def _form(fields, content, boundary="XX"):
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n')
    parts.append("Content-Type: text/plain\r\n\r\n")
    return "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()


def test_forms_put_objects_as_their_policy_allows(lambent, s3, bucket):
    made = s3.generate_presigned_post(
        bucket,
        "up/${filename}",
        Fields={"success_action_status": "201", "Content-Type": "text/css"},
        Conditions=[
            {"success_action_status": "201"},
            ["starts-with", "$Content-Type", "text/"],
            ["content-length-range", 1, 100_000],
        ],
    )
    kind = {"content_type": "multipart/form-data; boundary=XX"}
    path = urllib.parse.urlsplit(made["url"]).path
    content = b"\r\n--X" * 10_000
    status, _, body = _ask(lambent.endpoint, "POST", path, _form(made["fields"], content), **kind)
    assert (status, b"<Key>up/a.txt</Key>" in body) == (201, True)
    found = s3.get_object(Bucket=bucket, Key="up/a.txt")
    assert (found["Body"].read(), found["ContentType"]) == (content, "text/css")
    for fields, size, code in (
        ({**made["fields"], "Content-Type": "image/png"}, 10, b"AccessDenied"),
        ({**made["fields"], "x-amz-meta-more": "1"}, 10, b"AccessDenied"),
        (made["fields"], 100_001, b"EntityTooLarge"),
        (made["fields"], 0, b"EntityTooSmall"),
        ({"policy": "nonsense", "key": "k"}, 10, b"InvalidPolicyDocument"),
        ({}, 10, b"InvalidArgument"),
    ):
        status, _, body = _ask(lambent.endpoint, "POST", path, _form(fields, b"x" * size), **kind)
        assert status in (400, 403), body
        assert b"<Code>%b</Code>" % code in body, body


def test_a_bucket_may_be_named_by_the_host(lambent, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"here")
    port = urllib.parse.urlsplit(lambent.endpoint).port
    for host in (
        f"{bucket}.s3.us-east-1.localhost:{port}",
        f"{bucket}.s3.localhost.localstack.cloud:{port}",
        f"{bucket}.s3.amazonaws.com",
    ):
        assert _ask(lambent.endpoint, "GET", "/a/b", host=host)[2] == b"here"
        assert b"<Key>a/b</Key>" in _ask(lambent.endpoint, "GET", "/?list-type=2", host=host)[2]
    signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    assert _ask(lambent.endpoint, "GET", "/a/b", host=f"{bucket}.localhost:{port}", authorization=signed)[2] == b"here"


def test_pages_of_other_origins_may_do_what_the_bucket_says(lambent, s3, bucket):
    rule = {
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    asked = {"origin": "https://www.example.com", "access_control_request_method": "PUT"}
    assert _ask(lambent.endpoint, "OPTIONS", f"/{bucket}/k", **asked)[0] == 403
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    status, headers, _ = _ask(
        lambent.endpoint, "OPTIONS", f"/{bucket}/k", access_control_request_headers="x-amz-meta-a", **asked
    )
    assert (status, headers["access-control-allow-origin"]) == (200, "https://www.example.com")
    assert (headers["access-control-allow-methods"], headers["access-control-max-age"]) == ("GET, PUT", "60")
    assert _ask(lambent.endpoint, "OPTIONS", f"/{bucket}/k", access_control_request_headers="cookie", **asked)[0] == 403
    asked["access_control_request_method"] = "DELETE"
    assert _ask(lambent.endpoint, "OPTIONS", f"/{bucket}/k", **asked)[0] == 403
    status, headers, body = _ask(lambent.endpoint, "GET", f"/{bucket}/k", origin="https://www.example.com")
    assert (status, body, headers["access-control-expose-headers"]) == (200, b"body", "ETag")
    assert _ask(lambent.endpoint, "GET", f"/{bucket}/k", origin="https://evil.test")[0] == 403


def test_hostile_keys_and_documents_are_answered(lambent, bucket):
    for path in (
        f"/{bucket}/../../etc/passwd",
        f"/{bucket}/%00",
        f"/{bucket}/%2e%2e%2fx",
        f"/{bucket}/" + "%C3%BC" * 512,
    ):
        assert _ask(lambent.endpoint, "PUT", path, b"x")[0] == 200
        assert _ask(lambent.endpoint, "GET", path)[2] == b"x"
    assert _ask(lambent.endpoint, "PUT", f"/{bucket}/%FF", b"x")[0] == 400
    assert b"KeyTooLongError" in _ask(lambent.endpoint, "PUT", f"/{bucket}/" + "a" * 1025, b"x")[2]
    for body in (b"<", b"<!DOCTYPE x><Delete/>", b"<Delete><Object><Key>k</Key>", b"\xff\xfe"):
        status, _, answer = _ask(lambent.endpoint, "POST", f"/{bucket}?delete", body)
        assert (status, b"<Code>MalformedXML</Code>" in answer) == (400, True)
    assert _ask(lambent.endpoint, "POST", f"/{bucket}/k?nothing", b"")[0] == 400


def test_large_bodies_go_through_little_memory(own_node, tmp_path):
    size, block = 400_000_000, os.urandom(1_000_000)
    with own_node("--port", "0", "--data-dir", str(tmp_path), ephemeral=False) as node:
        client = node.client("s3")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="warm", Body=block)
        client.get_object(Bucket="bucket", Key="warm")["Body"].read()
        before = _peak_kb(node.pid)
        address = urllib.parse.urlsplit(node.endpoint)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        connection.request(
            "PUT",
            "/bucket/large",
            body=(block for _ in range(size // len(block))),
            headers={"content-length": str(size)},
        )
        etag = connection.getresponse().headers["etag"]
        connection.close()
        expected = hashlib.md5(usedforsecurity=False)
        for _ in range(size // len(block)):
            expected.update(block)
        assert etag == f'"{expected.hexdigest()}"'
        read = hashlib.md5(usedforsecurity=False)
        with urllib.request.urlopen(f"{node.endpoint}/bucket/large") as answer:
            assert answer.headers["content-length"] == str(size)
            while part := answer.read(1_000_000):
                read.update(part)
        assert read.hexdigest() == expected.hexdigest()
        assert _peak_kb(node.pid) - before < 60_000


def _peak_kb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_policies_are_kept_as_they_came(s3, bucket):
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    s3.put_bucket_policy(Bucket=bucket, Policy=document)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == document
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    with pytest.raises(ClientError, match="MalformedPolicy"):
        s3.put_bucket_policy(Bucket=bucket, Policy="{}")
