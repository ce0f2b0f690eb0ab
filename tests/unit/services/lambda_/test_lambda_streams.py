"""InvokeWithResponseStream, InvokeAsync and `run`, on an engine that answers at once."""

import asyncio
import base64

import pytest
from lambda_platform import ACCOUNT, CALLER, REGION, platform
from msgspec.structs import replace

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.aws.trace import shown
from lambent.engine.admission import throttled
from lambent.engine.spec import InvocationResult
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.services.lambda_ import run
from lambent.services.lambda_.model import FunctionKey
from lambent.testing import loop

FUNCTION = {"FunctionName": "fn"}
KEY = FunctionKey(ACCOUNT, REGION, "fn")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await lambda_.create()
            await scenario(lambda_)

    loop.run(main)


async def events(lambda_, **params):
    answer = await lambda_("InvokeWithResponseStream", **FUNCTION, **params)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    return [event async for event in answer["EventStream"]]


def test_the_stream_is_chunks_and_an_end(tmp_path):
    async def scenario(lambda_):
        assert await events(lambda_) == [{"PayloadChunk": {"Payload": b'"done"'}}, {"InvokeComplete": {}}]
        lambda_.engine.result = InvocationResult(payload=b'{"errorType":"E"}', function_error="E", log_tail=b"log")
        code, details, tail = "E", '{"errorType":"E"}', base64.b64encode(b"log").decode()
        assert await events(lambda_, LogType="Tail") == [
            {"InvokeComplete": {"ErrorCode": code, "ErrorDetails": details, "LogResult": tail}}
        ]
        assert lambda_.engine.invoked[-1][1].want_tail

    on_a_platform(tmp_path, scenario)


def test_details_that_are_no_text_are_shown_as_far_as_they_are(tmp_path):
    async def scenario(lambda_):
        lambda_.engine.result = InvocationResult(payload=b"\xff{", function_error="E")
        assert await events(lambda_) == [{"InvokeComplete": {"ErrorCode": "E", "ErrorDetails": "\ufffd{"}}]

    on_a_platform(tmp_path, scenario)


def test_the_answer_says_which_trace_it_belongs_to(tmp_path):
    async def scenario(lambda_):
        caller = replace(CALLER, trace_header=TRACE)
        shown = ("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
        for operation in ("Invoke", "InvokeWithResponseStream"):
            answer = await lambda_(operation, caller=caller, **FUNCTION)
            assert shown in answer[UNMODELLED_HEADERS]

    on_a_platform(tmp_path, scenario)


def test_a_trace_that_begins_here_is_as_any_other(tmp_path):
    async def scenario(lambda_):
        await lambda_("Invoke", **FUNCTION)
        begun = lambda_.engine.invoked[-1][1].trace_header
        root = begun.partition(";Sampled=0;")[0]
        await lambda_("Invoke", caller=replace(CALLER, trace_header=root), **FUNCTION)
        assert lambda_.engine.invoked[-1][1].trace_header == begun

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (TRACE, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"),
        ("Sampled=1;Root=1-0-0", "Root=1-0-0;Sampled=1"),
        ("Self=1-1-1;Root=1-0-0;Sampled=?", "Root=1-0-0;Sampled=0"),
        ("", "Root=;Sampled=0"),
        ("nonsense", "Root=;Sampled=0"),
    ],
)
def test_what_is_shown_of_a_trace(header, expected):
    assert shown(header) == expected


def test_a_dry_run_of_a_stream_runs_nothing(tmp_path):
    async def scenario(lambda_):
        assert await lambda_("InvokeWithResponseStream", **FUNCTION, InvocationType="DryRun") == {"StatusCode": 204}
        assert lambda_.engine.invoked == []

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("operation", ["InvokeWithResponseStream", "InvokeAsync"])
def test_requests_are_checked_as_those_of_invoke(tmp_path, operation):
    async def scenario(lambda_):
        member, most = ("InvokeArgs", 1_048_576) if operation == "InvokeAsync" else ("Payload", 6_291_456)
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:no"
        refused = await lambda_.refused(operation, FunctionName="no", **{member: b"{}"})
        assert refused == ("ResourceNotFoundException", f"Function not found: {arn}")
        code, message = await lambda_.refused(operation, **FUNCTION, **{member: b"{"})
        assert code == "InvalidRequestContentException"
        assert message.startswith("Could not parse request body into json: ")
        await lambda_(operation, **FUNCTION, **{member: b'"' + b"x" * (most - 2) + b'"'})
        assert await lambda_.refused(operation, **FUNCTION, **{member: b'"' + b"x" * (most - 1) + b'"'}) == (
            "RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the InvokeFunction operation",
        )
        await lambda_.create("slow", wait=False)
        assert await lambda_.refused(operation, FunctionName="slow", **{member: b"{}"}) == (
            "ResourceConflictException",
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        )

    on_a_platform(tmp_path, scenario, pending_s=5)


def test_invoke_async_keeps_an_event(tmp_path):
    async def scenario(lambda_):
        assert await lambda_("InvokeAsync", **FUNCTION, InvokeArgs=b"[1]") == {"Status": 202}
        assert lambda_.engine.invoked == []
        kept = lambda_.events.kept[0]
        assert kept[:4] == (Scope(ACCOUNT, REGION), KEY.arn(), None, b"[1]")

    on_a_platform(tmp_path, scenario)


def test_a_throttled_stream_is_refused_and_counted(tmp_path):
    async def scenario(lambda_):
        lambda_.engine.refusal = throttled("ConcurrentInvocationLimitExceeded")
        refused = await lambda_.refused("InvokeWithResponseStream", FunctionName="fn:$LATEST")
        assert refused == ("TooManyRequestsException", "Rate Exceeded.")
        assert ("Throttles", 1, {"FunctionName": "fn", "Resource": "fn:$LATEST"}) in lambda_.recorded
        lambda_.engine.refusal = ApiError("ServiceException", "The environment could not be started.")
        lambda_.recorded.clear()
        refused = await lambda_.refused("InvokeWithResponseStream", **FUNCTION)
        assert refused == ("ServiceException", "The environment could not be started.")
        assert [name for name, _value, _of in lambda_.recorded if name == "Throttles"] == []

    on_a_platform(tmp_path, scenario)


def test_a_weighted_alias_tells_the_engine_which_version_it_chose(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishVersion", **FUNCTION)
        await lambda_.settled("fn", "1")
        await lambda_.update(Description="two")
        await lambda_("PublishVersion", **FUNCTION)
        await lambda_.settled("fn", "2")
        members = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}
        await lambda_("CreateAlias", **FUNCTION, Name="both", **members)
        await lambda_("CreateAlias", **FUNCTION, Name="one", FunctionVersion="1")
        found = []
        for qualifier, sample in (("both", 0.4), ("both", 0.6), ("one", 0.4), ("1", 0.4), (None, 0.4)):
            lambda_.service.sample = lambda sample=sample: sample
            asked = run.Asked(key=KEY, qualifier=qualifier, payload=b"{}", request_id="r")
            answer = await run.run(lambda_.service, asked)
            streamed = await run.run_streaming(lambda_.service, asked)
            assert streamed.version == answer.version
            invocation = lambda_.engine.invoked[-1][1]
            assert invocation.qualifier == qualifier
            found.append((answer.version.version, invocation.executed_version))
        assert found == [("2", "2"), ("1", "1"), ("1", None), ("1", None), ("$LATEST", None)]

    on_a_platform(tmp_path, scenario)


def test_who_is_cancelled_before_the_first_byte_leaves_a_stream_that_keeps_nothing(tmp_path):
    async def scenario(lambda_):
        class Waiting:
            def __init__(self):
                self.started = asyncio.Event()

            def start(self, _spec, invocation):
                self.stream = invocation.stream
                self.started.set()
                return asyncio.get_running_loop().create_future()

        engine = lambda_.service.engine = Waiting()
        asked = run.Asked(key=KEY, qualifier=None, payload=b"{}", request_id="r")
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(run.run_streaming(lambda_.service, asked))
            await engine.started.wait()
            asking.cancel()
        engine.stream.write(b"late")
        assert [chunk async for chunk in engine.stream] == []

    on_a_platform(tmp_path, scenario)
