"""PutMetricData."""

import math
from typing import TYPE_CHECKING, Final

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.cloudwatch import model, rows
from lambent.services.cloudwatch.distribution import Distribution
from lambent.services.cloudwatch.model import DAY_S, Point, Series

if TYPE_CHECKING:
    from lambent.services.cloudwatch.service import CloudWatch

_MOST_DATA: Final = 1000
_MOST_VALUES: Final = 150
_OLDEST_S: Final = 14 * DAY_S
_AHEAD_S: Final = 2 * 3600
_LARGEST: Final = 2.0**360
_COMBINATION: Final = "InvalidParameterCombination"
_INVALID: Final = "InvalidParameterValue"


async def put_metric_data(service: "CloudWatch", caller: Caller, params: Shape) -> Shape:
    """PutMetricData: answers when the data is stored."""
    namespace = params["Namespace"]
    if namespace.startswith("AWS/"):
        raise ApiError(_INVALID, f"The value {namespace} for parameter Namespace is invalid: AWS/ is reserved.")
    if "EntityMetricData" in params:
        raise ApiError("NotImplemented", "PutMetricData: EntityMetricData is not supported by Lambent yet.")
    data = params.get("MetricData", [])
    if not data:
        raise ApiError("MissingParameter", "The parameter MetricData is required.")
    if len(data) > _MOST_DATA:
        raise ApiError(_INVALID, f"The collection MetricData must not have a size greater than {_MOST_DATA}.")
    now = service.clock.now()
    points = [_point(caller, namespace, datum, f"MetricData.member.{at}", now) for at, datum in enumerate(data, 1)]
    await service.bulk.write(lambda tx: rows.add_points(tx, points))
    return {}


def _point(caller: Caller, namespace: str, datum: Shape, name: str, now: float) -> tuple[Series, Point]:
    _check_resolution(datum, name)
    series = Series(caller.scope, namespace, datum["MetricName"], model.dimensions_of(datum))
    if len(dict(series.dimensions)) < len(series.dimensions):
        raise ApiError(_INVALID, f"The parameter {name}.Dimensions has a dimension more than once.")
    at = datum["Timestamp"].timestamp() if "Timestamp" in datum else now
    if at < now - _OLDEST_S:
        raise ApiError(_INVALID, f"The parameter {name}.Timestamp must specify a time within the past two weeks.")
    if at > now + _AHEAD_S:
        raise ApiError(
            _INVALID, f"The parameter {name}.Timestamp must specify a time no more than two hours in the future."
        )
    return series, Point(int(at) // 60 * 60, 60, datum.get("Unit", "None"), _distribution(datum, name))


def _check_resolution(datum: Shape, name: str) -> None:
    resolution = datum.get("StorageResolution", 60)
    if resolution == 1:
        raise ApiError("NotImplemented", f"{name}.StorageResolution 1: Lambent keeps no data finer than 60 seconds.")
    if resolution != 60:
        raise ApiError(_INVALID, f"The value {resolution} for parameter {name}.StorageResolution is invalid.")


def _distribution(datum: Shape, name: str) -> Distribution:
    given = [member for member in ("Value", "StatisticValues", "Values") if member in datum]
    if len(given) > 1:
        first, second = given[:2]
        raise ApiError(
            _COMBINATION,
            f"The parameters {name}.{first} and {name}.{second} are mutually exclusive and you have specified both.",
        )
    if "StatisticValues" in given:
        return _statistic_set(datum["StatisticValues"], f"{name}.StatisticValues")
    if "Values" in given:
        return _many(datum["Values"], datum.get("Counts"), name)
    if "Value" not in given:
        raise ApiError("MissingParameter", f"The parameter {name}.Value is required.")
    return Distribution.of({_number(datum["Value"], f"{name}.Value"): 1.0})


def _many(values: list[float], counts: list[float] | None, name: str) -> Distribution:
    if not values:
        raise ApiError("MissingParameter", f"The parameter {name}.Values is required.")
    if counts is not None and len(counts) != len(values):
        raise ApiError(_INVALID, f"The parameters {name}.Values and {name}.Counts must be of the same size.")
    if len(values) > _MOST_VALUES:
        raise ApiError(_INVALID, f"The collection {name}.Values must not have a size greater than {_MOST_VALUES}.")
    weights: dict[float, float] = {}
    for at, (value, count) in enumerate(zip(values, counts or [1.0] * len(values), strict=True), 1):
        number = _number(value, f"{name}.Values.member.{at}")
        weight = _number(count, f"{name}.Counts.member.{at}")
        if weight <= 0:
            raise ApiError(_INVALID, f"The value {count} for parameter {name}.Counts.member.{at} is invalid.")
        weights[number] = weights.get(number, 0.0) + weight
    return Distribution.of(weights)


def _statistic_set(values: Shape, name: str) -> Distribution:
    count, total, minimum, maximum = (
        _number(values[member], f"{name}.{member}") for member in ("SampleCount", "Sum", "Minimum", "Maximum")
    )
    if count <= 0:
        raise ApiError(_INVALID, f"The value {count} for parameter {name}.SampleCount is invalid.")
    if minimum > maximum:
        raise ApiError(_INVALID, f"The parameter {name}.Maximum must be greater than {name}.Minimum.")
    return Distribution.summed_up(count=count, total=total, minimum=minimum, maximum=maximum)


def _number(value: float, name: str) -> float:
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise ApiError(_INVALID, f"The value {value} for parameter {name} is invalid.")
    return float(value)
