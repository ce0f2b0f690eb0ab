"""What an invocation took, and the error documents that callers get. Pure. Log lines are made in `log_lines`.

Source: AWS Lambda Developer Guide, "Log formats" and "Implementing failed invocations"; recorded answers of the
service (facts sheet sections 11 and 20).
"""

import json
import math
import signal
from datetime import UTC, datetime
from typing import Final

import msgspec

MAX_RESPONSE_BYTES: Final = 6_291_556
"""The largest response of a synchronous invocation. Source: the service's own error text."""

# What Go's os package, in which the service's supervisor is written, calls the signals.
_SIGNALS: Final = {
    signal.SIGABRT: "aborted",
    signal.SIGALRM: "alarm clock",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGHUP: "hangup",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGPIPE: "broken pipe",
    signal.SIGQUIT: "quit",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGSYS: "bad system call",
    signal.SIGTERM: "terminated",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGUSR2: "user defined signal 2",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one invocation took. Durations are in milliseconds."""

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    init_duration_ms: float | None = None  # of a cold start, which is billed with its first invocation
    restore_duration_ms: float | None = None  # of an environment restored from a snapshot, billed likewise
    status: str = "success"  # success, error or timeout: an answer that tells of an error is a success of the platform
    error_type: str | None = None
    has_failed: bool = False  # the function, whoever says so
    started_ms: int = 0  # since the epoch
    latency_ms: float | None = None  # until the first byte, of an answer that came in chunks
    answered_ms: float | None = None  # until the last byte, where the invocation went on after it
    asked_ms: float | None = None  # until the runtime wanted the next invocation, where that was later
    produced_bytes: int = 0
    trace_header: str | None = None
    post_runtime_ms: float | None = None  # what extensions took after the answer

    @property
    def billed_ms(self) -> int:
        billed = math.ceil(round(self.duration_ms + (self.init_duration_ms or 0.0), 2))
        return billed if self.restore_duration_ms is None else billed + self.billed_restore_ms

    @property
    def billed_restore_ms(self) -> int:
        return math.ceil(round(self.restore_duration_ms or 0.0, 2))


def timed_out_line(request_id: str, timeout_s: int, now_s: float) -> str:
    """The line that a timeout leaves in a Text log."""
    return f"{iso(now_s)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"


def timed_out(request_id: str, timeout_s: int) -> bytes:
    """The document of a function that used up its timeout."""
    return _document("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds")


def exited(request_id: str, status: int) -> bytes:
    """The document of a runtime that ended. `status` is an exit code, or a signal's negative number."""
    if status == 0:
        reason = "Runtime exited without providing a reason"
    elif status > 0:
        reason = f"Runtime exited with error: exit status {status}"
    else:
        reason = f"Runtime exited with error: signal: {_signal_name(-status)}"
    return _document("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")


def unstartable(request_id: str, reason: str) -> bytes:
    """The document of a function whose runtime could not be executed."""
    return _document("Runtime.InvalidEntrypoint", f"RequestId: {request_id} Error: {reason}")


def extension_failed(request_id: str, error_type: str, text: str) -> bytes:
    """The document of an environment one of whose extensions failed."""
    return _document(error_type, f"RequestId: {request_id} Error: {text}")


def response_too_large(limit: int = MAX_RESPONSE_BYTES) -> bytes:
    """The document of a response beyond the limit."""
    text = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return _document("Function.ResponseSizeTooLarge", text)


def error_type(document: bytes) -> str | None:
    """The `errorType` of an error document, which came from the function and may be anything."""
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        return None
    kind = content.get("errorType") if isinstance(content, dict) else None
    return kind[:128] if isinstance(kind, str) and kind else None


def _signal_name(number: int) -> str:
    try:
        return _SIGNALS[signal.Signals(number)]
    except (KeyError, ValueError):
        return f"signal {number}"


def _document(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()


def iso(moment_s: float) -> str:
    """A moment as log lines have it: UTC, with milliseconds."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
