"""Makes the launcher's process what a function expects to be alone in, as far as no function is known.

Environments are copies of it, and share its memory until they write to it: a page that a copy writes to is copied
first, which takes longer than most of what is done then. So whatever can be done before the copy is, once. And a
start is gone through a few times: from then on the interpreter has its caches filled and its code specialised, and
leaves them alone. A copy that waits for its function goes through one, too: what a start writes to it then has.
"""

import contextlib
import json
import logging
import os
import random
import site
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

_TURNS = 20  # more than it takes until code is specialised
_STDLIB = os.path.dirname(os.__file__)
_EVENT = b'{"rehearsal": ["Init", 1, 0.5, true, null]}'
_ORDER = json.dumps(
    {
        "handler": "runtime_rehearsed.handler",
        "environment": {"TZ": ":UTC", **{f"REHEARSED_VARIABLE_{n}": "of its length" * 3 for n in range(30)}},
        "sys_path": [],
    }
).encode()
_HEADER = (
    b'{"request_id": "", "deadline_ms": 0, "arn": "", "trace": "Root=", '
    b'"client_context": null, "cognito_identity": null}'
)


class _Over(BaseException):
    """The rehearsal's end."""


def prepare(bootstrap: Any) -> "Callable[[], None]":
    """Once, before the first copy. What is given back is for a copy that waits."""
    sys.argv = ["/var/runtime/bootstrap.py"]
    # The launcher runs without `site`; functions may call exit() and help().
    site.setquit()
    site.setcopyright()
    site.sethelper()
    bootstrap.runtime_logs.open_streams()
    random.seed()
    for _turn in range(_TURNS):
        _rehearse(bootstrap)
    for name in [name for name, module in sys.modules.items() if _hides(name, module)]:
        del sys.modules[name]
    return lambda: _rehearse(bootstrap)


def _hides(name: str, module: ModuleType) -> bool:
    """Whether a function's module of the same name would not be found: what the launcher loaded for itself."""
    file = getattr(module, "__file__", None)
    return bool(file) and not str(file).startswith(_STDLIB) and name != "__main__"


def _rehearse(bootstrap: Any) -> None:
    """One start and one invocation, by frames; nothing is left of it."""
    environment, path, converter = dict(os.environ), sys.path[:], logging.Formatter.converter
    node, control = socket.socketpair()
    with node, control, contextlib.suppress(_Over):
        _send(node, bootstrap.INIT, _ORDER)
        platform = bootstrap.FramePlatform(control)
        order = {**platform.order(), "sys_path": [bootstrap._runtime_folder()]}
        bootstrap._settle(order)
        send, platform.next = platform.send, _invocations(platform, node, bootstrap.INVOKE)
        platform.send = lambda kind, payload=b"": (send(kind, payload), node.recv(65536))
        bootstrap.serve(order["handler"], platform, log_fd=1, start=bootstrap.Start(order, platform, None))
    sys.modules.pop("runtime_rehearsed", None)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[:] = path
    logging.Formatter.converter = converter
    logging.getLogger().handlers.clear()
    sys.path_importer_cache.clear()


def _invocations(platform: Any, node: socket.socket, kind: int) -> Any:
    take = platform.next

    def first() -> Any:
        _send(node, kind, len(_HEADER).to_bytes(4, "big") + _HEADER + _EVENT)
        platform.next = _end
        return take()

    return first


def _end() -> None:
    raise _Over


def _send(node: socket.socket, kind: int, payload: bytes) -> None:
    node.sendall(len(payload).to_bytes(4, "big") + bytes([kind]) + payload)
