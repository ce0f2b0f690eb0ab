"""The guest: what a launcher loads once, and each of its clones runs as its last act.

Standard library only: the launcher's process imports it.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback

from lambent.engine.sandbox import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Guest:
    """A loaded module of the guest.

    `main` takes the control socket, and, in a zygote, what makes its children. `rehearse` is for an environment that
    has nothing to do.
    """

    def __init__(self, main: Callable[..., None], rehearse: Callable[[], None]) -> None:
        self.main = main
        self.rehearse = rehearse


def load(path: str) -> Guest:
    """The guest in that file, for all environments; whatever it does not need to know a function for is done."""
    folder, name = os.path.split(path)
    sys.path.insert(0, folder)
    try:
        module = __import__(name.removesuffix(".py"))
        prepare = getattr(module, "prepare", lambda: _do_nothing)
        return Guest(module.main, prepare())
    finally:
        sys.path.remove(folder)


def _do_nothing() -> None:
    """Nothing to rehearse."""


def run_when_claimed(guest: Guest, multiply: Callable[[socket.socket], None] | None = None) -> None:
    """Sleep until the node's first word: the code is there by then, and can be the working folder."""
    with socket.socket(fileno=namespaces.CONTROL_FD) as control:
        if not control.recv(1, socket.MSG_PEEK):
            os._exit(0)
        control.detach()
    os.chdir("/var/task")
    if multiply:
        run(lambda control: guest.main(control, lambda: multiply(socket.socket(fileno=namespaces.SYNC_FD))))
    else:
        run(guest.main)


def run(main: Callable[[socket.socket], None]) -> None:
    """Be the environment, and never return into the launcher's frames."""
    status = 1
    try:
        main(socket.socket(fileno=namespaces.CONTROL_FD))
        status = 0
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status & 0xFF)
