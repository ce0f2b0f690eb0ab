"""`lambent deploy`: a folder becomes a function, or its next code."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, note, progress
from lambent.practices.deploy import deploy_folder, public_url
from lambent.practices.package import PackageError


def deploy(  # noqa: PLR0913  each is an option of the command
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the handler.")],
    name: Annotated[str | None, typer.Option(help="The function's name [default: the folder's].")] = None,
    handler: Annotated[str | None, typer.Option(help="MODULE.FUNCTION [default: found in the folder].")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Such as python3.13 or nodejs24.x [default: by the files].")
    ] = None,
    memory: Annotated[int | None, typer.Option(help="Memory in MB, 128 to 10240.")] = None,
    timeout: Annotated[int | None, typer.Option(help="The longest run in seconds, 1 to 900.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An environment variable.")] = None,
    role: Annotated[str | None, typer.Option(help="The execution role's ARN.")] = None,
    url: Annotated[bool, typer.Option("--url", help="Give it a function URL that anybody may call.")] = False,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Create a function from a folder, or update it. Prints the function's ARN, or its URL.

    The files say which language it is: app.py, index.js, an executable bootstrap. A requirements.txt in the folder is
    installed into the package.

    \b
    Examples:
      lambent deploy examples/thumbnails
      lambent deploy . --name hello --memory 512 --timeout 10 --env STAGE=test
      curl "$(lambent deploy . --name hello --url)"
    """
    if not folder.is_dir():
        raise CommandError(f"{folder}: no such folder.", status=2)
    settings = {
        "Handler": handler,
        "Runtime": runtime,
        "MemorySize": memory,
        "Timeout": timeout,
        "Environment": {"Variables": _variables(env)} if env else None,
        "Role": role,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        with speaking_plainly(endpoint):
            clients = partial(client, endpoint=endpoint)
            configuration = deploy_folder(clients, folder, given, name=name, progress=progress)
            if url:
                configuration["FunctionUrl"] = public_url(clients("lambda"), configuration["FunctionName"])
    except PackageError as error:
        raise CommandError(error.what, error.next_step) from error
    if as_json:
        answer_json(configuration)
    elif url:
        answer(configuration["FunctionUrl"])
    else:
        answer(configuration["FunctionArn"])
        note(f"Next: lambent invoke {configuration['FunctionName']}")


def _variables(given: list[str]) -> dict[str, str]:
    for pair in given:
        if "=" not in pair:
            raise CommandError(f"--env {pair}: not KEY=VALUE.", status=2)
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in given}
