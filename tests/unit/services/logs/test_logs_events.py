"""Log events: put, read, searched, and what the engine appends."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection
from tests.unit.services.logs.logs_service import ARN, CALLER, Client, opened, with_logs

from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.observe.supervise import supervise
from lambent.services.logs import rows, sink
from lambent.services.logs.rows import Range
from lambent.store.database import Database
from lambent.testing.loop import run

T = TypeVar("T")
HOUR = 3_600_000
DAY = 24 * HOUR
SCOPE = CALLER.scope


def test_nothing_appended_is_nothing_written(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        logs.logs.append(CALLER.scope, "g", "s", [])
        logs.logs.append(CALLER.scope, "g", "s", [(logs.now, "one")])
        assert await logs.messages() == ["one"]

    with_logs(tmp_path, test)


def test_a_batch_is_read_as_it_was_put(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        now = logs.now
        answer = await logs.put("s", (now - 1, "one\n"), (now, "zwei grüße \U0001f600"), (now, "nul \x00 within"))
        assert answer["nextSequenceToken"]
        assert "rejectedLogEventsInfo" not in answer
        read = await logs("GetLogEvents", logGroupName="g", logStreamName="s")
        assert read["events"] == [
            {"timestamp": now - 1, "ingestionTime": now, "message": "one\n"},
            {"timestamp": now, "ingestionTime": now, "message": "zwei grüße \U0001f600"},
            {"timestamp": now, "ingestionTime": now, "message": "nul \x00 within"},
        ]

    with_logs(tmp_path, test)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        await logs.put("s", (logs.now, "half \ud83d pair"))
        assert await logs.messages() == ["half ? pair"]

    with_logs(tmp_path, test)


def test_events_must_be_in_order(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        with pytest.raises(
            ApiError, match=r"InvalidParameterException: Log events in a single PutLogEvents request must"
        ):
            await logs.put("s", (logs.now, "b"), (logs.now - 1, "a"))

    with_logs(tmp_path, test)


def test_a_batch_holds_1048576_bytes(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        half = "ü" * ((1_048_576 - 2 * 26) // 4)
        await logs.put("s", (logs.now, half), (logs.now, half))
        with pytest.raises(ApiError, match="Upload too large: 1048577 bytes exceeds limit of 1048576"):
            await logs.put("s", (logs.now, half), (logs.now, half + "x"))

    with_logs(tmp_path, test)


def test_a_batch_spans_a_day(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        await logs.put("s", (logs.now - DAY, "a"), (logs.now, "b"))
        with pytest.raises(ApiError, match="cannot span more than 24 hours"):
            await logs.put("s", (logs.now - DAY - 1, "a"), (logs.now, "b"))

    with_logs(tmp_path, test)


@pytest.mark.parametrize(
    ("offsets", "retention", "rejected", "kept"),
    [
        ([-14 * DAY], None, None, 1),
        ([-14 * DAY - 1], None, {"tooOldLogEventEndIndex": 1}, 0),
        ([2 * HOUR], None, None, 1),
        ([2 * HOUR + 1], None, {"tooNewLogEventStartIndex": 0}, 0),
        ([-15 * DAY, -1, 3 * HOUR], None, {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}, 1),
        ([-2 * DAY, -DAY, 0], 1, {"expiredLogEventEndIndex": 1}, 2),
        ([-15 * DAY, -2 * DAY, 0], 1, {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}, 1),
    ],
)
def test_too_old_and_too_new_events_are_rejected_and_the_rest_kept(
    tmp_path: Path, offsets: list[int], retention: int | None, rejected: dict[str, int] | None, kept: int
) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        if retention:
            await logs("PutRetentionPolicy", logGroupName="g", retentionInDays=retention)
        answer = await logs.put("s", *((logs.now + offset, "x") for offset in offsets))
        assert answer.get("rejectedLogEventsInfo") == rejected
        assert len(await logs.messages()) == kept

    with_logs(tmp_path, test)


def test_reading_forward_ends_with_the_same_token(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        now = logs.now
        await logs.put("s", *((now + n // 2, f"{n}") for n in range(5)))

        async def read(**params: object) -> tuple[list[str], str, str]:
            answer = await logs("GetLogEvents", logGroupName="g", logStreamName="s", limit=2, **params)
            messages = [event["message"] for event in answer["events"]]
            return messages, answer["nextForwardToken"], answer["nextBackwardToken"]

        first, forward, back_from_start = await read(startFromHead=True)
        second, forward, _ = await read(nextToken=forward, startFromHead=True)
        third, forward, _ = await read(nextToken=forward, startFromHead=True)
        assert (first, second, third) == (["0", "1"], ["2", "3"], ["4"])
        nothing, same, backward = await read(nextToken=forward, startFromHead=True)
        assert (nothing, same) == ([], forward)
        assert (await read(nextToken=backward))[0] == ["3", "4"]
        nothing, _, same = await read(nextToken=back_from_start)
        assert (nothing, same) == ([], back_from_start)
        await logs.put("s", (now + 9, "later"))
        assert (await read(nextToken=forward))[0] == ["later"]

    with_logs(tmp_path, test)


def test_reading_starts_at_the_end_and_goes_backward(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        await logs.put("s", *((logs.now, f"{n}") for n in range(5)))

        async def read(**params: object) -> tuple[list[str], str, str]:
            answer = await logs("GetLogEvents", logGroupIdentifier=f"{ARN}g", logStreamName="s", limit=2, **params)
            messages = [event["message"] for event in answer["events"]]
            return messages, answer["nextForwardToken"], answer["nextBackwardToken"]

        last, forward, backward = await read()
        assert last == ["3", "4"]
        assert (await read(nextToken=forward))[0] == []
        middle, _, backward = await read(nextToken=backward)
        first, _, backward = await read(nextToken=backward)
        assert (middle, first) == (["1", "2"], ["0"])
        nothing, forward, same = await read(nextToken=backward)
        assert (nothing, same) == ([], backward)
        assert (await read(nextToken=forward))[0] == ["0", "1"]

    with_logs(tmp_path, test)


def test_an_empty_stream_has_tokens_that_show_what_comes(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        answer = await logs("GetLogEvents", logGroupName="g", logStreamName="s")
        assert answer["events"] == []
        await logs.put("s", (logs.now, "first"))
        token = answer["nextForwardToken"]
        answer = await logs("GetLogEvents", logGroupName="g", logStreamName="s", nextToken=token)
        assert [event["message"] for event in answer["events"]] == ["first"]

    with_logs(tmp_path, test)


def test_the_end_of_a_range_is_out_for_get_and_in_for_filter(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        now = logs.now
        await logs.put("s", *((now + n, f"{n}") for n in range(5)))
        span = {"startTime": now + 1, "endTime": now + 3}
        read = await logs("GetLogEvents", logGroupName="g", logStreamName="s", **span)
        assert [event["message"] for event in read["events"]] == ["1", "2"]
        assert await logs.messages(**span) == ["1", "2", "3"]

    with_logs(tmp_path, test)


def test_a_page_holds_a_megabyte(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        for n in range(3):
            await logs.put("s", (logs.now, f"{n}" + "x" * (524_288 - 27)))
        read = await logs("GetLogEvents", logGroupName="g", logStreamName="s", startFromHead=True)
        assert [event["message"][0] for event in read["events"]] == ["0", "1"]
        found = await logs("FilterLogEvents", logGroupName="g")
        assert [event["message"][0] for event in found["events"]] == ["0", "1"]
        assert [message[0] for message in await logs.messages()] == ["0", "1", "2"]

    with_logs(tmp_path, test)


def test_a_page_holds_10000_events(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        logs.logs.append(SCOPE, "g", "s", [(logs.now, f"{n}") for n in range(10_001)])
        found = await logs("FilterLogEvents", logGroupName="g")
        assert len(found["events"]) == 10_000
        rest = await logs("FilterLogEvents", logGroupName="g", nextToken=found["nextToken"])
        assert [event["message"] for event in rest["events"]] == ["10000"]
        assert "nextToken" not in rest

    with_logs(tmp_path, test)


def test_a_search_interleaves_streams_by_time(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "a/1", "a/2", "b")
        now = logs.now
        await logs.put("a/1", (now, "1"), (now + 2, "3"))
        await logs.put("a/2", (now + 1, "2"), (now + 3, "4"))
        await logs.put("b", (now + 1, "2b"))
        assert await logs.messages(limit=1) == ["1", "2", "2b", "3", "4"]
        assert await logs.messages(startFromHead=False, limit=2) == ["4", "3", "2b", "2", "1"]
        assert await logs.messages(logStreamNamePrefix="a/") == ["1", "2", "3", "4"]
        assert await logs.messages(logStreamNamePrefix="c") == []
        assert await logs.messages(logStreamNames=["b"]) == ["2b"]
        assert await logs.messages(logStreamNames=["b", "a/1"]) == ["1", "2b", "3"]
        answer = await logs("FilterLogEvents", logGroupIdentifier="g", filterPattern="2b")
        assert answer["searchedLogStreams"] == []
        (event,) = answer["events"]
        assert event["logStreamName"] == "b"
        assert len(event["eventId"]) == 56
        again = await logs("FilterLogEvents", logGroupName="g", logStreamNames=["b"])
        assert again["events"][0]["eventId"] == event["eventId"]

    with_logs(tmp_path, test)


def test_a_search_names_its_group_once_and_its_streams_one_way(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        for params in ({"logStreamNames": ["s"], "logStreamNamePrefix": "s"}, {"logGroupIdentifier": "g"}):
            with pytest.raises(ApiError, match="InvalidParameterException"):
                await logs("FilterLogEvents", logGroupName="g", **params)
        with pytest.raises(ApiError, match="InvalidParameterException"):
            await logs("FilterLogEvents")
        with pytest.raises(ApiError, match="ResourceNotFoundException: The specified log stream does not exist"):
            await logs("FilterLogEvents", logGroupName="g", logStreamNames=["none"])
        with pytest.raises(ApiError, match="InvalidParameterException: Invalid filter pattern"):
            await logs("FilterLogEvents", logGroupName="g", filterPattern="{ nonsense")

    with_logs(tmp_path, test)


def test_many_streams_are_searched_by_prefix(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        for n in range(300):
            logs.logs.append(SCOPE, "g", f"{n % 2}/{n}", [(logs.now, f"{n}")])
        assert await logs.messages(logStreamNamePrefix="1/", limit=7) == [f"{n}" for n in range(300) if n % 2]
        for n in range(600):
            logs.logs.append(SCOPE, "many", f"{n}", [(logs.now, f"{n}")])
        assert len(await logs.messages(logGroupName="many", logStreamNamePrefix="")) == 600

    with_logs(tmp_path, test)


def test_a_search_that_finds_little_answers_in_parts(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        lines = [(logs.now, "x" * 500) for _ in range(30_000)]
        logs.logs.append(SCOPE, "g", "s", [*lines, (logs.now, "needle")])
        first = await logs("FilterLogEvents", logGroupName="g", filterPattern="needle")
        assert first["events"] == []
        assert "nextToken" in first
        assert await logs.messages(filterPattern="needle") == ["needle"]

    with_logs(tmp_path, test)


def test_a_token_is_for_what_it_was_given(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        for name in ("g", "h"):
            await logs.group(name, "s")
            await logs.put("s", (logs.now, "1"), (logs.now, "2"), group=name)
        token = (await logs("FilterLogEvents", logGroupName="g", limit=1))["nextToken"]
        for changed in (token[:-1] + "g", token.replace("f/", "b/"), token[:10] + str(9 - int(token[10])) + token[11:]):
            with pytest.raises(ApiError, match=r"The specified nextToken is invalid\."):
                await logs("FilterLogEvents", logGroupName="g", nextToken=changed)
        with pytest.raises(ApiError, match=r"The specified nextToken is invalid\."):
            await logs("FilterLogEvents", logGroupName="h", nextToken=token)

    with_logs(tmp_path, test)


def test_a_metric_filter_can_be_tried(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        answer = await logs(
            "TestMetricFilter", filterPattern="[level=E*, code]", logEventMessages=["INFO 1", "ERROR 2", "ERROR"]
        )
        assert answer == {
            "matches": [
                {"eventNumber": 2, "eventMessage": "ERROR 2", "extractedValues": {"$level": "ERROR", "$code": "2"}}
            ]
        }

    with_logs(tmp_path, test)


# --- what the engine appends


def test_what_was_appended_is_read_at_once(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        stream = "2026/09/21/[$LATEST]abc"
        logs.logs.append(SCOPE, "/aws/lambda/hello", stream, [(logs.now, "START"), (logs.now, "END")])
        logs.logs.append(SCOPE, "/aws/lambda/hello", stream, [(logs.now, "REPORT")])
        assert await logs.messages(logGroupName="/aws/lambda/hello") == ["START", "END", "REPORT"]
        (described,) = (await logs("DescribeLogStreams", logGroupName="/aws/lambda/hello"))["logStreams"]
        assert described["logStreamName"] == stream
        assert described["storedBytes"] == 3 * 26 + 14

    with_logs(tmp_path, test)


def test_what_was_appended_is_stored_within_100_ms(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        for _ in range(3):
            logs.logs.append(SCOPE, "g", "s", [(logs.now, "line")])
            await asyncio.sleep(0.1)
        assert await logs.logs.bulk.read(lambda tx: len(tx.execute(rows.EVENTS.select()).all())) >= 2

    with_logs(tmp_path, test)


def test_only_a_new_stream_touches_the_main_database(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        logs.logs.append(SCOPE, "g", "s", [(logs.now, "first")])
        await logs.logs.flush()
        before = await changes(logs)
        for n in range(5):
            logs.logs.append(SCOPE, "g", "s", [(logs.now, f"{n}")])
            await logs.logs.flush()
        assert await changes(logs) == before
        logs.logs.append(SCOPE, "g", "t", [(logs.now, "x")])
        await logs.logs.flush()
        assert await changes(logs) > before

    async def changes(logs: Client) -> int:
        return await logs.logs.main.write(lambda tx: int(tx.exec_driver_sql("SELECT total_changes()").scalar_one()))

    with_logs(tmp_path, test)


def test_a_deleted_group_is_made_anew_by_its_next_line(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        logs.logs.append(SCOPE, "g", "s", [(logs.now, "before")])
        await logs.logs.flush()
        await logs("DeleteLogStream", logGroupName="g", logStreamName="s")
        logs.logs.append(SCOPE, "g", "s", [(logs.now, "between")])
        assert await logs.messages() == ["between"]
        await logs("DeleteLogGroup", logGroupName="g")
        logs.logs.append(SCOPE, "g", "s", [(logs.now, "after")])
        assert await logs.messages() == ["after"]

    with_logs(tmp_path, test)


def test_a_full_buffer_drops_lines_and_says_so(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        big = "x" * (sink.MAX_BUFFERED // 2 - 26)
        for text in (big, big, "one too many", "two too many"):
            logs.logs.append(SCOPE, "g", "s", [(logs.now, text)])
        await logs.logs.flush()
        logs.logs.append(SCOPE, "g", "s", [(logs.now, "room again")])
        await logs.logs.flush()
        (stream,) = (await logs("DescribeLogStreams", logGroupName="g"))["logStreams"]
        assert stream["storedBytes"] == sink.MAX_BUFFERED + 26 + len("room again")
        assert '"event":"logs.dropped"' in logs.entries.getvalue()
        assert '"events":2' in logs.entries.getvalue()

    with_logs(tmp_path, test)


def test_stopping_writes_what_was_appended(tmp_path: Path) -> None:
    async def main(clock: Clock) -> list[str]:
        async with opened(tmp_path, clock) as logs:
            await asyncio.sleep(0)  # let `run` begin
            logs.logs.append(SCOPE, "g", "s", [(logs.now, "last words")])
        async with opened(tmp_path, clock) as logs:
            return await logs.messages()

    assert run(main) == ["last words"]


def test_without_its_run_the_sink_writes_on_flush(tmp_path: Path) -> None:
    async def main(clock: Clock) -> list[str]:
        async with opened(tmp_path, clock) as logs:
            alone = replace(logs.logs)
            alone.append(SCOPE, "g", "s", [(logs.now, "after the end")])
            await alone.flush()
            return await logs.messages()

    assert run(main) == ["after the end"]


class FullDisk:
    """A database whose first writes fail."""

    def __init__(self, database: Database, failures: int) -> None:
        self._database = database
        self._failures = failures
        self.read = database.read

    async def write(self, change: Callable[[Connection], T], **options: Any) -> T:
        if self._failures:
            self._failures -= 1
            raise OSError("database or disk is full")
        return await self._database.write(change, **options)


def test_what_cannot_be_written_is_written_when_the_disk_has_room(tmp_path: Path) -> None:
    async def main(clock: Clock) -> list[str]:
        async with opened(tmp_path, clock) as logs:
            flaky: Any = FullDisk(logs.logs.bulk, failures=2)
            service = replace(logs.logs, bulk=flaky)
            service.append(SCOPE, "g", "s", [(logs.now, "one")])
            with pytest.raises(OSError, match="disk is full"):
                await service.sink.run()
            async with asyncio.TaskGroup() as tasks:
                again = tasks.create_task(supervise("logs.sink", service.sink.run, service.log))
                service.append(SCOPE, "g", "s", [(logs.now, "two")])
                await asyncio.sleep(60)
                again.cancel()
            return await logs.messages()

    assert run(main) == ["one", "two"]


def test_a_reader_that_goes_away_loses_no_line(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        for n in range(20):
            logs.logs.append(SCOPE, "g", "s", [(logs.now, f"{n}")])
            try:
                async with asyncio.timeout(0):
                    await logs.messages()
            except TimeoutError:
                pass
        assert await logs.messages() == [f"{n}" for n in range(20)]

    with_logs(tmp_path, test)


@pytest.mark.parametrize("next_start", [lambda last: last, lambda last: last + 1])
def test_a_follower_sees_each_line_once(tmp_path: Path, next_start: Callable[[int], int]) -> None:
    """Both usual ways: from the last timestamp on, knowing the ids seen, or from the next millisecond."""

    async def test(logs: Client) -> None:
        seen: dict[str, str] = {}
        shown: list[str] = []
        written: list[str] = []
        await logs.group("g")
        start = 0
        for turn in range(40):
            for stream in range(3):
                written.append(f"{turn}/{stream}")
                logs.logs.append(SCOPE, "g", f"s{stream}", [(logs.now, written[-1])])
            await asyncio.sleep(0.0015)
            for event in (await logs("FilterLogEvents", logGroupName="g", startTime=start))["events"]:
                start = max(start, next_start(event["timestamp"]))
                if event["eventId"] not in seen:
                    seen[event["eventId"]] = event["message"]
                    shown.append(event["message"])
        assert shown == written

    with_logs(tmp_path, test)


def test_a_line_that_was_delayed_is_newer_than_what_a_follower_saw(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        now = logs.now

        async def append(stream: str, *events: tuple[int, str]) -> list[str]:
            """What a follower sees that has seen everything before."""
            before = (await logs("FilterLogEvents", logGroupName="g"))["events"]
            logs.logs.append(SCOPE, "g", stream, events)
            return await logs.messages(startTime=max((event["timestamp"] for event in before), default=0) + 1)

        await logs.group("g")
        assert await append("a", (now, "first")) == ["first"]
        assert await append("b", (now, "same ms"), (now, "and again")) == ["same ms", "and again"]
        assert await append("b", (now - 998, "late"), (now + 1, "on time")) == ["late", "on time"]
        assert await append("b", (now - 5_000, "of another time")) == []
        read = await logs("GetLogEvents", logGroupName="g", logStreamName="b", startFromHead=True)
        assert [event["message"] for event in read["events"]] == [
            "of another time",
            "same ms",
            "and again",
            "late",
            "on time",
        ]

    with_logs(tmp_path, test)


def test_reads_use_the_indexes(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        def plans(tx: rows.Connection) -> list[str]:
            seen: list[str] = []
            for wanted in (
                Range(group_id=1, start=5, end=9, beyond=1 << 150),
                Range(group_id=1, stream_ids=[2], descending=True, beyond=1 << 150),
            ):
                statement = rows.events_query(wanted).compile(tx, compile_kwargs={"literal_binds": True})
                plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
                seen.append(" ".join(row.detail for row in plan))
            return seen

        of_group, of_stream = await logs.logs.bulk.read(plans)
        assert "INDEX logs_events_of_group (group_id=? AND" in of_group
        assert "INDEX logs_events_of_stream (stream_id=? AND" in of_stream
        assert "TEMP B-TREE" not in of_group + of_stream

    with_logs(tmp_path, test)
