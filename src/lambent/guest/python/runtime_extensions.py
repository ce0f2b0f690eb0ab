"""What stands between the platform and a runtime where a function has external extensions.

The environment's first process becomes their parent: it starts them, waits for the platform's word, starts the
runtime beside them and reports over the control socket how each ended. A runtime that ends leaves the extensions
the time of the Shutdown phase. SIGTERM is passed on to the runtime.

Source: AWS Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
"""

import json
import os
import select
import signal
import socket
import struct
from typing import Any, NoReturn

START, EXITED = 3, 24
_HEAD = struct.Struct("!IB")
_RUNTIME = ""
# Source: the guide, "Environment variables" of the Extensions API.
_HIDDEN = (
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
)


def stand_between(paths: "list[str]", control: socket.socket) -> None:
    """Starts the extensions and, when the platform says so, the runtime. Returns in the runtime's process only."""
    control.setblocking(True)
    control.set_inheritable(False)
    parent = _Parent(control)
    for path in paths:
        parent.start(path)
    parent.wait_for_start()
    if parent.fork(_RUNTIME):
        parent.wait_for_ever()


class _Parent:
    """Of the extensions and the runtime."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._names: dict[int, str] = {}
        self._death, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def start(self, path: str) -> None:
        """Starts one extension; one that cannot be started has ended with the reason."""
        name = os.path.basename(path)
        if not os.access(path, os.X_OK):
            self._report(name, 126)
        elif not self.fork(name):
            _become_extension(path)

    def fork(self, name: str) -> int:
        """As os.fork; the child is nobody's parent yet."""
        pid = os.fork()
        if pid:
            self._names[pid] = name
            return pid
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._death)
        os.close(self._wakeup)
        return 0

    def wait_for_start(self) -> None:
        while True:
            readable, _, _ = select.select([self._control.fileno(), self._death], [], [])
            if self._death in readable:
                self._bury()
            if self._control.fileno() in readable:
                if self._control.recv(_HEAD.size) != _HEAD.pack(0, START):
                    os._exit(0)  # the platform is gone
                return

    def wait_for_ever(self) -> NoReturn:
        signal.signal(signal.SIGTERM, self._pass_on)
        while True:
            select.select([self._death], [], [])
            self._bury()

    def _bury(self) -> None:
        os.read(self._death, 4096)
        while self._names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._names:
                self._report(self._names.pop(pid), os.waitstatus_to_exitcode(status))

    def _report(self, name: str, status: int) -> None:
        said = json.dumps({"name": name, "status": status}).encode()
        try:
            self._control.sendall(_HEAD.pack(len(said), EXITED) + said)
        except OSError:
            os._exit(0)

    def _pass_on(self, number: int, _frame: Any) -> None:
        for pid, name in self._names.items():
            if name == _RUNTIME:
                os.kill(pid, number)


def _become_extension(path: str) -> NoReturn:
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        os.execve(path, [path], environment)
    finally:
        os._exit(127)
