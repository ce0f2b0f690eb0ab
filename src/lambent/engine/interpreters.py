"""Which CPython interpreters this machine has, and which one a runtime gets.

Looked for when first needed, never at start: on PATH, in pyenv's and uv's folders, and where the settings say. Each
candidate is asked what it is by running it.
"""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SUPPORTED: Final = tuple((3, minor) for minor in range(10, 16))
"""The Python versions whose runtimes are accepted: python3.10 to python3.15."""

_QUESTION: Final = "import sys; print(*sys.version_info[:3], sys.implementation.name, sys.base_prefix, sep='\\n')"
_ANSWER_LIMIT_S: Final = 10.0
_AT_ONCE: Final = 4  # processes; more would only fight over the same cores


@dataclass(frozen=True, slots=True, order=True)
class Interpreter:
    """One CPython: its version and the executable to run."""

    version: tuple[int, int, int]
    path: Path

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]


@dataclass(frozen=True, slots=True)
class Choice:
    """The interpreter for a runtime. `warning` says so where it is not the exact one."""

    interpreter: Interpreter
    warning: str | None = None


class NoInterpreterError(Exception):
    """No interpreter of this machine may run the function; the text says what to install."""


def choose(runtime: str, found: Iterable[Interpreter], *, strict: bool) -> Choice:
    """The newest patch release of the runtime's own version, else, unless `strict`, the nearest version. Pure.

    Raises:
        NoInterpreterError: none fits.
    """
    wanted = _wanted(runtime)
    known = sorted(found)
    near = [one for one in known if one.minor in SUPPORTED]  # the bootstrap runs on no older one
    exact = [one for one in near if one.minor == wanted]
    if exact:
        return Choice(exact[-1])
    if strict or not near:
        raise NoInterpreterError(_advice(runtime, wanted, known))
    # The nearest; of two equally near the newer one, which rejects less.
    best = min(near, key=lambda one: (abs(one.minor[1] - wanted[1]), -one.minor[1], [-n for n in one.version]))
    name = "python{}.{}".format(*best.minor)
    warning = f"{runtime} is not on this machine: the function runs on {name} ({best.path}). Install {runtime}, or set "
    return Choice(best, warning + "runtimes_strict to refuse instead.")


def _wanted(runtime: str) -> tuple[int, int]:
    match = re.fullmatch(r"python(\d)\.(\d+)", runtime)
    if not match:
        raise NoInterpreterError(f"{runtime} is not a Python runtime.")
    return int(match[1]), int(match[2])


def _advice(runtime: str, wanted: tuple[int, int], known: Sequence[Interpreter]) -> str:
    there = ", ".join(sorted({"python{}.{}".format(*one.minor) for one in known})) or "none"
    return (
        f"No interpreter for {runtime} on this machine (found: {there}). Install one with "
        f"`lambent runtime install {runtime}`, or name one in python_paths."
    )


def candidates(environ: Mapping[str, str], home: Path, configured: Iterable[str]) -> list[Path]:
    """The executables that may be interpreters, each once, by the file that they really are."""
    names = [f"python{major}.{minor}" for major, minor in SUPPORTED]
    paths = [Path(text).expanduser() for text in configured]
    paths += [Path(hit) for name in [*names, "python3"] if (hit := shutil.which(name, path=environ.get("PATH", "")))]
    pyenv = Path(environ.get("PYENV_ROOT", home / ".pyenv"))
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python"))
    for folder in (pyenv / "versions", uv):
        with contextlib.suppress(PermissionError):  # another user's, as with sudo or su
            paths += sorted(folder.glob("*/bin/python3"))
    paths.append(Path(sys.executable))
    real: dict[Path, None] = {}
    for path in paths:
        # pyenv's shims on PATH are scripts that choose a version by the folder they are called in.
        if path.parent.name != "shims" and os.access(path, os.X_OK):
            real[path.resolve()] = None
    return list(real)


@dataclass(slots=True)
class Interpreters:
    """What was found. Each candidate is asked once."""

    configured: tuple[str, ...] = ()
    strict: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    home: Path = field(default_factory=Path.home)
    _asked: dict[Path, Interpreter | None] = field(default_factory=dict)
    _has_looked: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def resolve(self, runtime: str) -> Choice:
        """The interpreter for a runtime.

        Raises:
            NoInterpreterError: none may run it.
        """
        return choose(runtime, await self.found(), strict=self.strict)

    async def found(self) -> list[Interpreter]:
        """Every CPython of this machine. The first call takes a few tens of milliseconds per interpreter."""
        async with self._lock:
            if not self._has_looked:
                self._has_looked = True
                paths = await asyncio.to_thread(candidates, self.environ, self.home, self.configured)
                new = [path for path in paths if path not in self._asked]
                self._asked |= dict(zip(new, await _ask(new), strict=True))
                self._asked = {path: self._asked[path] for path in paths}
            return sorted(one for one in self._asked.values() if one)

    def look_again(self) -> None:
        """The next question is answered by what is there then."""
        self._has_looked = False


async def _ask(paths: Sequence[Path]) -> list[Interpreter | None]:
    """What each says it is; None where it says nothing sensible."""
    answers = await ask_all([[str(path), "-I", "-S", "-c", _QUESTION] for path in paths])
    return [_understood(path, lines) for path, lines in zip(paths, answers, strict=True)]


def _understood(path: Path, lines: Sequence[str]) -> Interpreter | None:
    if len(lines) < 4 or lines[3] != "cpython":
        return None
    return Interpreter((int(lines[0]), int(lines[1]), int(lines[2])), path)


async def ask_all(commands: Sequence[Sequence[str]]) -> list[list[str]]:
    """The lines that each command writes; none of one that fails, a few commands at a time."""
    limiter = asyncio.Semaphore(_AT_ONCE)

    async def ask(command: Sequence[str]) -> list[str]:
        async with limiter:
            return await _lines(command)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(command)) for command in commands]
    return [task.result() for task in asked]


async def _lines(command: Sequence[str]) -> list[str]:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    except OSError:
        return []
    try:
        async with asyncio.timeout(_ANSWER_LIMIT_S):
            output, _errors = await process.communicate()
    except TimeoutError:
        return []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace").split("\n") if process.returncode == 0 else []
