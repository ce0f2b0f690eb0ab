"""Package zygotes: third-party packages already imported when an environment of their function starts.

Which ones a handler imports is learnt in a first Init. Another process then tries them, and leaves out what does at
import what cannot be done ahead: threads, connections, files, output, variables of the function's own. What is left a
zygote imports behind the walls of its function, and environments are its children. All of it is kept for one
`FunctionSpec`, by its digest, and what was learnt is kept over a restart. Whatever fails on the way ends with
environments that start as all others do.

Source: after SOCK, "Rapid Task Provisioning with Serverless-Optimized Containers" (USENIX ATC 2018).
"""

import asyncio
import json
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lambent.clock import Clock
from lambent.engine.extension_phases import external_extensions
from lambent.engine.frames import INIT, LEARNT, READY, frame
from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.package_memory import PackageMemory
from lambent.engine.runtimes import PYTHON, family
from lambent.engine.sandbox.launch import EnvironmentRefused
from lambent.engine.spec import FunctionSpec
from lambent.engine.surroundings import Sandbox
from lambent.engine.variables import EXEC_WRAPPER
from lambent.observe.log import Log

_HEAD: Final = struct.Struct("!IB")
_MOST_BYTES: Final = 1 << 20  # of what a process says of its packages
_MOST_ROOTS: Final = 500
_WORK_LIMIT_S: Final = 60.0  # for importing them
_MOST_TRIALS: Final = 8
_MOST_PARKED: Final = 16
_RECENT_S: Final = 10.0
# Known to a zygote. They are the same in every environment of a function, and tell nobody what is configured.
_COMMON: Final = frozenset(
    {
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_REGION",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "LD_LIBRARY_PATH",
        "PATH",
        "PWD",
        "PYTHONPATH",
        "SHLVL",
        "TZ",
    }
)

Make = Callable[[FunctionSpec, bool], Awaitable[Sandbox]]
"""A sandbox for that function, as a zygote or not."""


@dataclass(slots=True, kw_only=True)
class Packages:
    """What is known of one function version's packages, and the zygote that has them."""

    spec: FunctionSpec
    state: str = "unknown"  # learning, trying, ready, none
    reason: str = ""  # why there is no zygote
    roots: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    zygote: Sandbox | None = None
    parked: int = 1
    starts: list[float] = field(default_factory=list)  # moments, of the last seconds
    used: float = 0.0

    def describe(self) -> dict[str, Any]:
        """As `lambent doctor FUNCTION` shows it."""
        return {
            "function": self.spec.arn,
            "version": self.spec.version,
            "kind": "package zygote",
            "state": self.state,
            "reason": self.reason,
            "imported_ahead": self.roots if self.state == "ready" else [],
            "left_out": self.left_out,
        }


class NoZygoteError(Exception):
    """The packages of a function cannot be imported ahead; the text says why."""


class PackageZygotes:
    """Those of a node."""

    def __init__(self, make: Make, clock: Clock, log: Log, idle_s: float, memory: PackageMemory) -> None:
        self._make = make
        self._memory = memory
        self._clock = clock
        self._log = log
        self._idle_s = idle_s
        self._known: dict[str, Packages] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def zygote(self, spec: FunctionSpec) -> str | None:
        """The id of the zygote that an environment of this function is to be a child of."""
        packages = self._known.get(spec.digest)
        if packages is None or packages.zygote is None:
            return None
        packages.used = self._clock.elapsed()
        packages.starts.append(packages.used)
        return packages.zygote.id

    def learns(self, spec: FunctionSpec, order: Mapping[str, Any], tasks: asyncio.TaskGroup) -> bool:
        """Whether this function's next Init, with `order` as its INIT frame, is to tell what it imports.

        If that is known, from before a restart or a pause, its zygote is made at once.
        """
        if spec.digest in self._known or not can_be_born(spec):
            return False
        packages = self._known[spec.digest] = Packages(spec=spec, state="learning", used=self._clock.elapsed())
        known = self._memory.get(spec.digest)
        if known is None:
            return True
        packages.roots, packages.left_out = known
        tasks.create_task(self._prepare(packages, dict(order), None), name="engine.package_zygote")
        return False

    def learnt(self, spec: FunctionSpec, findings: bytes, order: Mapping[str, Any], tasks: asyncio.TaskGroup) -> None:
        """An Init has told. `order` was its INIT frame."""
        packages = self._known.get(spec.digest)
        if packages is None or packages.state != "learning":
            return
        try:
            packages.roots, changed = _read(findings)
        except NoZygoteError as error:
            packages.state, packages.reason = "none", str(error)
            return
        if not packages.roots:
            packages.state, packages.reason = "none", "it imports no third-party packages while it initialises"
            return
        tasks.create_task(self._prepare(packages, dict(order), changed), name="engine.package_zygote")

    def retire(self, arn: str, keep_digests: frozenset[str]) -> None:
        """Ends a function's zygotes, but for those of these digests."""
        for digest, packages in list(self._known.items()):
            if packages.spec.arn == arn and digest not in keep_digests:
                self._forget(digest)

    def tend(self, *, is_short_of_memory: bool) -> None:
        """Keeps as many children ahead as were wanted lately; gives up zygotes that nobody needs."""
        now = self._clock.elapsed()
        for digest, packages in list(self._known.items()):
            if packages.zygote is None:
                continue
            packages.starts = [moment for moment in packages.starts if now - moment < _RECENT_S]
            if is_short_of_memory or now - packages.used >= self._idle_s:
                self._forget(digest)
                continue
            parked = max(1, min(_MOST_PARKED, len(packages.starts)))
            if parked != packages.parked:
                packages.parked = parked
                packages.zygote.seal(parked)

    def close(self) -> None:
        """Ends all of them."""
        for digest in list(self._known):
            self._forget(digest)

    def describe(self, function: str) -> list[dict[str, Any]]:
        """What is known of a function's versions, by its name or ARN."""
        return [each.describe() for each in self._known.values() if function in (each.spec.arn, each.spec.name)]

    def _forget(self, digest: str) -> None:
        packages = self._known.pop(digest)
        packages.state = "none"
        if packages.zygote:
            packages.zygote.discard()
            packages.zygote = None

    async def _prepare(self, packages: Packages, order: dict[str, Any], changed: list[str] | None) -> None:
        """Tries the packages, unless that was done before, and makes the zygote. `changed` are variables that an Init
        changes. Whatever fails, the function's environments start without.
        """
        try:
            packages.state = "trying"
            own = {name for name in order["environment"] if name not in _COMMON}
            order["environment"] = {k: v for k, v in order["environment"].items() if k in _COMMON}
            if changed is not None:
                order["variables"] = sorted({*own, *changed} - {"PWD", "SHLVL"})
                await self._try(packages, order)
            await self._found(packages, order)
            if changed is not None and packages.zygote:
                digest, found = packages.spec.digest, (packages.roots, packages.left_out)
                await asyncio.to_thread(self._memory.keep, digest, *found)
        except (NoZygoteError, NoInterpreterError, EnvironmentRefused, OSError) as error:
            packages.state, packages.reason = "none", str(error) or "importing them took too long"
            if changed is None:
                await asyncio.to_thread(self._memory.forget, packages.spec.digest)
        if packages.zygote is None:
            self._log.info("package_zygote.none", function=packages.spec.arn, reason=packages.reason)

    async def _try(self, packages: Packages, order: dict[str, Any]) -> None:
        for _turn in range(_MOST_TRIALS):
            if not packages.roots:
                raise NoZygoteError("none of its packages can be imported ahead")
            sandbox = await self._make(packages.spec, False)
            try:
                kind, said = await _talk(sandbox, {**order, "roots": packages.roots, "is_trial": True})
            finally:
                sandbox.discard()
            if kind != LEARNT:
                raise NoZygoteError("the trial of its packages ended early")
            found = _left_out(said, packages.roots)
            if found is None:
                return
            root, reason = found
            packages.roots.remove(root)
            packages.left_out[root] = reason
        raise NoZygoteError("too many of its packages cannot be imported ahead")

    async def _found(self, packages: Packages, order: dict[str, Any]) -> None:
        sandbox = await self._make(packages.spec, True)
        try:
            kind, _said = await _talk(sandbox, {**order, "roots": packages.roots, "is_trial": False})
            if kind != READY:
                raise NoZygoteError("the zygote ended early")
        except BaseException:
            sandbox.discard()
            raise
        if packages.state != "trying":  # its function changed meanwhile
            sandbox.discard()
            return
        packages.state, packages.zygote = "ready", sandbox
        packages.used = self._clock.elapsed()
        sandbox.seal(packages.parked)
        sandbox.barren.add_done_callback(lambda barren: self._is_barren(packages, barren.result()))
        self._log.info(
            "package_zygote.ready",
            function=packages.spec.arn,
            version=packages.spec.version,
            imported=packages.roots,
            left_out=packages.left_out,
        )

    def _is_barren(self, packages: Packages, reason: str) -> None:
        """It will have no more children: from now on the function's environments start without it, for good."""
        if packages.zygote:
            packages.zygote.discard()
            packages.zygote = None
            packages.state, packages.reason = "none", reason
            self._log.warning("package_zygote.failed", function=packages.spec.arn, reason=reason)


def can_be_born(spec: FunctionSpec) -> bool:
    """Whether environments of this function may be copies of a process: it is Python's, and alone in there."""
    return (
        family(spec.runtime) == PYTHON
        and not spec.file_systems
        and EXEC_WRAPPER not in spec.environment
        and not external_extensions(spec.layer_dirs)
    )


def _read(findings: bytes) -> tuple[list[str], list[str]]:
    """Roots, and changed variables. They come from the function."""
    try:
        content = json.loads(findings)
        roots, changed = content["roots"], content["changed"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoZygoteError("what it told of its packages cannot be read") from error
    names = [*roots, *changed] if isinstance(roots, list) and isinstance(changed, list) else [None]
    if not all(isinstance(name, str) and len(name) <= 200 for name in names) or len(roots) > _MOST_ROOTS:
        raise NoZygoteError("what it told of its packages cannot be read")
    return roots, changed


def _left_out(said: bytes, roots: list[str]) -> tuple[str, str] | None:
    """Which of the roots cannot be imported ahead, and why. It comes from the function."""
    try:
        found = json.loads(said)["left_out"]
        root, reason = found or ("", "")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoZygoteError("the trial of its packages made no sense") from error
    if found is None:
        return None
    if root not in roots:
        raise NoZygoteError("the trial of its packages made no sense")
    return root, str(reason)[:500]


async def _talk(sandbox: Sandbox, order: dict[str, Any]) -> tuple[int, bytes]:
    """Sends the INIT frame; the first frame that comes back. What it writes meanwhile is thrown away."""
    loop = asyncio.get_running_loop()

    def throw_away() -> None:
        try:
            if not os.read(sandbox.output, 65_536):
                loop.remove_reader(sandbox.output)
        except BlockingIOError:
            return

    loop.add_reader(sandbox.output, throw_away)
    try:
        async with asyncio.timeout(_WORK_LIMIT_S):
            await loop.sock_sendall(sandbox.control, frame(INIT, json.dumps(order).encode()))
            return await _first_frame(sandbox)
    finally:
        loop.remove_reader(sandbox.output)


async def _first_frame(sandbox: Sandbox) -> tuple[int, bytes]:
    data = b""
    while len(data) < _HEAD.size or len(data) < _HEAD.size + _HEAD.unpack_from(data)[0]:
        part = await asyncio.get_running_loop().sock_recv(sandbox.control, 65_536)
        if not part or len(data) > _MOST_BYTES:
            raise NoZygoteError("importing its packages ends the process")
        data += part
    return _HEAD.unpack_from(data)[1], data[_HEAD.size :]
