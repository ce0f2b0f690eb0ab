"""The launchers in use, one for each stem: opened when first needed, opened again when one broke.

Source: design, "Who starts what": the node never forks; a small process per interpreter does.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lambent.engine.head_starts import HeadStart
from lambent.engine.runtimes import Stem
from lambent.engine.sandbox.launch import Order
from lambent.engine.surroundings import Sandbox
from lambent.observe.log import Log


class Launcher(Protocol):
    """Makes sandboxes whose first process is a clone of one stem."""

    async def claim(self, order: Order) -> Sandbox: ...
    def expect(self, trees: Mapping[str, Path], head_start: HeadStart | None) -> None: ...


OpenLauncher = Callable[[Stem], AbstractAsyncContextManager[Launcher]]


@dataclass(slots=True)
class _Kept:
    launcher: "asyncio.Future[Launcher]"
    task: "asyncio.Task[None]"


class Launchers:
    """Opens launchers inside a task group that its owner holds."""

    def __init__(self, open_launcher: OpenLauncher, log: Log) -> None:
        self._open = open_launcher
        self._log = log
        self._kept: dict[Stem, _Kept] = {}

    async def get(self, stem: Stem, tasks: asyncio.TaskGroup) -> Launcher:
        """The launcher of this stem. Cancelling leaves it opening for whoever comes next."""
        kept = self._kept.get(stem)
        if kept is None or kept.task.done():
            launcher: asyncio.Future[Launcher] = asyncio.get_running_loop().create_future()
            task = tasks.create_task(self._keep(stem, launcher), name=f"engine.launcher {stem}")
            kept = self._kept[stem] = _Kept(launcher, task)
        return await asyncio.shield(kept.launcher)

    def opened(self) -> list[Launcher]:
        """Those that run now."""
        return [kept.launcher.result() for kept in self._kept.values() if _is_open(kept.launcher)]

    def drop(self, stem: Stem) -> None:
        """It failed: close it, so that the next start opens another."""
        kept = self._kept.pop(stem, None)
        if kept:
            kept.task.cancel()

    def close(self) -> None:
        """Close all of them: their tasks end soon."""
        for stem in list(self._kept):
            self.drop(stem)

    async def _keep(self, stem: Stem, opened: "asyncio.Future[Launcher]") -> None:
        try:
            async with self._open(stem) as launcher:
                if not opened.done():
                    opened.set_result(launcher)
                await asyncio.get_running_loop().create_future()  # until it is dropped, or the node stops
        except OSError as error:
            self._log.error("launcher.failed", stem=str(stem))
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # seen: there may be nobody left to await it
        finally:
            if not opened.done():
                opened.cancel()


def _is_open(launcher: "asyncio.Future[Launcher]") -> bool:
    return launcher.done() and not launcher.cancelled() and launcher.exception() is None
