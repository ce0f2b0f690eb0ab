import base64

import pytest
from lambda_platform import ACCOUNT, ARN, CALLER, REGION, platform
from msgspec.structs import replace

from lambent.aws.caller import Caller, Scope
from lambent.engine.spec import InvocationResult
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.testing.loop import run

FUNCTION = {"FunctionName": "fn"}


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await lambda_.create()
            await scenario(lambda_)

    run(main)


def test_an_invocation_answers_what_the_function_answered(tmp_path):
    async def scenario(lambda_):
        context = base64.b64encode(b'{"custom":{}}').decode()
        answer = await lambda_("Invoke", **FUNCTION, Payload=b'{"a":1}', ClientContext=context)
        assert [name for name, _value in answer.pop(UNMODELLED_HEADERS)] == [
            "x-amzn-Remapped-Content-Length",
            "X-Amzn-Trace-Id",
        ]
        assert answer == {"StatusCode": 200, "Payload": b'"done"', "ExecutedVersion": "$LATEST"}
        spec, invocation = lambda_.engine.invoked[0]
        assert (spec.arn, spec.version, spec.handler, spec.memory_mb) == (ARN, "$LATEST", "app.handler", 128)
        assert (invocation.payload, invocation.request_id, invocation.invoked_arn) == (b'{"a":1}', "the-request", ARN)
        assert invocation.client_context == '{"custom":{}}'
        assert not invocation.want_tail

    on_a_platform(tmp_path, scenario)


def test_the_trace_header_reaches_the_function(tmp_path):
    async def scenario(lambda_):
        caller = replace(CALLER, trace_header="Root=1-0-0;Sampled=1")
        await lambda_("Invoke", caller=caller, **FUNCTION)
        assert lambda_.engine.invoked[0][1].trace_header.startswith("Root=1-0-0;Sampled=1;Lineage=")

    on_a_platform(tmp_path, scenario)


def test_a_functions_error_and_its_log_come_with_status_200(tmp_path):
    async def scenario(lambda_):
        lambda_.engine.result = InvocationResult(payload=b"{}", function_error="Unhandled", log_tail=b"the log")
        answer = await lambda_("Invoke", **FUNCTION, LogType="Tail")
        assert answer["FunctionError"] == "Unhandled"
        assert base64.b64decode(answer["LogResult"]) == b"the log"
        assert lambda_.engine.invoked[0][1].want_tail

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("params", [{}, {"Payload": b""}])
def test_no_payload_is_an_empty_object(tmp_path, params):
    async def scenario(lambda_):
        await lambda_("Invoke", **FUNCTION, **params)
        assert lambda_.engine.invoked[0][1].payload == b"{}"

    on_a_platform(tmp_path, scenario)


def test_a_dry_run_runs_nothing(tmp_path):
    async def scenario(lambda_):
        assert await lambda_("Invoke", **FUNCTION, InvocationType="DryRun") == {"StatusCode": 204, "Payload": b""}
        assert lambda_.engine.invoked == []

    on_a_platform(tmp_path, scenario)


def test_an_event_is_kept_with_the_qualifier_that_was_asked_for(tmp_path):
    async def scenario(lambda_):
        await lambda_("CreateAlias", **FUNCTION, Name="live", FunctionVersion="$LATEST")
        answer = await lambda_("Invoke", FunctionName="fn:live", InvocationType="Event", Payload=b"[]")
        assert answer == {"StatusCode": 202, "Payload": b""}
        assert lambda_.events.kept == [(Scope(ACCOUNT, REGION), ARN, "live", b"[]", "the-request")]
        assert lambda_.engine.invoked == []

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(("kind", "most"), [("RequestResponse", 6_291_456), ("Event", 1_048_576)])
def test_a_payload_at_the_limit_passes_and_one_byte_more_does_not(tmp_path, kind, most):
    async def scenario(lambda_):
        fits = b'"' + b"x" * (most - 2) + b'"'
        assert (await lambda_("Invoke", **FUNCTION, InvocationType=kind, Payload=fits))["StatusCode"] < 300
        assert await lambda_.refused("Invoke", **FUNCTION, InvocationType=kind, Payload=fits + b" ") == (
            "RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the InvokeFunction operation",
        )

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("not base64!", "Client context must be a valid Base64-encoded JSON object."),
        (base64.b64encode(b"[]").decode(), "Client context must be a valid Base64-encoded JSON object."),
        ("A" * 3584, "ClientContext has 3584 bytes; Lambda allows 3583."),
    ],
)
def test_a_client_context_that_is_none_is_refused(tmp_path, context, message):
    async def scenario(lambda_):
        refusal = await lambda_.refused("Invoke", **FUNCTION, ClientContext=context)
        assert refusal == ("InvalidRequestContentException", message)

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    "name", ["fn", "fn:$LATEST", f"{ACCOUNT}:function:fn", f"{ACCOUNT}:function:fn:$LATEST", ARN, f"{ARN}:$LATEST"]
)
def test_each_form_of_the_name_is_understood(tmp_path, name):
    async def scenario(lambda_):
        assert (await lambda_("Invoke", FunctionName=name))["StatusCode"] == 200

    on_a_platform(tmp_path, scenario)


def test_a_missing_function_or_version_is_not_found(tmp_path):
    async def scenario(lambda_):
        assert await lambda_.refused("Invoke", FunctionName="no") == (
            "ResourceNotFoundException",
            f"Function not found: {ARN.replace(':fn', ':no')}",
        )
        assert await lambda_.refused("Invoke", **FUNCTION, Qualifier="7", Payload=b"no json") == (
            "ResourceNotFoundException",
            f"Function not found: {ARN}:7",
        )

    on_a_platform(tmp_path, scenario)


def test_tags_are_added_replaced_and_removed(tmp_path):
    async def scenario(lambda_):
        assert await lambda_("ListTags", Resource=ARN) == {"Tags": {}}
        await lambda_("TagResource", Resource=ARN, Tags={"a": "1", "b": "2"})
        await lambda_("TagResource", Resource=ARN, Tags={"b": "3"})
        await lambda_("UntagResource", Resource=ARN, TagKeys=["a", "nothing"])
        assert await lambda_("ListTags", Resource=ARN) == {"Tags": {"b": "3"}}
        assert (await lambda_("GetFunction", **FUNCTION))["Tags"] == {"b": "3"}
        await lambda_("TagResource", Resource=ARN, Tags={f"{n}": "" for n in range(49)})
        assert await lambda_.refused("TagResource", Resource=ARN, Tags={"one more": ""}) == (
            "InvalidParameterValueException",
            "Number of tags exceeds resource tag limit.",
        )
        assert await lambda_.refused("ListTags", Resource=f"{ARN}:1") == (
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )

    on_a_platform(tmp_path, scenario)


def test_account_settings_count_what_is_there(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishVersion", **FUNCTION)
        size = (await lambda_("GetFunctionConfiguration", **FUNCTION))["CodeSize"]
        answer = await lambda_("GetAccountSettings")
        assert answer["AccountUsage"] == {"TotalCodeSize": 2 * size, "FunctionCount": 1}
        assert answer["AccountLimit"] == {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": 77,
            "UnreservedConcurrentExecutions": 77,
        }
        assert (await lambda_("GetAccountSettings", caller=Caller()))["AccountUsage"]["FunctionCount"] == 0

    on_a_platform(tmp_path, scenario, concurrent_executions=77)


def test_what_deployment_tools_ask_after_a_creation_has_an_answer(tmp_path):
    async def scenario(lambda_):
        assert await lambda_.refused("GetPolicy", **FUNCTION) == (
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )
        assert await lambda_("GetFunctionCodeSigningConfig", **FUNCTION) == {"FunctionName": "fn"}
        assert await lambda_("GetFunctionConcurrency", **FUNCTION) == {}
        management = await lambda_("GetRuntimeManagementConfig", **FUNCTION)
        assert management == {"UpdateRuntimeOn": "Auto", "FunctionArn": ARN}
        for operation in ("GetPolicy", "GetFunctionCodeSigningConfig", "GetFunctionConcurrency"):
            code, message = await lambda_.refused(operation, FunctionName="no")
            assert (code, message) == ("ResourceNotFoundException", f"Function not found: {ARN.replace(':fn', ':no')}")
        assert CALLER.region == REGION

    on_a_platform(tmp_path, scenario)
