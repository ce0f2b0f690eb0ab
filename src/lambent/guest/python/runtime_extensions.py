"""What stands between the platform and a runtime where a function has external extensions.

The environment's first process becomes their parent: it starts them, waits for the platform's word, starts the
runtime beside them and reports over the control socket how each ended. A runtime that ends leaves the extensions
the time of the Shutdown phase. SIGTERM is passed on to the runtime; who is to be killed, the platform says.

Source: AWS Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
"""

import json
import os
import select
import signal
import socket
import struct
import time
from typing import Any, NoReturn

START, KILL = 3, 4
EXITED = 24
_HEAD = struct.Struct("!IB")
# A frame of the log whose writer is an extension, short enough for the kernel not to mix it with another's.
_LOG_HEAD = struct.Struct("!IIQ")
_FROM_EXTENSION = 0xA55A0004
_MOST_LOG_BYTES = select.PIPE_BUF - _LOG_HEAD.size
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
    parent.leave()


class _Parent:
    """Of the extensions and the runtime."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._output, self._their_output = os.pipe()
        self._line = b""
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
            os.dup2(self._their_output, 1)
            os.dup2(self._their_output, 2)
            _become_extension(path)

    def leave(self) -> None:
        """In the runtime's process, which has its own output and speaks over HTTP."""
        os.close(self._their_output)
        self._control.close()

    def fork(self, name: str) -> int:
        """As os.fork; the child is nobody's parent yet."""
        pid = os.fork()
        if pid:
            self._names[pid] = name
            return pid
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._death, self._wakeup, self._output):
            os.close(fd)
        return 0

    def wait_for_start(self) -> None:
        while not self._wait():
            pass

    def wait_for_ever(self) -> NoReturn:
        signal.signal(signal.SIGTERM, self._pass_on)
        while True:
            self._wait()

    def _wait(self) -> bool:
        """Does what there is to do next; whether the platform wants the runtime to start."""
        control = self._control.fileno()
        readable, _, _ = select.select([control, self._death, self._output], [], [])
        if self._output in readable:
            self._log()
        if self._death in readable:
            self._bury()
        return control in readable and self._obey()

    def _obey(self) -> bool:
        head = self._control.recv(_HEAD.size, socket.MSG_WAITALL)
        if len(head) < _HEAD.size:
            os._exit(0)  # the platform is gone
        length, kind = _HEAD.unpack(head)
        said = self._control.recv(length, socket.MSG_WAITALL) if length else b""
        if kind == KILL:
            self._signal(said.decode(), signal.SIGKILL)
        return bool(kind == START)

    def _log(self) -> None:
        """Passes on what extensions wrote, line by line."""
        self._line += os.read(self._output, 65536)
        while b"\n" in self._line or len(self._line) >= _MOST_LOG_BYTES:
            end = self._line.find(b"\n", 0, _MOST_LOG_BYTES) + 1 or _MOST_LOG_BYTES
            self._write(self._line[:end])
            self._line = self._line[end:]

    def _write(self, line: bytes) -> None:
        os.write(1, _LOG_HEAD.pack(_FROM_EXTENSION, len(line), time.time_ns() // 1000) + line)

    def _log_the_rest(self) -> None:
        while select.select([self._output], [], [], 0)[0]:
            self._log()
        if self._line:
            self._write(self._line)
            self._line = b""

    def _bury(self) -> None:
        os.read(self._death, 4096)
        while self._names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._log_the_rest()
            if pid in self._names:
                self._report(self._names.pop(pid), os.waitstatus_to_exitcode(status))

    def _report(self, name: str, status: int) -> None:
        said = json.dumps({"name": name, "status": status}).encode()
        try:
            self._control.sendall(_HEAD.pack(len(said), EXITED) + said)
        except OSError:
            os._exit(0)

    def _pass_on(self, number: int, _frame: Any) -> None:
        self._signal(_RUNTIME, number)

    def _signal(self, wanted: str, number: int) -> None:
        for pid, name in self._names.items():  # of which none is reaped: it cannot be another's yet
            if name == wanted:
                os.kill(pid, number)


def _become_extension(path: str) -> NoReturn:
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        os.execve(path, [path], environment)
    finally:
        os._exit(127)
