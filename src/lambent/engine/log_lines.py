"""The lines that the platform writes into a function's log, in the format that the function has chosen. Pure.

Text has its lines whatever the level. JSON has the records of the Telemetry API, those of the system log level and
above. A failed Init is followed by a second one inside the first invocation: as on AWS, that invocation's START comes
after it.

Source: AWS Lambda Developer Guide, "Log formats", "Log-level filtering" (system log event mapping) and "Telemetry API
event schema reference"; lines of real functions as their owners quote them.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lambent.aws.trace import part
from lambent.engine.report import Report, iso
from lambent.engine.spec import ACTIVE, ON_DEMAND, FunctionSpec, Invocation

_LEVELS: Final = {"DEBUG": 0, "INFO": 1, "WARN": 2}
_SUCCESS: Final = "success"
# What a runtime calls its error is shown where it is a type of the platform's kind. Source: REPORT lines that users
# quote, whose exceptions at import are all Runtime.Unknown.
_KNOWN_TYPE: Final = re.compile(r"(?:Runtime|Function|Extension|Sandbox)\.[A-Z][A-Za-z]*", re.ASCII)
_UNKNOWN: Final = "Runtime.Unknown"


RESTORE: Final = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """How an Init ended. `phase` is init, invoke where it was part of an invocation, or RESTORE, which is no Init."""

    duration_ms: float
    phase: str = "init"
    status: str = _SUCCESS  # success, error or timeout
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionReport:
    """Where an extension is in its life."""

    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionReport:
    """An extension has subscribed to telemetry, or to logs."""

    name: str
    state: str
    types: tuple[str, ...]
    is_logs_api: bool


class TextLines:
    """The lines of the Text format, each with its line end."""

    def __init__(self, spec: FunctionSpec, initialization_type: str = ON_DEMAND) -> None:
        self._spec = spec
        self._is_on_demand = initialization_type == ON_DEMAND

    def init_start(self, phase: str = "init") -> list[str]:
        """Where it is part of an invocation, its INIT_REPORT alone tells of it."""
        if phase not in ("init", RESTORE):
            return []
        version, arn = _runtime_version(self._spec.runtime), _runtime_arn(self._spec)
        return [f"{phase.upper()}_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"]

    def init_end(self, init: InitReport) -> list[str]:
        """On demand, an Init that went well is in the first REPORT."""
        if self._is_on_demand and init.status == _SUCCESS:
            return []
        if init.phase == RESTORE:
            tail = "" if init.status == _SUCCESS else f"\tStatus: {init.status}{_error_tail(init.error_type)}"
            return [f"RESTORE_REPORT Restore Duration: {init.duration_ms:.2f} ms{tail}\n"]
        head = f"INIT_REPORT Init Duration: {init.duration_ms:.2f} ms\tPhase: {init.phase}\tStatus: {init.status}"
        return [f"{head}{_error_tail(init.error_type)}\n"]

    def extension(self, extension: ExtensionReport) -> list[str]:
        """An extension is ready, or has failed."""
        events = ", ".join(extension.events)
        head = f"EXTENSION\tName: {extension.name}\tState: {extension.state}\tEvents: [{events}]"
        return [f"{head}{_error_tail(extension.error_type)}\n"]

    def subscription(self, made: SubscriptionReport) -> list[str]:
        """An extension gets telemetry from now on."""
        types = ", ".join(kind.capitalize() for kind in made.types)
        word = "LOGS" if made.is_logs_api else "TELEMETRY"
        return [f"{word}\tName: {made.name}\tState: {made.state}\tTypes: [{types}]\n"]

    def start(self, invocation: Invocation) -> list[str]:
        return [f"START RequestId: {invocation.request_id} Version: {self._spec.version}\n"]

    def end(self, report: Report) -> list[str]:
        """END and REPORT; one event with the trace, where there is one."""
        request_id, more = report.request_id, ""
        if report.init_duration_ms is not None:
            more += f"Init Duration: {report.init_duration_ms:.2f} ms\t"
        if report.restore_duration_ms is not None:
            more += f"Restore Duration: {report.restore_duration_ms:.2f} ms\t"
            more += f"Billed Restore Duration: {report.billed_restore_ms} ms\t"
        # A tab ends the line, except behind a status.
        if report.status != _SUCCESS:
            more += f"Status: {report.status}{_error_tail(report.error_type)}"
        line = (
            f"REPORT RequestId: {request_id}\tDuration: {report.duration_ms:.2f} ms\t"
            f"Billed Duration: {report.billed_ms} ms\tMemory Size: {report.memory_mb} MB\t"
            f"Max Memory Used: {report.max_memory_mb} MB\t{more}\n"
        )
        if self._spec.tracing == ACTIVE and report.trace_header:
            line += _trace_line(report.trace_header)
        return [f"END RequestId: {request_id}\n", line]


class JsonLines:
    """The records of the JSON format: those whose level the function wants."""

    def __init__(
        self, spec: FunctionSpec, now: Callable[[], float], stream: str, initialization_type: str = ON_DEMAND
    ) -> None:
        self._spec = spec
        self.now = now
        self._stream = stream
        self._initialization_type = initialization_type
        self._least = _LEVELS[spec.system_log_level or "INFO"]

    def init_start(self, phase: str = "init") -> list[str]:
        spec = self._spec
        record = {
            "initializationType": self._initialization_type,
            "phase": phase,
            "runtimeVersion": _runtime_version(spec.runtime),
            "runtimeVersionArn": _runtime_arn(spec),
            "functionName": spec.name,
            "functionVersion": spec.version,
            "instanceId": self._stream,
            "instanceMaxMemory": spec.memory_mb * 1_048_576,
        }
        if phase == RESTORE:
            kept = {name: value for name, value in record.items() if name not in ("initializationType", "phase")}
            return self._lines("INFO", "restoreStart", kept)
        return self._lines("INFO", "initStart", record)

    def init_end(self, init: InitReport) -> list[str]:
        has_failed, is_on_demand = init.status != _SUCCESS, self._initialization_type == ON_DEMAND
        record: dict[str, Any] = {"initializationType": self._initialization_type, "phase": init.phase}
        record |= {"status": init.status, **_error_member(init.status, init.error_type)}
        done = self._lines("WARN" if has_failed else "DEBUG", "initRuntimeDone", record)
        level = "WARN" if has_failed else "DEBUG" if is_on_demand else "INFO"
        metrics = {"metrics": {"durationMs": round(init.duration_ms, 3)}}
        if init.phase == RESTORE:
            record = {"status": init.status, **_error_member(init.status, init.error_type)}
            done = self._lines("WARN" if has_failed else "DEBUG", "restoreRuntimeDone", record)
            return done + self._lines("WARN" if has_failed else "INFO", "restoreReport", record | metrics)
        return done + self._lines(level, "initReport", record | metrics)

    def extension(self, extension: ExtensionReport) -> list[str]:
        record: dict[str, Any] = {"name": extension.name, "state": extension.state, "events": list(extension.events)}
        if extension.error_type:
            record["errorType"] = _shown(extension.error_type)
        return self._lines("WARN" if extension.error_type else "DEBUG", "extension", record)

    def subscription(self, made: SubscriptionReport) -> list[str]:
        record = {"name": made.name, "state": made.state, "types": list(made.types)}
        return self._lines("DEBUG", "logsSubscription" if made.is_logs_api else "telemetrySubscription", record)

    def start(self, invocation: Invocation) -> list[str]:
        record = {
            "requestId": invocation.request_id,
            "functionArn": invocation.invoked_arn,
            "version": self._spec.version,
            **self._tracing(invocation.trace_header),
        }
        return self._lines("INFO", "start", record)

    def end(self, report: Report) -> list[str]:
        """What the runtime did, and what it took."""
        return self.runtime_done(report) + self.report(report)

    def runtime_done(self, report: Report) -> list[str]:
        """What the runtime did."""
        error = _error_member(report.status, report.error_type)
        done: dict[str, Any] = {"requestId": report.request_id, "status": report.status, **error}
        if report.status == _SUCCESS:
            done["spans"] = _spans(report)
        done["metrics"] = {"durationMs": round(report.duration_ms, 3), "producedBytes": report.produced_bytes}
        level = "DEBUG" if report.status == _SUCCESS else "WARN"
        return self._lines(level, "runtimeDone", done | self._tracing(report.trace_header))

    def report(self, report: Report) -> list[str]:
        """What the invocation took."""
        error = _error_member(report.status, report.error_type)
        metrics: dict[str, Any] = {
            "durationMs": round(report.duration_ms, 3),
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.max_memory_mb,
        }
        if report.init_duration_ms is not None:
            metrics["initDurationMs"] = round(report.init_duration_ms, 3)
        if report.restore_duration_ms is not None:
            metrics["restoreDurationMs"] = round(report.restore_duration_ms, 3)
            metrics["billedRestoreDurationMs"] = report.billed_restore_ms
        whole: dict[str, Any] = {"requestId": report.request_id, "metrics": metrics, "status": report.status, **error}
        if report.post_runtime_ms is not None:
            whole["spans"] = [_span("extensionOverhead", report, report.asked_ms or 0.0, report.post_runtime_ms)]
        level = "INFO" if report.status == _SUCCESS else "WARN"
        return self._lines(level, "report", whole | self._tracing(report.trace_header))

    def _tracing(self, header: str | None) -> dict[str, Any]:
        if self._spec.tracing != ACTIVE or not header:
            return {}
        span = {"spanId": part(header, "Parent")} if part(header, "Parent") else {}
        return {"tracing": {**span, "type": "X-Amzn-Trace-Id", "value": header}}

    def _lines(self, level: str, kind: str, record: dict[str, Any]) -> list[str]:
        if _LEVELS[level] < self._least:
            return []
        entry = {"time": iso(self.now()), "type": f"platform.{kind}", "record": record}
        return [json.dumps(entry, separators=(",", ":")) + "\n"]


Lines = TextLines | JsonLines


def lines_for(
    spec: FunctionSpec, now: Callable[[], float], stream: str = "", initialization_type: str = ON_DEMAND
) -> Lines:
    """The lines of an environment of this function. `now` is in seconds since the epoch."""
    if spec.log_format.upper() == "JSON":
        return JsonLines(spec, now, stream, initialization_type)
    return TextLines(spec, initialization_type)


def _error_tail(error_type: str | None) -> str:
    return f"\tError Type: {_shown(error_type)}" if error_type else ""


def _error_member(status: str, error_type: str | None) -> dict[str, str]:
    return {"errorType": _shown(error_type)} if error_type and status != _SUCCESS else {}


def _shown(error_type: str) -> str:
    return error_type if _KNOWN_TYPE.fullmatch(error_type) else _UNKNOWN


def _trace_line(header: str) -> str:
    root, segment = part(header, "Root") or "", part(header, "Parent") or ""
    sampled = "true" if part(header, "Sampled") == "1" else "false"
    return f"XRAY TraceId: {root}\tSegmentId: {segment}\tSampled: {sampled}\t\n"


def _spans(report: Report) -> list[dict[str, Any]]:
    """Until the answer began, until it was whole, and until the runtime was ready for more."""
    answered_ms = report.duration_ms if report.answered_ms is None else report.answered_ms
    latency_ms = answered_ms if report.latency_ms is None else min(report.latency_ms, answered_ms)
    spans = [
        _span("responseLatency", report, 0.0, latency_ms),
        _span("responseDuration", report, latency_ms, answered_ms - latency_ms),
    ]
    if report.asked_ms is not None:
        spans.append(_span("runtimeOverhead", report, answered_ms, report.asked_ms - answered_ms))
    return spans


def _span(name: str, report: Report, after_ms: float, duration_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "start": iso((report.started_ms + after_ms) / 1000),
        "durationMs": round(duration_ms, 3),
    }


def _runtime_version(runtime: str) -> str:
    """`python3.13` as `python:3.13.v1`: the managed runtime's version; ours has one only."""
    name = runtime.rstrip("0123456789.x")
    return f"{name}:{runtime.removeprefix(name)}.v1"


def _runtime_arn(spec: FunctionSpec) -> str:
    return f"arn:aws:lambda:{spec.region}::runtime:{hashlib.sha256(spec.runtime.encode()).hexdigest()}"
