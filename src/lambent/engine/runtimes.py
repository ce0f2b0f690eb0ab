"""What a runtime needs to run here: a clone of an interpreter, or a program that an environment executes.

Python's environments are clones of a launcher that has loaded Python already. All others are clones of a launcher on
the platform's own Python, which mount the program's files and execute it; the program speaks the HTTP Runtime API.

Source: AWS Lambda Developer Guide, "Lambda runtimes" and "When to use Lambda's OS-only runtimes".
"""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.javascript import NodeInterpreter, NodeInterpreters, flags
from lambent.engine.spec import FunctionSpec
from lambent.engine.variables import RUNTIME_DIR, Place

PYTHON, NODEJS, PROVIDED = "python", "nodejs", "provided"
_PROVIDED: Final = ("provided.al2", "provided.al2023")
_NODE: Final = "/var/lang/bin/node"
_PACKAGES: Final = "/var/runtime/node_modules"  # where AWS has its SDK for JavaScript


@dataclass(frozen=True, slots=True)
class Stem:
    """What environments are clones of: an interpreter, which serves functions itself or executes a program."""

    interpreter: Path
    executes: bool = False

    def __str__(self) -> str:
        return f"{self.interpreter}{' to execute programs' if self.executes else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an environment executes.

    `trees` are the files that it needs: {place inside: file or folder of this machine}. `command` uses the places
    inside; without one, it is the function's own `bootstrap`. `node` is whose flags the command gets.
    """

    trees: Mapping[str, Path] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    node: NodeInterpreter | None = None

    def arguments(self, spec: FunctionSpec) -> list[str]:
        """The command for that function."""
        if self.node is None:
            return list(self.command)
        options = flags(self.node.version, spec.memory_mb, spec.environment.get("NODE_OPTIONS", ""))
        return [self.command[0], *options, *self.command[1:]]

    def outside(self, path: str) -> str:
        """Where that place is on this machine, for environments without walls."""
        for place, source in sorted(self.trees.items(), reverse=True):  # the longer first
            if path == place or path.startswith(f"{place}/"):
                return f"{source}{path[len(place) :]}"
        return path


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a runtime runs on this machine. `warning` says so where it is not the exact one."""

    stem: Stem
    program: Program | None = None  # None: the clone itself is the runtime
    warning: str | None = None


def outside(place: Place, spec: FunctionSpec, program: Program | None, api: socket.socket) -> Place:
    """Where things are without walls: paths and ports are the host's own."""
    return replace(
        place,
        has_walls=False,
        runtime_dir=program.outside(RUNTIME_DIR) if program else place.runtime_dir,
        node_modules=program.outside(place.node_modules) if program else place.node_modules,
        task_root=str(spec.code_dir),
        layer_roots=tuple(str(layer) for layer in spec.layer_dirs),
        runtime_api="{}:{}".format(*api.getsockname()),
    )


def family(runtime: str) -> str:
    """`python`, `nodejs` or `provided`; of other runtimes, what stands before the version."""
    return runtime.partition(".")[0].rstrip("0123456789")


@dataclass(slots=True)
class Runtimes:
    """Everything that this machine can run."""

    pythons: Interpreters
    nodes: NodeInterpreters
    node_guest: Path
    """The folder of our runtime for Node.js."""

    async def resolve(self, runtime: str) -> Runtime:
        """What an environment for that runtime is made of.

        Raises:
            NoInterpreterError: none on this machine may run it; the text names the command that installs one.
        """
        kind = family(runtime)
        if kind == PYTHON:
            choice = await self.pythons.resolve(runtime)
            return Runtime(Stem(choice.interpreter.path), warning=choice.warning)
        if kind == NODEJS:
            node, warning = await self.nodes.resolve(runtime)
            trees = {_NODE: node.path, RUNTIME_DIR: self.node_guest}
            if self.nodes.packages.is_dir():
                trees[_PACKAGES] = self.nodes.packages
            program = Program(trees=trees, command=(_NODE, f"{RUNTIME_DIR}/bootstrap.cjs"), node=node)
            return Runtime(_executing(), program, warning)
        if runtime in _PROVIDED:
            return Runtime(_executing(), Program())
        raise NoInterpreterError(
            f"Lambent does not run {runtime} yet. It runs python3.10 to python3.15, nodejs20.x to nodejs26.x, "
            f"provided.al2 and provided.al2023."
        )

    async def find(self, runtime: str) -> Runtime:
        """The same for a new or changed function. What is not there exactly is looked for again: it may be new."""
        try:
            found = await self.resolve(runtime)
        except NoInterpreterError:
            found = None
        if found is None or found.warning:
            self.pythons.look_again()
            self.nodes.look_again()
            found = await self.resolve(runtime)
        return found


def _executing() -> Stem:
    return Stem(Path(sys.executable), executes=True)
