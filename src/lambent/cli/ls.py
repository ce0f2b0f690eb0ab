"""`lambent ls`: the functions that are there."""

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import answer_json, columns, note


def ls(endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """List the functions.

    \b
    Examples:
      lambent ls
      lambent ls --json
    """
    with speaking_plainly(endpoint):
        pages = client("lambda", endpoint).get_paginator("list_functions").paginate()
        functions = [function for page in pages for function in page["Functions"]]
    if as_json:
        answer_json({"Functions": functions})
    elif not functions:
        note("No functions yet. `lambent deploy DIR` makes one.")
    else:
        columns([_row(function) for function in functions], ("NAME", "RUNTIME", "MEMORY", "TIMEOUT", "MODIFIED"))


def _row(function: dict[str, object]) -> list[str]:
    return [
        str(function["FunctionName"]),
        str(function.get("Runtime", "-")),
        f"{function['MemorySize']} MB",
        f"{function['Timeout']} s",
        str(function["LastModified"])[:19].replace("T", " "),
    ]
