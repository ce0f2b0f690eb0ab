"""Reserved and provisioned concurrency through boto3, with real environments."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from functions_on_a_node import call, create, make_zip

SOURCE = """
import os

KIND = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]


def handler(event, context):
    return [KIND, context.function_version, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""

SLOW = """
import os, time


def handler(event, context):
    time.sleep(event)
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""

BROKEN = "raise ValueError('no')\n\n\ndef handler(event, context): return 1\n"


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


def refusal(operation, **params):
    with pytest.raises(ClientError) as raised:
        operation(**params)
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def provision(client, name, qualifier, count):
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def settled(client, name, qualifier):
    """The configuration once it is not IN_PROGRESS any more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] != "IN_PROGRESS":
            return found
        threading.Event().wait(0.02)
    raise AssertionError("still IN_PROGRESS")


def test_what_is_reserved_caps_the_function_at_the_limit_and_one_past_it(client):
    name = create(client, SLOW, Timeout=30)
    answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    assert answer["ReservedConcurrentExecutions"] == 2
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 2
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 2}
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(call, client, name, 2) for _one in range(3)]
        errors = [run.exception() for run in running]
    refused = [error for error in errors if error]
    assert len(refused) == 1
    response = refused[0].response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert call(client, name, 0) == "on-demand"  # the slots came back
    client.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    assert "Concurrency" not in client.get_function(FunctionName=name)


def test_nothing_reserved_throttles_everything(client):
    name = create(client, SOURCE)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    status, code, message = refusal(client.invoke, FunctionName=name)
    assert (status, code, message) == (429, "TooManyRequestsException", "Rate Exceeded.")
    assert client.invoke(FunctionName=name, InvocationType="Event")["StatusCode"] == 202
    client.delete_function_concurrency(FunctionName=name)
    assert call(client, name)[0] == "on-demand"


def test_a_hundred_stay_unreserved(client):
    name = create(client, SOURCE)
    unreserved = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert refusal(
        client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=unreserved - 99
    ) == (
        400,
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100].",
    )
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=unreserved - 100)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    client.delete_function(FunctionName=name)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == unreserved


def test_ten_requests_a_second_for_each_reserved_slot(client):
    name = create(client, SOURCE)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    refused = None
    for number in range(200):
        try:
            client.invoke(FunctionName=name)
        except ClientError as error:
            refused = number, error.response
            break
    assert refused is not None
    number, response = refused
    assert number >= 10
    assert response["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


def test_a_provisioned_environment_is_there_before_the_first_invocation(client):
    name = create(client, SOURCE, Publish=True)
    answer = provision(client, name, "1", 2)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["RequestedProvisionedConcurrentExecutions"] == 2
    assert (answer["Status"], answer["AvailableProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
    ready = settled(client, name, "1")
    assert ready["Status"] == "READY"
    assert ready["AllocatedProvisionedConcurrentExecutions"] == 2
    assert ready["AvailableProvisionedConcurrentExecutions"] == 2
    assert ready["LastModified"] == answer["LastModified"]
    invoked = client.invoke(FunctionName=name, Qualifier="1", LogType="Tail")
    kind, version, _stream = json.loads(invoked["Payload"].read())
    assert (kind, version) == ("provisioned-concurrency", "1")
    tail = base64.b64decode(invoked["LogResult"]).decode()
    assert "REPORT RequestId" in tail
    assert "Init Duration" not in tail
    assert call(client, name)[0] == "on-demand"  # $LATEST has none
    found = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(each["FunctionArn"].rpartition(":")[2], each["Status"]) for each in found] == [("1", "READY")]
    gone = client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1") == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )
    assert call(client, name, Qualifier="1")[0] == "on-demand"


def test_the_log_of_a_provisioned_environment_begins_with_its_init(client, lambent):
    name = create(client, SOURCE, Publish=True)
    provision(client, name, "1", 1)
    settled(client, name, "1")
    stream = call(client, name, Qualifier="1")[2]
    logs = lambent.client("logs")
    events = logs.get_log_events(logGroupName=f"/aws/lambda/{name}", logStreamName=stream, startFromHead=True)["events"]
    kinds = [event["message"].split(" ", 1)[0] for event in events]
    assert kinds == ["INIT_START", "INIT_REPORT", "START", "END", "REPORT"]
    assert "\tPhase: init\tStatus: success" in events[1]["message"]
    client.delete_function(FunctionName=name)


def test_an_aliass_environments_serve_the_alias_alone_and_move_with_it(client):
    name = create(client, SOURCE, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(client, name, "live", 1)
    assert settled(client, name, "live")["Status"] == "READY"
    assert call(client, name, Qualifier="live")[:2] == ["provisioned-concurrency", "1"]
    assert call(client, name, Qualifier="1")[:2] == ["on-demand", "1"]
    client.update_function_code(FunctionName=name, ZipFile=make_zip(app=SOURCE + "\n"))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
    version = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert settled(client, name, "live")["Status"] == "READY"
    assert call(client, name, Qualifier="live")[:2] == ["provisioned-concurrency", version]
    assert refusal(client.update_alias, FunctionName=name, Name="live", FunctionVersion="$LATEST") == (
        400,
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    )
    client.delete_alias(FunctionName=name, Name="live")
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []
    client.delete_function(FunctionName=name)


def test_a_versions_environments_serve_its_aliases_too(client):
    name = create(client, SOURCE, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(client, name, "1", 1)
    settled(client, name, "1")
    assert call(client, name, Qualifier="live")[0] == "provisioned-concurrency"
    client.delete_function(FunctionName=name)


def test_a_function_that_cannot_be_initialised_fails_and_says_so(client):
    name = create(client, BROKEN, Publish=True)
    provision(client, name, "1", 2)
    found = settled(client, name, "1")
    assert (found["Status"], found["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert found["AllocatedProvisionedConcurrentExecutions"] == 0
    answer = client.invoke(FunctionName=name, Qualifier="1")
    assert answer["FunctionError"] == "Unhandled"  # on demand, as ever
    client.delete_function(FunctionName=name)


def test_all_that_is_reserved_provisioned_throttles_latest(client):
    name = create(client, SOURCE, Publish=True)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    provision(client, name, "1", 1)
    status, code, message = refusal(client.invoke, FunctionName=name)
    assert (status, code, message) == (429, "TooManyRequestsException", "Rate Exceeded.")
    settled(client, name, "1")
    assert call(client, name, Qualifier="1")[0] == "provisioned-concurrency"
    assert refusal(client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=0) == (
        400,
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1].",
    )
    client.delete_function(FunctionName=name)


def test_more_invocations_than_are_provisioned_spill_over(client):
    name = create(client, SLOW, Publish=True, Timeout=30)
    provision(client, name, "1", 1)
    settled(client, name, "1")
    with ThreadPoolExecutor(3) as threads:
        kinds = [run.result() for run in [threads.submit(call, client, name, 1, Qualifier="1") for _one in range(3)]]
    assert sorted(kinds) == ["on-demand", "on-demand", "provisioned-concurrency"]
    client.delete_function(FunctionName=name)


def test_what_is_provisioned_is_there_again_after_a_restart(own_node, tmp_path):
    folder = str(tmp_path / "data")
    with own_node("--data-dir", folder, ephemeral=False) as node:
        client = node.client("lambda")
        name = create(client, SOURCE, Publish=True)
        provision(client, name, "1", 1)
        before = settled(client, name, "1")
    with own_node("--data-dir", folder, ephemeral=False) as node:
        client = node.client("lambda")
        after = settled(client, name, "1")
        assert after["Status"] == "READY"
        assert after["LastModified"] == before["LastModified"]
        assert call(client, name, Qualifier="1")[0] == "provisioned-concurrency"


def test_the_metrics_of_concurrency_are_in_cloudwatch(client, lambent):
    name = create(client, SLOW, Publish=True, Timeout=30)
    provision(client, name, "1", 1)
    settled(client, name, "1")
    with ThreadPoolExecutor(2) as threads:
        for run in [threads.submit(call, client, name, 0.5, Qualifier="1") for _one in range(2)]:
            run.result()
    function = [{"Name": "FunctionName", "Value": name}]
    qualified = [*function, {"Name": "Resource", "Value": f"{name}:1"}]
    wanted = {
        ("ProvisionedConcurrencyInvocations", "Sum", "q"): 1.0,
        ("ProvisionedConcurrencySpilloverInvocations", "Sum", "q"): 1.0,
        ("ConcurrentExecutions", "Maximum", "f"): 2.0,
        ("ConcurrentExecutions", "Maximum", "q"): 2.0,
        ("ProvisionedConcurrentExecutions", "Maximum", "q"): 1.0,
        ("ProvisionedConcurrencyUtilization", "Maximum", "q"): 1.0,
    }
    found = {}
    deadline = time.monotonic() + 10
    while found != wanted and time.monotonic() < deadline:
        dimensions = {"f": function, "q": qualified}
        found = {key: statistic(lambent, key[0], key[1], dimensions[key[2]]) for key in wanted}
    assert found == wanted
    assert statistic(lambent, "UnreservedConcurrentExecutions", "Maximum", []) >= 1.0
    assert statistic(lambent, "ClaimedAccountConcurrency", "Maximum", []) >= 2.0
    client.delete_function(FunctionName=name)


def statistic(lambent, name, statistic, dimensions):
    now = datetime.now(UTC)
    answer = lambent.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=name,
        Dimensions=dimensions,
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=[statistic],
    )
    return max((point[statistic] for point in answer["Datapoints"]), default=None)
