"""What an environment is put into: a sandbox, an owner, and what both know of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lambent.clock import Clock
from lambent.engine.log_stream import Event
from lambent.engine.report import Report
from lambent.engine.runs import InitFailure, Run
from lambent.engine.spec import ON_DEMAND

INIT_LIMIT_S: Final = 10.0
"""How long Init may take before it is done again inside the first invocation. Source: the guide, "Init phase"."""

RESTORE_LIMIT_S: Final = 10.0
"""How long a restore may take, with its hooks. Source: the guide, "Lambda SnapStart"."""


class Sandbox(Protocol):
    """The walls and processes of one environment, as `sandbox.launch` makes them."""

    id: str
    control: Any  # socket.socket
    output: int
    folder: str  # instead of a /tmp, without walls
    runtime_api: Any  # socket.socket
    exited: asyncio.Future[Any]  # of an Exit
    barren: asyncio.Future[str]  # of a zygote

    def connect(self, port: int, then: Callable[[Any], None]) -> None: ...  # with a socket.socket | None
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def throttle_cpu(self) -> None: ...
    def max_memory_bytes(self) -> int: ...
    def terminate(self) -> None: ...
    async def kill(self) -> None: ...
    async def stop(self) -> None: ...
    def discard(self) -> None: ...
    def seal(self, parked: int, *, keeps_tmp: bool = False) -> None: ...


class Owner(Protocol):
    """Who is told of an environment's life. `failure` comes with an Init that failed outside an invocation."""

    def is_idle(self, environment: Any) -> None: ...
    def has_ended(self, environment: Any, failure: InitFailure | None) -> None: ...
    def take_back(self, environment: Any, run: Run) -> None: ...
    def has_reported(self, environment: Any, run: Run, summary: Report) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an environment needs besides its sandbox."""

    clock: Clock
    owner: Owner
    write_log: Callable[[list[Event]], None]  # to this environment's log stream
    order: dict[str, Any]  # the INIT frame
    init_limit_s: float = INIT_LIMIT_S
    initialization_type: str = ON_DEMAND
    learnt: Callable[[bytes], None] | None = None  # what an Init that was to tell of itself has told
    is_restore: bool = False  # Init has been done, in a process that this one is a copy of
