"""Limits and provisioned environments in the engine, with real processes, without walls."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.admission import Allotment
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.provisioned import Key, Plan, Progress, Status
from lambent.engine.spec import FunctionSpec, Invocation
from lambent.observe.metrics import Metric
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
import os, signal, time


def kind(event, context):
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], os.getpid()]


def wait_for(event, context):
    # Opened for reading, a FIFO blocks until somebody writes: the test decides when we go on.
    with open(event["began"], "w") as began:
        began.write("x")
    with open(event["go_on"]) as go_on:
        go_on.read()
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]


def leave(event, context):
    os._exit(1)
"""
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
SCOPE = Scope("000000000000", "us-east-1")


def play(
    script: Callable[[PlainEngine, Path], Awaitable[None]], folder: Path, code: str = CODE, **settings: Any
) -> PlainEngine:
    """Runs a script with an engine; afterwards no process and no slot is left."""
    (folder / "app.py").write_text(code)

    async def main() -> PlainEngine:
        async with plain_engine(**settings) as plain:
            await script(plain, folder)
        assert plain.engine.admission.total == 0
        assert plain.engine.environments == 0
        for launcher in plain.launchers:
            assert all(sandbox.exited.done() for sandbox in launcher.sandboxes)
        return plain

    return asyncio.run(main())


def version(folder: Path, handler: str = "app.kind", **fields: Any) -> FunctionSpec:
    return function(folder, handler, **{"version": "1", "digest": "d1", **fields})


def provide(plain: PlainEngine, spec: FunctionSpec, count: int, **fields: Any) -> Key:
    plan = Plan(spec=spec, count=count, **{"qualifier": "1", **fields})
    plain.engine.provision(spec.arn, [plan])
    return plan.key


async def settled(plain: PlainEngine, key: Key) -> Progress:
    def has_settled() -> bool:
        progress = plain.engine.progress(key)
        assert progress is not None
        return progress.status is not Status.IN_PROGRESS

    await until(has_settled)
    progress = plain.engine.progress(key)
    assert progress is not None
    return progress


async def told(plain: PlainEngine, spec: FunctionSpec, qualifier: str | None = "1") -> Any:
    return json.loads((await plain.invoke(spec, qualifier=qualifier)).payload)


def test_provisioned_environments_are_initialised_and_serve_first(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        key = provide(plain, spec, 2)
        assert await settled(plain, key) == Progress(status=Status.READY, allocated=2, available=2)
        assert plain.engine.environments == 2
        kinds = [await told(plain, spec) for _one in range(3)]
        assert {kind for kind, _pid in kinds} == {"provisioned-concurrency"}
        assert (await told(plain, spec, None))[0] == "provisioned-concurrency"  # it is version 1 that is asked for
        assert (await told(plain, spec, "live"))[0] == "provisioned-concurrency"
        assert plain.engine.environments == 2

    plain = play(script, tmp_path)
    reports = [message for message in plain.messages if message.startswith("REPORT")]
    assert len(reports) == 5
    assert not any("Init Duration" in report for report in reports)
    firsts = [message for message in plain.messages if message.startswith("INIT_")]
    assert [message.split(" ")[0] for message in firsts].count("INIT_REPORT") == 2
    assert all("Phase: init\tStatus: success" in each for each in firsts if each.startswith("INIT_REPORT"))


def test_an_aliass_environments_serve_nobody_else(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        await settled(plain, provide(plain, spec, 1, qualifier="live"))
        assert (await told(plain, spec, "live"))[0] == "provisioned-concurrency"
        assert (await told(plain, spec, "1"))[0] == "on-demand"
        assert (await told(plain, spec, "other"))[0] == "on-demand"

    play(script, tmp_path)


def test_json_logs_name_the_kind_of_initialisation(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        await settled(plain, provide(plain, version(folder, log_format="JSON"), 1))

    plain = play(script, tmp_path)
    records = [json.loads(message) for message in plain.messages]
    kinds = {record["type"]: record["record"] for record in records}
    assert kinds["platform.initStart"]["initializationType"] == "provisioned-concurrency"
    assert kinds["platform.initReport"]["initializationType"] == "provisioned-concurrency"
    assert (kinds["platform.initReport"]["phase"], kinds["platform.initReport"]["status"]) == ("init", "success")


def test_one_that_ends_is_replaced(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        key = provide(plain, spec, 1)
        await settled(plain, key)
        _kind, pid = await told(plain, spec)
        os.kill(pid, signal.SIGKILL)
        gone = Progress(status=Status.READY, allocated=0, available=0)
        await until(lambda: plain.engine.progress(key) == gone)
        await until(lambda: plain.engine.progress(key) == Progress(status=Status.READY, allocated=1, available=1))
        kind, other = await told(plain, spec)
        assert kind == "provisioned-concurrency"
        assert other != pid

    play(script, tmp_path)


def test_one_that_ends_in_an_invocation_is_replaced(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder, "app.leave")
        key = provide(plain, spec, 1)
        for _one in range(3):
            await until(lambda: plain.engine.progress(key) == Progress(status=Status.READY, allocated=1, available=1))
            result = await plain.invoke(spec, qualifier="1")
            assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"

    play(script, tmp_path)


def test_one_that_ends_keeps_its_place_with_its_log(tmp_path: Path) -> None:
    """It is reset, as an on-demand one is: another takes its place, with its /tmp, its age and its log stream."""

    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder, "app.leave")
        key = provide(plain, spec, 2)
        await settled(plain, key)
        for _one in range(3):
            await until(lambda: plain.engine.progress(key) == Progress(status=Status.READY, allocated=2, available=2))
            await plain.invoke(spec, qualifier="1")
        await until(lambda: plain.engine.progress(key) == Progress(status=Status.READY, allocated=2, available=2))
        assert len({stream for stream, _message in plain.events}) == 2
        assert sum("INIT_REPORT" in message for message in plain.messages) == 5
        assert all("Phase: init\tStatus: success" in message for message in plain.messages if "INIT_REP" in message)

    play(script, tmp_path)


def test_one_that_has_grown_old_is_replaced(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        key = provide(plain, spec, 1)
        await settled(plain, key)
        _kind, pid = await told(plain, spec)
        await plain.engine.clock.advance(6 * 3600 + 700)
        await until(lambda: plain.engine.progress(key) == Progress(status=Status.READY, allocated=1, available=1))
        kind, other = await told(plain, spec)
        assert kind == "provisioned-concurrency"
        assert other != pid

    play(script, tmp_path)


def test_idle_ones_stay_while_on_demand_ones_go(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec, other = version(folder), function(folder, "app.kind", name="g")
        await settled(plain, provide(plain, spec, 1))
        await told(plain, other, None)
        assert plain.engine.environments == 2
        await plain.engine.clock.advance(1300)
        await until(lambda: plain.engine.environments == 1)
        assert (await told(plain, spec))[0] == "provisioned-concurrency"

    play(script, tmp_path)


def test_fewer_end_the_rest_and_none_end_all(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        await settled(plain, provide(plain, spec, 3))
        key = provide(plain, spec, 1, asked_ms=1)
        assert plain.engine.progress(key) == Progress(status=Status.READY, allocated=1, available=1)
        await until(lambda: plain.engine.environments == 1)
        plain.engine.provision(spec.arn, [])
        assert plain.engine.progress(key) is None
        await until(lambda: plain.engine.environments == 0)
        assert (await told(plain, spec))[0] == "on-demand"

    play(script, tmp_path)


def test_a_function_that_cannot_be_initialised_fails_and_is_tried_again_when_asked(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder)
        key = provide(plain, spec, 2)
        failed = Progress(status=Status.FAILED, allocated=0, available=0, reason="FUNCTION_ERROR_INIT_FAILURE")
        assert await settled(plain, key) == failed
        await until(lambda: plain.engine.environments == 0)
        result = await plain.invoke(spec, qualifier="1")
        assert json.loads(result.payload)["errorMessage"] == "no"
        (folder / "app.py").write_text(CODE)
        provide(plain, spec, 2, asked_ms=1)
        assert (await settled(plain, key)).status is Status.READY

    play(script, tmp_path, "raise ValueError('no')")


async def holding(plain: PlainEngine, spec: FunctionSpec, folder: Path, name: str, **fields: Any) -> Any:
    """An invocation that has begun, and the FIFO whose opening lets it end."""
    began, go_on = folder / f"{name}-began", folder / f"{name}-go-on"
    os.mkfifo(began)
    os.mkfifo(go_on)
    waiting = plain.engine.start(spec, invocation_of(spec, {"began": str(began), "go_on": str(go_on)}, **fields))
    await asyncio.to_thread(began.read_text)
    return waiting, go_on


def invocation_of(spec: FunctionSpec, event: Any, **fields: Any) -> Any:
    payload = json.dumps(event).encode()
    return Invocation(request_id="r", payload=payload, invoked_arn=spec.arn, **fields)


async def let_go(held: Any) -> Any:
    waiting, go_on = held
    await asyncio.to_thread(go_on.write_text, "x")
    return json.loads((await waiting).payload)


def test_more_than_are_provisioned_spill_over_and_are_counted(tmp_path: Path) -> None:
    recorded: list[tuple[str, float, dict[str, str]]] = []

    def record(scope: tuple[str, str], metric: Metric) -> None:
        recorded.extend((one.name, one.value, dict(its)) for one in metric.apart() for its in one.dimensions)

    async def script(plain: PlainEngine, folder: Path) -> None:
        plain.engine.metrics = FunctionMetrics(record)
        spec = version(folder, "app.wait_for")
        plain.engine.allot(SCOPE, spec.arn, Allotment(provisioned=1))
        await settled(plain, provide(plain, spec, 1))
        held = [await holding(plain, spec, folder, str(number), qualifier="1") for number in range(3)]
        assert plain.engine.admission.function_in_use(spec.arn) == 3
        assert plain.engine.admission.in_unreserved(SCOPE) == 2
        assert [await let_go(each) for each in held] == ["provisioned-concurrency", "on-demand", "on-demand"]
        plain.engine._gauges.flush(record)

    play(script, tmp_path)
    named = {"FunctionName": "f", "Resource": "f:1"}
    assert recorded.count(("ProvisionedConcurrencyInvocations", 1, named)) == 1
    assert recorded.count(("ProvisionedConcurrencySpilloverInvocations", 1, named)) == 2
    highest = {
        (name, tuple(sorted(dimensions))): value
        for name, value, dimensions in sorted(recorded, key=lambda each: each[1])
    }
    qualified = ("FunctionName", "Resource")
    assert highest["ConcurrentExecutions", ()] == 3
    assert highest["ConcurrentExecutions", ("FunctionName",)] == 3
    assert highest["ConcurrentExecutions", qualified] == 3
    assert highest["UnreservedConcurrentExecutions", ()] == 2
    assert highest["ClaimedAccountConcurrency", ()] == 3
    assert highest["ProvisionedConcurrentExecutions", qualified] == 1
    assert highest["ProvisionedConcurrencyUtilization", qualified] == 1.0


def test_a_reservation_is_a_cap_for_its_function_and_a_guarantee_against_others(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        engine = plain.engine
        mine, others = version(folder, "app.wait_for"), function(folder, "app.wait_for", name="g", digest="d2")
        engine.allot(SCOPE, mine.arn, Allotment(reserved=1))
        held = [await holding(plain, others, folder, "g")]
        assert refused(engine, others) == "ConcurrentInvocationLimitExceeded"
        held.append(await holding(plain, mine, folder, "f"))
        assert refused(engine, mine) == "ReservedFunctionConcurrentInvocationLimitExceeded"
        for each in held:
            await let_go(each)
        engine.allot(SCOPE, mine.arn, None)
        held = [await holding(plain, others, folder, f"again-{number}") for number in range(2)]
        for each in held:
            await let_go(each)

    play(script, tmp_path, concurrent_executions=2)


def refused(engine: Any, spec: FunctionSpec) -> str:
    with pytest.raises(ApiError) as caught:
        engine.start(spec, invocation_of(spec, None))
    assert caught.value.code == "TooManyRequestsException"
    return str(caught.value.members["Reason"])


def test_a_busy_environment_that_is_no_longer_wanted_ends_with_its_invocation(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = version(folder, "app.wait_for")
        await settled(plain, provide(plain, spec, 1))
        held = await holding(plain, spec, folder, "f", qualifier="1")
        plain.engine.provision(spec.arn, [])
        assert plain.engine.environments == 1
        assert await let_go(held) == "provisioned-concurrency"
        await until(lambda: plain.engine.environments == 0)

    play(script, tmp_path)


def test_stopping_while_environments_start_leaves_none(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        provide(plain, version(folder), 6)
        await until(lambda: plain.engine.environments > 0)

    play(script, tmp_path)
