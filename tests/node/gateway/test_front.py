"""HTTP as clients speak it: any request gets an answer in its service's form."""

import http.client
import json
import socket
import urllib.parse

import pytest
from botocore.exceptions import ClientError

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture
def ask(lambent):
    """Sends one plain HTTP request; status, headers and body."""

    def ask(method, path, body=None, **headers):
        address = urllib.parse.urlsplit(lambent.endpoint)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    return ask


def test_health_says_what_runs(ask, lambent):
    status, headers, body = ask("GET", "/_lambent/health")
    health = json.loads(body)
    assert (status, headers["content-type"], health["status"]) == (200, "application/json", "running")
    assert health["endpoint"] == lambent.endpoint
    assert set(health["services"]) == {"cloudwatch", "iam", "lambda", "logs", "s3", "sns", "sqs", "sts"}
    assert health["isolation"] in ("namespaces", "process")
    assert health["uptime_s"] >= 0


def test_reset_forgets_everything(lambent, make_function):
    lambent.client("logs").create_log_group(logGroupName="kept")
    lambent.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=TRUST)
    lambent.reset()
    assert lambent.client("logs").describe_log_groups()["logGroups"] == []
    assert lambent.client("iam").list_roles()["Roles"] == []
    name = make_function("def handler(event, context): return 'after'")
    answer = lambent.client("lambda").invoke(FunctionName=name)
    assert answer["Payload"].read() == b'"after"'


def test_a_node_that_keeps_data_does_not_reset(own_node, tmp_path):
    with own_node("--data-dir", str(tmp_path), ephemeral=False) as node, pytest.raises(Exception, match="403"):
        node.reset()


@pytest.mark.parametrize("path", ["/_lambent/", "/_lambent/nothing"])
def test_our_own_paths_are_never_a_services(ask, path):
    assert ask("GET", path)[0] == 404


def test_every_answer_has_a_request_id(ask):
    for method, path in (("GET", "/_lambent/health"), ("GET", "/2015-03-31/functions/"), ("GET", "/no/such/path")):
        assert len(ask(method, path)[1]["x-amzn-requestid"]) == 36


def test_an_unknown_rest_path_is_an_unknown_operation(ask):
    signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    status, headers, _body = ask("GET", "/2015-03-31/nothing-here", Authorization=signed)
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_an_unknown_json_operation_is_an_unknown_operation(ask):
    status, headers, body = ask(
        "POST", "/", b"{}", X_Amz_Target="Logs_20140328.NoSuchOperation", Content_Type="application/x-amz-json-1.1"
    )
    assert status in (400, 404)
    assert json.loads(body)["__type"] == "UnknownOperationException"
    assert headers["content-type"].startswith("application/x-amz-json-1.1")


def test_an_unknown_query_action_is_an_invalid_action(ask):
    body = b"Action=NoSuchAction&Version=2010-05-08"
    status, headers, answer = ask("POST", "/", body, Content_Type="application/x-www-form-urlencoded")
    assert (status, headers["content-type"].split(";")[0]) == (400, "text/xml")
    assert b"<Code>InvalidAction</Code>" in answer


def test_an_operation_that_is_not_there_yet_says_so(lambent):
    with pytest.raises(ClientError, match=r"lambda\.ListCapacityProviders is not supported by Lambent yet") as refused:
        lambent.client("lambda").list_capacity_providers()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_service_that_is_not_there_yet_says_so(lambent):
    with pytest.raises(ClientError, match="not supported by Lambent yet"):
        lambent.client("kinesis").list_streams()


def test_a_signature_without_credential_is_incomplete(ask):
    status, _headers, body = ask("GET", "/2015-03-31/functions/", Authorization="AWS4-HMAC-SHA256 Signature=0")
    assert status == 400
    assert b"Credential" in body


def test_accounts_and_regions_do_not_see_each_other(lambent):
    lambent.client("logs", access_key="111111111111").create_log_group(logGroupName="mine")
    assert lambent.client("logs").describe_log_groups(logGroupNamePrefix="mine")["logGroups"] == []
    other_region = lambent.client("logs", access_key="111111111111", region="eu-west-1")
    assert other_region.describe_log_groups(logGroupNamePrefix="mine")["logGroups"] == []
    mine = lambent.client("logs", access_key="111111111111")
    assert len(mine.describe_log_groups(logGroupNamePrefix="mine")["logGroups"]) == 1
    assert lambent.client("sts", access_key="111111111111").get_caller_identity()["Account"] == "111111111111"


def test_head_has_no_body(ask):
    status, headers, body = ask("HEAD", "/_lambent/health")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_a_page_of_this_machine_may_ask(ask):
    origin = "http://localhost:3000"
    status, headers, _body = ask(
        "OPTIONS", "/2015-03-31/functions/", Origin=origin, Access_Control_Request_Headers="authorization,x-amz-date"
    )
    assert (status, headers["access-control-allow-origin"]) == (204, origin)
    assert headers["access-control-allow-headers"] == "authorization,x-amz-date"
    status, headers, _body = ask("GET", "/2015-03-31/functions/", Origin=origin)
    assert (status, headers["access-control-allow-origin"]) == (200, origin)


def test_other_pages_may_not(ask):
    assert ask("GET", "/2015-03-31/functions/", Origin="https://example.com")[0] == 403
    assert ask("POST", "/_lambent/reset", Origin="https://example.com")[0] == 403


def test_a_function_request_that_is_too_large_is_refused_before_it_is_read(lambent):
    with pytest.raises(ClientError) as refused:
        lambent.client("lambda").create_function(
            FunctionName="large",
            Runtime="python3.11",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": b"0" * 53_000_000},
        )
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert error["Error"]["Code"] == "RequestEntityTooLargeException"
    assert error["Error"]["Message"] == "Request must be smaller than 70167211 bytes for the CreateFunction operation"


def test_a_declared_length_is_believed_before_anything_is_read(lambent):
    address = urllib.parse.urlsplit(lambent.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        head = b"POST /2015-03-31/functions/x/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n"
        client.sendall(head + b"0" * 7_000_000)
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"RequestTooLargeException" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"GET",
        b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_truncated_http_harms_nobody(lambent, ask, sent):
    address = urllib.parse.urlsplit(lambent.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
    assert ask("GET", "/_lambent/health")[0] == 200


def test_many_requests_on_one_connection(lambent):
    address = urllib.parse.urlsplit(lambent.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    for _ in range(50):
        connection.request("GET", "/2015-03-31/functions/")
        response = connection.getresponse()
        assert (response.status, "Functions" in json.loads(response.read())) == (200, True)
    connection.close()
