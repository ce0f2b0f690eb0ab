import json

import pytest
from msgspec.structs import replace

from lambent.engine import report


def test_a_timeout_has_a_line_in_a_text_log() -> None:
    assert report.timed_out_line("R", 3, 1_709_573_857.038) == (
        "2024-03-04T17:37:37.038Z R Task timed out after 3.00 seconds\n\n"
    )


def test_init_is_billed_with_the_first_invocation() -> None:
    run = report.Report(request_id="R", duration_ms=3923.569, memory_mb=256, max_memory_mb=118)
    assert run.billed_ms == 3924
    assert replace(run, init_duration_ms=145.399).billed_ms == 4069


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
