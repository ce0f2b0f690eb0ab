"""An engine whose environments are plain subprocesses, with its log in a list."""

import asyncio
import itertools
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambent.aws.caller import Scope
from lambent.clock import Clock
from lambent.engine.interpreters import Interpreters
from lambent.engine.invoke import Engine
from lambent.engine.javascript import NodeInterpreters
from lambent.engine.log_stream import Event
from lambent.engine.runtimes import Runtime, Runtimes, Stem, family
from lambent.engine.settings import Settings
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult
from lambent.observe.log import Log
from lambent.testing.plain_launcher import GUESTS, PlainLauncher

_digests = itertools.count()


@dataclass(slots=True)
class TheseRuntimes(Runtimes):
    """Runs every Python function on one interpreter, by default the one that runs the tests."""

    path: Path = Path(sys.executable)

    async def resolve(self, runtime: str) -> Runtime:
        return Runtime(Stem(self.path)) if family(runtime) == "python" else await Runtimes.resolve(self, runtime)


@dataclass
class PlainEngine:
    """An engine that runs, its launchers, and what its functions logged."""

    engine: Engine
    launchers: list[PlainLauncher] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    """Stream and message of each log event, in the order in which they came."""

    async def invoke(self, spec: FunctionSpec, event: Any = None, **fields: Any) -> InvocationResult:
        """Invokes with a JSON value, or with bytes as they are."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        request_id = fields.pop("request_id", None) or str(uuid.uuid4())
        invocation = Invocation(request_id=request_id, payload=payload, invoked_arn=spec.arn, **fields)
        return await self.engine.invoke(spec, invocation)

    @property
    def messages(self) -> list[str]:
        return [message for _stream, message in self.events]


def function(folder: Path, handler: str = "app.handler", **fields: Any) -> FunctionSpec:
    """The spec of a function whose code is a folder."""
    name = fields.pop("name", "f")
    defaults = {"timeout_s": 30, "memory_mb": 128, "runtime": "python3.11", "version": "$LATEST"}
    return FunctionSpec(
        arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        name=name,
        account="000000000000",
        region="us-east-1",
        handler=handler,
        code_dir=folder,
        digest=fields.pop("digest", f"digest-{next(_digests)}"),
        **{**defaults, **fields},
    )


async def until(condition: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Returns once the condition holds: for what another process does, of which no event tells."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await _a_moment()


async def _a_moment() -> None:
    await asyncio.sleep(0.005)


async def _no_credentials(role: str, session: str) -> Mapping[str, str]:
    return {"AWS_ACCESS_KEY_ID": "ASIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


@asynccontextmanager
async def plain_engine(interpreter: Path | None = None, **limits: Any) -> AsyncIterator[PlainEngine]:
    """A running engine; leaving ends it and its processes."""
    launchers: list[PlainLauncher] = []
    events: list[tuple[str, str]] = []

    @asynccontextmanager
    async def open_launcher(stem: Stem) -> AsyncIterator[PlainLauncher]:
        async with PlainLauncher.open(stem) as launcher:
            launchers.append(launcher)
            yield launcher

    def append(scope: Scope, group: str, stream: str, batch: Sequence[Event]) -> None:
        events.extend((stream, message) for _moment, message in batch)

    engine = Engine(
        open_launcher=open_launcher,
        append_log=append,
        credentials=_no_credentials,
        runtimes=TheseRuntimes(
            pythons=Interpreters(),
            nodes=NodeInterpreters(Path("nowhere")),
            node_guest=GUESTS / "node",
            path=interpreter or Path(sys.executable),
        ),
        clock=Clock(),
        log=Log("off"),
        settings=Settings(has_walls=False, **{"stop_grace_s": 5.0, **limits}),
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(engine.run())
        await engine.ready.wait()
        yield PlainEngine(engine, launchers, events)
        running.cancel()
