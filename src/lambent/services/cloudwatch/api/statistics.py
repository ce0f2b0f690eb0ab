"""GetMetricStatistics."""

import math
from typing import TYPE_CHECKING, Final

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.cloudwatch import model
from lambent.services.cloudwatch.model import Point, Query
from lambent.services.cloudwatch.statistics import extended_only, statistic

if TYPE_CHECKING:
    from lambent.services.cloudwatch.service import CloudWatch

_MOST_POINTS: Final = 1440
_INVALID: Final = "InvalidParameterValue"


async def get_metric_statistics(service: "CloudWatch", caller: Caller, params: Shape) -> Shape:
    """GetMetricStatistics: each unit of a period is a data point of its own."""
    simple, extended = params.get("Statistics", []), params.get("ExtendedStatistics", [])
    _check_statistics(simple, extended)
    period = params["Period"]
    model.check_period(period, "Period", _INVALID)
    start, end = model.span(params["StartTime"], params["EndTime"], service.clock.now(), _INVALID)
    _check_amount(math.ceil((end - start) / period))
    series = model.series_of(caller.scope, params)
    query = Query(series=series, start=start, end=end, period=period, unit=params.get("Unit"))
    points = await service.read(query)
    shapes = [_datapoint(point, simple, extended) for point in points]
    return {"Label": series.name, "Datapoints": [shape for shape in shapes if shape is not None]}


def _check_statistics(simple: list[str], extended: list[str]) -> None:
    if not simple and not extended:
        raise ApiError(
            "InvalidParameterCombination",
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
        )
    for at, name in enumerate(extended, 1):
        if extended_only(name) is None:
            raise ApiError(_INVALID, f"The value {name} for parameter ExtendedStatistics.member.{at} is not supported.")


def _check_amount(points: int) -> None:
    if points > _MOST_POINTS:
        raise ApiError(
            "InvalidParameterCombination",
            f"You have requested up to {points} datapoints, which exceeds the limit of {_MOST_POINTS}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )


def _datapoint(point: Point, simple: list[str], extended: list[str]) -> Shape | None:
    """None for values of which nothing that was asked for is known."""
    values = {name: _value(point, name) for name in [*simple, *extended]}
    found: Shape = {name: values[name] for name in simple if values[name] is not None}
    percentiles = {name: values[name] for name in extended if values[name] is not None}
    if not found and not percentiles:
        return None
    shape: Shape = {"Timestamp": model.moment(point.at), **found, "Unit": point.unit}
    return shape | ({"ExtendedStatistics": percentiles} if percentiles else {})


def _value(point: Point, name: str) -> float | None:
    compute = statistic(name)
    assert compute is not None
    return compute(point.values)
