"""The Shutdown phase: who is asked to end, in which order, and who is killed. Real processes, without walls.

Source: AWS Lambda Developer Guide, "Shutdown phase"; aws-samples, graceful-shutdown-with-aws-lambda.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extension_layers import PRELUDE, in_a_loop, layer

from lambent.engine.spec import FunctionSpec
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

# Says when it is asked to end. Stays, unless it is told to leave.
FUNCTION = """
import os, signal, sys


def on_term(number, frame):
    print("runtime: SIGTERM", flush=True)
    if leaves:
        sys.exit(0)


signal.signal(signal.SIGTERM, on_term)
leaves = False


def handler(event, context):
    global leaves
    leaves = bool(event)
    return os.getpid()
"""
# Tells of its end, and whether another process lives by then.
FOLLOW = """
register("INVOKE", "SHUTDOWN")
while (event := next_event())["eventType"] != "SHUTDOWN":
    pass
left_ms = event["deadlineMs"] - time.time() * 1000
say("SHUTDOWN", event["shutdownReason"], "in time" if 0 < left_ms <= 2000 else left_ms)
for name in sorted(os.listdir({folder!r})):
    pid = int(open(os.path.join({folder!r}, name)).read())
    while os.path.exists(f"/proc/{{pid}}/exe"):
        time.sleep(0.01)
    say(name, "is gone")
"""
WRITE_PID = "open(os.path.join({folder!r}, NAME), 'w').write(str(os.getpid()))\n"
INTERNAL = """
register("INVOKE", name="inside")


def follow():
    while True:
        next_event()


threading.Thread(target=follow, daemon=True).start()
"""

Make = Callable[..., FunctionSpec]


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """A folder of files with the ids of processes."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that says when it is asked to end, perhaps with extensions."""

    def make(prelude: str = "", **extensions: str) -> FunctionSpec:
        (tmp_path / "app.py").write_text(prelude + FUNCTION)
        layers = (layer(tmp_path / "layer", **extensions),) if extensions else ()
        return function(tmp_path, layer_dirs=layers)

    return make


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}/exe")


async def end(engine: PlainEngine, spec: FunctionSpec, event: Any = None) -> int:
    """Invokes once and ends the environment; the runtime's process, which is gone by then."""
    pid = int((await engine.invoke(spec, event, want_tail=True)).payload)
    await engine.engine.retire(spec.arn)
    await until(lambda: not is_alive(pid))
    return pid


@in_a_loop
async def test_without_extensions_nobody_is_asked(make: Make) -> None:
    async with plain_engine() as engine:
        await end(engine, make())
        assert "runtime: SIGTERM\n" not in engine.messages


@pytest.mark.parametrize("leaves", [True, False])
@in_a_loop
async def test_with_a_part_of_its_own_the_runtime_is_asked_and_killed_in_the_end(make: Make, leaves: bool) -> None:
    async with plain_engine() as engine:
        await end(engine, make(PRELUDE.format(python="") + INTERNAL), leaves)
        assert "runtime: SIGTERM\n" in engine.messages


@in_a_loop
async def test_a_runtime_that_stays_is_killed_before_extensions_end(make: Make, pids: Path) -> None:
    async with plain_engine() as engine:
        spec = make(follow=FOLLOW.format(folder=str(pids)))
        pid = int((await engine.invoke(spec, want_tail=True)).payload)
        (pids / "runtime").write_text(str(pid))
        await engine.engine.retire(spec.arn)
        await until(lambda: "follow runtime is gone\n" in engine.messages)
        said = [message for message in engine.messages if "SIGTERM" in message or message.startswith("follow")]
        assert said == ["runtime: SIGTERM\n", "follow SHUTDOWN SPINDOWN in time\n", "follow runtime is gone\n"]


@in_a_loop
async def test_who_did_not_register_for_the_end_is_killed_at_once(make: Make, pids: Path) -> None:
    quiet = "register('INVOKE')\n" + WRITE_PID.format(folder=str(pids)) + "while next_event(): pass"
    async with plain_engine() as engine:
        spec = make(quiet=quiet, follow=FOLLOW.format(folder=str(pids)))
        await end(engine, spec, "leave")
        await until(lambda: "follow quiet is gone\n" in engine.messages)


@in_a_loop
async def test_an_extension_that_ignores_the_end_is_killed(make: Make, pids: Path) -> None:
    stays = "register('SHUTDOWN')\n" + WRITE_PID.format(folder=str(pids)) + "say(next_event()['eventType'])\n"
    async with plain_engine() as engine:
        spec = make(stays=stays + "time.sleep(60)")
        await end(engine, spec, "leave")
        await until(lambda: "stays SHUTDOWN\n" in engine.messages)
        pid = int((pids / "stays").read_text())
        await until(lambda: not is_alive(pid))
        assert engine.engine.environments == 0
