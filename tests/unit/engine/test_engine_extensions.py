"""Real extensions beside real runtimes, without walls."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extension_layers import PRELUDE, in_a_loop, layer

from lambent.engine.spec import FunctionSpec
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
import os, time

print("loaded")


def echo(event, context):
    print("handles", event)
    return event


def sleep(event, context):
    time.sleep(60)


def leave(event, context):
    os._exit(event)
"""
FOLLOW = """
say("starts")
say("registered", register("INVOKE", "SHUTDOWN"))
while True:
    event = next_event()
    say(event["eventType"], event.get("requestId") or event["shutdownReason"])
    if event["eventType"] == "SHUTDOWN":
        break
"""

INSIDE = """
say("inside SHUTDOWN", register("SHUTDOWN", name="inside")[0])
register("INVOKE", name="inside")


def follow():
    while True:
        print(f"inside INVOKE {next_event()['requestId']}")


threading.Thread(target=follow, daemon=True).start()


def handler(event, context):
    if event != "late":
        return event
    late = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    late.request("POST", "/2020-01-01/extension/register", "{}", {"Lambda-Extension-Name": "late"})
    return late.getresponse().status
"""

Make = Callable[..., FunctionSpec]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function with a layer of extensions."""

    def make(handler: str = "echo", extensions: dict[str, str] | None = None, **fields: Any) -> FunctionSpec:
        (tmp_path / "app.py").write_text(CODE)
        folder = layer(tmp_path / "layer", **(extensions or {}))
        return function(tmp_path, f"app.{handler}", layer_dirs=(folder,), **fields)

    return make


async def lines(engine: PlainEngine, *words: str) -> list[int]:
    """Where in the log a line with each of these texts is, once all are there."""
    await until(lambda: all(any(word in message for message in engine.messages) for word in words))
    return [next(at for at, message in enumerate(engine.messages) if word in message) for word in words]


@in_a_loop
async def test_an_extension_registers_before_the_runtime_starts_and_follows_invocations_to_the_end(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make(extensions={"follow": FOLLOW})
        result = await engine.invoke(spec, 1, request_id="R1")
        assert (result.payload, result.function_error) == (b"1", None)
        await lines(engine, "REPORT RequestId: R1")  # from then on the environment is free
        assert (await engine.invoke(spec, 2, request_id="R2")).payload == b"2"
        await engine.engine.retire(spec.arn)
        order = await lines(
            engine, "follow starts", "loaded",
            "EXTENSION\tName: follow\tState: Ready\tEvents: [INVOKE, SHUTDOWN]",
            "follow INVOKE R1", "follow INVOKE R2", "follow SHUTDOWN SPINDOWN",
        )  # fmt: skip
        assert order == sorted(order)
        registered = next(message for message in engine.messages if message.startswith("follow registered (200,"))
        assert "'functionName': 'f', 'functionVersion': '$LATEST', 'handler': 'app.echo'" in registered
        assert "accountId" not in registered
        await until(lambda: engine.engine.environments == 0)


@in_a_loop
async def test_the_caller_is_answered_at_once_and_the_phase_ends_when_every_extension_asks_for_next(
    make: Make, tmp_path: Path
) -> None:
    slow = f"""
register("INVOKE")
next_event()
say("works on")
with open({str(tmp_path / "go_on")!r}) as go_on:
    go_on.read()
say("is done")
next_event()
"""
    os.mkfifo(tmp_path / "go_on")
    async with plain_engine() as engine:
        spec = make(extensions={"slow": slow})
        assert (await engine.invoke(spec, 1, request_id="R1")).payload == b"1"
        assert not any("REPORT" in message for message in engine.messages)
        (tmp_path / "go_on").write_text("x")
        await lines(engine, "slow works on", "slow is done", "REPORT RequestId: R1")


@in_a_loop
async def test_an_invocation_ends_by_its_timeout_when_an_extension_does_not_ask_again(make: Make) -> None:
    stuck = "register('INVOKE', 'SHUTDOWN'); next_event(); event = next_event() if 0 else time.sleep(60)"
    async with plain_engine() as engine:
        spec = make(extensions={"stuck": stuck}, timeout_s=1)
        assert (await engine.invoke(spec, 1, request_id="R1")).payload == b"1"
        await lines(engine, "REPORT RequestId: R1")
        assert "Status: timeout" in next(message for message in engine.messages if "REPORT" in message)


@pytest.mark.parametrize(
    ("handler", "event", "reason", "error"),
    [("sleep", None, "TIMEOUT", "Sandbox.Timedout"), ("leave", 3, "FAILURE", "Runtime.ExitError")],
)
@in_a_loop
async def test_extensions_are_told_of_a_timeout_and_of_a_crash(
    make: Make, handler: str, event: Any, reason: str, error: str
) -> None:
    async with plain_engine() as engine:
        spec = make(handler, {"follow": FOLLOW}, timeout_s=1)
        result = await engine.invoke(spec, event)
        assert json.loads(result.payload)["errorType"] == error
        await lines(engine, f"follow SHUTDOWN {reason}")


@in_a_loop
async def test_an_extension_that_ends_in_init_fails_it_and_the_second_try_too(make: Make) -> None:
    async with plain_engine() as engine:
        result = await engine.invoke(make(extensions={"broken": "sys.exit(7)"}), request_id="R1")
        assert result.function_error == "Unhandled"
        assert json.loads(result.payload) == {
            "errorType": "Extension.Crash",
            "errorMessage": "RequestId: R1 Error: exit code 7",
        }
        reports = [message for message in engine.messages if message.startswith("INIT_REPORT")]
        assert [report.split("\t", 1)[1] for report in reports] == [
            "Phase: init\tStatus: error\tError Type: Extension.Crash\n",
            "Phase: invoke\tStatus: error\tError Type: Extension.Crash\n",
        ]


@in_a_loop
async def test_an_init_error_that_an_extension_tells_fails_init(make: Make) -> None:
    source = "register(); say(fail('init', 'Extension.NoConfig')); next_event()"
    async with plain_engine() as engine:
        result = await engine.invoke(make(extensions={"honest": source}))
        assert json.loads(result.payload)["errorType"] == "Extension.InitError"
        assert "EXTENSION\tName: honest\tState: Failed\tEvents: []\tError Type: Extension.NoConfig\n" in engine.messages


@in_a_loop
async def test_an_extension_that_ends_between_invocations_ends_the_environment(make: Make) -> None:
    source = "register('INVOKE'); next_event(); fail('exit', 'Extension.Tired'); time.sleep(60)"
    async with plain_engine() as engine:
        spec = make(extensions={"tired": source})
        await engine.invoke(spec, 1)
        await until(lambda: engine.engine.environments == 0)
        assert any("Error Type: Extension.Tired" in message for message in engine.messages)


@in_a_loop
async def test_ten_extensions_may_register_and_eleven_may_not(make: Make, tmp_path: Path) -> None:
    async with plain_engine() as engine:
        ten = {f"e{number}": FOLLOW for number in range(10)}
        assert (await engine.invoke(make(extensions=ten), 1)).payload == b"1"
        ready = [message for message in engine.messages if "State: Ready" in message]
        assert len(ready) == 10
    (tmp_path / "more").mkdir()
    eleven = {f"e{number:02}": FOLLOW + "sys.exit(0)" for number in range(11)}
    async with plain_engine() as engine:
        folder = layer(tmp_path / "eleven", **eleven)
        result = await engine.invoke(function(tmp_path, "app.echo", layer_dirs=(folder,)), 1)
        assert json.loads(result.payload)["errorType"] == "Extension.Crash"
        assert any("Extension.TooManyExtensions" in message for message in engine.messages)


@in_a_loop
async def test_an_extension_finds_no_variable_of_the_runtimes_own_and_gets_the_account_when_it_asks(
    make: Make,
) -> None:
    source = """
answer = register(Lambda_Extension_Accept_Feature="accountId")[1]
say(json.dumps([answer["accountId"], sorted(os.environ)]))
next_event()
"""
    async with plain_engine() as engine:
        await engine.invoke(make(extensions={"curious": source}), 1)
        said = next(message for message in engine.messages if message.startswith("curious ["))
        account, names = json.loads(said.removeprefix("curious "))
        assert account == "000000000000"
        assert {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_SESSION_TOKEN", "PATH"} <= set(names)
        assert not {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME"} & set(names)


@in_a_loop
async def test_a_part_of_the_runtimes_process_registers_for_invocations_and_not_for_the_end(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "inside.py").write_text(PRELUDE.format(python="") + INSIDE)
    async with plain_engine() as engine:
        spec = make(extensions={"follow": FOLLOW})
        spec = dataclasses.replace(spec, handler="inside.handler")
        assert (await engine.invoke(spec, 1, request_id="R1")).payload == b"1"
        assert any("inside SHUTDOWN 403" in message for message in engine.messages)
        assert "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]\n" in engine.messages
        await lines(engine, "inside INVOKE R1", "REPORT RequestId: R1")
        assert json.loads((await engine.invoke(spec, "late")).payload) == 403
