"""GetMetricData."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.cloudwatch import model, paging
from lambent.services.cloudwatch.distribution import Distribution
from lambent.services.cloudwatch.model import Query, Series
from lambent.services.cloudwatch.statistics import statistic

if TYPE_CHECKING:
    from lambent.services.cloudwatch.service import CloudWatch

_MOST_QUERIES: Final = 500
_MOST_POINTS: Final = 100_800
_ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]*", re.ASCII)
_INVALID: Final = "ValidationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One query that returns data."""

    id: str
    label: str | None
    series: Series
    stat: str
    period: int
    unit: str | None


async def get_metric_data(service: "CloudWatch", caller: Caller, params: Shape) -> Shape:
    """GetMetricData: statistics of metrics. Expressions (metric math) are not there."""
    most = params.get("MaxDatapoints", _MOST_POINTS)
    if not 0 < most <= _MOST_POINTS:
        raise ApiError(_INVALID, f"The value {most} for parameter MaxDatapoints must be between 1 and {_MOST_POINTS}.")
    wanted = _wanted(caller, params["MetricDataQueries"])
    start, end = model.span(params["StartTime"], params["EndTime"], service.clock.now(), _INVALID)
    subject = repr((caller.scope, {**params, "NextToken": None, "MaxDatapoints": None}))
    skip = _position(params["NextToken"], subject) if "NextToken" in params else 0
    labels = _labels(wanted)
    results: list[Shape] = []
    seen = 0
    for query, label in zip(wanted, labels, strict=True):
        points = await _values(service, query, start, end)
        if params.get("ScanBy") != "TimestampAscending":
            points.reverse()
        begin, stop = max(0, skip - seen), max(0, skip + most - seen)
        seen += len(points)
        results.append(_result(query.id, label, points[begin:stop], is_whole=stop >= len(points)))
    answer: Shape = {"MetricDataResults": results, "Messages": []}
    if seen > skip + most:
        answer["NextToken"] = paging.token(str(skip + most), subject)
    return answer


async def _values(service: "CloudWatch", wanted: _Wanted, start: int, end: int) -> list[tuple[int, float]]:
    """(moment, value) of each period that has one, in order of time; values of all units together."""
    query = Query(series=wanted.series, start=start, end=end, period=wanted.period, unit=wanted.unit)
    parts: dict[int, list[Distribution]] = {}
    for point in await service.read(query):
        parts.setdefault(point.at, []).append(point.values)
    compute = statistic(wanted.stat)
    assert compute is not None
    values = [(at, compute(Distribution.merged(some))) for at, some in parts.items()]
    return [(at, value) for at, value in values if value is not None]


def _result(name: str, label: str, points: list[tuple[int, float]], *, is_whole: bool) -> Shape:
    return {
        "Id": name,
        "Label": label,
        "Timestamps": [model.moment(at) for at, _value in points],
        "Values": [value for _at, value in points],
        "StatusCode": "Complete" if is_whole else "PartialData",
    }


def _wanted(caller: Caller, queries: list[Shape]) -> list[_Wanted]:
    """The queries that return data, all of them checked."""
    if not queries:
        raise ApiError("MissingParameter", "The parameter MetricDataQueries is required.")
    if len(queries) > _MOST_QUERIES:
        raise ApiError(_INVALID, f"The collection MetricDataQueries must not have a size greater than {_MOST_QUERIES}.")
    ids = [query["Id"] for query in queries]
    if len(set(ids)) < len(ids):
        raise ApiError(_INVALID, "The values for parameter id in MetricDataQueries are not unique.")
    names = [f"MetricDataQueries.member.{at}" for at in range(1, len(queries) + 1)]
    wrong = [problem for query, name in zip(queries, names, strict=True) for problem in _problems(query, name)]
    if wrong:
        raise ApiError(_INVALID, "\n".join(wrong))
    for query, name in zip(queries, names, strict=True):
        _check_supported(caller, query, name)
    return [_read(caller, query) for query in queries if query.get("ReturnData", True)]


def _problems(query: Shape, name: str) -> list[str]:
    found = []
    if not _ID.fullmatch(query["Id"]):
        found.append(
            f"The value {query['Id']} for parameter {name}.Id is not matching the expected pattern {_ID.pattern}."
        )
    if ("MetricStat" in query) == ("Expression" in query):
        found.append(f"Exactly one of the parameters {name}.MetricStat and {name}.Expression must be specified.")
    elif "MetricStat" in query and statistic(query["MetricStat"]["Stat"]) is None:
        found.append(f"The value for parameter {name}.MetricStat.Stat is not a valid statistic.")
    return found


def _check_supported(caller: Caller, query: Shape, name: str) -> None:
    if "Expression" in query:
        raise ApiError("NotImplemented", f"{name}.Expression: metric math is not supported by Lambent yet.")
    if query.get("AccountId", caller.account) != caller.account:
        raise ApiError("NotImplemented", f"{name}.AccountId: another account's metrics are not supported by Lambent.")
    if "${" in query.get("Label", ""):
        raise ApiError("NotImplemented", f"{name}.Label: dynamic labels are not supported by Lambent yet.")
    model.check_period(query["MetricStat"]["Period"], f"{name}.MetricStat.Period", _INVALID)


def _read(caller: Caller, query: Shape) -> _Wanted:
    stat = query["MetricStat"]
    return _Wanted(
        id=query["Id"],
        label=query.get("Label"),
        series=model.series_of(caller.scope, stat["Metric"]),
        stat=stat["Stat"],
        period=stat["Period"],
        unit=stat.get("Unit"),
    )


def _labels(wanted: list[_Wanted]) -> list[str]:
    """Each query's own label, else the metric's name and what tells the queries apart."""
    dimensions = len({query.series.dimensions for query in wanted}) > 1
    stats = len({query.stat for query in wanted}) > 1
    periods = len({query.period for query in wanted}) > 1
    labels = []
    for query in wanted:
        parts = [query.series.name]
        parts += [value for _name, value in query.series.dimensions] if dimensions else []
        parts += [query.stat] if stats else []
        parts += [str(query.period)] if periods else []
        labels.append(" ".join(parts) if query.label is None else query.label)
    return labels


def _position(token: str, subject: str) -> int:
    found = paging.position(token, subject)
    if found is None:
        raise ApiError("InvalidNextToken", "The value for parameter NextToken is invalid.")
    return msgspec.json.decode(found, type=int)
