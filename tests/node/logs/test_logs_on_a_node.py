"""CloudWatch Logs through boto3, with the lines of real functions."""

import time

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def logs(lambent):
    return lambent.client("logs")


@pytest.fixture
def group(logs, request):
    name = f"/test/{request.node.name}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    yield name
    logs.delete_log_group(logGroupName=name)


def now_ms():
    return int(time.time() * 1000)


def test_events_come_back_through_both_reads(logs, group):
    now = now_ms()
    put = logs.put_log_events(
        logGroupName=group,
        logStreamName="s",
        logEvents=[{"timestamp": now, "message": "one"}, {"timestamp": now + 1, "message": "zwei ü"}],
    )
    assert put["nextSequenceToken"]
    read = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    assert [event["message"] for event in read["events"]] == ["one", "zwei ü"]
    again = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=read["nextForwardToken"])
    assert again["nextForwardToken"] == read["nextForwardToken"]
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern="zwei", PaginationConfig={"PageSize": 1}
    )
    assert [event["message"] for page in pages for event in page["events"]] == ["zwei ü"]


def test_errors_are_those_of_the_model(logs, group):
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException) as raised:
        logs.create_log_group(logGroupName=group)
    assert raised.value.response["Error"]["Message"] == "The specified log group already exists"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match=r"The specified log group does not exist\."):
        logs.filter_log_events(logGroupName="/none")
    with pytest.raises(logs.exceptions.InvalidParameterException, match=r"The specified nextToken is invalid\."):
        logs.filter_log_events(logGroupName=group, nextToken="f/1")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        logs.filter_log_events(logGroupName=group, filterPattern="{ $.a }")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        logs.create_log_group(logGroupName="no spaces allowed")


def test_groups_streams_and_tags(logs, group):
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 7
    assert described["arn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    (stream,) = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert stream["logStreamName"] == "s"
    logs.tag_resource(resourceArn=described["logGroupArn"], tags={"a": "b"})
    assert logs.list_tags_for_resource(resourceArn=described["logGroupArn"])["tags"] == {"a": "b"}
    logs.delete_log_stream(logGroupName=group, logStreamName="s")
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []


def test_each_line_of_a_function_is_followed_once_and_in_time(lambent, logs, make_function):
    name = make_function(
        "import time\ndef handler(event, context):\n    print('line', event, round(time.time() * 1000))\n"
    )
    group = f"/aws/lambda/{name}"
    functions = lambent.client("lambda")
    functions.invoke(FunctionName=name, Payload=b"-1")
    seen, shown, start = set(), [], 0
    for number in range(20):
        functions.invoke(FunctionName=name, Payload=str(number).encode())
        for event in logs.filter_log_events(logGroupName=group, startTime=start, filterPattern="line")["events"]:
            start = max(start, event["timestamp"])
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                shown.append(event["message"].split()[1])
        assert shown[-1] == str(number)
    assert shown == [str(number) for number in range(-1, 20)]


def test_an_invocation_leaves_its_four_kinds_of_lines(lambent, logs, make_function):
    name = make_function("def handler(event, context):\n    print('hello')\n")
    lambent.client("lambda").invoke(FunctionName=name)
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    kinds = [event["message"].split()[0] for event in events]
    assert kinds[-4:] == ["START", "hello", "END", "REPORT"]
    assert "[$LATEST]" in events[0]["logStreamName"]
