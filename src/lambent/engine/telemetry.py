"""The events of one environment: the lines of its log, and, for whoever subscribed, the records behind them.

It stands in for the lines where a function has external extensions, and passes each on.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.engine.extension_phases import ExtensionPhases
from lambent.engine.log_lines import ExtensionReport, InitReport, JsonLines, Lines, SubscriptionReport
from lambent.engine.log_stream import Event as LogEvent
from lambent.engine.log_stream import ExtensionText
from lambent.engine.report import Report, iso
from lambent.engine.spec import Invocation
from lambent.engine.telemetry_api import LOGS, TELEMETRY, Event, Subscription, TelemetryApi
from lambent.engine.telemetry_delivery import Subscriber

_STATE: Final = "Subscribed"


class Telemetry:
    """Makes the lines of a log and tells subscribers of the same. `say` writes lines to the log."""

    def __init__(
        self,
        lines: Lines,
        records: JsonLines,
        phases: ExtensionPhases,
        say: Callable[..., None],
    ) -> None:
        self._lines = lines
        self._records = records  # at the level at which none is left out
        self._is_json = isinstance(lines, JsonLines)
        self._phases = phases
        self._say = say
        self._subscribers: list[Subscriber] = []
        self._done: str | None = None  # the request whose runtimeDone is told
        self.api = TelemetryApi(phases.members, self._subscribe if phases.connect else None)

    def serve(self) -> Mapping[str, Callable[..., None]]:
        """What answers below which path."""
        return {TELEMETRY: self.api.serve, LOGS: self.api.serve}

    def init_start(self) -> list[str]:
        self._tell(self._records.init_start())
        return self._lines.init_start()

    def init_end(self, init: InitReport) -> list[str]:
        self._tell(self._records.init_end(init))
        return self._lines.init_end(init)

    def extension(self, extension: ExtensionReport) -> list[str]:
        self._tell(self._records.extension(extension))
        return self._lines.extension(extension)

    def start(self, invocation: Invocation) -> list[str]:
        self._tell(self._records.start(invocation))
        return self._lines.start(invocation)

    def runtime_done(self, report: Report) -> None:
        """The runtime is done with an invocation on which extensions still work, perhaps because they wait for this."""
        self._done = report.request_id
        self._tell(self._records.runtime_done(report))

    def end(self, report: Report) -> list[str]:
        if self._done != report.request_id:
            self._tell(self._records.runtime_done(report))
        self._done = None
        self._tell(self._records.report(report))
        return self._lines.end(report)

    def logged(self, events: list[LogEvent]) -> None:
        """What the function and the extensions wrote."""
        for moment_ms, message in events:
            kind = "extension" if isinstance(message, ExtensionText) else "function"
            self._publish({"time": iso(moment_ms / 1000), "type": kind, "record": self._record(message)})

    def flush(self) -> None:
        """Sends what is buffered."""
        for subscriber in self._subscribers:
            subscriber.flush()

    def close(self) -> None:
        """The environment is gone."""
        for subscriber in self._subscribers:
            subscriber.close()

    def _record(self, message: str) -> Any:
        """A message as an object where the function logs in JSON and it is one."""
        if self._is_json and message.startswith("{"):
            try:
                return json.loads(message)
            except (ValueError, RecursionError):
                return message
        return message

    def _tell(self, records: list[str]) -> None:
        for record in records:
            self._publish(json.loads(record))

    def _publish(self, event: Event) -> None:
        self.api.keep(event)
        for subscriber in self._subscribers:
            subscriber.put(event)

    def _subscribe(self, wanted: Subscription, past: list[Event]) -> None:
        assert self._phases.connect is not None
        subscriber = Subscriber(wanted, self._phases.connect, self._records.now)
        self._subscribers.append(subscriber)
        for event in past:
            subscriber.put(event)
        report = SubscriptionReport(name=wanted.name, state=_STATE, types=wanted.types, is_logs_api=wanted.api == LOGS)
        self._tell(self._records.subscription(report))
        self._say(*self._lines.subscription(report))
