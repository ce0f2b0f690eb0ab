"""`lambent logs`: a function's log, as it was or as it comes."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_POLL_S: Final = 0.5
# Events may arrive out of order by their time stamps; what is older than this is not looked for again.
_OVERLAP_MS: Final = 10_000


def logs(
    name: Annotated[str, typer.Argument(help="The function's name, or a log group (with a slash).")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing lines as they come.")] = False,
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 7d.")] = "1h",
    pattern: Annotated[str, typer.Option("--filter", help="A CloudWatch Logs filter pattern.")] = "",
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Show a function's log.

    \b
    Examples:
      lambent logs hello
      lambent logs hello --follow
      lambent logs hello --since 2d --filter '?ERROR ?Exception'
      lambent logs hello --filter '{ $.level = "error" }'
    """
    group = name if "/" in name else f"/aws/lambda/{name}"
    request = {"logGroupName": group, "startTime": int(time.time() * 1000) - milliseconds(since)}
    request |= {"filterPattern": pattern} if pattern else {}
    with speaking_plainly(endpoint):
        try:
            for event in _events(client("logs", endpoint), request, follow=follow):
                _show(event, as_json)
        except KeyboardInterrupt:
            return


def _events(service: Any, request: dict[str, Any], *, follow: bool) -> Iterator[dict[str, Any]]:
    """Each event once, in order of time within a poll; following, for ever."""
    seen: dict[str, int] = {}
    while True:
        try:
            pages = service.get_paginator("filter_log_events").paginate(**request)
            found = [event for page in pages for event in page["events"] if event["eventId"] not in seen]
        except service.exceptions.ResourceNotFoundException:
            if not follow:
                raise
            found = []  # the group comes with the first invocation
        found.sort(key=lambda event: event["timestamp"])
        yield from found
        if not follow:
            return
        seen |= {event["eventId"]: event["timestamp"] for event in found}
        newest = max(seen.values(), default=request["startTime"])
        request = {**request, "startTime": max(request["startTime"], newest - _OVERLAP_MS)}
        seen = {key: moment for key, moment in seen.items() if moment >= request["startTime"]}
        time.sleep(_POLL_S)


def _show(event: dict[str, Any], as_json: bool) -> None:
    import json

    if as_json:
        answer(json.dumps(event))
        return
    moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).astimezone()
    answer(f"{moment:%H:%M:%S}.{event['timestamp'] % 1000:03} {event['message'].rstrip()}")


def milliseconds(since: str) -> int:
    """A length of time as `--since` takes it.

    Raises:
        CommandError: it is none.
    """
    found = re.fullmatch(r"(\d+)([smhdw])", since)
    if found is None:
        raise CommandError(f"--since {since}: not a length of time.", "Say for example 30s, 10m, 2h or 7d.", status=2)
    return int(found[1]) * _UNITS_S[found[2]] * 1000
