"""`lambent doctor`: what this machine offers, what is missing, and how to get it."""

import json
import os
import platform
import urllib.error
import urllib.request
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from lambent import __version__
from lambent.cli.client import AsJson, Endpoint, endpoint_url
from lambent.cli.runtime import runtimes, settings
from lambent.cli.terminal import CommandError, answer, answer_json
from lambent.config import Config
from lambent.engine.sandbox.probe import probe
from lambent.node.start import egress_kind

Function = Annotated[
    str | None, typer.Argument(help="How this function's environments start, on a running node.", show_default=False)
]


def doctor(function: Function = None, endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """Show what this machine offers: isolation, limits, interpreters. Each wall is put up for real, then taken down.

    With a function, what a running node does to start its environments sooner, and what keeps it from that.

    \b
    Examples:
      lambent doctor
      lambent doctor thumbnails
      lambent doctor --json
    """
    if function:
        _show_starts(_starts(endpoint_url(endpoint), function), function, as_json=as_json)
        return
    report = _examine(settings())
    if as_json:
        answer_json(report)
    else:
        _show(report)


def _starts(endpoint: str, function: str) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{endpoint}/_lambent/starts?{urlencode({'function': function})}") as response:
            versions: list[dict[str, Any]] = json.load(response)["versions"]
            return versions
    except urllib.error.HTTPError as error:
        raise CommandError(json.load(error)["error"]) from error
    except OSError as error:
        raise CommandError(
            f"nothing answers at {endpoint}.", "Start the platform with `lambent up`, or name another with --endpoint."
        ) from error


def _show_starts(versions: list[dict[str, Any]], function: str, *, as_json: bool) -> None:
    if as_json:
        answer_json({"versions": versions})
        return
    if not versions:
        answer(f"{function}: nothing is known; it has not been initialised on this node, or is not a Python function")
    for version in versions:
        reason = f": {version['reason']}" if version["reason"] else ""
        answer(f"{function} {version['version']}: {version['kind']} {version['state']}{reason}")
        if version.get("imported_ahead"):
            answer(f"  imported ahead: {', '.join(version['imported_ahead'])}")
        for package, why in version.get("left_out", {}).items():
            answer(f"  left out: {package}: {why}")


def _examine(config: Config) -> dict[str, Any]:
    walls, findings = probe()
    kind, reason = egress_kind(config, walls, findings)
    return {
        "version": __version__,
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores",
        "user": "root" if os.getuid() == 0 else f"uid {os.getuid()}, unprivileged",
        "isolation": walls.level,
        "own_uids": walls.root,
        "cgroups": walls.cgroups,
        "egress": {"kind": kind, "reason": reason},
        "findings": [asdict(finding) for finding in findings],
        "runtimes": runtimes(config),
    }


def _show(report: dict[str, Any]) -> None:
    answer(f"Lambent {report['version']} on {report['machine']}, {report['user']}")
    answer(f"isolation: {report['isolation']}")
    said = ""
    for finding in report["findings"]:
        # One cause stops several things; what to do about it is said once.
        remedy = "" if finding["remedy"] == said else finding["remedy"]
        said = finding["remedy"]
        _line("yes" if finding["ok"] else "NO ", finding["name"], finding["detail"], remedy)
    answer(f"egress: {report['egress']['kind']}: {report['egress']['reason']}")
    answer("runtimes:")
    for runtime in report["runtimes"]:
        where = runtime["interpreter"]
        if runtime["exact"]:
            _line("yes", runtime["runtime"], where, "")
        else:
            detail = f"runs on the nearest, {where}" if where else "does not run here"
            _line("NO ", runtime["runtime"], detail, runtime["remedy"])


def _line(mark: str, name: str, detail: str, remedy: str) -> None:
    answer(f"  {mark}  {name:<20} {detail}")
    if remedy:
        answer(f"       {'':<20} {remedy}")
