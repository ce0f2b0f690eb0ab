"""What a function's log has: by format, by level, by group, traced or not."""

import json

import pytest
from tests.node.lambda_.functions_on_a_node import call, create

SOURCE = """
import logging, os

def handler(event, context):
    log = logging.getLogger()
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("said %s", level)
    if event == "raise":
        raise ValueError("no")
    if event == "leave":
        os._exit(1)
    return os.environ.get("_X_AMZN_TRACE_ID")
"""


@pytest.fixture
def functions(lambent):
    return lambent.client("lambda")


def messages(lambent, group):
    logs = lambent.client("logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    except logs.exceptions.ResourceNotFoundException:  # the group comes with its first line
        return []


def json_log(lambent, functions, event=None, **config):
    """(types of the platform's records, levels of the function's) in the order of the log."""
    name = create(functions, SOURCE, LoggingConfig={"LogFormat": "JSON", **config})
    call(functions, name, event)
    entries = [json.loads(message) for message in messages(lambent, f"/aws/lambda/{name}")]
    types = [entry["type"].removeprefix("platform.") for entry in entries if "type" in entry]
    return types, [entry["level"] for entry in entries if "level" in entry]


@pytest.mark.parametrize(
    ("level", "types"),
    [
        ("DEBUG", ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]),
        ("INFO", ["initStart", "start", "report"]),
        ("WARN", []),
    ],
)
def test_the_system_log_level_filters_the_platforms_records(lambent, functions, level, types):
    assert json_log(lambent, functions, SystemLogLevel=level)[0] == types


def test_a_failure_is_there_at_every_level(lambent, functions):
    assert json_log(lambent, functions, "leave", SystemLogLevel="WARN")[0] == ["runtimeDone", "report"]


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("TRACE", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "WARNING", "ERROR"]),
        ("WARN", ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"]),
        ("FATAL", []),
    ],
)
def test_the_application_log_level_filters_what_the_function_logs(lambent, functions, level, levels):
    found = json_log(lambent, functions, ApplicationLogLevel=level, SystemLogLevel="WARN")
    assert found == ([], levels)


def test_printed_objects_are_filtered_by_the_level_that_they_say(lambent, functions):
    source = """
import json
def handler(event, context):
    for level in ("debug", "info", "error"):
        print(json.dumps({"level": level}))
    print("plain")
"""
    name = create(functions, source, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"})
    call(functions, name)
    assert messages(lambent, f"/aws/lambda/{name}") == ['{"level": "info"}\n', '{"level": "error"}\n', "plain\n"]


def test_levels_default_to_info(lambent, functions):
    assert json_log(lambent, functions) == (["initStart", "start", "report"], ["INFO", "WARNING", "ERROR"])


def test_an_unhandled_error_is_a_json_entry_and_no_failure_of_the_platform(lambent, functions):
    name = create(functions, SOURCE, LoggingConfig={"LogFormat": "JSON"})
    call(functions, name, "raise")
    entries = [json.loads(message) for message in messages(lambent, f"/aws/lambda/{name}")]
    (error,) = [entry for entry in entries if entry.get("errorType") == "ValueError"]
    assert (error["level"], error["errorMessage"]) == ("ERROR", "no")
    (report,) = [entry["record"] for entry in entries if entry.get("type") == "platform.report"]
    assert report["status"] == "success"
    assert report["metrics"]["billedDurationMs"] >= report["metrics"]["initDurationMs"]


def test_a_changed_level_holds_from_then_on(lambent, functions):
    name = create(functions, SOURCE, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"})
    call(functions, name)
    functions.update_function_configuration(
        FunctionName=name, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "INFO"}
    )
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02})
    call(functions, name)
    entries = [json.loads(message) for message in messages(lambent, f"/aws/lambda/{name}")]
    assert [entry["type"] for entry in entries if "type" in entry] == [
        "platform.initStart",
        "platform.start",
        "platform.report",
    ]


def test_functions_may_share_a_group_of_their_own(lambent, functions):
    group = "/shop/orders"
    names = [create(functions, SOURCE, LoggingConfig={"LogGroup": group}) for _ in range(2)]
    for name in names:
        call(functions, name)
    found = lambent.client("logs").filter_log_events(logGroupName=group, filterPattern="START")["events"]
    assert len({event["logStreamName"] for event in found}) == 2
    groups = lambent.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{names[0]}")["logGroups"]
    assert groups == []


def test_active_tracing_samples_and_names_the_trace(lambent, functions):
    name = create(functions, SOURCE, TracingConfig={"Mode": "Active"})
    header = call(functions, name)
    assert "Sampled=1" in header
    root = header.split(";")[0].removeprefix("Root=")
    (report,) = [line for line in messages(lambent, f"/aws/lambda/{name}") if line.startswith("REPORT")]
    head, trace, end = report.split("\n")
    assert head.endswith(" ms\t")
    assert trace.startswith(f"XRAY TraceId: {root}\tSegmentId: ")
    assert trace.endswith("\tSampled: true\t")
    assert end == ""
    quiet = create(functions, SOURCE)
    assert "Sampled=0" in call(functions, quiet)
    assert not any("XRAY" in line for line in messages(lambent, f"/aws/lambda/{quiet}"))
