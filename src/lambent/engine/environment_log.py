"""What goes to the log stream of one environment: the platform's lines, and what the function and extensions write.

Whoever subscribed to its telemetry is told of the same; a caller who wants the tail gets it from here.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lambent.clock import Clock
from lambent.engine.application_logs import keeps
from lambent.engine.extensions_api import Extensions
from lambent.engine.log_lines import InitReport, JsonLines, Lines, lines_for
from lambent.engine.log_stream import Event, ExtensionText, LogPipe
from lambent.engine.report import Report
from lambent.engine.runs import Run
from lambent.engine.spec import FunctionSpec
from lambent.engine.telemetry import Telemetry
from lambent.engine.telemetry_api import TelemetryApi
from lambent.engine.telemetry_delivery import Connect

TAIL_BYTES: Final = 4096
_MOST_EARLY_CHARACTERS: Final = 262_144  # of Init, kept for who subscribes in its course


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
    _init_phase: str = field(init=False, default="init")
    _init_began: float = field(init=False, default=0.0)
    _early: list[Event] | None = field(init=False, default_factory=list)
    _early_left: int = field(init=False, default=_MOST_EARLY_CHARACTERS)

    def __post_init__(self) -> None:
        self.lines = self._lines_of(self.spec)
        is_json = self.spec.log_format.upper() == "JSON"
        self._keeps = keeps(self.spec.application_log_level or "INFO") if is_json else None
        self._pipe = LogPipe(self.output, self._take, self.clock.now_ms)

    def attend(self, extensions: Extensions, connect: Connect) -> TelemetryApi:
        """Extensions take part: what they subscribe with. What was written before, they get too."""
        everything = dataclasses.replace(self.spec, system_log_level="DEBUG")
        kind = self.initialization_type
        began = JsonLines(everything, lambda: self._init_began, self.stream, kind).init_start(self._init_phase)
        records = JsonLines(everything, self.clock.now, self.stream, kind)
        self._telemetry = Telemetry(self._lines_of(self.spec), records, extensions, connect, self.say)
        if self._init_began:
            self._telemetry.tell(began)
            self._telemetry.logged(self._early or [])
        self._early = None
        self.lines = self._telemetry
        self._pipe.tell_extensions_apart()
        return self._telemetry.api

    def init_start(self, phase: str) -> None:
        """Init begins: `phase` is init, or invoke where it is part of an invocation."""
        self._init_phase, self._init_began = phase, self.clock.now()
        self.say(*self.lines.init_start(phase))

    def init_end(self, init: InitReport) -> None:
        """Init is over, well or not: nobody subscribes any more."""
        self._early = None
        self.say(*self.lines.init_end(init))

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
        else:
            if self._early is not None:
                self._keep_early(events)
            if keeps:
                events = [event for event in events if keeps(event[1])]
        self._put(events)

    def _keep_early(self, events: list[Event]) -> None:
        assert self._early is not None
        for event in events:
            self._early_left -= len(event[1])
            if self._early_left >= 0:
                self._early.append(event)

    def _put(self, events: list[Event]) -> None:
        if not events:
            return
        if self.run and self.run.invocation.want_tail:
            self.run.tail += "".join(message for _moment, message in events).encode()
            del self.run.tail[:-TAIL_BYTES]
        self.write(events)
