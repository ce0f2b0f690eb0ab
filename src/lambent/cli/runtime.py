"""`lambent runtime`: which runtimes run on this machine, and how to get one that does not."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from lambent.cli.client import AsJson
from lambent.cli.terminal import CommandError, answer, answer_json, columns, note, progress
from lambent.config import Config, ConfigError, read
from lambent.engine import interpreters, javascript
from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.javascript import NodeInterpreters
from lambent.practices.interpreters import SDK, InstallError, install

runtime = typer.Typer(name="runtime", help="The runtimes of this machine.", no_args_is_help=True, rich_markup_mode=None)


@runtime.command()
def ls(as_json: AsJson = False) -> None:
    """List the runtimes, with what each runs on.

    \b
    Examples:
      lambent runtime ls
      lambent runtime ls --json
    """
    found = runtimes(settings())
    if as_json:
        answer_json({"Runtimes": found})
    else:
        columns([_row(one) for one in found], ("RUNTIME", "HERE", "RUNS ON"))


@runtime.command(name="install")
def install_(
    name: Annotated[str, typer.Argument(metavar="RUNTIME", help="nodejs22.x, python3.13, aws-sdk-js or @aws-sdk/….")],
) -> None:
    """Fetch what a runtime needs: Node.js from PyPI by pip, Python by uv, from npm the AWS SDK that functions find.

    With the first Node.js comes the SDK, for all versions. A running node finds what was installed.

    \b
    Examples:
      lambent runtime install nodejs22.x
      lambent runtime install @aws-sdk/client-textract
    """
    folder = settings().runtimes_dir.expanduser()
    try:
        with progress(f"installing {name}") as say:
            path = install(name, folder, say)
        if name.startswith("nodejs") and not (folder / SDK).exists():
            with progress("installing the AWS SDK for JavaScript") as say:
                install(SDK, folder, say)
    except InstallError as error:
        raise CommandError(error.what, error.next_step) from error
    answer(str(path))
    note("Functions that are Failed for want of it work after their next update.")


def settings() -> Config:
    """The settings that a node in this folder would have."""
    try:
        return read({}, os.environ)
    except ConfigError as error:
        raise CommandError(str(error), status=2) from error


def runtimes(config: Config) -> list[dict[str, Any]]:
    """What each runtime would run on here: {runtime, interpreter, exact, remedy}."""
    environ, home = dict(os.environ), Path.home()

    async def find() -> tuple[list[interpreters.Interpreter], list[javascript.NodeInterpreter]]:
        folder = config.runtimes_dir.expanduser()
        pythons = await Interpreters(config.python_paths, environ=environ, home=home).found()
        return pythons, await NodeInterpreters(folder, config.node_paths, environ=environ, home=home).found()

    pythons, nodes = asyncio.run(find())
    shown = []
    for major, minor in interpreters.SUPPORTED:
        shown.append(_python(f"python{major}.{minor}", pythons, config))
    for name in javascript.RUNTIMES:
        shown.append(_node(name, nodes, config))
    for name in ("provided.al2", "provided.al2023"):
        shown.append({"runtime": name, "interpreter": "the function's own bootstrap", "exact": True, "remedy": ""})
    return shown


def _python(name: str, found: list[interpreters.Interpreter], config: Config) -> dict[str, Any]:
    try:
        choice = interpreters.choose(name, found, strict=config.runtimes_strict)
    except NoInterpreterError as error:
        return _absent(name, error)
    return _there(name, choice.interpreter.path, exact=choice.warning is None)


def _node(name: str, found: list[javascript.NodeInterpreter], config: Config) -> dict[str, Any]:
    try:
        node, warning = javascript.choose(name, found, strict=config.runtimes_strict)
    except NoInterpreterError as error:
        return _absent(name, error)
    return _there(name, node.path, exact=warning is None)


def _there(name: str, path: Path, *, exact: bool) -> dict[str, Any]:
    remedy = "" if exact else f"Install it with `lambent runtime install {name}`."
    return {"runtime": name, "interpreter": str(path), "exact": exact, "remedy": remedy}


def _absent(name: str, error: NoInterpreterError) -> dict[str, Any]:
    return {"runtime": name, "interpreter": None, "exact": False, "remedy": str(error)}


def _row(one: dict[str, Any]) -> list[str]:
    here = "yes" if one["exact"] else "nearest" if one["interpreter"] else "no"
    return [one["runtime"], here, one["interpreter"] or one["remedy"]]
