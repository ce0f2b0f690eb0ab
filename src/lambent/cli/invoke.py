"""`lambent invoke`: run a function and show what it answered, and what the run took."""

import base64
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, note

_REPORT: Final = re.compile(
    r"REPORT RequestId: \S+\s+Duration: (?P<duration>[\d.]+) ms\s+Billed Duration: (?P<billed>[\d.]+) ms"
    r"\s+Memory Size: (?P<size>\d+) MB\s+Max Memory Used: (?P<used>\d+) MB(?:\s+Init Duration: (?P<init>[\d.]+) ms)?"
)


def invoke(
    name: Annotated[str, typer.Argument(help="The function's name or ARN.")],
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", help="The event: JSON, @FILE, or - for standard input.")
    ] = None,
    qualifier: Annotated[str | None, typer.Option(help="A version or an alias.")] = None,
    asynchronous: Annotated[bool, typer.Option("--async", help="Queue the event and do not wait.")] = False,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Invoke a function. Its answer is on stdout, the run's figures are on stderr.

    \b
    Examples:
      lambent invoke hello --payload '{"name": "Ada"}'
      lambent invoke hello --payload @event.json --qualifier live
      echo '{}' | lambent invoke hello --payload -
    """
    request: dict[str, Any] = {"FunctionName": name, "Payload": _event(payload)}
    request |= {"InvocationType": "Event"} if asynchronous else {"LogType": "Tail"}
    request |= {"Qualifier": qualifier} if qualifier else {}
    with speaking_plainly(endpoint):
        response = client("lambda", endpoint).invoke(**request)
        content = response["Payload"].read().decode()
    tail = base64.b64decode(response.get("LogResult", "")).decode(errors="replace")
    if as_json:
        answer_json(_as_json(response, content, tail))
    elif asynchronous:
        note(f"queued, request {response['ResponseMetadata']['RequestId']}")
    else:
        answer(content)
        note(figures(tail) or f"status {response['StatusCode']}")
    if "FunctionError" in response:
        raise CommandError(*_failure(content, tail))


def figures(tail: str) -> str | None:
    """One line about a run from its REPORT: `cold 182 ms (init 141 ms), billed 182 ms, 71 of 128 MB`."""
    found = _REPORT.search(tail)
    if found is None:
        return None
    took, init = float(found["duration"]), found["init"]
    run = f"warm {took:.0f} ms" if init is None else f"cold {took + float(init):.0f} ms (init {float(init):.0f} ms)"
    return f"{run}, billed {float(found['billed']):.0f} ms, {found['used']} of {found['size']} MB"


def _event(payload: str | None) -> bytes:
    if payload is None:
        return b"{}"
    if payload == "-":
        return sys.stdin.buffer.read()
    if not payload.startswith("@"):
        return payload.encode()
    try:
        return Path(payload[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"--payload {payload}: {error.strerror}.", status=2) from error


def _as_json(response: dict[str, Any], content: str, tail: str) -> dict[str, Any]:
    kept = {key: value for key, value in response.items() if key not in ("ResponseMetadata", "Payload", "LogResult")}
    try:
        answered = json.loads(content) if content else None
    except ValueError:
        answered = content
    return {**kept, "Payload": answered, "LogResult": tail}


def _failure(content: str, tail: str) -> tuple[str, str]:
    try:
        document = json.loads(content)
        what = f"{document.get('errorType', 'Error')}: {document.get('errorMessage', '')}"
    except (ValueError, AttributeError):
        what = content
    lines = [line for line in tail.splitlines() if line.strip()]
    return f"the function failed with {what}", "\n".join(["Its log ends with:", *(f"  {line}" for line in lines)])
