"""A folder as a deployment package: its language and handler found, its requirements installed, its files zipped.

The same folder gives the same bytes: entries are sorted, with one date and one of two modes, so an unchanged
function keeps its CodeSha256.
"""

import ast
import compileall
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

MODULES: Final = ("app", "lambda_function", "handler", "main", "index")
FUNCTIONS: Final = ("lambda_handler", "handler", "main")
SCRIPTS: Final = (".mjs", ".js", ".cjs", ".ts", ".mts", ".cts")  # what Node.js loads
PYTHON, NODEJS, PROVIDED = "python", "nodejs", "provided"
_EXPORT: Final = re.compile(
    r"exports\.(handler|lambdaHandler)\b|^export\b[^;=]*\b(handler|lambdaHandler)\b", re.MULTILINE
)
_MODULES_OF_NODE: Final = "node_modules"
_LEFT_OUT: Final = {"__pycache__", ".git", ".venv", ".lambent", ".pytest_cache", ".mypy_cache", ".idea"}
_THIS_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


class PackageError(Exception):
    """The folder cannot become a package; `next_step` is what can be done about it."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(f"{what} {next_step}".strip())
        self.what = what
        self.next_step = next_step


def language(folder: Path) -> str | None:
    """`python`, `nodejs` or `provided`: what the folder's files are made for; None when none has a usual name."""
    if (folder / "bootstrap").is_file():
        return PROVIDED
    if any((folder / f"{module}.py").is_file() for module in MODULES):
        return PYTHON
    return NODEJS if _script(folder) else None


def find_handler(folder: Path, language: str = PYTHON) -> str:
    """`module.function` of the folder's handler: the first of the usual names that is there.

    Raises:
        PackageError: no such module or function, or one that does not parse; says what was looked for.
    """
    if language == PROVIDED:
        return "bootstrap"  # which reads _HANDLER, if anything does
    if language == NODEJS:
        return _find_script(folder)
    modules = [module for module in MODULES if (folder / f"{module}.py").is_file()]
    for module in modules:
        functions = _functions(folder / f"{module}.py")
        for function in FUNCTIONS:
            if function in functions:
                return f"{module}.{function}"
    where = ", ".join(f"{module}.py" for module in modules or MODULES)
    what = f"{folder}: no handler found."
    looked = f"Looked for a function named {', '.join(FUNCTIONS)} in {where}."
    raise PackageError(what, f"{looked}\nName yours with --handler MODULE.FUNCTION.")


def _script(folder: Path) -> Path | None:
    files = (folder / f"{module}{suffix}" for module in ("index", *MODULES) for suffix in SCRIPTS)
    return next((file for file in files if file.is_file()), None)


def _find_script(folder: Path) -> str:
    file = _script(folder)
    if file is None:
        raise PackageError(f"{folder}: no handler found.", "Looked for index.mjs, index.js, index.ts and the like.")
    exported = _EXPORT.search(file.read_text(errors="replace"))
    if exported is None:
        raise PackageError(f"{file}: no export named handler.", "Name yours with --handler MODULE.EXPORT.")
    return f"{file.stem}.{exported[1] or exported[2]}"


def _functions(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise PackageError(f"{file}:{error.lineno}: {error.msg}.") from error
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in tree.body:  # handler = Mangum(app), and from service import handler
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def requirements(folder: Path) -> Path | None:
    """The folder's requirements.txt, if there is one with something in it."""
    file = folder / "requirements.txt"
    if not file.is_file():
        return None
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return file if any(lines) else None


def install(file: Path, version: str, say: Callable[[str], None]) -> Path:
    """A folder with the requirements installed for Python `version` ("3.13"), kept for the next time.

    With byte code, where it is this Python's version: a function cannot write it, as its code is read-only, and would
    compile every module again at each cold start.

    Raises:
        PackageError: pip could not install them; ends with what pip said.
    """
    kind = f"{version} {platform.machine()} with byte code\n".encode()
    target = _cache() / hashlib.sha256(kind + file.read_bytes()).hexdigest()
    if target.is_dir():
        return target
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _pip(["install", "--target", str(fresh), "--requirement", str(file), *_for_version(version)], file, say)
        if version == _THIS_VERSION:
            _compile(fresh)
        _rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _compile(folder: Path) -> None:
    """Valid as long as the source is the same, whatever its date; with the paths that the function's stacks show."""
    compileall.compile_dir(
        folder, quiet=2, stripdir=folder, prependdir="/var/task", invalidation_mode=PycInvalidationMode.CHECKED_HASH
    )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambent" / "packages"


def _rename(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():  # else another deploy was first, with the same content
            raise


def _for_version(version: str) -> list[str]:
    """Nothing for the Python that runs pip; for another, that only wheels made for it are taken."""
    if version == _THIS_VERSION and sys.platform == "linux":
        return []
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in (34, 28, 27, 26, 24, 17)] + [f"manylinux2014_{machine}"]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    return ["--python-version", version, "--implementation", "cp", "--only-binary", ":all:", *platforms]


def _pip(arguments: list[str], file: Path, say: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input", "--no-compile"]
    # pip warns of the calling environment's packages, which have nothing to do with the target folder.
    environ = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_WARN_CONFLICTS": "1"}
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            say(line.strip())
    if process.returncode != 0:
        tail = "\n".join(said[-15:])
        raise PackageError(f"{file}: pip could not install this (exit status {process.returncode}).", tail)


def build(folder: Path, installed: Path | None = None, *, with_node_modules: bool = False) -> bytes:
    """One zip of the folder's files and of what is installed for it; where both have a path, the folder's is taken.

    `node_modules` are for Node.js; elsewhere they are what a bundler or a linter left.

    Raises:
        PackageError: there is nothing to zip.
    """
    files: dict[str, Path] = {}
    if installed:
        files |= {str(path.relative_to(installed)): path for path in installed.rglob("*") if path.is_file()}
    files |= {str(path.relative_to(folder)): path for path in _files(folder, with_node_modules)}
    if not files:
        raise PackageError(f"{folder}: nothing in it to deploy.")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if os.access(path, os.X_OK) else 0o100644) << 16
            archive.writestr(entry, path.read_bytes())
    return content.getvalue()


def _files(folder: Path, with_node_modules: bool) -> Iterator[Path]:
    left_out = _LEFT_OUT if with_node_modules else _LEFT_OUT | {_MODULES_OF_NODE}
    for current, names, files in os.walk(folder, followlinks=True):
        names[:] = [name for name in names if name not in left_out]
        yield from (Path(current, name) for name in files if not name.endswith(".pyc"))
