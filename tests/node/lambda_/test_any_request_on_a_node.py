"""Whatever arrives over HTTP is answered, never with a failure of ours, and the node lives on."""

import http.client
import json
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.node import operations_there
from lambent.testing.strategies import likely_requests

OPERATIONS = operations_there()["lambda"]
NAMES = st.sampled_from(["fn", "fn", "nobody", "arn:aws:lambda:us-east-1:000000000000:function:fn", "fn:1", "%2F", "ü"])
LIKELY = {
    "FunctionName": NAMES,
    "Qualifier": st.sampled_from(["$LATEST", "1", "live", "%24LATEST"]),
    "Payload": st.sampled_from([b"", b"{}", b"{", b"\xff"]),
    "InvocationType": st.sampled_from(["RequestResponse", "Event", "DryRun"]),
    "LayerName": st.sampled_from(["shared", "nobody"]),
    "Name": st.sampled_from(["live", "next"]),
    "Timeout": st.integers(1, 901),
    "Layers": st.just([]),
}

PARTS = ["2015-03-31", "2018-10-31", "2021-10-31", "functions", "layers", "fn", "versions", "aliases", "invocations"]
PARTS += ["url", "policy", "concurrency", "1", "%00", "..", "", "arn:aws:lambda:us-east-1:000000000000:function:fn"]


@pytest.fixture(scope="module")
def client(lambent):
    lambent.reset()
    yield boto3.Session().client(
        "lambda",
        endpoint_url=lambent.endpoint,
        region_name="us-east-1",
        aws_access_key_id="000000000000",
        aws_secret_access_key="lambent",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    lambent.reset()


@pytest.fixture
def furnished(client, zipped):
    """The function `fn`, whatever the last test did to it."""
    code = {"ZipFile": zipped(app="def handler(event, context): return event")}
    try:
        client.create_function(
            FunctionName="fn",
            Runtime="python3.11",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code=code,
        )
    except client.exceptions.ResourceConflictException:
        return client
    client.get_waiter("function_active_v2").wait(FunctionName="fn", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
    return client


def is_alive(node):
    with urllib.request.urlopen(f"{node.endpoint}/_lambent/health") as response:
        return json.load(response)["status"] == "running"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_generated_parameters_are_answered(furnished, lambent, operation):
    statuses = []

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(params=likely_requests("lambda", operation, LIKELY))
    def ask(params):
        try:
            answer = getattr(furnished, xform_name(operation))(**params)
            statuses.append(answer["ResponseMetadata"]["HTTPStatusCode"])
        except ClientError as error:
            statuses.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
            said = error.response["Error"]
            assert said["Code"] not in ("ServiceException", "InternalFailure", "Unknown"), said
        except ParamValidationError:
            pass  # what the client itself does not send

    ask()
    assert all(200 <= status < 500 or status in (501, 502) for status in statuses)
    assert is_alive(lambent)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    path=st.lists(
        st.sampled_from(PARTS),
        max_size=6,
    ),
    query=st.sampled_from(["", "?", "?Qualifier=", "?MaxItems=x", "?Marker=%ff", "?a=b&a=c", "?find=LayerVersion"]),
    body=st.binary(max_size=40) | st.sampled_from([b"{}", b"[]", b"null", b'{"FunctionName": 1}', b"[" * 5000]),
)
def test_any_bytes_at_any_path_are_answered(lambent, method, path, query, body):
    address = urllib.parse.urlsplit(lambent.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/lambda/aws4_request"}
    connection.request(method, f"/{'/'.join(path)}{query}", body=body, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status < 500 or response.status == 501
