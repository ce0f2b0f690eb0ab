import base64
import io
import json
import urllib.error
import urllib.request
import zipfile

import pytest
from botocore.exceptions import ClientError
from functions_on_a_node import ROLE, SOON, call, create, make_zip, unused_name

ECHO = "def handler(event, context): return event"


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


def refusal(operation, **params):
    with pytest.raises(ClientError) as raised:
        operation(**params)
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_a_function_is_created_found_invoked_and_deleted(client):
    name = create(client, ECHO, Environment={"Variables": {"KEY": "value"}}, Tags={"a": "b"})
    found = client.get_function(FunctionName=name)
    assert (found["Configuration"]["State"], found["Configuration"]["LastUpdateStatus"]) == ("Active", "Successful")
    assert (found["Tags"], found["Code"]["RepositoryType"]) == ({"a": "b"}, "S3")
    answer = client.invoke(FunctionName=name, Payload=b'{"hello": "world"}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"].read()) == {"hello": "world"}
    assert client.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    status, code, message = refusal(client.get_function, FunctionName=name)
    assert (status, code) == (404, "ResourceNotFoundException")
    assert message == f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}"


def test_the_code_location_downloads_the_package(client):
    package = make_zip(app=ECHO)
    name = create(client, "", Code={"ZipFile": package})
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=10) as response:
        assert response.read() == package
        assert response.headers["Content-Type"] == "application/zip"
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(location[:-4] + "0000", timeout=10)
    assert raised.value.code == 403
    raised.value.close()


def test_an_update_runs_once_its_waiter_returns_and_each_version_stays(client):
    name = create(client, "def handler(event, context): return 1", Publish=True)
    wait = {"FunctionName": name, "WaiterConfig": SOON}
    client.get_waiter("published_version_active").wait(Qualifier="1", **wait)
    changed = make_zip(app="def handler(event, context): return 2")
    client.update_function_code(FunctionName=name, ZipFile=changed)
    client.get_waiter("function_updated_v2").wait(**wait)
    assert (call(client, name), call(client, f"{name}:1")) == (2, 1)
    published = client.publish_version(FunctionName=name)
    assert (published["Version"], published["State"]) == ("2", "Active")
    assert [each["Version"] for each in client.list_versions_by_function(FunctionName=name)["Versions"]] == [
        "$LATEST",
        "1",
        "2",
    ]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"NEW": "1"}})
    client.get_waiter("function_updated_v2").wait(**wait)
    assert client.get_function_configuration(FunctionName=name)["Environment"] == {"Variables": {"NEW": "1"}}


def test_an_alias_shares_invocations_between_two_versions(client):
    name = create(client, "def handler(event, context): return context.invoked_function_arn", Publish=True)
    client.update_function_code(FunctionName=name, ZipFile=make_zip(app=ECHO), Publish=True)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig=SOON)
    routing = {"AdditionalVersionWeights": {"2": 1.0}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)
    answer = client.invoke(FunctionName=name, Qualifier="live", Payload=b'"echo"')
    assert (answer["ExecutedVersion"], answer["Payload"].read()) == ("2", b'"echo"')
    client.update_alias(FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert call(client, f"{name}:live").endswith(f":{name}:live")
    status, code, message = refusal(client.delete_function, FunctionName=name, Qualifier="1")
    assert (status, code) == (409, "ResourceConflictException")
    assert message == "Unable to delete version because the following aliases reference it: [live]"


def test_the_log_tail_and_a_functions_error_come_with_the_answer(client):
    name = create(client, "def handler(event, context):\n    print('before')\n    raise ValueError('no')")
    answer = client.invoke(FunctionName=name, LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "before\n" in tail
    assert "REPORT RequestId: " in tail


def test_an_event_is_accepted_and_runs(lambent, client):
    name = create(client, "def handler(event, context): print('ran', event)")
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 7}')
    assert (answer["StatusCode"], answer["Payload"].read(), "ExecutedVersion" in answer) == (202, b"", False)
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    logs = lambent.client("logs")
    seen = []
    for _attempt in range(200):
        try:
            seen = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="ran")["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue
        if seen:
            break
    assert [each["message"].strip() for each in seen] == ["ran {'n': 7}"]


def test_requests_that_are_wrong_are_refused_with_the_status_of_aws(client):
    name = create(client, ECHO)
    members = {"Runtime": "python3.11", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": make_zip(app=ECHO)}}
    taken = refusal(client.create_function, FunctionName=name, **members)
    assert taken == (409, "ResourceConflictException", f"Function already exist: {name}")
    assert refusal(client.create_function, FunctionName="x", **members | {"Code": {"ZipFile": b"no"}}) == (
        400,
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )
    status, code, message = refusal(client.invoke, FunctionName=name, Payload=b"{")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith(
        "Could not parse request body into json: Could not parse payload into json: Unexpected end"
    )
    status, code, message = refusal(client.get_policy, FunctionName=name)
    assert (status, code, message) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )
    status, code, _ = refusal(client.update_function_configuration, FunctionName=name, RevisionId="0", Timeout=9)
    assert (status, code) == (412, "PreconditionFailedException")
    status, code, _ = refusal(client.create_function, FunctionName="x", **members | {"Timeout": 901})
    assert (status, code) == (400, "InvalidParameterValueException")
    status, code, message = refusal(
        client.create_function, FunctionName="x", **members | {"Code": {"S3Bucket": "no-such-bucket", "S3Key": "key"}}
    )
    assert (status, code) == (400, "InvalidParameterValueException")
    assert "S3 Error Code: NoSuchBucket." in message


def test_a_payload_of_6_mb_passes_and_one_byte_more_does_not(client):
    name = create(client, "def handler(event, context): return len(event)", MemorySize=512)
    fits = b'"' + b"x" * (6_291_456 - 2) + b'"'
    assert json.loads(client.invoke(FunctionName=name, Payload=fits)["Payload"].read()) == 6_291_454
    assert refusal(client.invoke, FunctionName=name, Payload=fits + b" ") == (
        413,
        "RequestTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )
    event = b'"' + b"x" * (1_048_576 - 2) + b'"'
    assert client.invoke(FunctionName=name, InvocationType="Event", Payload=event)["StatusCode"] == 202
    status, code, _ = refusal(client.invoke, FunctionName=name, InvocationType="Event", Payload=event + b" ")
    assert (status, code) == (413, "RequestTooLargeException")


def package_of(zipped_bytes, *, filler=b""):
    """A package of exactly this size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", ECHO)
        archive.writestr("filler", filler)
    missing = zipped_bytes - len(buffer.getvalue())
    return package_of(zipped_bytes, filler=bytes(missing)) if missing else buffer.getvalue()


def test_a_package_of_50_mb_passes_and_one_byte_more_does_not(client):
    fits, too_large = package_of(52_428_800), package_of(52_428_801)
    assert (len(fits), len(too_large)) == (52_428_800, 52_428_801)
    name = create(client, "", Code={"ZipFile": fits})
    assert call(client, name, 1) == 1
    status, code, message = refusal(
        client.create_function,
        FunctionName=unused_name(),
        Runtime="python3.11",
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": too_large},
    )
    assert (status, code) == (413, "RequestEntityTooLargeException")
    assert message == "Zipped size must be smaller than 52428800 bytes"
    client.delete_function(FunctionName=name)


def test_250_mb_unpacked_pass_and_one_byte_more_does_not(client):
    def bomb(size):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("app.py", ECHO)
            archive.writestr("filler", bytes(size - len(ECHO)))
        return buffer.getvalue()

    name = create(client, "", Code={"ZipFile": bomb(262_144_000)})
    status, code, message = refusal(client.update_function_code, FunctionName=name, ZipFile=bomb(262_144_001))
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message == "Unzipped size must be smaller than 262144000 bytes"
    client.delete_function(FunctionName=name)


def test_functions_are_listed_by_a_paginator(lambent):
    client = lambent.client("lambda", access_key="111111111111")
    names = [create(client, ECHO, wait=False) for _ in range(5)]
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    assert sorted(each["FunctionName"] for page in pages for each in page["Functions"]) == sorted(names)
    usage = client.get_account_settings()["AccountUsage"]
    assert usage["FunctionCount"] == 5
    assert usage["TotalCodeSize"] > 0


def test_a_runtime_that_does_not_run_here_says_what_is_missing(client):
    name = create(client, ECHO, Runtime="ruby3.4", wait=False)
    for _attempt in range(400):
        shown = client.get_function_configuration(FunctionName=name)
        if shown["State"] != "Pending":
            break
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidRuntime")
    assert shown["StateReason"].startswith("Lambent does not run ruby3.4 yet. It runs python3.10 to")
    status, code, message = refusal(client.invoke, FunctionName=name)
    assert (status, code) == (409, "ResourceConflictException")
    assert "ruby3.4" in message
