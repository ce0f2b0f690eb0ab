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

    `main` takes the control socket, and, in a zygote, what makes its children. `prepare` does ahead, in an environment
    that waits, what does not depend on the function.
    """

    def __init__(self, main: Callable[..., None], prepare: Callable[[], None] | None = None) -> None:
        self.main = main
        self.prepare = prepare


def load(path: str) -> Guest:
    """The guest in that file, for all environments."""
    folder, name = os.path.split(path)
    sys.path.insert(0, folder)
    try:
        module = __import__(name.removesuffix(".py"))
    finally:
        sys.path.remove(folder)
    return Guest(module.main, getattr(module, "prepare", None))


def run_when_claimed(guest: Guest, multiply: Callable[[socket.socket], None] | None = None) -> None:
    """Sleep until the node's first word: the code is there by then, and can be the working folder."""
    if guest.prepare:
        guest.prepare()
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
