"""What was recorded comes back through both reads, added up as it was asked for."""

import asyncio
import math
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.cloudwatch.cloudwatch_service import CALLER, Client, query, utc, with_metrics

from lambent.aws.errors import ApiError
from lambent.services.cloudwatch import rows, worker

DAY = 86_400


def test_values_of_a_minute_are_one_data_point(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        minute = metrics.now // 60 * 60
        metrics.record("Invocations", 1, 1, 4, at=minute + 59)
        metrics.record("Invocations", 10, at=minute + 60)
        found = await metrics.statistics(
            *("SampleCount", "Average", "Sum", "Minimum", "Maximum"), start=minute, end=minute + 60
        )
        assert found == [
            {
                "Timestamp": utc(minute),
                "SampleCount": 3,
                "Average": 2,
                "Sum": 6,
                "Minimum": 1,
                "Maximum": 4,
                "Unit": "Count",
            }
        ]
        (both,) = await metrics.statistics("Sum", start=minute, end=minute + 61, period=120)
        assert both["Sum"] == 16

    with_metrics(tmp_path, test)


def test_a_value_is_shown_under_each_of_its_sets_of_dimensions(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        for dimensions, expected in (([], 1), ([{"Name": "FunctionName", "Value": "f"}], 1)):
            found = await metrics.statistics("Sum", start=metrics.now - 60, end=metrics.now + 60, Dimensions=dimensions)
            assert [point["Sum"] for point in found] == [expected]
        other = [{"Name": "FunctionName", "Value": "g"}]
        assert await metrics.statistics("Sum", start=metrics.now - 60, end=metrics.now + 60, Dimensions=other) == []

    with_metrics(tmp_path, test)


def test_each_unit_is_a_data_point_of_its_own(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        start, end = metrics.now // 60 * 60, metrics.now + 60
        metrics.record("Invocations", 1, unit="Count")
        metrics.record("Invocations", 2, unit="Seconds")
        found = await metrics.statistics("Sum", start=start, end=end)
        assert {point["Unit"]: point["Sum"] for point in found} == {"Count": 1, "Seconds": 2}
        (only,) = await metrics.statistics("Sum", start=start, end=end, Unit="Seconds")
        assert only["Sum"] == 2
        answer = await metrics.data(query(), start=start, end=end)
        assert answer["MetricDataResults"][0]["Values"] == [3]

    with_metrics(tmp_path, test)


def test_percentiles_come_under_their_own_name(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", *range(1, 101))
        start, end = metrics.now - 60, metrics.now + 60
        (point,) = await metrics.statistics(start=start, end=end, ExtendedStatistics=["p50", "p99"])
        assert point["ExtendedStatistics"]["p50"] == pytest.approx(50, rel=0.02)
        assert point["ExtendedStatistics"]["p99"] == pytest.approx(99, rel=0.02)
        assert "Sum" not in point

    with_metrics(tmp_path, test)


def test_data_is_newest_first_unless_asked_otherwise(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        minute = metrics.now // 60 * 60
        for number in range(3):
            metrics.record("Invocations", number, at=minute - 60 * number)
        times = [utc(minute), utc(minute - 60), utc(minute - 120)]
        answer = await metrics.data(query(), start=minute - 3600, end=minute + 60)
        assert answer == {
            "MetricDataResults": [
                {"Id": "m", "Label": "Invocations", "Timestamps": times, "Values": [0, 1, 2], "StatusCode": "Complete"}
            ],
            "Messages": [],
        }
        answer = await metrics.data(query(), start=minute - 3600, end=minute + 60, ScanBy="TimestampAscending")
        assert answer["MetricDataResults"][0]["Timestamps"] == times[::-1]

    with_metrics(tmp_path, test)


def test_labels_tell_queries_apart(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        async def labels(*queries: dict[str, object]) -> list[str]:
            answer = await metrics.data(*queries, start=metrics.now - 60, end=metrics.now)
            return [result["Label"] for result in answer["MetricDataResults"]]

        assert await labels(query("a"), query("b", name="Errors")) == ["Invocations", "Errors"]
        assert await labels(query("a"), query("b", stat="p99")) == ["Invocations Sum", "Invocations p99"]
        assert await labels(query("a"), query("b", period=300)) == ["Invocations 60", "Invocations 300"]
        assert await labels(query("a"), query("b", dimensions=[])) == ["Invocations f", "Invocations"]
        assert await labels(query("a", Label="mine"), query("b", stat="p99")) == ["mine", "Invocations p99"]
        assert await labels(query("a", ReturnData=False), query("b", stat="p99")) == ["Invocations"]

    with_metrics(tmp_path, test)


_RECORDED = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=30)


@settings(max_examples=25)
@given(_RECORDED, st.sampled_from([60, 120, 300]), st.integers(-3, 5), st.integers(1, 25), st.integers(1, 7))
def test_what_comes_back_is_what_was_recorded(recorded, period, first, minutes, most):
    """In any periods, from any start, in pages of any size: each value once, in its period."""
    with TemporaryDirectory() as folder:

        async def test(metrics: Client) -> None:
            base = metrics.now // 60 * 60 - 3600
            for number, (minute, value) in enumerate(recorded):
                metrics.record("Invocations", value, at=base + 60 * minute + value)
                if number % 7 == 6:
                    await metrics.service.flush()
            start = base + 60 * first
            end = start + 60 * minutes
            expected: dict[int, float] = defaultdict(float)
            for minute, value in recorded:
                at = base + 60 * minute
                if start <= at < end:
                    expected[start + (at - start) // period * period] += value
            points = await metrics.statistics("Sum", start=start, end=end, period=period)
            assert {point["Timestamp"]: point["Sum"] for point in points} == {
                utc(at): value for at, value in expected.items()
            }
            paged: list[list[tuple[object, float]]] = [[], []]
            params: dict[str, object] = {}
            while True:
                queries = (query("a", period=period), query("b", period=period, stat="SampleCount"))
                answer = await metrics.data(*queries, start=start, end=end, MaxDatapoints=most, **params)
                results = answer["MetricDataResults"]
                assert sum(len(result["Values"]) for result in results) <= most
                for so_far, result in zip(paged, results, strict=True):
                    so_far += zip(result["Timestamps"], result["Values"], strict=True)
                if "NextToken" not in answer:
                    break
                params["NextToken"] = answer["NextToken"]
            assert paged[0] == [(utc(at), expected[at]) for at in sorted(expected, reverse=True)]
            assert [at for at, _count in paged[1]] == [at for at, _sum in paged[0]]
            assert sum(count for _at, count in paged[1]) == sum(
                start <= base + 60 * minute < end for minute, _ in recorded
            )

        with_metrics(Path(folder), test)


def test_what_is_recorded_is_stored_within_seconds(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        await asyncio.sleep(2)
        assert await metrics.service.bulk.read(lambda tx: len(tx.execute(rows.POINTS.select()).all())) == 2

    with_metrics(tmp_path, test)


def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    async def record(metrics: Client) -> None:
        await asyncio.sleep(0.1)
        metrics.record("Invocations", 1, 1)

    async def look(metrics: Client) -> None:
        found = await metrics.statistics("Sum", start=metrics.now - 3600, end=metrics.now + 3600, period=7200)
        assert [point["Sum"] for point in found] == [2]

    with_metrics(tmp_path, record)
    with_metrics(tmp_path, look)


def test_what_the_database_refuses_is_kept_for_the_next_write(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        bulk = metrics.service.bulk
        await bulk.write(lambda tx: rows.POINTS.drop(tx))
        metrics.record("Invocations", 1)
        with pytest.raises(Exception, match="no such table"):
            await metrics.service.recorder.flush()
        metrics.record("Invocations", 1)
        await bulk.write(lambda tx: rows.POINTS.create(tx))
        (point,) = await metrics.statistics("Sum", start=metrics.now - 60, end=metrics.now + 60, period=120)
        assert point["Sum"] == 2

    with_metrics(tmp_path, test, running=False)


def test_data_gets_coarser_with_age_and_goes_in_the_end(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        born = metrics.now // 3600 * 3600
        for minute in range(0, 60, 3):
            metrics.record("Invocations", 1, 3, at=born + 60 * minute)

        async def sums(period: int) -> list[float]:
            await worker.age(metrics.service.bulk, metrics.service.clock)
            start, end = born, born + 3600
            return [point["Sum"] for point in await metrics.statistics("Sum", start=start, end=end, period=period)]

        assert await sums(60) == [4] * 20
        await asyncio.sleep(15 * DAY + 3600)
        assert await sums(60) == []
        assert sum(await sums(300)) == 80
        assert len(await sums(300)) == 12
        await asyncio.sleep(48 * DAY)
        assert await sums(300) == []
        assert await sums(3600) == [80]
        (point,) = await metrics.statistics(start=born, end=born + 3600, period=3600, ExtendedStatistics=["p50", "p51"])
        assert point["ExtendedStatistics"] == {"p50": 1, "p51": 3}
        await asyncio.sleep(392 * DAY)
        assert await sums(3600) == []
        assert await metrics.service.bulk.read(lambda tx: tx.execute(rows.METRICS.select()).all()) == []

    with_metrics(tmp_path, test, running=False)


def test_the_start_is_rounded_to_what_is_kept_of_its_age(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        minute = metrics.now // 3600 * 3600
        metrics.record("Invocations", 1, at=minute)
        (point,) = await metrics.statistics("Sum", start=minute + 30.5, end=minute + 59)
        assert point["Timestamp"] == utc(minute)
        await asyncio.sleep(16 * DAY)
        (point,) = await metrics.statistics("Sum", start=minute + 299, end=minute + 600, period=300)
        assert point["Timestamp"] == utc(minute)
        await asyncio.sleep(63 * DAY)
        (point,) = await metrics.statistics("Sum", start=minute + 3599, end=minute + 7200, period=3600)
        assert point["Timestamp"] == utc(minute)

    with_metrics(tmp_path, test, running=False)


async def _refusal(metrics: Client, operation: str, **params: object) -> tuple[str, str]:
    given = {"StartTime": utc(metrics.now - 3600), "EndTime": utc(metrics.now)} | params
    with pytest.raises(ApiError) as raised:
        await metrics(operation, **given)
    return raised.value.code, raised.value.message


def test_what_get_metric_statistics_refuses(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        async def refused(**params: object) -> tuple[str, str]:
            given = {"Namespace": "N", "MetricName": "M", "Period": 60, "Statistics": ["Sum"]} | params
            return await _refusal(metrics, "GetMetricStatistics", **given)

        now = utc(metrics.now)
        assert await refused(StartTime=now) == (
            "InvalidParameterValue",
            "The parameter StartTime must not equal parameter EndTime.",
        )
        assert await refused(StartTime=now, EndTime=utc(metrics.now - 1)) == (
            "InvalidParameterValue",
            "The parameter StartTime must be less than the parameter EndTime.",
        )
        assert await refused(
            StartTime=utc(metrics.now // 60 * 60 - 1441 * 60), EndTime=utc(metrics.now // 60 * 60)
        ) == (
            "InvalidParameterCombination",
            "You have requested up to 1441 datapoints, which exceeds the limit of 1440. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )
        assert await refused(Period=90) == ("InvalidParameterValue", "The parameter Period must be a multiple of 60.")
        assert await refused(Period=1) == ("NotImplemented", "Period 1: Lambent keeps no data finer than 60 seconds.")
        assert await refused(ExtendedStatistics=["p50", "p101"]) == (
            "InvalidParameterValue",
            "The value p101 for parameter ExtendedStatistics.member.2 is not supported.",
        )
        code, message = await refused(Statistics=["Median"])
        assert code == "ValidationError"
        assert "Median" in message

    with_metrics(tmp_path, test)


def test_1440_data_points_may_be_asked_for(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        end = metrics.now // 60 * 60
        metrics.record("Invocations", 1, at=end - 1)
        assert len(await metrics.statistics("Sum", start=end - 1440 * 60, end=end)) == 1

    with_metrics(tmp_path, test)


def test_statistics_need_a_statistic(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        assert await _refusal(metrics, "GetMetricStatistics", Namespace="N", MetricName="M", Period=60) == (
            "InvalidParameterCombination",
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
        )

    with_metrics(tmp_path, test)


def test_what_get_metric_data_refuses(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        async def refused(*queries: object, **params: object) -> tuple[str, str]:
            return await _refusal(metrics, "GetMetricData", MetricDataQueries=list(queries), **params)

        now = utc(metrics.now)
        assert await refused(query(), StartTime=now) == (
            "ValidationError",
            "The parameter StartTime must not equal parameter EndTime.",
        )
        assert await refused(query("a", stat="p101"), query("b", stat="sum")) == (
            "ValidationError",
            "The value for parameter MetricDataQueries.member.1.MetricStat.Stat is not a valid statistic.\n"
            "The value for parameter MetricDataQueries.member.2.MetricStat.Stat is not a valid statistic.",
        )
        assert await refused(query("a"), query("a")) == (
            "ValidationError",
            "The values for parameter id in MetricDataQueries are not unique.",
        )
        assert await refused(*[query(f"m{number}") for number in range(501)]) == (
            "ValidationError",
            "The collection MetricDataQueries must not have a size greater than 500.",
        )
        code, message = await refused(query("A"))
        assert (code, "[a-z][a-zA-Z0-9_]*" in message) == ("ValidationError", True)
        assert await refused({"Id": "e", "Expression": "a+b"}) == (
            "NotImplemented",
            "MetricDataQueries.member.1.Expression: metric math is not supported by Lambent yet.",
        )
        assert (await refused({"Id": "e"}))[0] == "ValidationError"
        assert (await refused(query(), MaxDatapoints=100_801))[0] == "ValidationError"
        assert (await refused(query(), MaxDatapoints=0))[0] == "ValidationError"
        assert (await refused(query(Label="${AVG}")))[0] == "NotImplemented"
        assert (await refused(query(AccountId="000000000001")))[0] == "NotImplemented"
        assert (await refused())[0] == "MissingParameter"
        assert await refused(query(), NextToken="x") == (
            "InvalidNextToken",
            "The value for parameter NextToken is invalid.",
        )

    with_metrics(tmp_path, test)


def test_500_queries_may_be_asked(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        answer = await metrics.data(
            *[query(f"m{number}") for number in range(500)], start=metrics.now - 60, end=metrics.now
        )
        assert len(answer["MetricDataResults"]) == 500

    with_metrics(tmp_path, test)


def test_a_token_is_of_its_own_request_only(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        minute = metrics.now // 60 * 60
        for number in range(3):
            metrics.record("Invocations", 1, at=minute - 60 * number)
        params = {"start": minute - 600, "end": minute + 60}
        first = await metrics.data(query(), MaxDatapoints=2, **params)
        assert first["MetricDataResults"][0]["StatusCode"] == "PartialData"
        rest = await metrics.data(query(), MaxDatapoints=2, NextToken=first["NextToken"], **params)
        assert rest["MetricDataResults"][0]["StatusCode"] == "Complete"
        with pytest.raises(ApiError, match="InvalidNextToken"):
            await metrics.data(query(stat="Maximum"), NextToken=first["NextToken"], **params)

    with_metrics(tmp_path, test)


def test_other_accounts_and_regions_see_nothing(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        other = type(CALLER)(account=CALLER.account, region="us-east-1")
        answer = await metrics(
            "GetMetricData",
            other,
            MetricDataQueries=[query()],
            StartTime=utc(metrics.now - 60),
            EndTime=utc(metrics.now + 60),
        )
        assert answer["MetricDataResults"][0]["Values"] == []
        assert (await metrics("ListMetrics", other))["Metrics"] == []

    with_metrics(tmp_path, test)


def test_recording_never_waits_for_a_slow_disk(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        for number in range(20_005):
            metrics.record("Invocations", number)
        (point,) = await metrics.statistics("SampleCount", start=metrics.now - 60, end=metrics.now + 60, period=120)
        assert point["SampleCount"] == 20_000
        assert math.isclose(point["SampleCount"], 20_000)

    with_metrics(tmp_path, test)


def test_the_ageing_goes_on_by_itself(tmp_path: Path) -> None:
    async def test(metrics: Client) -> None:
        metrics.record("Invocations", 1)
        await asyncio.sleep(15 * DAY + 7200)
        kept = await metrics.service.bulk.read(lambda tx: [row.period for row in tx.execute(rows.POINTS.select())])
        assert kept == [300, 300]

    with_metrics(tmp_path, test)
