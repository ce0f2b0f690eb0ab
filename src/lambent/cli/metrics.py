"""`lambent metrics`: what a function's invocations came to."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.logs import milliseconds
from lambent.cli.terminal import answer_json, columns, note

# The platform's time may have been advanced: whatever came since then is in the one period that is asked for. A
# multiple of an hour, the longest in which old data is kept.
_AHEAD_S: Final = 366 * 86_400
_HOUR_S: Final = 3600
_WANTED: Final = (
    ("invocations", "Invocations", "Sum"),
    ("errors", "Errors", "Sum"),
    ("throttles", "Throttles", "Sum"),
    ("duration_average", "Duration", "Average"),
    ("duration_p99", "Duration", "p99"),
)


def metrics(
    name: Annotated[str, typer.Argument(help="The function's name, or NAME:QUALIFIER.")],
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 7d.")] = "1h",
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Show how often a function ran, failed and was throttled, and how long it took.

    \b
    Examples:
      lambent metrics hello
      lambent metrics hello:live --since 7d
      lambent metrics hello --json
    """
    seconds = milliseconds(since) // 1000
    start = int(time.time()) - seconds
    period = -(-(seconds + _AHEAD_S) // _HOUR_S) * _HOUR_S
    with speaking_plainly(endpoint):
        found = client("cloudwatch", endpoint).get_metric_data(
            MetricDataQueries=[_query(name, *wanted, period) for wanted in _WANTED],
            StartTime=datetime.fromtimestamp(start, UTC),
            EndTime=datetime.fromtimestamp(start + period, UTC),
        )["MetricDataResults"]
    if as_json:
        answer_json({"MetricDataResults": found})
        return
    values = {result["Id"]: result["Values"][0] for result in found if result["Values"]}
    if not values:
        note(f"{name}: nothing in the last {since}. `lambent invoke {name}` runs it.")
        return
    columns(_rows(values), ("METRIC", "VALUE"))


def _query(name: str, query: str, metric: str, stat: str, period: int) -> dict[str, Any]:
    function, _colon, qualifier = name.partition(":")
    dimensions = [{"Name": "FunctionName", "Value": function}]
    dimensions += [{"Name": "Resource", "Value": name}] if qualifier else []
    wanted = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": query, "MetricStat": {"Metric": wanted, "Period": period, "Stat": stat}}


def _rows(values: dict[str, float]) -> list[list[str]]:
    """Only what has data: a function that was throttled each time has no durations."""
    shown = {
        "invocations": "invocations",
        "errors": "errors",
        "throttles": "throttles",
        "duration_average": "duration, average",
        "duration_p99": "duration, p99",
    }
    return [
        [label, f"{values[key]:.2f} ms" if key.startswith("duration") else f"{values[key]:.0f}"]
        for key, label in shown.items()
        if key in values
    ]
