"""`lambent doctor`: what this machine offers, what is missing, and how to get it."""

import os
import platform
from dataclasses import asdict
from typing import Any

from lambent import __version__
from lambent.cli.client import AsJson
from lambent.cli.runtime import runtimes, settings
from lambent.cli.terminal import answer, answer_json
from lambent.config import Config
from lambent.engine.sandbox.probe import probe
from lambent.node.start import egress_kind


def doctor(as_json: AsJson = False) -> None:
    """Show what this machine offers: isolation, limits, interpreters. Each wall is put up for real, then taken down.

    \b
    Examples:
      lambent doctor
      lambent doctor --json
    """
    report = _examine(settings())
    if as_json:
        answer_json(report)
    else:
        _show(report)


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
