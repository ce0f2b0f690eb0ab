"""The metrics that invocations leave, as CloudWatch shows them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from tests.node.lambda_.functions_on_a_node import call, create

SOURCE = """
import time
def handler(event, context):
    if event == "raise":
        raise ValueError
    return context.function_version
"""

# An internal extension, which has work left when the function has answered.
WITH_EXTENSION = """
import http.client, os, threading, time

answered = threading.Event()
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api.request("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "library"})
answer = api.getresponse()
answer.read()
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}

def follow():
    while True:
        api.request("GET", "/2020-01-01/extension/event/next", headers=me)
        api.getresponse().read()
        answered.wait()
        time.sleep(0.2)

threading.Thread(target=follow, daemon=True).start()

def handler(event, context):
    answered.set()
"""


@pytest.fixture
def functions(lambent):
    return lambent.client("lambda")


def total(lambent, name, *, stat="Sum", **dimensions):
    """The value of a metric in the last hours; None where it has no data."""
    now = datetime.fromtimestamp(lambent.now(), UTC)
    dimensions = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    metric = {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": dimensions}
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 86_400, "Stat": stat}}
    answer = lambent.client("cloudwatch").get_metric_data(
        MetricDataQueries=[query], StartTime=now - timedelta(hours=2), EndTime=now + timedelta(minutes=1)
    )
    return next(iter(answer["MetricDataResults"][0]["Values"]), None)


def test_invocations_errors_and_durations_add_up(lambent, functions):
    name = create(functions, SOURCE)
    before = total(lambent, "Invocations") or 0
    for event in (None, None, "raise"):
        call(functions, name, event)
    assert total(lambent, "Invocations", FunctionName=name) == 3
    assert total(lambent, "Errors", FunctionName=name) == 1
    assert total(lambent, "Errors", stat="SampleCount", FunctionName=name) == 3
    assert total(lambent, "Throttles", FunctionName=name) == 0
    assert total(lambent, "Duration", stat="SampleCount", FunctionName=name) == 3
    assert 0 < total(lambent, "Duration", stat="p99", FunctionName=name) < 1000
    assert total(lambent, "Invocations") == before + 3


def test_what_extensions_do_behind_the_answer_is_measured_by_itself(lambent, functions):
    name, other = create(functions, WITH_EXTENSION), create(functions, SOURCE)
    for each in (name, name, other):
        call(functions, each)
    metric = "PostRuntimeExtensionsDuration"
    while total(lambent, metric, stat="SampleCount", FunctionName=name) != 2:
        pass
    assert total(lambent, metric, stat="Minimum", FunctionName=name) > 190  # of 200, by another clock
    assert total(lambent, metric, FunctionName=name) <= total(lambent, "Duration", FunctionName=name)
    while total(lambent, "Invocations", FunctionName=other) is None:
        pass
    assert total(lambent, metric, FunctionName=other) is None


def test_a_function_that_did_nothing_has_no_data(lambent, functions):
    name = create(functions, SOURCE)
    assert total(lambent, "Invocations", FunctionName=name) is None
    assert total(lambent, "Errors", FunctionName=name) is None


def test_a_throttle_is_neither_an_invocation_nor_an_error(lambent, functions):
    name = create(functions, SOURCE)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        functions.invoke(FunctionName=name)
    assert total(lambent, "Throttles", FunctionName=name) == 1
    assert total(lambent, "Invocations", FunctionName=name) is None


def test_a_qualifier_and_a_weighted_alias_have_series_of_their_own(lambent, functions):
    name = create(functions, SOURCE)
    for _ in range(2):
        functions.update_function_configuration(FunctionName=name, Description=str(_))
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02})
        functions.publish_version(FunctionName=name)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights)
    ran = [call(functions, name, Qualifier="live") for _ in range(12)]
    call(functions, name, Qualifier="1")
    live = {"FunctionName": name, "Resource": f"{name}:live"}
    assert total(lambent, "Invocations", **live) == 12
    for version in set(ran):
        assert total(lambent, "Invocations", **live, ExecutedVersion=version) == ran.count(version)
    assert total(lambent, "Invocations", FunctionName=name, Resource=f"{name}:1") == 1
    assert total(lambent, "Invocations", FunctionName=name) == 13


def test_an_asynchronous_invocation_counts_too(lambent, functions):
    name = create(functions, SOURCE)
    functions.invoke(FunctionName=name, InvocationType="Event")
    deadline = time.monotonic() + 20
    while total(lambent, "Invocations", FunctionName=name) is None:  # each look is a request of its own
        assert time.monotonic() < deadline
    assert total(lambent, "Invocations", FunctionName=name) == 1
