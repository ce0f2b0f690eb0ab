"""The launchers in use, one for each interpreter: opened when first needed, opened again when one broke.

Source: design, "Who starts what": the node never forks; a small process per interpreter does.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lambent.engine.environment import Sandbox
from lambent.engine.sandbox.launch import Order
from lambent.observe.log import Log


class Launcher(Protocol):
    """Makes sandboxes whose first process is a clone of one interpreter."""

    async def claim(self, order: Order) -> Sandbox: ...


OpenLauncher = Callable[[Path], AbstractAsyncContextManager[Launcher]]


@dataclass(slots=True)
class _Kept:
    launcher: "asyncio.Future[Launcher]"
    task: "asyncio.Task[None]"


class Launchers:
    """Opens launchers inside a task group that its owner holds."""

    def __init__(self, open_launcher: OpenLauncher, log: Log) -> None:
        self._open = open_launcher
        self._log = log
        self._kept: dict[Path, _Kept] = {}

    async def get(self, interpreter: Path, tasks: asyncio.TaskGroup) -> Launcher:
        """The launcher of this interpreter. Cancelling leaves it opening for whoever comes next."""
        kept = self._kept.get(interpreter)
        if kept is None or kept.task.done():
            launcher: asyncio.Future[Launcher] = asyncio.get_running_loop().create_future()
            task = tasks.create_task(self._keep(interpreter, launcher), name=f"engine.launcher {interpreter}")
            kept = self._kept[interpreter] = _Kept(launcher, task)
        return await asyncio.shield(kept.launcher)

    def drop(self, interpreter: Path) -> None:
        """It failed: close it, so that the next start opens another."""
        kept = self._kept.pop(interpreter, None)
        if kept:
            kept.task.cancel()

    def close(self) -> None:
        """Close all of them: their tasks end soon."""
        for interpreter in list(self._kept):
            self.drop(interpreter)

    async def _keep(self, interpreter: Path, opened: "asyncio.Future[Launcher]") -> None:
        try:
            async with self._open(interpreter) as launcher:
                if not opened.done():
                    opened.set_result(launcher)
                await asyncio.get_running_loop().create_future()  # until it is dropped, or the node stops
        except OSError as error:
            self._log.error("launcher.failed", interpreter=str(interpreter))
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # seen: there may be nobody left to await it
        finally:
            if not opened.done():
                opened.cancel()
