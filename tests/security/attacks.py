"""Attacks run as code of a function, inside real environments: as root and as a plain user, as far as we may.

An attack is a plain Python function that returns what it got. `inside.run(attack)` runs it in an environment,
`outside.run(attack)` in a process without walls: the control, which shows that the attack is real.
"""

import asyncio
import contextlib
import inspect
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import lambent.engine.sandbox as sandbox_package
from lambent.engine.egress.process import Egress
from lambent.engine.sandbox.launch import Exit, Launcher, LaunchSettings, Order, Sandbox, Servers
from lambent.engine.sandbox.probe import Walls
from lambent.observe.log import Log
from lambent.observe.supervise import supervise

T = TypeVar("T")
GATEWAY_PORT = 4566
NOBODY = 65534
_ANSWER_LIMIT_S = 60.0
EGRESS_UID = 309_999
INTERNET = "127.0.0.2"  # stands for it: the only address of this machine that the egress proxy of the tests allows
RESOLVER = "10.9.9.9"  # of the worlds of test_router_walls.py, in a network where functions may not go
EGRESS_COMMAND = (
    sys.executable,
    "-I",
    "-c",
    f"""# the egress proxy of process {os.getpid()}
import sys
from lambent.engine.egress import addresses, serve
allows = lambda address: address == "{INTERNET}" or addresses.is_allowed(address)
serve.main(int(sys.argv[1]), int(sys.argv[2]), allows, lambda: ["{RESOLVER}"])
""",
)

_BOOTSTRAP = """
import errno, json, os, random, socket, struct

scopes = []  # what an attack leaves in its globals stays there

def main(control, multiply=None):
    while True:
        head = control.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return
        source, name, arguments = json.loads(control.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL))
        answer = json.dumps(attempt(source, name, arguments)).encode()
        control.sendall(struct.pack("!I", len(answer)) + answer)
        if multiply and name == "become_zygote":
            multiply()
            multiply = None

def attempt(source, name, arguments):
    scope = {"__name__": "attack"}
    scopes.append(scope)
    try:
        exec(compile(source, "attack", "exec"), scope)
        return {"got": scope[name](*arguments)}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, str(error)), "text": str(error)}
    except Exception as error:
        return {"refused": type(error).__name__, "text": str(error)}
"""

Attack = Callable[..., Any]


@dataclass(frozen=True)
class Refused:
    """What an attack got instead: the name of the errno, or of the exception."""

    reason: str


class Ended(Exception):
    """The environment ended instead of answering."""


def _read_answer(answer: dict[str, Any]) -> Any:
    return Refused(answer["refused"]) if "refused" in answer else answer["got"]


def _source_of(attack: Attack) -> tuple[str, str]:
    return textwrap.dedent(inspect.getsource(attack)), attack.__name__


class Outside:
    """A process without walls, optionally of a plain user."""

    def run(self, attack: Attack, *arguments: Any, user: int | None = None) -> Any:
        call = f"{_BOOTSTRAP}\nprint(json.dumps(attempt(*json.loads(input()))))"
        question = json.dumps([*_source_of(attack), arguments])
        command = [sys.executable if user is None else plain_interpreter(), "-I", "-S", "-c", call]
        done = subprocess.run(command, input=question, capture_output=True, text=True, check=True, user=user)
        return _read_answer(json.loads(done.stdout))


class Inside:
    """One environment, claimed."""

    def __init__(self, house: "House", sandbox: Sandbox) -> None:
        self._house = house
        self.sandbox = sandbox

    def run(self, attack: Attack, *arguments: Any) -> Any:
        """What the attack got, or Refused. Raises Ended when the environment did not survive it."""
        return _read_answer(self._house.wait(self._ask(*_source_of(attack), arguments)))

    def exit(self) -> Exit:
        """How it ended; waits for that."""

        async def ended() -> Exit:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                return await asyncio.shield(self.sandbox.exited)

        return self._house.wait(ended())

    def call(self, method: Callable[[], T]) -> T:
        """Call a method of the sandbox where it lives: on the house's loop."""

        async def called() -> T:
            return method()

        return self._house.wait(called())

    def kill(self) -> None:
        self._house.wait(self.sandbox.kill())

    def close(self) -> None:
        self.kill()
        self.sandbox.control.close()
        self.sandbox.runtime_api.close()
        os.close(self.sandbox.output)

    async def _ask(self, source: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        body = json.dumps([source, name, arguments]).encode()
        async with asyncio.timeout(_ANSWER_LIMIT_S):
            await loop.sock_sendall(self.sandbox.control, struct.pack("!I", len(body)) + body)
            answer: dict[str, Any] = json.loads(await self._receive(struct.unpack("!I", await self._receive(4))[0]))
            return answer

    async def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            with contextlib.suppress(ConnectionError):
                part = await asyncio.get_running_loop().sock_recv(self.sandbox.control, count - len(data))
                if part:
                    data += part
                    continue
            raise Ended
        return data


class House:
    """An event loop in a thread, and the launchers opened on it."""

    def __init__(self, enter: Callable[[], None] = lambda: None) -> None:
        """All that it starts lives in the network namespace that `enter` goes to."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(enter,))
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self._made = 0
        self.folder = Path(tempfile.mkdtemp(prefix="lambent-security-"))
        self.folder.chmod(0o755)
        self.listeners: dict[str, Any] = {}
        self.egress = Egress(EGRESS_UID if os.getuid() == 0 else 0, EGRESS_COMMAND)
        self._proxying = asyncio.run_coroutine_threadsafe(self._proxy(), self._loop)
        (self.folder / "bootstrap.py").write_text(_BOOTSTRAP)

    def _run(self, enter: Callable[[], None]) -> None:
        enter()
        self._loop.run_forever()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def launcher(
        self, walls: Walls, interpreter: Path, *, parked: int = 2, gateway_port: int = GATEWAY_PORT, **more: Any
    ) -> Launcher:
        settings = LaunchSettings(
            bootstrap=self.folder / "bootstrap.py",
            scratch=self.folder,
            gateway_port=gateway_port,
            uid_base=310_000,
            parked=parked,
            ahead=2,
            **{"way": "proxy"} | more,
        )
        opening = Launcher.open(
            interpreter, walls, settings, Servers(self._keep_listener, self.egress.adopt, self.egress.adopt_names)
        )
        return self.wait(self._stack.enter_async_context(opening))

    def claim(self, launcher: Launcher, code: Path | None = None, **order: Any) -> Inside:
        self._made += 1
        if code is None:
            code = self.folder / f"code-{self._made}"
            code.mkdir()
            (code / "handler.py").write_text("print('hello')\n")
            (code / "handler.py").chmod(0o666)  # so that it is the mount which protects it
            code.chmod(0o777)
        ordered = Order(environment_id=f"e{self._made}", code_dir=code, **order)
        return Inside(self, self.wait(launcher.claim(ordered)))

    def stop_launchers(self) -> None:
        self.wait(self._stack.aclose())

    def close(self) -> None:
        self.stop_launchers()
        self.wait(self._stop_proxy())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder)

    async def _proxy(self) -> None:
        self._has_proxy_ended = asyncio.Event()
        try:
            await supervise("egress", self.egress.run, Log("off"))
        finally:
            self._has_proxy_ended.set()

    async def _stop_proxy(self) -> None:
        self._proxying.cancel()
        await self._has_proxy_ended.wait()

    def _keep_listener(self, sock: Any, environment_id: str) -> Callable[[], None]:
        self.listeners[environment_id] = sock
        return sock.close


def plain_interpreter() -> str:
    """An interpreter that any user may run: a checkout's may lie in a private folder."""
    for path in (os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([path, "-c", "import json, ctypes"], check=True, user=NOBODY, capture_output=True)
            return path
    raise RuntimeError("No Python that a plain user may run; install python3.")


def plain_launcher(folder: Path, before: str = "") -> Path:
    """A stand-in for an interpreter that gives up root first, and takes the sandbox's modules from a readable copy.

    `before` are commands of root's, of which the last executes its arguments.
    """
    copy = folder / "sandbox"
    shutil.copytree(Path(sandbox_package.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    script = folder / "plain-python"
    become = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"
    # The arguments are -I -S -E, the entry's path, launch and the descriptor.
    script.write_text(
        f'#!/bin/sh\nshift 4\nexec {before} {become} {plain_interpreter()} -I -S -E {copy}/entry.py "$@"\n'
    )
    script.chmod(0o755)
    return script
