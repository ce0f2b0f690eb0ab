"""`lambent deploy`: a folder becomes a function, or its next code."""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lambent.cli import package
from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, note, progress

_RUNTIME: Final = re.compile(r"python(3\.\d+)")
_NEWEST: Final = 14
_OLDEST: Final = 10


def deploy(  # noqa: PLR0913  each is an option of the command
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the handler.")],
    name: Annotated[str | None, typer.Option(help="The function's name [default: the folder's].")] = None,
    handler: Annotated[str | None, typer.Option(help="MODULE.FUNCTION [default: found in the folder].")] = None,
    runtime: Annotated[str | None, typer.Option(help="python3.10 to python3.15 [default: this Python's].")] = None,
    memory: Annotated[int | None, typer.Option(help="Memory in MB, 128 to 10240.")] = None,
    timeout: Annotated[int | None, typer.Option(help="The longest run in seconds, 1 to 900.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An environment variable.")] = None,
    role: Annotated[str | None, typer.Option(help="The execution role's ARN.")] = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Create a function from a folder, or update it. Prints the function's ARN.

    A requirements.txt in the folder is installed into the package.

    \b
    Examples:
      lambent deploy examples/thumbnails
      lambent deploy . --name hello --memory 512 --timeout 10 --env STAGE=test
    """
    if not folder.is_dir():
        raise CommandError(f"{folder}: no such folder.", status=2)
    settings = {
        "Handler": handler or package.find_handler(folder),
        "Runtime": runtime,
        "MemorySize": memory,
        "Timeout": timeout,
        "Environment": {"Variables": _variables(env)} if env else None,
        "Role": role,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    with speaking_plainly(endpoint):
        clients = partial(client, endpoint=endpoint)
        configuration = deploy_folder(clients, name or folder.resolve().name, folder, given)
    if as_json:
        answer_json(configuration)
    else:
        answer(configuration["FunctionArn"])
        note(f"Next: lambent invoke {configuration['FunctionName']}")


def deploy_folder(clients: Callable[[str], Any], name: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the function, once it is Active.

    `clients` gives a boto3 client by service name; `settings` are CreateFunction's members.
    """
    functions = clients("lambda")
    existing = _existing(functions, name)
    default = f"python3.{min(max(sys.version_info.minor, _OLDEST), _NEWEST)}"
    runtime = settings.get("Runtime") or (existing or {}).get("Runtime") or default
    code = _package(folder, runtime)
    if existing is None:
        create = {"Role": settings.get("Role") or _default_role(clients), **settings, "Runtime": runtime}
        functions.create_function(FunctionName=name, Code={"ZipFile": code}, **create)
    else:
        functions.update_function_code(FunctionName=name, ZipFile=code)
        _wait(functions, "function_updated_v2", name)
        functions.update_function_configuration(FunctionName=name, **settings)
        _wait(functions, "function_updated_v2", name)
    _wait(functions, "function_active_v2", name)
    configuration: dict[str, Any] = functions.get_function_configuration(FunctionName=name)
    del configuration["ResponseMetadata"]
    return configuration


def _package(folder: Path, runtime: str) -> bytes:
    found = _RUNTIME.fullmatch(runtime)
    file = package.requirements(folder)
    if file is None or found is None:
        return package.build([folder])
    with progress(f"installing {file.name} for Python {found[1]}") as say:
        installed = package.install(file, found[1], say)
    return package.build([installed, folder])


def _existing(functions: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = functions.get_function_configuration(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        return None
    return found


def _default_role(clients: Callable[[str], Any]) -> str:
    return f"arn:aws:iam::{clients('sts').get_caller_identity()['Account']}:role/lambent-deploy"


def _wait(functions: Any, waiter: str, name: str) -> None:
    # The waiters' own delay is a second or five; here a function is there within a tenth.
    functions.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})  # 30 s


def _variables(given: list[str]) -> dict[str, str]:
    for pair in given:
        if "=" not in pair:
            raise CommandError(f"--env {pair}: not KEY=VALUE.", status=2)
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in given}
