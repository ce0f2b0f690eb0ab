"""Log entries: an event's name and its fields, one line each on stderr.

    log.info("environment.started", function=arn, environment=id, init_duration_ms=141)

JSON lines, or `event key=value` when stderr is a terminal. Payloads, environment variables and credentials are
never logged.
"""

import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}


class Secret(str):
    """A string that must not be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class Log:
    """Writes entries at or above a level to a stream."""

    def __init__(self, level: str = "info", stream: TextIO | None = None, *, as_json: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._least = LEVELS[level]
        self.tells_info = self._least <= LEVELS["info"]
        """Whether `info` writes anything: what is said of each request is not even put together otherwise."""
        self._as_json = not self._stream.isatty() if as_json is None else as_json

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """A person should look: with the traceback of the exception being handled, if there is one."""
        if sys.exc_info()[0] is not None and "traceback" not in fields:
            fields["traceback"] = traceback.format_exc()
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < self._least:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._as_json:
            line = msgspec.json.encode(
                {"time": moment, "level": level, "event": event, **fields}, enc_hook=repr
            ).decode()
        else:
            line = " ".join([moment, f"{level:7}", event, *(f"{k}={v}" for k, v in fields.items())])
        self._stream.write(line + "\n")
        self._stream.flush()
