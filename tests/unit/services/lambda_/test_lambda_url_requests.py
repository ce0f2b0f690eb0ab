"""What a request to a function URL does, without sockets."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from lambda_platform import ACCOUNT, REGION, platform
from msgspec.structs import replace

from lambent.aws import sigv4
from lambent.aws.errors import ApiError
from lambent.engine.spec import InvocationResult
from lambent.protocol.http import CutOffError, HttpRequest, UrlTarget
from lambent.testing.loop import run

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
KEY = sigv4.Key(access_key=ACCOUNT, secret_key="any")


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await lambda_.create()
            await scenario(lambda_)

    run(main)


async def make_url(lambda_, name="fn", *, auth_type="NONE", allowed=True, **members):
    made = await lambda_("CreateFunctionUrlConfig", FunctionName=name, AuthType=auth_type, **members)
    if allowed:
        await allow(lambda_, name, auth_type)
    return made["FunctionUrl"].removeprefix("http://").partition(".")[0]


async def allow(lambda_, name="fn", auth_type="NONE", principal="*", *, both=True):
    first = {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": auth_type}
    await lambda_("AddPermission", FunctionName=name, Principal=principal, **first)
    if both:
        second = {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}
        await lambda_("AddPermission", FunctionName=name, Principal=principal, **second)


def request(url_id, method="GET", path="/", *, query="", body=b"", **headers):
    host = f"{url_id}.lambda-url.{REGION}.localhost:4566"
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HttpRequest(method, path, query, named, body, client="10.1.2.3")


async def ask(lambda_, asked, *, region=REGION, path=None):
    url_id = asked.headers["host"].partition(".")[0]
    return await lambda_.service.url_page(UrlTarget(url_id, region, path or asked.path), asked, "request-id")


def event_of(lambda_):
    return json.loads(lambda_.engine.invoked[-1][1].payload)


def signed(asked, lambda_, **changes):
    at = datetime.fromtimestamp(lambda_.clock.now(), UTC)
    terms = {"region": REGION, "service": "lambda", "at": at} | changes
    return replace(asked, headers={**asked.headers, **sigv4.sign(asked, KEY, **terms)})


def forbidden(response):
    assert (response.status, json.loads(response.body)) == (403, {"Message": FORBIDDEN})
    assert ("x-amzn-ErrorType", "AccessDeniedException") in response.headers
    return True


def test_a_request_runs_the_function_with_its_event(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)
        response = await ask(lambda_, request(url_id, "POST", "/a", query="x=1", body=b"hi", content_type="text/plain"))
        assert (response.status, response.body) == (200, b"done")
        event = event_of(lambda_)
        assert (event["rawPath"], event["rawQueryString"], event["body"]) == ("/a", "x=1", "hi")
        context = event["requestContext"]
        assert (context["accountId"], context["apiId"], context["requestId"]) == ("anonymous", url_id, "request-id")
        assert context["domainName"] == f"{url_id}.lambda-url.{REGION}.localhost"
        assert (context["domainPrefix"], context["http"]["sourceIp"]) == (url_id, "10.1.2.3")
        headers = event["headers"]
        assert headers["x-forwarded-for"] == "10.1.2.3"
        assert (headers["x-forwarded-port"], headers["x-forwarded-proto"]) == ("4566", "http")
        assert headers["x-amzn-trace-id"].startswith("Root=1-")
        invocation = lambda_.engine.invoked[-1][1]
        assert (invocation.request_id, invocation.qualifier) == ("request-id", None)
        assert headers["x-amzn-trace-id"] in invocation.trace_header

    on_a_platform(tmp_path, scenario)


def test_by_path_the_function_sees_the_same(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)
        by_path = HttpRequest("GET", f"/_lambent/url/{url_id}/rest", "", {"host": "127.0.0.1:4566"}, b"")
        response = await lambda_.service.url_page(UrlTarget(url_id, None, "/rest"), by_path, "request-id")
        assert response.status == 200
        event = event_of(lambda_)
        assert (event["rawPath"], event["requestContext"]["http"]["path"]) == ("/rest", "/rest")
        assert event["requestContext"]["domainName"] == f"{url_id}.lambda-url.{REGION}.localhost"

    on_a_platform(tmp_path, scenario)


def test_an_unknown_url_or_one_of_another_region_is_not_found(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)
        for asked, region in ((request("0" * 32), REGION), (request(url_id), "us-east-1")):
            response = await ask(lambda_, asked, region=region)
            assert response.status == 404
            assert json.loads(response.body)["message"].startswith("There is no function URL with the id ")
        assert lambda_.engine.invoked == []

    on_a_platform(tmp_path, scenario)


def test_without_both_permissions_nobody_gets_in(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, allowed=False)
        assert forbidden(await ask(lambda_, request(url_id)))
        await allow(lambda_, both=False)
        assert forbidden(await ask(lambda_, request(url_id)))
        await lambda_(
            "AddPermission", FunctionName="fn", StatementId="both", Principal="*", Action="lambda:InvokeFunction"
        )
        assert (await ask(lambda_, request(url_id))).status == 200
        await lambda_("RemovePermission", FunctionName="fn", StatementId="url")
        assert forbidden(await ask(lambda_, request(url_id)))
        assert len(lambda_.engine.invoked) == 1

    on_a_platform(tmp_path, scenario, function_url_permissions="both")


def test_where_one_permission_is_enough_the_answer_says_that_aws_wants_two(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, allowed=False)
        await allow(lambda_, both=False)
        answer = await ask(lambda_, request(url_id))
        assert answer.status == 200
        assert "lambda:InvokeFunction" in dict(answer.headers)["x-lambent-warning"]
        both = {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}
        await lambda_("AddPermission", FunctionName="fn", Principal="*", **both)
        assert "x-lambent-warning" not in dict((await ask(lambda_, request(url_id))).headers)

    on_a_platform(tmp_path, scenario)


def test_an_aliass_url_has_the_aliass_policy_and_runs_its_version(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishVersion", FunctionName="fn")
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        url_id = await make_url(lambda_, "fn:live", allowed=False)
        await allow(lambda_, "fn")
        assert forbidden(await ask(lambda_, request(url_id)))
        await allow(lambda_, "fn:live")
        assert (await ask(lambda_, request(url_id))).status == 200
        spec, invocation = lambda_.engine.invoked[-1]
        assert (spec.version, invocation.qualifier) == ("1", "live")

    on_a_platform(tmp_path, scenario)


def test_with_aws_iam_the_accounts_own_signature_opens(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, auth_type="AWS_IAM", allowed=False)
        await allow(lambda_, auth_type="AWS_IAM", principal=ACCOUNT)
        response = await ask(lambda_, signed(request(url_id), lambda_))
        assert response.status == 200
        context = event_of(lambda_)["requestContext"]
        assert context["accountId"] == ACCOUNT
        assert context["authorizer"] == {
            "iam": {
                "accessKey": ACCOUNT,
                "accountId": ACCOUNT,
                "callerId": ACCOUNT,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": f"arn:aws:iam::{ACCOUNT}:root",
                "userId": ACCOUNT,
            }
        }

    on_a_platform(tmp_path, scenario)


def test_with_aws_iam_every_other_request_is_refused(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, auth_type="AWS_IAM", allowed=False)
        await allow(lambda_, auth_type="AWS_IAM", principal="999999999999")
        plain = request(url_id)
        stranger = sigv4.Key(access_key="888888888888", secret_key="any")
        at = datetime.fromtimestamp(lambda_.clock.now(), UTC)
        headers = sigv4.sign(plain, stranger, region=REGION, service="lambda", at=at)
        assert forbidden(await ask(lambda_, replace(plain, headers={**plain.headers, **headers})))
        assert forbidden(await ask(lambda_, plain))
        bearer = request(url_id, authorization="Bearer Credential=x, Signature=y")
        assert forbidden(await ask(lambda_, bearer))
        cut_short = request(url_id, authorization="AWS4-HMAC-SHA256 Credential=x")
        of_elsewhere = [signed(plain, lambda_, region="us-east-1"), signed(plain, lambda_, service="s3")]
        for asked in (cut_short, *of_elsewhere, signed(plain, lambda_, at=datetime(2026, 1, 1, tzinfo=UTC))):
            response = await ask(lambda_, asked)
            assert (response.status, list(json.loads(response.body))) == (403, ["message"])
        assert lambda_.engine.invoked == []

    on_a_platform(tmp_path, scenario)


def test_a_signature_is_of_its_time_also_when_ours_was_moved(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, auth_type="AWS_IAM", allowed=False)
        await allow(lambda_, auth_type="AWS_IAM", principal=ACCOUNT)
        asked = signed(request(url_id), lambda_)
        await lambda_.clock.advance(86_400)
        assert (await ask(lambda_, asked)).status == 200

    on_a_platform(tmp_path, scenario)


def test_a_failed_function_is_a_502(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)
        for result in (
            InvocationResult(payload=b'{"errorType": "Exception"}', function_error="Unhandled"),
            InvocationResult(payload=b'{"statusCode": "nothing"}'),
            InvocationResult(payload=b'{"statusCode": 200, "body": {}}'),
        ):
            lambda_.engine.result = result
            response = await ask(lambda_, request(url_id))
            assert (response.status, response.body) == (502, b"Internal Server Error")

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ApiError("TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded"), 429),
        (ApiError("ResourceConflictException", "Pending"), 409),
        (ApiError("RecursiveInvocationException", "loop"), 400),
        (ApiError("ServiceException", "the disk is full"), 502),
    ],
)
def test_what_keeps_a_function_from_running_has_its_status(tmp_path, error, status):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)

        async def refuse(spec, invocation):
            raise error

        lambda_.engine.invoke = refuse
        response = await ask(lambda_, request(url_id))
        assert response.status == status
        if status == 502:
            assert response.body == b"Internal Server Error"
        else:
            expected = {"Type": "User", "message": error.message, **error.members}
            assert json.loads(response.body) == expected

    on_a_platform(tmp_path, scenario)


def test_an_event_of_6_mb_passes_and_one_byte_more_does_not(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)

        def of(size):
            return request(url_id, "POST", body=b"x" * size, content_type="text/plain", x_amzn_trace_id="Root=1-0-0")

        await ask(lambda_, of(0))
        around = len(lambda_.engine.invoked[-1][1].payload) + len('"body":"",')
        assert (await ask(lambda_, of(6_291_456 - around))).status == 200
        assert len(lambda_.engine.invoked[-1][1].payload) == 6_291_456
        response = await ask(lambda_, of(6_291_456 - around + 1))
        assert response.status == 413
        assert json.loads(response.body) == {
            "Type": "User",
            "message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        }

    on_a_platform(tmp_path, scenario)


def test_with_cors_the_platform_answers_preflights_and_without_it_the_function(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, allowed=False, Cors={"AllowOrigins": ["https://a"], "AllowMethods": ["GET"]})
        asked = request(url_id, "OPTIONS", origin="https://a", access_control_request_method="GET")
        response = await ask(lambda_, asked)
        assert (response.status, response.body) == (200, b"")
        assert dict(response.headers)["access-control-allow-methods"] == "GET"
        refused = await ask(lambda_, request(url_id, origin="https://a"))
        assert dict(refused.headers)["access-control-allow-origin"] == "https://a"
        assert lambda_.engine.invoked == []
        await allow(lambda_)
        await lambda_("UpdateFunctionUrlConfig", FunctionName="fn", Cors={})
        lambda_.engine.result = InvocationResult(
            payload=b'{"statusCode": 204, "headers": {"Access-Control-Allow-Origin": "*"}}'
        )
        response = await ask(lambda_, asked)
        assert response.status == 204
        assert dict(response.headers)["access-control-allow-origin"] == "*"
        assert event_of(lambda_)["requestContext"]["http"]["method"] == "OPTIONS"

    on_a_platform(tmp_path, scenario)


def test_requests_and_their_errors_are_counted(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_)

        async def names_after(payload):
            lambda_.recorded.clear()
            lambda_.engine.result = InvocationResult(payload=payload)
            await ask(lambda_, request(url_id))
            of = {"FunctionName": "fn", "Resource": "fn:$LATEST"}
            return [name for name, _value, dimensions in lambda_.recorded if dimensions == of]

        assert await names_after(b"1") == ["UrlRequestCount", "UrlRequestLatency"]
        everywhere = [{}, {"FunctionName": "fn"}, {"FunctionName": "fn", "Resource": "fn:$LATEST"}]
        assert [entry for entry in lambda_.recorded if entry[0] == "UrlRequestCount"] == [
            ("UrlRequestCount", 1, dimensions) for dimensions in everywhere
        ]
        assert await names_after(b'{"statusCode": 404}') == ["UrlRequestCount", "Url4xxError", "UrlRequestLatency"]
        assert await names_after(b'{"statusCode": 1}') == ["UrlRequestCount", "Url5xxError", "UrlRequestLatency"]
        await lambda_("RemovePermission", FunctionName="fn", StatementId="url")
        assert await names_after(b"1") == ["UrlRequestCount", "Url4xxError", "UrlRequestLatency"]

    on_a_platform(tmp_path, scenario)


def test_an_aliass_two_versions_are_counted_apart(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishVersion", FunctionName="fn")
        await lambda_.update(Timeout=9)
        await lambda_("PublishVersion", FunctionName="fn")
        routing = {"AdditionalVersionWeights": {"2": 1.0}}
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1", RoutingConfig=routing)
        url_id = await make_url(lambda_, "fn:live")
        await ask(lambda_, request(url_id))
        of = {"FunctionName": "fn", "Resource": "fn:live", "ExecutedVersion": "2"}
        assert ("UrlRequestCount", 1, of) in lambda_.recorded

    on_a_platform(tmp_path, scenario)


# --- streams


def streaming(lambda_):
    """The stream of the next invocation, and the future of its result, once it has started."""
    started = asyncio.get_running_loop().create_future()

    def start(spec, invocation):
        result = asyncio.get_running_loop().create_future()
        started.set_result((invocation.stream, result))
        return result

    lambda_.engine.start = start
    return started


async def open_stream(lambda_, *chunks, content_type="text/plain"):
    """The response, once these chunks have been written; the stream and the result's future."""
    url_id = await make_url(lambda_, InvokeMode="RESPONSE_STREAM")
    started = streaming(lambda_)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(ask(lambda_, request(url_id)))
        stream, result = await started
        stream.begin(content_type)
        for chunk in chunks:
            stream.write(chunk)
            await asyncio.sleep(0)
        response = await asked
    lambda_.recorded.clear()
    return response, stream, result


def counted(lambda_):
    return [name for name, _value, dimensions in lambda_.recorded if not dimensions]


def test_a_prelude_in_pieces_is_the_head_and_the_rest_the_body(tmp_path):
    async def scenario(lambda_):
        kind = "application/vnd.awslambda.http-integration-response"
        pieces = (b'{"statusCode":', b" 404}\0\0\0", b"\0\0\0\0\0first")
        response, stream, result = await open_stream(lambda_, *pieces, content_type=kind)
        assert (response.status, dict(response.headers)["content-type"]) == (404, "application/octet-stream")
        stream.write(b"second")
        result.set_result(InvocationResult(payload=b""))
        stream.end()
        assert [chunk async for chunk in response.chunks] == [b"first", b"second"]
        assert counted(lambda_) == ["UrlRequestCount", "Url4xxError", "UrlRequestLatency"]

    on_a_platform(tmp_path, scenario)


def test_a_failure_in_the_middle_cuts_the_answer_off(tmp_path):
    async def scenario(lambda_):
        response, stream, result = await open_stream(lambda_, b"half")
        assert response.status == 200
        result.set_result(InvocationResult(payload=b"{}", function_error="Unhandled"))
        stream.end()
        assert await anext(response.chunks) == b"half"
        with pytest.raises(CutOffError):
            await anext(response.chunks)
        assert counted(lambda_) == ["UrlRequestCount", "Url5xxError", "UrlRequestLatency"]

    on_a_platform(tmp_path, scenario)


def test_a_client_that_goes_away_leaves_the_function_running(tmp_path):
    async def scenario(lambda_):
        response, stream, _result = await open_stream(lambda_, b"some")
        await response.chunks.aclose()
        await response.chunks.aclose()
        assert counted(lambda_) == ["UrlRequestCount", "UrlRequestLatency"]
        for _turn in range(100):
            stream.write(b"x" * 1_000_000)  # kept nowhere
        assert [chunk async for chunk in stream] == []

    on_a_platform(tmp_path, scenario)


def test_an_answer_of_nothing_is_empty_and_a_failure_before_it_is_a_502(tmp_path):
    async def scenario(lambda_):
        url_id = await make_url(lambda_, InvokeMode="RESPONSE_STREAM")

        async def answered(result):
            def start(spec, invocation):
                future = asyncio.get_running_loop().create_future()
                future.set_result(result)
                invocation.stream.end()
                return future

            lambda_.engine.start = start
            response = await ask(lambda_, request(url_id))
            chunks = [chunk async for chunk in response.chunks] if response.chunks else None
            return response.status, response.body, chunks

        assert await answered(InvocationResult(payload=b"")) == (200, b"", [])
        failed = InvocationResult(payload=b"{}", function_error="Unhandled")
        assert await answered(failed) == (502, b"Internal Server Error", None)

    on_a_platform(tmp_path, scenario)
