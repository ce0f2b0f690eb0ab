"""What extensions change in the life of an environment: when Init and an invocation are over, and how it ends.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
"""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lambent.engine.extensions_api import Extension, Extensions
from lambent.engine.spec import FunctionSpec
from lambent.engine.supervision import Supervision

FOLDER: Final = "extensions"
"""The folder of /opt whose files are external extensions."""

EXTERNAL_SHUTDOWN_S: Final = 2.0
INTERNAL_SHUTDOWN_S: Final = 0.5
"""How long the Shutdown phase may take. Source: the guide, "Shutdown phase"."""

_RUNTIME_SHUTDOWN_S: Final = 0.3
"""Of the first, how long the runtime has. Source: aws-samples, graceful-shutdown-with-aws-lambda."""

_RUNTIME: Final = ""  # what its parent calls it
_KILLED: Final = -9


@dataclass(frozen=True, slots=True)
class RuntimeExit:
    """How a runtime ended whose environment goes on for its extensions."""

    status: int
    out_of_memory: bool


class Inhabited(Protocol):
    """A sandbox, as far as its end goes."""

    control: Any  # socket.socket
    exited: "asyncio.Future[Any]"

    def terminate(self) -> None: ...
    def max_memory_bytes(self) -> int: ...


class Listener(Protocol):
    """Who is told: the environment. Each call is synchronous and final."""

    def on_extensions_ready(self) -> None: ...
    def on_extension_failed(self, extension: Extension, error_type: str, text: str) -> None: ...
    def on_runtime_exited(self, how: RuntimeExit) -> None: ...


class ExtensionPhases:
    """The extensions of one environment, and the parent of their processes where there are external ones."""

    def __init__(self, spec: FunctionSpec, sandbox: Inhabited, names: Sequence[str], listener: Listener) -> None:
        self._spec = spec
        self._sandbox = sandbox
        self._listener = listener
        about = {"functionName": spec.name, "functionVersion": spec.version, "handler": spec.handler}
        self.members = Extensions(names, about, spec.account, self)
        self._supervision = Supervision(sandbox.control, self._on_exited) if names else None
        loop = asyncio.get_running_loop()
        self._runtime_gone: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()  # every external extension
        self._has_started = not names  # the runtime

    def open(self) -> None:
        """Starts to listen to the parent of their processes."""
        if self._supervision:
            self._supervision.open()

    def close(self) -> None:
        """The environment is gone."""
        if self._supervision:
            self._supervision.close()

    def invoke(self, header: Mapping[str, Any]) -> None:
        """An invocation begins, of which the runtime is told the same."""
        event = {
            "deadlineMs": header["deadline_ms"],
            "requestId": header["request_id"],
            "invokedFunctionArn": header["arn"],
            "tracing": {"type": "X-Amzn-Trace-Id", "value": header["trace"]},
        }
        self.members.invoke(event)

    @property
    def shutdown_s(self) -> float:
        """How long the Shutdown phase may take; 0 where nobody takes part."""
        if self.members.is_empty:
            return 0.0
        return EXTERNAL_SHUTDOWN_S if any(one.is_external for one in self.members) else INTERNAL_SHUTDOWN_S

    async def shut_down(self, reason: str, machine_now: Callable[[], float]) -> None:
        """The Shutdown phase: ends when every process has ended, or its time is over. Who is left then is the caller's.

        First the runtime's part; then external extensions are told who registered for it, and the others killed.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.shutdown_s
        supervision = self._supervision
        if not self._has_started:
            self._done(self._runtime_gone)
        self._sandbox.terminate()
        await self._wait(self._runtime_gone, _RUNTIME_SHUTDOWN_S if supervision else self.shutdown_s)
        if supervision is None:
            return
        left_s = ends - loop.time()
        self.members.shut_down(reason, int((machine_now() + left_s) * 1000))
        for name in (_RUNTIME, *self.members.unprepared()):
            supervision.kill(name)
        await self._wait(self._gone, left_s)

    async def _wait(self, future: "asyncio.Future[None]", limit_s: float) -> None:
        """Until then, or until the whole environment has ended."""
        await asyncio.wait(
            (future, self._sandbox.exited), timeout=max(0.0, limit_s), return_when=asyncio.FIRST_COMPLETED
        )

    # What the parts say

    def on_extensions_registered(self) -> None:
        """Every external extension has: the runtime starts."""
        if self._supervision and not self._has_started:
            self._has_started = True
            self._supervision.start_runtime()

    def on_extensions_ready(self) -> None:
        """Everybody waits for an event."""
        self._listener.on_extensions_ready()

    def on_extension_failed(self, extension: Extension, error_type: str, text: str) -> None:
        """An extension has said so, or has ended too early."""
        self._listener.on_extension_failed(extension, error_type, text)

    def _on_exited(self, name: str, status: int) -> None:
        if name == _RUNTIME:
            self._done(self._runtime_gone)
            is_full = self._sandbox.max_memory_bytes() >= self._spec.memory_mb << 20
            self._listener.on_runtime_exited(RuntimeExit(status, status == _KILLED and is_full))
        else:
            self.members.exited(name, status)
            if self.members.are_gone:
                self._done(self._gone)

    def _done(self, future: "asyncio.Future[None]") -> None:
        if not future.done():
            future.set_result(None)


@functools.lru_cache(1024)
def external_extensions(layer_dirs: tuple[Path, ...]) -> Mapping[str, Path]:
    """The external extensions of a function's layers, by name; a later layer's lies over an earlier one's.

    Read once: what lies in a layer's folder does not change.
    """
    found: dict[str, Path] = {}
    for layer in layer_dirs:
        folder = layer / FOLDER
        if folder.is_dir():
            found |= {path.name: path for path in folder.iterdir() if path.is_file()}
    return dict(sorted(found.items()))


def extension_paths(layer_dirs: tuple[Path, ...], layer_roots: Sequence[str]) -> list[str]:
    """Where they are inside the environment; without walls that is where they are."""
    found = external_extensions(layer_dirs).items()
    is_own = layer_roots == tuple(map(str, layer_dirs))
    return [str(path) if is_own else f"{layer_roots[0]}/{FOLDER}/{name}" for name, path in found]
