"""`lambent up`: a node until a signal, and what is said when it is ready."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec

from lambent import __version__
from lambent.config import Config
from lambent.engine.sandbox.probe import probe
from lambent.node.node import Node
from lambent.node.start import Probe, StartRefused


def serve(
    config: Config, *, announce: Callable[[str], None], control_fd: int | None = None, probe: Probe = probe
) -> None:
    """Run a node until SIGINT, SIGTERM or the end of `control_fd`; a second signal does not wait for anything.

    `announce` is given one line when the node serves. `control_fd` is a socket: the same facts are written to it as a
    line of JSON, and its end of file stops the node. `probe` is `Node.open`'s.

    Raises:
        StartRefused: as `Node.open`.
    """
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(asyncio.CancelledError):
            runner.run(_serve(config, announce, control_fd, probe))
    except* StartRefused as group:
        raise _first(group) from None


async def _serve(config: Config, announce: Callable[[str], None], control_fd: int | None, probe: Probe) -> None:
    loop, main, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
    assert main is not None

    def on_signal() -> None:
        if stop.is_set():
            main.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    async with Node.open(config, probe) as node:
        for notice in node.notices:
            sys.stderr.write(f"warning: {notice}\n")
        announce(_ready_line(node))
        if control_fd is None:
            await stop.wait()
            return
        with socket.socket(fileno=control_fd) as control:
            control.sendall(msgspec.json.encode(node.health()) + b"\n")
            loop.add_reader(control_fd, stop.set)  # nothing is ever sent: readable is its end
            await stop.wait()
            loop.remove_reader(control_fd)


def _ready_line(node: Node) -> str:
    kept = "none (ephemeral)" if node.config.ephemeral else str(node.home)
    facts = f"{node.endpoint}  data: {kept}  isolation: {node.walls.level}"
    return f"Lambent {__version__} is ready: {facts}  next: lambent deploy DIR"


def _first(group: BaseExceptionGroup[StartRefused]) -> StartRefused:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    assert isinstance(inner, StartRefused)
    return inner
