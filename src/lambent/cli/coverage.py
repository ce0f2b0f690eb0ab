"""`lambent coverage`: which operations of which AWS services are there. Computed from the models and the code."""

import difflib
from typing import Annotated, TypedDict

import typer

from lambent.cli.client import AsJson
from lambent.cli.terminal import CommandError, answer, answer_json, columns, note
from lambent.protocol.models import operation_names, service_names


def coverage(
    service: Annotated[str | None, typer.Argument(help="A service as boto3 names it, such as lambda.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which operations are supported. Needs no running platform.

    \b
    Examples:
      lambent coverage
      lambent coverage lambda
      lambent coverage lambda --json
    """
    # Here, since it takes longer to import than most commands to run.
    from lambent.node import operations_there

    there = operations_there()
    if service is None:
        _all([_of(name, there) for name in sorted(there)], as_json)
        return
    if service not in service_names():
        near = difflib.get_close_matches(service, service_names(), n=1)
        hint = f"Did you mean {near[0]}?" if near else "Name it as boto3 does."
        raise CommandError(f"{service}: AWS has no such service.", hint, status=2)
    found = _of(service, there)
    if as_json:
        answer_json(found)
        return
    for name in sorted([*found["there"], *found["missing"]]):
        answer(f"{'there  ' if name in found['there'] else 'missing'}  {name}")
    note(f"{service}: {len(found['there'])} of {len(found['there']) + len(found['missing'])} operations")


class Found(TypedDict):
    """One service's operations."""

    service: str
    there: list[str]
    missing: list[str]


def _of(service: str, there: dict[str, list[str]]) -> Found:
    supported = there.get(service, [])
    missing = [name for name in operation_names(service) if name not in supported]
    return {"service": service, "there": sorted(supported), "missing": missing}


def _all(services: list[Found], as_json: bool) -> None:
    if as_json:
        answer_json(services)
        return
    rows = [[one["service"], str(len(one["there"])), str(len(one["there"]) + len(one["missing"]))] for one in services]
    columns(rows, ("SERVICE", "THERE", "OF"))
    note("`lambent coverage SERVICE` names them.")
