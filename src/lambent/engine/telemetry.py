"""The events of one environment: the lines of its log, and, for whoever subscribed, the records behind them.

It stands in for the lines where extensions take part, and passes each on.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from lambent.engine.extensions_api import Extensions
from lambent.engine.log_lines import ExtensionReport, InitReport, JsonLines, Lines, SubscriptionReport
from lambent.engine.log_stream import Event as LogEvent
from lambent.engine.log_stream import ExtensionText
from lambent.engine.report import Report, iso
from lambent.engine.spec import Invocation
from lambent.engine.telemetry_api import LOGS, Event, Subscription, TelemetryApi
from lambent.engine.telemetry_delivery import Connect, Subscriber

_STATE: Final = "Subscribed"


class Telemetry:
    """Makes the lines of a log and tells subscribers of the same. `say` writes lines to the log."""

    def __init__(
        self,
        lines: Lines,
        records: JsonLines,
        extensions: Extensions,
        connect: Connect,
        say: Callable[..., None],
    ) -> None:
        self._lines = lines
        self._records = records  # at the level at which none is left out
        self._is_json = isinstance(lines, JsonLines)
        self._connect = connect
        self._say = say
        self._subscribers: list[Subscriber] = []
        self._done: str | None = None  # the request whose runtimeDone is told
        self.api = TelemetryApi(extensions, self._subscribe)

    def tell(self, records: list[str]) -> None:
        """Tells subscribers of records of the JSON log, each a line."""
        for record in records:
            self._publish(json.loads(record))

    def init_start(self, phase: str) -> list[str]:
        self.tell(self._records.init_start(phase))
        return self._lines.init_start(phase)

    def init_end(self, init: InitReport) -> list[str]:
        self.tell(self._records.init_end(init))
        return self._lines.init_end(init)

    def extension(self, extension: ExtensionReport) -> list[str]:
        self.tell(self._records.extension(extension))
        return self._lines.extension(extension)

    def start(self, invocation: Invocation) -> list[str]:
        self.tell(self._records.start(invocation))
        return self._lines.start(invocation)

    def runtime_done(self, report: Report) -> None:
        """The runtime is done with an invocation on which extensions still work, perhaps because they wait for this."""
        self._done = report.request_id
        self.tell(self._records.runtime_done(report))

    def end(self, report: Report) -> list[str]:
        if self._done != report.request_id:
            self.tell(self._records.runtime_done(report))
        self._done = None
        self.tell(self._records.report(report))
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

    def _publish(self, event: Event) -> None:
        self.api.keep(event)
        for subscriber in self._subscribers:
            subscriber.put(event)

    def _subscribe(self, wanted: Subscription, past: list[Event]) -> None:
        subscriber = Subscriber(wanted, self._connect, self._records.now)
        self._subscribers.append(subscriber)
        for event in past:
            subscriber.put(event)
        report = SubscriptionReport(name=wanted.name, state=_STATE, types=wanted.types, is_logs_api=wanted.api == LOGS)
        self.tell(self._records.subscription(report))
        self._say(*self._lines.subscription(report))
