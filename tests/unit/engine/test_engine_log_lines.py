"""The lines of both formats, and which of them a system log level lets through."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lambent.engine.log_lines import InitReport, Lines, lines_for
from lambent.engine.report import Report
from lambent.engine.spec import ON_DEMAND, PROVISIONED, Invocation
from lambent.testing.plain_engine import function

TRACE = "Root=1-65e605e1-000000000000000000000001;Parent=00000000000000aa;Sampled=1"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
RUN = Report(request_id="R", duration_ms=2.9, memory_mb=128, max_memory_mb=36, trace_header=TRACE)
FAILED = replace(RUN, status="error", error_type="Runtime.ExitError")
INVOCATION = Invocation(request_id="R", payload=b"", invoked_arn=ARN, trace_header=TRACE)


def lines(log_format: str, kind: str = ON_DEMAND, **fields: Any) -> Lines:
    spec = function(Path("/none"), log_format=log_format, runtime="python3.13", **fields)
    return lines_for(spec, lambda: 1_709_573_857.038, "2024/03/04/[$LATEST]aa", kind)


def records(found: list[str]) -> dict[str, Any]:
    """The records by their type, without the prefix."""
    entries = [json.loads(line) for line in found]
    assert all(list(entry) == ["time", "type", "record"] for entry in entries)
    assert {entry["time"] for entry in entries} <= {"2024-03-04T17:37:37.038Z"}
    return {entry["type"].removeprefix("platform."): entry["record"] for entry in entries}


# Text


def test_the_report_of_a_cold_start() -> None:
    assert lines("Text").end(replace(RUN, init_duration_ms=110.1)) == [
        "END RequestId: R\n",
        "REPORT RequestId: R\tDuration: 2.90 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n",
    ]


def test_the_report_of_a_warm_run_has_no_init_duration() -> None:
    assert lines("Text").end(RUN)[1] == (
        "REPORT RequestId: R\tDuration: 2.90 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n"
    )


def test_no_tab_follows_a_status() -> None:
    assert lines("Text").end(FAILED)[1].endswith("Used: 36 MB\tStatus: error\tError Type: Runtime.ExitError\n")
    assert lines("Text").end(replace(RUN, status="timeout"))[1].endswith("Used: 36 MB\tStatus: timeout\n")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.ResponseSizeTooLarge", "Function.ResponseSizeTooLarge"),
        ("ValueError", "Runtime.Unknown"),
        ("Runtime.\tX", "Runtime.Unknown"),
        ("my.Error", "Runtime.Unknown"),
    ],
)
def test_an_error_of_the_functions_own_is_unknown(given: str, shown: str) -> None:
    init = InitReport(duration_ms=1, status="error", error_type=given)
    assert lines("Text").init_end(init) == [
        f"INIT_REPORT Init Duration: 1.00 ms\tPhase: init\tStatus: error\tError Type: {shown}\n"
    ]
    assert lines("Text").end(replace(FAILED, error_type=given))[1].endswith(f"\tError Type: {shown}\n")


def test_a_traced_report_names_its_trace() -> None:
    report = lines("Text", tracing="Active").end(RUN)[1]
    assert report.endswith(
        "\tMax Memory Used: 36 MB\t\n"
        "XRAY TraceId: 1-65e605e1-000000000000000000000001\tSegmentId: 00000000000000aa\tSampled: true\t\n"
    )
    unsampled = replace(RUN, trace_header=TRACE.replace("Sampled=1", "Sampled=0"))
    assert lines("Text", tracing="Active").end(unsampled)[1].endswith("\tSampled: false\t\n")
    assert "XRAY" not in lines("Text").end(RUN)[1]


def test_the_other_lines_of_the_text_format() -> None:
    text = lines("Text")
    (init,) = text.init_start()
    assert init.startswith(
        "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:"
    )
    assert text.start(INVOCATION) == ["START RequestId: R Version: $LATEST\n"]
    assert text.init_end(InitReport(duration_ms=1236.04, status="timeout")) == [
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"
    ]


def test_an_init_that_went_well_is_reported_unless_it_was_on_demand() -> None:
    init = InitReport(duration_ms=12.3)
    assert lines("Text").init_end(init) == []
    assert lines("Text", PROVISIONED).init_end(init) == [
        "INIT_REPORT Init Duration: 12.30 ms\tPhase: init\tStatus: success\n"
    ]


def test_text_has_no_levels() -> None:
    assert lines("Text", system_log_level="WARN").start(INVOCATION)


# JSON


def test_the_json_records_are_those_of_the_telemetry_api() -> None:
    found = lines("JSON", system_log_level="DEBUG")
    (start,) = records(found.init_start()).values()
    arn = start.pop("runtimeVersionArn")
    assert arn.startswith("arn:aws:lambda:us-east-1::runtime:")
    assert start == {
        "initializationType": "on-demand",
        "phase": "init",
        "runtimeVersion": "python:3.13.v1",
        "functionName": "f",
        "functionVersion": "$LATEST",
        "instanceId": "2024/03/04/[$LATEST]aa",
        "instanceMaxMemory": 128 * 1_048_576,
    }
    assert records(found.init_end(InitReport(duration_ms=12.3456))) == {
        "initRuntimeDone": {"initializationType": "on-demand", "phase": "init", "status": "success"},
        "initReport": {
            "initializationType": "on-demand",
            "phase": "init",
            "status": "success",
            "metrics": {"durationMs": 12.346},
        },
    }
    assert records(found.start(INVOCATION)) == {"start": {"requestId": "R", "functionArn": ARN, "version": "$LATEST"}}
    run = replace(RUN, init_duration_ms=110.1, started_ms=1_709_573_857_000, latency_ms=2.0, produced_bytes=7)
    assert records(found.end(run)) == {
        "runtimeDone": {
            "requestId": "R",
            "status": "success",
            "spans": [
                {"name": "responseLatency", "start": "2024-03-04T17:37:37.000Z", "durationMs": 2.0},
                {"name": "responseDuration", "start": "2024-03-04T17:37:37.002Z", "durationMs": 0.9},
            ],
            "metrics": {"durationMs": 2.9, "producedBytes": 7},
        },
        "report": {
            "requestId": "R",
            "metrics": {
                "durationMs": 2.9,
                "billedDurationMs": 113,
                "memorySizeMB": 128,
                "maxMemoryUsedMB": 36,
                "initDurationMs": 110.1,
            },
            "status": "success",
        },
    }


def test_a_failure_says_its_type() -> None:
    found = records(lines("JSON").end(FAILED))
    assert found["runtimeDone"] == {
        "requestId": "R",
        "status": "error",
        "errorType": "Runtime.ExitError",
        "metrics": {"durationMs": 2.9, "producedBytes": 0},
    }
    assert (found["report"]["status"], found["report"]["errorType"]) == ("error", "Runtime.ExitError")


def test_traced_records_carry_the_trace() -> None:
    expected = {"spanId": "00000000000000aa", "type": "X-Amzn-Trace-Id", "value": TRACE}
    traced = lines("JSON", tracing="Active", system_log_level="DEBUG")
    for record in (records(traced.start(INVOCATION)) | records(traced.end(RUN))).values():
        assert record["tracing"] == expected
    for record in (records(lines("JSON").start(INVOCATION)) | records(lines("JSON").end(RUN))).values():
        assert "tracing" not in record


BAD_INIT = InitReport(duration_ms=1, status="error", error_type="Runtime.ExitError")
GOOD_INIT = InitReport(duration_ms=1)


@pytest.mark.parametrize(
    ("say", "kind", "debug", "info", "warn"),
    [
        (lambda found: found.init_start(), ON_DEMAND, ["initStart"], ["initStart"], []),
        (lambda found: found.init_end(GOOD_INIT), ON_DEMAND, ["initRuntimeDone", "initReport"], [], []),
        (lambda found: found.init_end(GOOD_INIT), PROVISIONED, ["initRuntimeDone", "initReport"], ["initReport"], []),
        (lambda found: found.init_end(BAD_INIT), ON_DEMAND, *[["initRuntimeDone", "initReport"]] * 3),
        (lambda found: found.start(INVOCATION), ON_DEMAND, ["start"], ["start"], []),
        (lambda found: found.end(RUN), ON_DEMAND, ["runtimeDone", "report"], ["report"], []),
        (lambda found: found.end(FAILED), ON_DEMAND, *[["runtimeDone", "report"]] * 3),
    ],
)
def test_the_system_log_level_decides_which_records_are_written(
    say: Any, kind: str, debug: list[str], info: list[str], warn: list[str]
) -> None:
    assert list(records(say(lines("JSON", kind, system_log_level="DEBUG")))) == debug
    assert list(records(say(lines("JSON", kind, system_log_level="INFO")))) == info
    assert list(records(say(lines("JSON", kind)))) == info
    assert list(records(say(lines("JSON", kind, system_log_level="WARN")))) == warn
