"""Log groups, their streams, retention and tags."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.services.logs.logs_service import ARN, CALLER, Client, with_logs

from lambent.aws.errors import ApiError
from lambent.services.logs import rows, worker
from lambent.services.logs.model import RETENTION_DAYS

DAY = 86_400


def test_a_group_is_described_as_aws_does(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        now = logs.now
        await logs("CreateLogGroup", logGroupName="/aws/lambda/hello", tags={"a": "1"}, kmsKeyId="key")
        assert await logs("DescribeLogGroups") == {
            "logGroups": [
                {
                    "logGroupName": "/aws/lambda/hello",
                    "arn": f"{ARN}/aws/lambda/hello:*",
                    "logGroupArn": f"{ARN}/aws/lambda/hello",
                    "creationTime": now,
                    "metricFilterCount": 0,
                    "storedBytes": 0,
                    "logGroupClass": "STANDARD",
                    "deletionProtectionEnabled": False,
                    "kmsKeyId": "key",
                }
            ]
        }

    with_logs(tmp_path, test)


def test_a_name_is_taken_once_in_an_account_and_region(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        with pytest.raises(ApiError, match="ResourceAlreadyExistsException: The specified log group already exists"):
            await logs.group("g")
        with pytest.raises(ApiError, match="ResourceAlreadyExistsException: The specified log stream already exists"):
            await logs("CreateLogStream", logGroupName="g", logStreamName="s")
        await logs("CreateLogGroup", replace(CALLER, region="us-east-1"), logGroupName="g")
        await logs("CreateLogGroup", replace(CALLER, account="000000000000"), logGroupName="g")
        assert len((await logs("DescribeLogGroups"))["logGroups"]) == 1

    with_logs(tmp_path, test)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("DeleteLogGroup", {}),
        ("CreateLogStream", {"logStreamName": "s"}),
        ("DeleteLogStream", {"logStreamName": "s"}),
        ("DescribeLogStreams", {}),
        ("PutLogEvents", {"logStreamName": "s", "logEvents": []}),
        ("GetLogEvents", {"logStreamName": "s"}),
        ("FilterLogEvents", {}),
        ("PutRetentionPolicy", {"retentionInDays": 1}),
        ("DeleteRetentionPolicy", {}),
        ("TagLogGroup", {"tags": {"a": "b"}}),
        ("UntagLogGroup", {"tags": ["a"]}),
        ("ListTagsLogGroup", {}),
    ],
)
def test_a_group_that_is_not_there_is_not_found(tmp_path: Path, operation: str, params: dict[str, object]) -> None:
    async def test(logs: Client) -> None:
        with pytest.raises(ApiError) as raised:
            await logs(operation, logGroupName="none", **params)
        assert raised.value.code == "ResourceNotFoundException"
        assert raised.value.message == "The specified log group does not exist."

    with_logs(tmp_path, test)


@pytest.mark.parametrize("operation", ["DeleteLogStream", "PutLogEvents", "GetLogEvents"])
def test_a_stream_that_is_not_there_is_not_found(tmp_path: Path, operation: str) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g")
        with pytest.raises(ApiError, match=r"ResourceNotFoundException: The specified log stream does not exist\."):
            await logs(operation, logGroupName="g", logStreamName="none", logEvents=[])

    with_logs(tmp_path, test)


def test_groups_are_listed_by_name_in_pages(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        names = [f"app/{n:03d}" for n in range(60)]
        for name in reversed(names):
            await logs.group(name)
        await logs.group("App")
        first = await logs("DescribeLogGroups", logGroupNamePrefix="app/")
        assert [group["logGroupName"] for group in first["logGroups"]] == names[:50]
        second = await logs("DescribeLogGroups", logGroupNamePrefix="app/", nextToken=first["nextToken"])
        assert [group["logGroupName"] for group in second["logGroups"]] == names[50:]
        assert "nextToken" not in second
        exact = await logs("DescribeLogGroups", logGroupNamePrefix="app/", limit=10, nextToken=first["nextToken"])
        assert len(exact["logGroups"]) == 10
        assert "nextToken" not in exact

    with_logs(tmp_path, test)


def test_a_pattern_finds_part_of_a_name_with_its_case(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        for name in ("DataLogs", "aws/DataLogs", "datalogs", "Data_ogs"):
            await logs.group(name)
        found = await logs("DescribeLogGroups", logGroupNamePattern="DataLogs")
        assert [group["logGroupName"] for group in found["logGroups"]] == ["DataLogs", "aws/DataLogs"]
        with pytest.raises(ApiError, match="InvalidParameterException"):
            await logs("DescribeLogGroups", logGroupNamePattern="a", logGroupNamePrefix="a")
        named = await logs("DescribeLogGroups", logGroupIdentifiers=["datalogs", f"{ARN}DataLogs"])
        assert [group["logGroupName"] for group in named["logGroups"]] == ["DataLogs", "datalogs"]

    with_logs(tmp_path, test)


@pytest.mark.parametrize("token", ["x", "", "AAAA", "9" * 40, "é"])
def test_a_token_that_was_changed_is_refused(tmp_path: Path, token: str) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        for operation in ("DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "FilterLogEvents"):
            params = {} if operation == "DescribeLogGroups" else {"logGroupName": "g"}
            params |= {"logStreamName": "s"} if operation == "GetLogEvents" else {}
            with pytest.raises(ApiError) as raised:
                await logs(operation, **params, nextToken=token)
            assert raised.value.code == "InvalidParameterException"
            assert raised.value.message == "The specified nextToken is invalid."

    with_logs(tmp_path, test)


def test_streams_are_listed_by_name_or_by_last_event(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "b", "a", "c", "d")
        await logs.put("b", (logs.now - 10, "old"))
        await logs.put("a", (logs.now - 5, "new"), (logs.now - 4, "newer"))

        async def listed(**params: object) -> list[str]:
            names: list[str] = []
            while True:
                answer = await logs("DescribeLogStreams", logGroupName="g", limit=3, **params)
                names += [stream["logStreamName"] for stream in answer["logStreams"]]
                if "nextToken" not in answer:
                    return names
                params["nextToken"] = answer["nextToken"]

        assert await listed() == ["a", "b", "c", "d"]
        assert await listed(descending=True) == ["d", "c", "b", "a"]
        assert await listed(orderBy="LastEventTime", descending=True) == ["a", "b", "d", "c"]
        assert await listed(orderBy="LastEventTime") == ["c", "d", "b", "a"]
        assert await listed(logStreamNamePrefix="b") == ["b"]
        with pytest.raises(ApiError, match="InvalidParameterException"):
            await listed(orderBy="LastEventTime", logStreamNamePrefix="b")

    with_logs(tmp_path, test)


def test_a_stream_tells_of_its_events(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "empty", "full")
        now = logs.now
        await logs.put("full", (now - 5, "grün"), (now + 7, "ab"))
        empty, full = (await logs("DescribeLogStreams", logGroupIdentifier=f"{ARN}g"))["logStreams"]
        assert empty == {
            "logStreamName": "empty",
            "creationTime": now,
            "arn": f"{ARN}g:log-stream:empty",
            "storedBytes": 0,
        }
        assert (full["firstEventTimestamp"], full["lastEventTimestamp"]) == (now - 5, now + 7)
        assert full["lastIngestionTime"] == now
        assert full["storedBytes"] == 5 + 2 + 2 * 26
        assert full["uploadSequenceToken"]
        assert (await logs("DescribeLogGroups"))["logGroups"][0]["storedBytes"] == 59

    with_logs(tmp_path, test)


@pytest.mark.parametrize("days", [0, 2, -1, 3654])
def test_a_retention_that_aws_does_not_offer_is_refused(tmp_path: Path, days: int) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g")
        with pytest.raises(ApiError, match=rf"Value '{days}' at 'retentionInDays' .* enum value set: \[1, 3, 5,"):
            await logs("PutRetentionPolicy", logGroupName="g", retentionInDays=days)

    with_logs(tmp_path, test)


def test_every_retention_of_aws_can_be_set_and_removed(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g")
        for days in RETENTION_DAYS:
            await logs("PutRetentionPolicy", logGroupName="g", retentionInDays=days)
            assert (await logs("DescribeLogGroups"))["logGroups"][0]["retentionInDays"] == days
        await logs("DeleteRetentionPolicy", logGroupName="g")
        assert "retentionInDays" not in (await logs("DescribeLogGroups"))["logGroups"][0]

    with_logs(tmp_path, test)


async def stored_messages(logs: Client) -> int:
    return await logs.logs.bulk.read(lambda tx: len(tx.execute(rows.EVENTS.select()).all()))


def test_events_are_gone_when_their_retention_is_over(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:

        await logs.group("g", "s")
        await logs("PutRetentionPolicy", logGroupName="g", retentionInDays=3)
        await logs.put("s", (logs.now, "old"))
        await asyncio.sleep(2 * DAY)
        await logs.put("s", (logs.now, "young"))
        await asyncio.sleep(DAY)
        assert await logs.messages() == ["old", "young"]
        await asyncio.sleep(1)
        assert await logs.messages() == ["young"]
        read = await logs("GetLogEvents", logGroupName="g", logStreamName="s")
        assert [event["message"] for event in read["events"]] == ["young"]
        await asyncio.sleep(600)
        assert await stored_messages(logs) == 1
        stream = (await logs("DescribeLogStreams", logGroupName="g"))["logStreams"][0]
        assert stream["storedBytes"] == 26 + 5
        assert stream["firstEventTimestamp"] == stream["lastEventTimestamp"]

    with_logs(tmp_path, test)


def test_expired_events_are_removed_in_batches(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs.group("g", "s")
        await logs("PutRetentionPolicy", logGroupName="g", retentionInDays=1)
        logs.logs.append(CALLER.scope, "g", "s", [(logs.now - 2 * DAY * 1000, f"{n}") for n in range(5000)])
        logs.logs.append(CALLER.scope, "g", "s", [(logs.now, "stays")])
        await logs.logs.flush()
        assert await stored_messages(logs) == 5001
        await worker.remove_expired(logs.logs.main, logs.logs.bulk, logs.logs.clock)
        assert await stored_messages(logs) == 1

    with_logs(tmp_path, test)


def test_a_deleted_group_takes_its_events_along(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:

        await logs.group("g", "s")
        await logs.group("other", "s")
        await logs.put("s", (logs.now, "gone"))
        await logs.put("s", (logs.now, "kept"), group="other")
        await logs("DeleteLogGroup", logGroupName="g")
        await logs.group("g", "s")
        assert await logs.messages() == []
        await asyncio.sleep(1201)
        assert await stored_messages(logs) == 1
        assert await logs.messages(logGroupName="other") == ["kept"]
        assert await logs.logs.main.read(lambda tx: rows.tombstones(tx, 2**60)) == []

    with_logs(tmp_path, test)


def test_a_deleted_stream_takes_its_events_along(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:

        await logs.group("g", "s", "t")
        await logs.put("s", (logs.now, "gone"))
        await logs.put("t", (logs.now, "kept"))
        await logs("DeleteLogStream", logGroupName="g", logStreamName="s")
        assert await logs.messages() == ["kept"]
        await asyncio.sleep(1201)
        assert await stored_messages(logs) == 1

    with_logs(tmp_path, test)


def test_deletion_protection_protects(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs("CreateLogGroup", logGroupName="g", deletionProtectionEnabled=True)
        with pytest.raises(ApiError, match="ValidationException"):
            await logs("DeleteLogGroup", logGroupName="g")
        await logs("PutLogGroupDeletionProtection", logGroupIdentifier="g", deletionProtectionEnabled=False)
        await logs("DeleteLogGroup", logGroupName="g")

    with_logs(tmp_path, test)


def test_tags_by_both_names(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs("CreateLogGroup", logGroupName="g", tags={"a": "1"})
        await logs("TagResource", resourceArn=f"{ARN}g", tags={"b": "2"})
        await logs("TagLogGroup", logGroupName="g", tags={"c": "3", "a": "4"})
        expected = {"tags": {"a": "4", "b": "2", "c": "3"}}
        assert await logs("ListTagsForResource", resourceArn=f"{ARN}g:*") == expected
        assert await logs("ListTagsLogGroup", logGroupName="g") == expected
        await logs("UntagResource", resourceArn=f"{ARN}g", tagKeys=["a", "none"])
        await logs("UntagLogGroup", logGroupName="g", tags=["b"])
        assert await logs("ListTagsLogGroup", logGroupName="g") == {"tags": {"c": "3"}}

    with_logs(tmp_path, test)


def test_fifty_tags_are_allowed_and_no_more(tmp_path: Path) -> None:
    async def test(logs: Client) -> None:
        await logs("CreateLogGroup", logGroupName="g", tags={str(n): "" for n in range(50)})
        await logs("TagLogGroup", logGroupName="g", tags={"0": "again"})
        with pytest.raises(ApiError, match="TooManyTagsException"):
            await logs("TagLogGroup", logGroupName="g", tags={"51st": ""})
        with pytest.raises(ApiError, match="InvalidParameterException"):
            await logs("TagLogGroup", logGroupName="g", tags={"aws:x": ""})

    with_logs(tmp_path, test)


@pytest.mark.parametrize("arn", ["arn:aws:logs:eu-west-1:123456789012:destination:d", "arn:x"])
def test_what_is_not_a_groups_arn_is_refused(tmp_path: Path, arn: str) -> None:
    async def test(logs: Client) -> None:
        with pytest.raises(ApiError, match="InvalidParameterException"):
            await logs("ListTagsForResource", resourceArn=arn)
        with pytest.raises(ApiError, match="ResourceNotFoundException"):
            await logs("ListTagsForResource", resourceArn="arn:aws:logs:us-east-1:123456789012:log-group:g")

    with_logs(tmp_path, test)
