"""`lambent rm`: delete functions."""

from typing import Annotated

import typer

from lambent.cli.client import Endpoint, client, speaking_plainly
from lambent.cli.terminal import note


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Functions to delete.")],
    endpoint: Endpoint = None,
) -> None:
    """Delete functions. Their logs stay.

    \b
    Examples:
      lambent rm thumbnails
    """
    with speaking_plainly(endpoint):
        functions = client("lambda", endpoint)
        for name in names:
            functions.delete_function(FunctionName=name)
            note(f"deleted {name}")
