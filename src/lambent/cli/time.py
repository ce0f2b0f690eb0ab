"""`lambent time`: the platform's time of day, and moving it."""

import json
import urllib.error
import urllib.request
from typing import Annotated, Any, Literal

import typer

from lambent.cli.client import AsJson, Endpoint, endpoint_url
from lambent.cli.terminal import CommandError, answer, answer_json, note

Action = Annotated[Literal["advance"] | None, typer.Argument(help="Lets time pass at once.", show_default=False)]
Length = Annotated[str | None, typer.Argument(help="How much: 90s, 15m, 6h, 2d, 1h30m.", show_default=False)]


def time(action: Action = None, length: Length = None, endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """Show what time it is for the platform, or advance it, on a node started with --ephemeral.

    What is due in that time happens before the command ends: retries, schedules, retention, idle environments.

    \b
    Examples:
      lambent time
      lambent time advance 6h
    """
    if action and not length:
        raise CommandError("by how much?", "For example: lambent time advance 6h", status=2)
    shown = _ask(endpoint_url(endpoint), length)
    if as_json:
        answer_json(shown)
        return
    answer(shown["now"])
    if shown["ahead_s"]:
        note(f"{shown['ahead_s']:.0f} s ahead of the machine's time")


def _ask(endpoint: str, length: str | None) -> dict[str, Any]:
    """The page's answer. Advancing takes as long as what is due takes, so nothing limits the waiting."""
    body = None if length is None else json.dumps({"advance": length}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/_lambent/time", data=body)) as response:
            content: dict[str, Any] = json.load(response)
            return content
    except urllib.error.HTTPError as error:
        try:
            said = json.load(error)["error"]
        except (ValueError, KeyError, TypeError):
            said = f"{endpoint} answers {error.code}; is it a Lambent node?"
        raise CommandError(said, status=2 if error.code == 400 else 1) from error
    except (OSError, ValueError) as error:
        raise CommandError(
            f"nothing answers at {endpoint}.", "Start the platform with `lambent up`, or name another with --endpoint."
        ) from error
