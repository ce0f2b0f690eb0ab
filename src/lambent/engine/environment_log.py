"""What goes to the log stream of one environment: the platform's lines, and what the function and extensions write.

Whoever subscribed to its telemetry is told of the same; a caller who wants the tail gets it from here.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lambent.clock import Clock
from lambent.engine.application_logs import keeps
from lambent.engine.extension_phases import ExtensionPhases
from lambent.engine.log_lines import JsonLines, Lines, lines_for
from lambent.engine.log_stream import Event, ExtensionText, LogPipe
from lambent.engine.report import Report
from lambent.engine.runs import Run
from lambent.engine.runtime_api import RuntimeApi
from lambent.engine.spec import FunctionSpec
from lambent.engine.telemetry import Telemetry

TAIL_BYTES: Final = 4096


@dataclass(slots=True, kw_only=True, eq=False)
class EnvironmentLog:
    """Reads an environment's output, which it owns, and gives all events of its log, in order, to `write`."""

    spec: FunctionSpec
    stream: str
    output: int
    clock: Clock
    write: Callable[[list[Event]], None]
    initialization_type: str
    run: Run | None = None
    """Whose lines come now: its tail grows with them."""
    lines: Lines | Telemetry = field(init=False)
    """What the platform says of each happening."""
    _keeps: Callable[[str], bool] | None = field(init=False)
    _pipe: LogPipe = field(init=False)
    _telemetry: Telemetry | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.lines = self._lines_of(self.spec)
        is_json = self.spec.log_format.upper() == "JSON"
        self._keeps = keeps(self.spec.application_log_level or "INFO") if is_json else None
        self._pipe = LogPipe(self.output, self._take, self.clock.now_ms)

    def attend(self, api: RuntimeApi, phases: ExtensionPhases) -> None:
        """Extensions take part: they may subscribe from now on."""
        everything = dataclasses.replace(self.spec, system_log_level="DEBUG")
        records = JsonLines(everything, self.clock.now, self.stream, self.initialization_type)
        self._telemetry = Telemetry(self._lines_of(self.spec), records, phases, self.say)
        self.lines = self._telemetry
        self._pipe.tell_extensions_apart()
        api.others |= self._telemetry.serve()

    def say(self, *messages: str) -> None:
        """Writes lines of the platform's own."""
        now_ms = self.clock.now_ms()
        self._put([(now_ms, message) for message in messages])

    def drain(self) -> None:
        """Takes what was written until now; a partial line ends here."""
        self._pipe.drain(flush=True)

    def runtime_done(self, summary: Report) -> None:
        """The runtime has answered, extensions are still at work: subscribers learn of it before the end."""
        if self._telemetry:
            self.drain()
            self._telemetry.runtime_done(summary)

    def send_telemetry(self) -> None:
        """Subscribers get what is buffered for them."""
        if self._telemetry:
            self._telemetry.flush()

    def close(self) -> None:
        """The environment is gone: takes what is left, and closes its output. Twice is once."""
        if self._telemetry:
            self._telemetry.close()
        self._pipe.close()

    def _lines_of(self, spec: FunctionSpec) -> Lines:
        return lines_for(spec, self.clock.now, self.stream, self.initialization_type)

    def _take(self, events: list[Event]) -> None:
        keeps = self._keeps
        if self._telemetry:
            self._telemetry.logged(events)
            is_kept = [isinstance(message, ExtensionText) or not keeps or keeps(message) for _moment, message in events]
            events = [(moment, str(message)) for (moment, message), kept in zip(events, is_kept, strict=True) if kept]
        elif keeps:
            events = [event for event in events if keeps(event[1])]
        self._put(events)

    def _put(self, events: list[Event]) -> None:
        if not events:
            return
        if self.run and self.run.invocation.want_tail:
            self.run.tail += "".join(message for _moment, message in events).encode()
            del self.run.tail[:-TAIL_BYTES]
        self.write(events)
