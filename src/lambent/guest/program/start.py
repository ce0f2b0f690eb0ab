"""Becomes the program that serves a function: Node.js, or the `bootstrap` of a custom runtime.

A launcher imports this module once, clones itself, and its child calls `main` as its last act. The program gets the
function's environment variables and nothing else: no shell stands between, and the platform's socket is closed by the
exec. From then on it speaks the HTTP Runtime API. What cannot be executed is told to the platform in AWS's words.

Source: AWS Lambda Developer Guide, "Building a custom runtime for AWS Lambda"; facts sheet section 11.
"""

import importlib.util
import json
import os
import signal
import socket
import struct
import sys
from types import ModuleType
from typing import Any, NoReturn

UNSTARTABLE = 26
_HEAD = struct.Struct("!IB")


def _beside(name: str) -> ModuleType:
    """A module of the Python guest, loaded with this one: behind the walls there is no folder of ours."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python", name + ".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runtime_extensions = _beside("runtime_extensions")


def main(control: socket.socket) -> NoReturn:
    """Waits for the INIT frame, then executes what it says."""
    order = _receive(control)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and so would whatever it executes
        signal.signal(number, signal.SIG_DFL)
    if order["extensions"]:
        os.environ.update(order["environment"])
        runtime_extensions.stand_between(order["extensions"], control)
    if order.get("waits"):  # the program is started ahead, and reads there which function it is for
        os.set_inheritable(control.fileno(), True)
    command: list[str] = order["command"] or _bootstrap(order["bootstraps"])
    if not command:
        looked_at = " ".join(order["bootstraps"])
        _refuse(control, f"Couldn't find valid bootstrap(s): [{looked_at}]")
    wrapper = order.get("wrapper")
    if wrapper:
        command = [wrapper, *command]
    try:
        os.execve(command[0], command, order["environment"])
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        if wrapper:  # on AWS a shell tries, and says so
            sys.stderr.write(f"/var/runtime/bootstrap: {wrapper}: {reason}\n")
            sys.stderr.flush()
            os._exit(126 if isinstance(error, PermissionError) else 127)
        _refuse(control, f"fork/exec {command[0]}: {reason.lower()}")


def _receive(control: socket.socket) -> "dict[str, Any]":
    control.setblocking(True)
    data = b""
    while len(data) < _HEAD.size or len(data) < _HEAD.size + _HEAD.unpack_from(data)[0]:
        part = control.recv(65536)
        if not part:
            os._exit(0)  # the platform is gone
        data += part
    order: dict[str, Any] = json.loads(data[_HEAD.size :])
    return order


def _bootstrap(paths: "list[str]") -> "list[str]":
    """The first that is there and no folder; whether it can be executed is seen when it is."""
    return next(([path] for path in paths if os.path.lexists(path) and not os.path.isdir(path)), [])


def _refuse(control: socket.socket, reason: str) -> NoReturn:
    text = reason.encode()
    try:
        control.sendall(_HEAD.pack(len(text), UNSTARTABLE) + text)
    except OSError:  # beside extensions, whose parent has that socket
        sys.stderr.write(reason + "\n")
        sys.stderr.flush()
    os._exit(1)
