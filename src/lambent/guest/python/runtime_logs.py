"""What a function writes: its standard streams, its loggers, and the report of an error.

All of it goes to one pipe. A printed line is one event because it ends; a log record or a traceback, which may
have many lines, is one event because it is framed, with the framing that AWS's runtimes use towards the platform:
type (0xA55A0003), length, microseconds since the epoch, text. The first byte cannot begin a UTF-8 character, so
frames and printed text share the pipe.

Source: awslambdaric 4.x, `bootstrap` and `lambda_runtime_log_utils`; AWS Lambda Developer Guide, "Log and monitor
Python Lambda functions".
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
from typing import Any, TextIO

TEXT_FRAME = 0xA55A0003
_DATE = "%Y-%m-%dT%H:%M:%SZ"
_NO_BREAK_SPACE = "\u00a0"
_OWN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) - {"taskName"} | {"aws_request_id", "tenant_id"}

# One writer at a time, so that a frame longer than the pipe writes atomically stays whole. A forked child has no
# other threads, hence a free lock.
_writing = threading.RLock()


def _free_lock() -> None:
    global _writing
    _writing = threading.RLock()


os.register_at_fork(after_in_child=_free_lock)


class Unbuffered:
    """A text stream that hands on each write at once, so that nothing is lost when the process is killed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __enter__(self) -> "Unbuffered":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> None:
        with _writing:
            self.stream.write(text)
            self.stream.flush()

    def writelines(self, lines: Any) -> None:
        with _writing:
            self.stream.writelines(lines)
            self.stream.flush()


class FramedSink:
    """Writes each message as one frame."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def log(self, message: str, frame_type: int = TEXT_FRAME) -> None:
        data = message.encode("utf8")
        moment = time.time_ns() // 1000
        frame = memoryview(
            frame_type.to_bytes(4, "big") + len(data).to_bytes(4, "big") + moment.to_bytes(8, "big") + data
        )
        with _writing:
            while frame:
                frame = frame[os.write(self._fd, frame) :]


class LambdaLoggerHandler(logging.Handler):
    """The root logger's handler in a function."""

    def __init__(self, sink: FramedSink) -> None:
        super().__init__()
        self.log_sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        self.log_sink.log(self.format(record))


class Current:
    """The invocation that log records belong to."""

    request_id = ""
    tenant_id: "str | None" = None

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id or ""
        record.tenant_id = self.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object for each record, with whatever `extra` added to it."""

    def __init__(self) -> None:
        super().__init__(datefmt=_DATE)
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        error = record.exc_info if isinstance(record.exc_info, tuple) and record.exc_info[0] else None
        is_plain_object = isinstance(record.msg, dict) and not record.args
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if is_plain_object else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(error[2]) if error else None,
            "errorType": error[0].__name__ if error else None,
            "errorMessage": str(error[1]) if error else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if error else None,
        }
        tenant = getattr(record, "tenant_id", None)
        if tenant is not None:
            fields["tenantId"] = tenant
        extra = {k: v for k, v in record.__dict__.items() if k not in _OWN_FIELDS and k not in fields}
        return self._encode({k: v for k, v in {**fields, **extra}.items() if v is not None}) + "\n"


class Logs:
    """The function's way into its log: set up once, before its code is loaded."""

    def __init__(self, fd: int) -> None:
        self.sink = FramedSink(fd)
        self.current = Current()
        self.is_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        self._set_up_loggers(os.environ.get("AWS_LAMBDA_LOG_LEVEL"))

    def _set_up_loggers(self, level: "str | None") -> None:
        level = {None: "", "TRACE": "DEBUG"}.get(level, level or "").upper()
        logging.Formatter.converter = time.gmtime
        handler = LambdaLoggerHandler(self.sink)
        if self.is_json:
            handler.setFormatter(JsonFormatter())
        else:
            form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
            handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
        root = logging.getLogger()
        if isinstance(logging.getLevelName(level), int):
            root.setLevel(level)
        handler.addFilter(self.current.filter)
        root.addHandler(handler)

    def error(self, report: "dict[str, Any]", encode: Any) -> None:
        """One event for an error that the function did not handle; `encode` turns a dict into JSON."""
        if self.is_json:
            moment = time.strftime(_DATE, time.gmtime())
            self.sink.log(encode({"timestamp": moment, "level": "ERROR", **report}))
            return
        lines = [_headline(report.get("errorType"), report.get("errorMessage"))]
        trace = report.get("stackTrace")
        if trace is not None:
            lines.append("Traceback (most recent call last):")
            for entry in trace:
                lines += [_indented(line) for line in entry.splitlines()] if entry else [""]
        self.sink.log("\n".join(lines))


def _headline(kind: "str | None", message: "str | None") -> str:
    if kind and message:
        return f"[ERROR] {kind}: {message}"
    return " ".join(["[ERROR]", *filter(None, [kind, message])])


def _indented(line: str) -> str:
    """CloudWatch's console drops leading blanks; no-break spaces stay."""
    text = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(text)) + text


def open_streams() -> None:
    """Standard output and error on descriptors 1 and 2, as LANG=en_US.UTF-8 would have them."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (as long as the process)
    stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    for name, stream in (("stdin", sys.stdin), ("stdout", stdout), ("stderr", stderr)):
        setattr(sys, f"__{name}__", stream)
    sys.stdout, sys.stderr = Unbuffered(stdout), Unbuffered(stderr)
