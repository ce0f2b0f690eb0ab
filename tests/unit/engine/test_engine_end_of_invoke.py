"""When an invocation is over: its runtime has answered, and asks for the next. Real runtimes, without walls.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle": the Invoke phase ends
when the runtime and all extensions have sent a Next request.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from extension_layers import in_a_loop

from lambent.engine.spec import FunctionSpec
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

# A runtime of a few lines: answers with the event's word, then does what it says before it asks again.
BOOTSTRAP = (
    f"#!{sys.executable} -IS"
    + """
import http.client, os, socket, sys, time

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
BASE = "/2018-06-01/runtime/invocation/"


def ask(method, path, body=None):
    connection.request(method, BASE + path, body)
    answer = connection.getresponse()
    return answer.headers, answer.read()


if os.environ.get("BROKEN"):
    connection.request("POST", "/2018-06-01/runtime/init/error", b'{"errorType": "E", "errorMessage": "it is broken"}',
                       {"Lambda-Runtime-Function-Error-Type": os.environ["BROKEN"]})
    sys.exit(connection.getresponse().status)

while True:
    headers, word = ask("GET", "next")
    ask("POST", headers["Lambda-Runtime-Aws-Request-Id"] + "/response", word)
    if word == b'"leave"':
        os._exit(3)
    if word == b'"stay"':
        time.sleep(60)
    if word.startswith(b'"/'):
        open(word.strip(b'"')).read()
        print("read it", flush=True)
"""
)

Make = Callable[..., FunctionSpec]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function of a custom runtime."""
    (tmp_path / "bootstrap").write_text(BOOTSTRAP)
    (tmp_path / "bootstrap").chmod(0o755)
    return lambda **fields: function(tmp_path, "any", runtime="provided.al2023", **fields)


async def report(engine: PlainEngine, request_id: str) -> str:
    """The REPORT line of an invocation, once it is there."""
    start = f"REPORT RequestId: {request_id}"
    await until(lambda: any(message.startswith(start) for message in engine.messages))
    return next(message for message in engine.messages if message.startswith(start))


@in_a_loop
async def test_the_caller_is_answered_while_the_runtime_still_works(make: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go_on")
    async with plain_engine() as engine:
        spec = make()
        word = json.dumps(str(tmp_path / "go_on")).encode()
        assert (await engine.invoke(spec, word, request_id="R1")).payload == word
        assert not any("REPORT" in message for message in engine.messages)
        assert (await engine.invoke(spec, b'"other"')).payload == b'"other"'  # of another environment: this one is busy
        assert engine.engine.environments == 2
        (tmp_path / "go_on").write_text("x")
        assert "Status" not in await report(engine, "R1")
        before = engine.messages[: engine.messages.index("END RequestId: R1\n")]
        assert "read it\n" in before  # what it wrote meanwhile is the invocation's


@in_a_loop
async def test_a_runtime_that_ends_after_its_answer_fails_its_own_invocation_not_the_next(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make()
        for turn in range(5):
            result = await engine.invoke(spec, b'"leave"', request_id=f"L{turn}")
            assert (result.payload, result.function_error) == (b'"leave"', None)
            result = await engine.invoke(spec, b'"stays"')
            assert (result.payload, result.function_error) == (b'"stays"', None)
            assert "Status: error\tError Type: Runtime.ExitError" in await report(engine, f"L{turn}")


@in_a_loop
async def test_a_runtime_that_does_not_ask_again_is_ended_by_the_timeout(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make(timeout_s=1)
        result = await engine.invoke(spec, b'"stay"', request_id="R1")
        assert (result.payload, result.function_error) == (b'"stay"', None)
        assert "Status: timeout" in await report(engine, "R1")
        assert (await engine.invoke(spec, b'"again"')).payload == b'"again"'


@in_a_loop
async def test_the_logs_tail_comes_with_the_answer_when_the_invocation_is_over(make: Make) -> None:
    async with plain_engine() as engine:
        result = await engine.invoke(make(), b'"leave"', request_id="R1", want_tail=True)
        assert (result.payload, result.function_error) == (b'"leave"', None)
        assert result.log_tail is not None
        assert b"REPORT RequestId: R1" in result.log_tail
        assert b"Error Type: Runtime.ExitError" in result.log_tail


@in_a_loop
async def test_one_caller_after_the_other_finds_the_same_environment_and_its_slot(make: Make) -> None:
    """A runtime asks again a moment after its answer: whoever had the answer and comes back at once starts no other."""
    async with plain_engine(concurrent_executions=1) as engine:
        spec = make()
        for number in range(8):  # of ten that one slot may take in a second
            assert (await engine.invoke(spec, number)).payload == b"%d" % number
        assert sum("INIT_START" in message for message in engine.messages) == 1


@in_a_loop
async def test_an_error_of_init_has_the_type_that_its_header_says(make: Make) -> None:
    async with plain_engine() as engine:
        result = await engine.invoke(make(environment={"BROKEN": "Runtime.NoSuchHandler"}), request_id="R1")
        assert json.loads(result.payload) == {"errorType": "E", "errorMessage": "it is broken"}
        shown = [message.split("\t", 1)[1] for message in engine.messages if message.startswith("INIT_REPORT")]
        failed = "Status: error\tError Type: Runtime.NoSuchHandler\n"
        assert shown == ["Phase: init\t" + failed, "Phase: invoke\t" + failed]
        assert (await report(engine, "R1")).endswith(failed)
