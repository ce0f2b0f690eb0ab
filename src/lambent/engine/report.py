"""The platform's own words about an invocation: log lines, and the error documents that callers get. Pure.

Source: AWS Lambda Developer Guide, "Log formats" and "Implementing failed invocations"; recorded answers of the
service (facts sheet sections 11 and 20).
"""

import hashlib
import json
import math
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lambent.clock import Clock
from lambent.engine.spec import ON_DEMAND

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one invocation took. Durations are in milliseconds."""

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    init_duration_ms: float | None = None  # of a cold start, which is billed with its first invocation
    status: str = "success"  # success, error or timeout
    error_type: str | None = None

    @property
    def billed_ms(self) -> int:
        return math.ceil(round(self.duration_ms + (self.init_duration_ms or 0.0), 2))


class TextLines:
    """The platform's lines in the Text format."""

    def init_start(self, runtime: str, region: str) -> str:
        arn = f"arn:aws:lambda:{region}::runtime:{_runtime_hash(runtime)}"
        return f"INIT_START Runtime Version: {_runtime_version(runtime)}\tRuntime Version ARN: {arn}\n"

    def start(self, request_id: str, version: str) -> str:
        return f"START RequestId: {request_id} Version: {version}\n"

    def end(self, request_id: str) -> str | None:
        return f"END RequestId: {request_id}\n"

    def init_report(self, duration_ms: float, phase: str, *, status: str, error_type: str | None) -> str:
        tail = f"\tError Type: {error_type}" if error_type else ""
        return f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\tStatus: {status}{tail}\n"

    def report(self, report: Report) -> str:
        fields = [
            f"REPORT RequestId: {report.request_id}",
            f"Duration: {report.duration_ms:.2f} ms",
            f"Billed Duration: {report.billed_ms} ms",
            f"Memory Size: {report.memory_mb} MB",
            f"Max Memory Used: {report.max_memory_mb} MB",
        ]
        if report.init_duration_ms is not None:
            fields.append(f"Init Duration: {report.init_duration_ms:.2f} ms")
        if report.status != "success":
            fields.append(f"Status: {report.status}")
        if report.error_type:
            fields.append(f"Error Type: {report.error_type}")
        return "\t".join(fields) + "\t\n"


class JsonLines:
    """The same as records of the Telemetry API, for LogFormat JSON."""

    def __init__(self, clock: Clock, initialization_type: str = ON_DEMAND) -> None:
        self._clock = clock
        self._initialization_type = initialization_type

    def init_start(self, runtime: str, region: str) -> str:
        arn = f"arn:aws:lambda:{region}::runtime:{_runtime_hash(runtime)}"
        record = {"initializationType": self._initialization_type, "phase": "init"}
        return self._record(
            "initStart", {**record, "runtimeVersion": f"{_runtime_version(runtime)}", "runtimeVersionArn": arn}
        )

    def start(self, request_id: str, version: str) -> str:
        return self._record("start", {"requestId": request_id, "version": version})

    def end(self, request_id: str) -> str | None:
        return None  # the report says it

    def init_report(self, duration_ms: float, phase: str, *, status: str, error_type: str | None) -> str:
        record: dict[str, Any] = {"initializationType": self._initialization_type, "phase": phase, "status": status}
        if error_type:
            record["errorType"] = error_type
        return self._record("initReport", {**record, "metrics": {"durationMs": round(duration_ms, 3)}})

    def report(self, report: Report) -> str:
        metrics: dict[str, Any] = {
            "durationMs": round(report.duration_ms, 3),
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.max_memory_mb,
        }
        if report.init_duration_ms is not None:
            metrics["initDurationMs"] = round(report.init_duration_ms, 3)
        record: dict[str, Any] = {"requestId": report.request_id, "metrics": metrics, "status": report.status}
        if report.error_type:
            record["errorType"] = report.error_type
        return self._record("report", record)

    def _record(self, kind: str, record: dict[str, Any]) -> str:
        entry = {"time": _iso(self._clock.now()), "type": f"platform.{kind}", "record": record}
        return json.dumps(entry, separators=(",", ":")) + "\n"


Lines = TextLines | JsonLines


def lines_for(log_format: str, clock: Clock, initialization_type: str = ON_DEMAND) -> Lines:
    """The lines of a function with this LogFormat."""
    return JsonLines(clock, initialization_type) if log_format.upper() == "JSON" else TextLines()


def timed_out_line(request_id: str, timeout_s: int, now_s: float) -> str:
    """The line that a timeout leaves in a Text log."""
    return f"{_iso(now_s)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"


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


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _runtime_version(runtime: str) -> str:
    """`python3.13` as `python:3.13.v1`: the managed runtime's version; ours has one only."""
    name = runtime.rstrip("0123456789.x")
    return f"{name}:{runtime.removeprefix(name)}.v1"


def _runtime_hash(runtime: str) -> str:
    return hashlib.sha256(runtime.encode()).hexdigest()
