import json

import pytest

from lambent.clock import Clock
from lambent.engine import report
from lambent.engine.report import Report, lines_for

CLOCK = Clock(read=lambda: 1_709_573_857.038)


def test_report_of_a_cold_start_is_billed_with_its_init() -> None:
    line = lines_for("Text", CLOCK).report(
        Report(request_id="R", duration_ms=2.9, memory_mb=128, max_memory_mb=36, init_duration_ms=110.1)
    )
    assert line == (
        "REPORT RequestId: R\tDuration: 2.90 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n"
    )


def test_report_of_a_warm_run_has_no_init_duration() -> None:
    line = lines_for("Text", CLOCK).report(Report(request_id="R", duration_ms=2.9, memory_mb=128, max_memory_mb=36))
    assert line == (
        "REPORT RequestId: R\tDuration: 2.90 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n"
    )


def test_report_of_a_failure_names_it() -> None:
    line = lines_for("Text", CLOCK).report(
        Report(
            request_id="R",
            duration_ms=1,
            memory_mb=128,
            max_memory_mb=36,
            status="error",
            error_type="Runtime.X",
        )
    )
    assert line.endswith("\tStatus: error\tError Type: Runtime.X\t\n")


def test_the_other_lines() -> None:
    lines = lines_for("Text", CLOCK)
    assert lines.init_start("python3.13", "eu-west-1").startswith(
        "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:aws:lambda:eu-west-1::runtime:"
    )
    assert lines.start("R", "$LATEST") == "START RequestId: R Version: $LATEST\n"
    assert lines.end("R") == "END RequestId: R\n"
    assert lines.init_report(1236.04, "init", status="timeout", error_type=None) == (
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"
    )
    assert lines.init_report(1, "invoke", status="error", error_type="E") == (
        "INIT_REPORT Init Duration: 1.00 ms\tPhase: invoke\tStatus: error\tError Type: E\n"
    )
    assert (
        report.timed_out_line("R", 3, CLOCK.now()) == "2024-03-04T17:37:37.038Z R Task timed out after 3.00 seconds\n\n"
    )


def test_json_lines_are_telemetry_records() -> None:
    lines = lines_for("JSON", CLOCK)
    run = Report(request_id="R", duration_ms=2.9, memory_mb=128, max_memory_mb=36, init_duration_ms=110.1)
    assert json.loads(lines.report(run)) == {
        "time": "2024-03-04T17:37:37.038Z",
        "type": "platform.report",
        "record": {
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
    assert json.loads(lines.start("R", "1"))["record"] == {"requestId": "R", "version": "1"}
    assert lines.end("R") is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "Runtime exited without providing a reason"),
        (127, "Runtime exited with error: exit status 127"),
        (-9, "Runtime exited with error: signal: killed"),
        (-11, "Runtime exited with error: signal: segmentation fault"),
        (-64, "Runtime exited with error: signal: signal 64"),
    ],
)
def test_how_a_runtime_ended(status: int, reason: str) -> None:
    document = json.loads(report.exited("R", status))
    assert document == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: R Error: {reason}"}


def test_documents_of_limits() -> None:
    assert json.loads(report.timed_out("R", 3)) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: R Error: Task timed out after 3.00 seconds",
    }
    assert json.loads(report.response_too_large()) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b'{"errorType": "E"}', "E"),
        (b'{"errorType": 7}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b'{"errorType": "' + b"x" * 500 + b'"}', "x" * 128),
    ],
)
def test_an_error_document_may_be_anything(document: bytes, kind: str | None) -> None:
    assert report.error_type(document) == kind
