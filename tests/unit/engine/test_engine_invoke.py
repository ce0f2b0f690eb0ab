"""The engine with real processes, without walls."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.aws.errors import ApiError
from lambent.engine.report import MAX_RESPONSE_BYTES
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
import json, os, signal, sys, threading, time

COUNT = 0
TICKS = 0
PIPES = {}


def count(event, context):
    global COUNT
    COUNT += 1
    return [COUNT, os.getpid()]


def echo(event, context):
    return event


def tick_in_background(event, context):
    def tick():
        global TICKS
        while True:
            TICKS += 1
            time.sleep(0.001)

    if event == "start":
        threading.Thread(target=tick, daemon=True).start()
        print("no line end", end="")
    return TICKS


def wait_for(event, context):
    # Opened for reading, a FIFO blocks until somebody writes: the test decides when we go on.
    with open(event["began"], "w") as began:
        began.write("x")
    with open(event["go_on"]) as go_on:
        go_on.read()
    return "went on"


def sleep(event, context):
    print("before")
    print("partial", end="")
    time.sleep(60)


def leave(event, context):
    print("last words")
    os._exit(event)


def killed(event, context):
    os.kill(os.getpid(), signal.SIGKILL)


def of_length(event, context):
    return "x" * (event - 2)


def answer_and_leave(event, context):
    threading.Timer(0.0, os._exit, [0]).start()
    return "answered"


def fail_then_work(event, context):
    return "works"


def flood(event, context):
    for number in range(20_000):
        print("x" * 99)
    return "done"


def fake_answer(event, context):
    import socket
    for fd in range(3, 1024):  # wherever the test's process had room for it
        try:
            sock = socket.socket(fileno=os.dup(fd))
            if sock.family == socket.AF_UNIX:
                sock.send(event.encode("latin-1"))
        except OSError:
            pass
    return "mine"
"""


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


def lines(plain: PlainEngine, *starts: str) -> list[str]:
    return [message for message in plain.messages if message.startswith(starts)]


def test_globals_live_as_long_as_the_environment(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.count")
        answers = [json.loads((await plain.invoke(spec)).payload) for _turn in range(3)]
        assert [count for count, _pid in answers] == [1, 2, 3]
        assert len({pid for _count, pid in answers}) == 1

    plain = play(script, tmp_path)
    assert len(lines(plain, "INIT_START")) == 1
    assert ["Init Duration" in line for line in lines(plain, "REPORT")] == [True, False, False]
    assert plain.launchers[0].sandboxes[0].is_throttled


def test_one_invocation_at_a_time_in_each_environment(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.count")
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(plain.invoke(spec)) for _turn in range(5)]
        assert len(runs) == 5
        assert plain.engine.environments <= 5

    play(script, tmp_path)


def test_another_digest_gets_another_environment(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        first = await plain.invoke(function(folder, "app.count"))
        second = await plain.invoke(function(folder, "app.count"))
        assert json.loads(first.payload)[1] != json.loads(second.payload)[1]

    play(script, tmp_path)


def test_an_idle_environment_is_frozen(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.tick_in_background")
        await plain.invoke(spec, "start")
        [environment] = plain.engine._pool.in_life()
        await until(lambda: environment.is_frozen)
        pid = environment.sandbox.pid  # type: ignore[attr-defined]
        await until(lambda: _state(pid) == "T")
        assert "no line end\n" in plain.messages
        assert json.loads((await plain.invoke(spec, "look")).payload) > 0
        assert not environment.is_frozen

    play(script, tmp_path)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_the_timeout_kills_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.sleep", timeout_s=1)
        result = await plain.invoke(spec, request_id="R1", want_tail=True)
        assert result.function_error == "Unhandled"
        assert json.loads(result.payload) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: R1 Error: Task timed out after 1.00 seconds",
        }
        assert result.log_tail is not None
        tail = result.log_tail.decode().splitlines()
        assert tail[:3] == ["START RequestId: R1 Version: $LATEST", "before", "partial"]
        assert tail[3].endswith(" R1 Task timed out after 1.00 seconds")
        assert tail[5] == "END RequestId: R1"
        assert "Duration: 1000.00 ms" in tail[6]
        assert "Status: timeout" in tail[6]
        assert len(plain.launchers[0].sandboxes) == 1
        await plain.invoke(spec)
        assert len(plain.launchers[0].sandboxes) == 2

    play(script, tmp_path)


@pytest.mark.parametrize(
    ("handler", "event", "reason"),
    [
        ("app.leave", 0, "Runtime exited without providing a reason"),
        ("app.leave", 3, "Runtime exited with error: exit status 3"),
        ("app.killed", None, "Runtime exited with error: signal: killed"),
    ],
)
def test_the_end_of_the_process_is_the_answer(tmp_path: Path, handler: str, event: Any, reason: str) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, handler)
        result = await plain.invoke(spec, event, request_id="R1")
        assert json.loads(result.payload) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: R1 Error: {reason}",
        }
        if handler == "app.leave":
            assert "last words\n" in plain.messages

    plain = play(script, tmp_path)
    assert lines(plain, "REPORT")[0].endswith("Status: error\tError Type: Runtime.ExitError\n")


def test_an_answer_that_was_given_before_the_end_counts(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.answer_and_leave")
        for _turn in range(3):
            result = await plain.invoke(spec)
            assert result.payload in (b'"answered"', b"") or result.function_error

    play(script, tmp_path)


def test_an_init_error_is_tried_again_inside_the_invocation(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        result = await plain.invoke(function(folder, "app.handler"), request_id="R1", want_tail=True)
        assert result.function_error == "Unhandled"
        assert json.loads(result.payload)["errorMessage"] == "while importing"
        assert json.loads(result.payload)["requestId"] == ""
        assert result.log_tail is not None
        assert b"INIT_REPORT" in result.log_tail

    plain = play(script, tmp_path, "raise ValueError('while importing')")
    kinds = [message.split(" ")[0].split("\n")[0] for message in plain.messages]
    warning, error = "[WARNING]\t", "[ERROR]"
    assert [kind[:10] if kind.startswith(warning) else kind for kind in kinds] == [
        "INIT_START",
        warning,
        error,
        "INIT_REPORT",
        warning,
        error,
        "INIT_REPORT",
        "START",
        "END",
        "REPORT",
    ]
    reports = lines(plain, "INIT_REPORT")
    assert [line.split("\t")[1:] for line in reports] == [
        ["Phase: init", "Status: error", "Error Type: Runtime.Unknown\n"],
        ["Phase: invoke", "Status: error", "Error Type: Runtime.Unknown\n"],
    ]
    assert len({stream for stream, _message in plain.events}) == 1


def test_an_init_that_works_the_second_time_serves(tmp_path: Path) -> None:
    code = """
import os
if not os.path.exists("tried"):
    open("tried", "w").close()
    os._exit(9)
def handler(event, context):
    return "works"
"""

    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.handler")
        assert (await plain.invoke(spec)).payload == b'"works"'
        assert (await plain.invoke(spec)).payload == b'"works"'

    plain = play(script, tmp_path, code)
    assert ["Init Duration" in line for line in lines(plain, "REPORT")] == [False, False]


def test_a_slow_init_is_done_again_within_the_functions_timeout(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.handler", timeout_s=1)
        result = await plain.invoke(spec, request_id="R1")
        assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"

    plain = play(script, tmp_path, "import time\ntime.sleep(60)", init_limit_s=0.3)
    assert [line.split("\t")[1:] for line in lines(plain, "INIT_REPORT")] == [
        ["Phase: init", "Status: timeout\n"],
        ["Phase: invoke", "Status: timeout\n"],
    ]
    kinds = [message.split(" ")[0] for message in plain.messages]
    assert [kind for kind in kinds if kind.isupper() and kind.isalpha()] == ["START", "END", "REPORT"]
    assert kinds.index("START") > len(kinds) - 1 - kinds[::-1].index("INIT_REPORT")
    assert "Status: timeout" in lines(plain, "REPORT")[0]


def test_the_largest_answer_and_one_byte_more(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.of_length")
        fits = await plain.invoke(spec, MAX_RESPONSE_BYTES)
        assert (fits.function_error, len(fits.payload)) == (None, MAX_RESPONSE_BYTES)
        large = await plain.invoke(spec, MAX_RESPONSE_BYTES + 1)
        assert large.function_error == "Unhandled"
        assert json.loads(large.payload)["errorType"] == "Function.ResponseSizeTooLarge"
        assert len((await plain.invoke(spec, 10)).payload) == 10  # the environment goes on

    plain = play(script, tmp_path)
    assert len(plain.launchers[0].sandboxes) == 1


def test_the_largest_event(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        payload = b'"' + b"x" * (6_291_456 - 2) + b'"'
        assert (await plain.invoke(function(folder, "app.echo"), payload)).payload == payload

    play(script, tmp_path)


def test_no_slot_is_429_and_slots_come_back(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.echo")
        async with asyncio.TaskGroup() as tasks:
            taken = [tasks.create_task(plain.invoke(spec, 1)) for _turn in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as caught:
                await plain.invoke(spec, 1)
            assert caught.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert len(taken) == 2
        assert (await plain.invoke(spec, 2)).payload == b"2"

    play(script, tmp_path, concurrent_executions=2)


def test_a_caller_that_goes_away_leaves_the_invocation_running(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        began, go_on = folder / "began", folder / "go_on"
        os.mkfifo(began)
        os.mkfifo(go_on)
        spec = function(folder, "app.wait_for")
        await plain.invoke(function(folder, "app.echo", digest=spec.digest + "x"))
        async with asyncio.TaskGroup() as tasks:
            caller = tasks.create_task(plain.invoke(spec, {"began": str(began), "go_on": str(go_on)}))
            await asyncio.to_thread(began.read_bytes)
            caller.cancel()
        assert caller.cancelled()
        assert plain.engine.admission.total == 1
        await asyncio.to_thread(go_on.write_bytes, b"x")
        await plain.engine.admission.is_empty.wait()

    plain = play(script, tmp_path)
    assert len(lines(plain, "REPORT")) == 2


def test_a_caller_that_goes_away_during_a_cold_start(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.count")
        # Each turn is cancelled one step later, so every await of the way is hit.
        for steps in range(12):
            async with asyncio.TaskGroup() as tasks:
                caller = tasks.create_task(plain.invoke(spec))
                for _step in range(steps):
                    await asyncio.sleep(0)
                caller.cancel()
            await plain.engine.admission.is_empty.wait()
        result = await plain.invoke(spec)
        assert json.loads(result.payload)[0] >= 1

    play(script, tmp_path)


def test_environments_of_a_changed_function_go(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        old, new = function(folder, "app.count"), function(folder, "app.count")
        await plain.invoke(old)
        await plain.invoke(new)
        assert plain.engine.environments == 2
        await plain.engine.retire(old.arn, keep_digests=frozenset({new.digest}))
        assert plain.engine.environments == 1
        assert json.loads((await plain.invoke(new)).payload)[0] == 2
        assert json.loads((await plain.invoke(old)).payload)[0] == 1

    play(script, tmp_path)


def test_a_busy_environment_of_a_changed_function_goes_when_it_is_done(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        began, go_on = folder / "began", folder / "go_on"
        os.mkfifo(began)
        os.mkfifo(go_on)
        spec = function(folder, "app.wait_for")
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(plain.invoke(spec, {"began": str(began), "go_on": str(go_on)}))
            await asyncio.to_thread(began.read_bytes)
            await plain.engine.retire(spec.arn)
            assert plain.engine.environments == 1
            await asyncio.to_thread(go_on.write_bytes, b"x")
        assert run.result().payload == b'"went on"'
        assert plain.engine.environments == 0

    play(script, tmp_path)


def test_idle_environments_go_after_a_while(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        await plain.invoke(function(folder, "app.echo"))
        await until(lambda: not plain.engine.environments)

    play(script, tmp_path, idle_environment_s=0.1)


def test_stopping_lets_running_invocations_finish(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CODE)
    began, go_on = tmp_path / "began", tmp_path / "go_on"
    os.mkfifo(began)
    os.mkfifo(go_on)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            async with plain_engine() as plain:
                spec = function(tmp_path, "app.wait_for")
                run = tasks.create_task(plain.invoke(spec, {"began": str(began), "go_on": str(go_on)}))
                await asyncio.to_thread(began.read_bytes)
                tasks.create_task(asyncio.to_thread(go_on.write_bytes, b"x"))
            assert (await run).payload == b'"went on"'
            with pytest.raises(ApiError):
                await plain.invoke(spec)

    asyncio.run(main())


def test_stopping_ends_what_takes_too_long(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CODE)
    began = tmp_path / "began"
    os.mkfifo(began)
    os.mkfifo(tmp_path / "never")

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            async with plain_engine(stop_grace_s=0.05) as plain:
                spec = function(tmp_path, "app.wait_for")
                event = {"began": str(began), "go_on": str(tmp_path / "never")}
                run = tasks.create_task(plain.invoke(spec, event))
                await asyncio.to_thread(began.read_bytes)
            assert json.loads((await run).payload)["errorType"] == "Runtime.ExitError"
            assert plain.engine.admission.total == 0

    asyncio.run(main())


def test_a_flood_of_log_lines_arrives_whole(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        assert (await plain.invoke(function(folder, "app.flood"))).payload == b'"done"'
        assert len(lines(plain, "x" * 99)) == 20_000
        assert plain.messages[-1].startswith("REPORT")

    play(script, tmp_path)


@pytest.mark.parametrize(
    "frames",
    [
        b"\x00\x00\x00\x02\x11{}",  # an answer while it is asked: it counts, then the true one is one too many
        b"\x00\x00\x00\x00\x10",  # ready a second time
        b"\x00\x00\x00\x02\x13{}",  # an init error after init
        b"\x00\x00\x00\x00\x63",  # no such frame
    ],
)
def test_a_function_that_speaks_for_the_runtime_harms_itself_only(tmp_path: Path, frames: bytes) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.fake_answer")
        await plain.invoke(spec, frames.decode("latin-1"))
        await until(plain.launchers[0].sandboxes[0].exited.done)
        assert (await plain.invoke(function(folder, "app.echo"), 1)).payload == b"1"

    play(script, tmp_path)


def test_an_environment_that_cannot_be_started_is_500_and_the_slot_comes_back(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        with pytest.raises(ApiError) as caught:
            await plain.invoke(function(folder / "missing", "app.echo"))
        assert caught.value.code == "ServiceException"
        assert (await plain.invoke(function(folder, "app.echo"), 1)).payload == b"1"

    play(script, tmp_path)


def test_a_sandbox_that_becomes_no_environment_is_ended(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        with pytest.raises(ApiError, match="ServiceException"):
            await plain.invoke(function(folder, "app.echo", log_format=None))  # found out after the claim
        [sandbox] = plain.launchers[0].sandboxes
        assert (await sandbox.exited).status == -9
        assert (sandbox.control.fileno(), plain.engine.environments) == (-1, 0)
        assert (await plain.invoke(function(folder, "app.echo"), 1)).payload == b"1"

    play(script, tmp_path)


def test_more_than_may_wait_for_an_environment_are_throttled(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.echo")
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(plain.invoke(spec, 1)) for _turn in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError, match="TooManyRequestsException"):
                await plain.invoke(spec, 1)
        assert [run.result().payload for run in waiting] == [b"1", b"1"]

    play(script, tmp_path, start_queue=2)


def test_a_launcher_that_broke_is_replaced(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        await plain.invoke(function(folder, "app.echo"))
        plain.launchers[0].has_broken = True
        assert (await plain.invoke(function(folder, "app.echo"), 1)).payload == b"1"
        assert len(plain.launchers) == 2

    play(script, tmp_path)


def test_every_invocation_has_a_trace_header(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.handler")
        own = json.loads((await plain.invoke(spec)).payload)
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", own)
        assert json.loads((await plain.invoke(spec, trace_header="Root=1-2")).payload) == "Root=1-2"

    play(script, tmp_path, "import os\ndef handler(event, context):\n    return os.environ['_X_AMZN_TRACE_ID']\n")


def test_the_tail_is_the_last_four_kilobytes_of_whole_characters(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        for extra in ("", "x", "xx"):
            result = await plain.invoke(function(folder, "app.handler"), extra, want_tail=True)
            assert result.log_tail is not None
            assert 4090 <= len(result.log_tail) <= 4096
            assert result.log_tail.decode().startswith("€")

    play(script, tmp_path, "def handler(event, context):\n    print('€' * 5000 + event)\n")
