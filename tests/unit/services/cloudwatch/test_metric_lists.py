"""ListMetrics and PutMetricData."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.services.cloudwatch.cloudwatch_service import CALLER, Client, query, utc, with_metrics

from lambent.aws.errors import ApiError
from lambent.observe.metrics import Metric

HOUR, DAY = 3600, 86_400


async def names(metrics: Client, **params: object) -> list[tuple[str, dict[str, str]]]:
    listed = []
    while True:
        answer = await metrics("ListMetrics", **params)
        for metric in answer["Metrics"]:
            listed.append((metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]}))
        if "NextToken" not in answer:
            return listed
        assert len(answer["Metrics"]) == 500
        params["NextToken"] = answer["NextToken"]


def test_metrics_are_listed_with_their_dimensions(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        answer = await metrics("ListMetrics", Namespace="AWS/Lambda")
        assert answer == {
            "Metrics": [
                {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": dimensions}
                for dimensions in ([{"Name": "FunctionName", "Value": "f"}], [])
            ]
        }
        shared = await metrics("ListMetrics", IncludeLinkedAccounts=True)
        assert shared["OwningAccounts"] == [CALLER.account] * 2

    with_metrics(tmp_path, test)


def test_filters(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        for function, resource in (("f", "f:1"), ("g", "g:1"), ("g", "g:2")):
            dimensions = (("FunctionName", function), ("Resource", resource))
            metrics.service.record(CALLER.scope, Metric("Errors", 0, (dimensions, dimensions[:1])))
        metrics.record("Duration", 1)
        assert len(await names(metrics)) == 7
        assert len(await names(metrics, MetricName="Errors")) == 5
        assert await names(metrics, Namespace="Other") == []
        resources = [{"Name": "Resource"}]
        assert [found["Resource"] for _name, found in await names(metrics, Dimensions=resources)] == [
            "f:1",
            "g:1",
            "g:2",
        ]
        of_g = [{"Name": "FunctionName", "Value": "g"}, {"Name": "Resource"}]
        assert [found["Resource"] for _name, found in await names(metrics, Dimensions=of_g)] == ["g:1", "g:2"]

    with_metrics(tmp_path, test)


def test_each_metric_is_on_one_page(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        for number in range(1001):
            metrics.service.record(CALLER.scope, Metric(f"m{number:04d}", 1))
        assert [name for name, _ in await names(metrics)] == [f"m{number:04d}" for number in range(1001)]
        with pytest.raises(ApiError) as raised:
            await metrics("ListMetrics", NextToken="AAAA")
        assert raised.value.code == "InvalidParameterValue"
        assert raised.value.message == "The value for parameter NextToken is invalid."

    with_metrics(tmp_path, test)


def test_exactly_a_page_has_no_token(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        for number in range(500):
            metrics.service.record(CALLER.scope, Metric(f"m{number}", 1))
        answer = await metrics("ListMetrics")
        assert len(answer["Metrics"]) == 500
        assert "NextToken" not in answer

    with_metrics(tmp_path, test)


def test_what_had_no_data_for_long_is_not_listed(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        await asyncio.sleep(2 * HOUR)
        assert len(await names(metrics, RecentlyActive="PT3H")) == 2
        await asyncio.sleep(HOUR + 60)
        assert await names(metrics, RecentlyActive="PT3H") == []
        assert len(await names(metrics)) == 2
        await asyncio.sleep(14 * DAY)
        assert await names(metrics) == []

    with_metrics(tmp_path, test)


async def put(metrics: Client, **datum: object) -> None:
    await metrics("PutMetricData", Namespace="Shop", MetricData=[{"MetricName": "Orders"} | datum])


async def read(metrics: Client, *stats: str) -> list[float | None]:
    found = []
    for stat in stats:
        wanted = query(stat=stat, period=86_400)
        wanted["MetricStat"]["Metric"] = {"Namespace": "Shop", "MetricName": "Orders"}
        answer = await metrics.data(wanted, start=metrics.now - 40_000, end=metrics.now + 40_000)
        found.append(next(iter(answer["MetricDataResults"][0]["Values"]), None))
    return found


def test_values_in_each_form_add_up(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        await put(metrics, Value=5.0, Unit="Count")
        await put(metrics, Values=[1.0, 2.0], Counts=[2.0, 3.0], Timestamp=utc(metrics.now - 3600))
        await put(metrics, Values=[7.0])
        assert await read(metrics, "Sum", "SampleCount", "Minimum", "Maximum") == [20, 7, 1, 7]
        assert await read(metrics, "p50") == [2]
        await put(metrics, StatisticValues={"SampleCount": 3.0, "Sum": 30.0, "Minimum": 5.0, "Maximum": 20.0})
        assert await read(metrics, "Sum", "SampleCount", "Maximum", "p50") == [50, 10, 20, None]

    with_metrics(tmp_path, test)


TWICE = [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]


@pytest.mark.parametrize(
    ("datum", "code", "message"),
    [
        (
            {"Value": 1.0, "StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}},
            "InvalidParameterCombination",
            "The parameters MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually exclusive "
            "and you have specified both.",
        ),
        (
            {"Values": [1.0, 2.0], "Counts": [1.0]},
            "InvalidParameterValue",
            "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size.",
        ),
        ({}, "MissingParameter", "The parameter MetricData.member.1.Value is required."),
        (
            {"Value": float("nan")},
            "InvalidParameterValue",
            "The value nan for parameter MetricData.member.1.Value is invalid.",
        ),
        (
            {"Values": [1.0] * 151},
            "InvalidParameterValue",
            "The collection MetricData.member.1.Values must not have a size greater than 150.",
        ),
        (
            {"Value": 1.0, "StorageResolution": 1},
            "NotImplemented",
            "MetricData.member.1.StorageResolution 1: Lambent keeps no data finer than 60 seconds.",
        ),
        (
            {"Value": 1.0, "StorageResolution": 30},
            "InvalidParameterValue",
            "The value 30 for parameter MetricData.member.1.StorageResolution is invalid.",
        ),
        (
            {"Value": 1.0, "Dimensions": TWICE},
            "InvalidParameterValue",
            "The parameter MetricData.member.1.Dimensions has a dimension more than once.",
        ),
    ],
)
def test_what_put_metric_data_refuses(tmp_path: Path, datum: dict[str, object], code: str, message: str) -> None:
    async def test(metrics: Client) -> None:
        with pytest.raises(ApiError) as raised:
            await put(metrics, **datum)
        assert (raised.value.code, raised.value.message) == (code, message)
        assert await names(metrics) == []

    with_metrics(tmp_path, test)


def test_data_may_be_two_weeks_old_and_two_hours_ahead(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        for seconds in (-14 * DAY, 2 * HOUR):
            await put(metrics, Value=1.0, Timestamp=utc(metrics.now + seconds))
        name = r"InvalidParameterValue: The parameter MetricData\.member\.1\.Timestamp must specify a time"
        for seconds, words in ((-14 * DAY - 1, "within the past two weeks"), (2 * HOUR + 1, "no more than two hours")):
            with pytest.raises(ApiError, match=f"{name} {words}"):
                await put(metrics, Value=1.0, Timestamp=utc(metrics.now + seconds))

    with_metrics(tmp_path, test)


def test_a_thousand_data_are_taken_and_no_more(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        data = [{"MetricName": "Orders", "Value": 1.0}] * 1001
        await metrics("PutMetricData", Namespace="Shop", MetricData=data[:1000])
        assert await read(metrics, "Sum") == [1000]
        with pytest.raises(ApiError, match="The collection MetricData must not have a size greater than 1000"):
            await metrics("PutMetricData", Namespace="Shop", MetricData=data)
        with pytest.raises(ApiError, match="MissingParameter"):
            await metrics("PutMetricData", Namespace="Shop")

    with_metrics(tmp_path, test)


def test_the_namespaces_of_aws_are_its_own(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        with pytest.raises(ApiError, match="InvalidParameterValue: The value AWS/Lambda for parameter Namespace"):
            await metrics("PutMetricData", Namespace="AWS/Lambda", MetricData=[{"MetricName": "m", "Value": 1.0}])

    with_metrics(tmp_path, test)
