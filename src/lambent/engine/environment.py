"""One execution environment: its Init phase, its invocations, its end.

Everything here happens in callbacks of the loop, so that an invocation runs to its end whoever waits for it, and a
warm one starts no task. What follows from it (to whom a free environment goes, who is told, what is killed) is the
owner's: see `invoke.py`.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final

from lambent.aws.trace import new_trace
from lambent.engine import report, states
from lambent.engine.environment_log import EnvironmentLog
from lambent.engine.extension_phases import ExtensionPhases, RuntimeExit
from lambent.engine.extensions_api import BASE as EXTENSIONS
from lambent.engine.extensions_api import Extension
from lambent.engine.frames import Channel, FrameChannel, Listener
from lambent.engine.freezer import LATE_S
from lambent.engine.inside_api import InsideApi, Serve
from lambent.engine.log_lines import RESTORE, ExtensionReport, InitReport
from lambent.engine.metadata_api import BASE as METADATA
from lambent.engine.metadata_api import TOKEN_VARIABLE, MetadataApi
from lambent.engine.runs import Exit, InitFailure, Outcome, Run, init_error_document
from lambent.engine.runtime_api import RuntimeApi
from lambent.engine.spec import ON_DEMAND, FunctionSpec
from lambent.engine.states import Happening, Phase
from lambent.engine.stream import MAX_BYTES
from lambent.engine.surroundings import Sandbox, Surroundings
from lambent.engine.telemetry_api import PATHS as TELEMETRY

_MEDIA_TYPE: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
# Many times what a runtime takes to ask for its next invocation, so that whoever comes back with one at once finds the
# environment free. AWS's own emulator hands the answer out at that moment too.
_ASKING_S: Final = 0.1
_TIMER_S: Final = 0.001  # how early a loop's timer may be
_MEMORY_READ_S: Final = 0.05  # reading the peak is a system call on a kernel file; not on each of many short runs


class Environment(Listener):
    """A sandbox with a runtime in it that serves one `FunctionSpec`."""

    def __init__(self, spec: FunctionSpec, sandbox: Sandbox, stream: str, around: Surroundings) -> None:
        self.spec = spec
        self.sandbox = sandbox
        self.stream = stream
        self.phase = Phase.INIT
        self.run: Run | None = None
        self.idle_since = 0.0
        self.is_frozen = False
        self.is_hot = False
        self.is_restored = around.is_restore  # a copy of a process that has done Init
        self.is_wanted = True  # False: its function changed while it was busy
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.born = around.clock.elapsed()
        self._log = EnvironmentLog(
            spec=spec,
            stream=stream,
            output=sandbox.output,
            clock=around.clock,
            write=around.write_log,
            initialization_type=around.initialization_type,
        )
        self._extensions: ExtensionPhases | None = None
        self._routes: dict[str, Serve] = {}
        self._inside: InsideApi
        self._channel: Channel = self._talk()
        self._is_runtime_ready = False
        self._reason = "SPINDOWN"  # of the Shutdown phase
        self._timer: asyncio.TimerHandle | None = None
        self._has_exited = False
        self._began = 0.0
        self._is_retired = False
        self._init_duration_ms: float | None = None
        self._restore_duration_ms: float | None = None
        self._memory_mb = 0
        self._memory_read = 0.0

    @property
    def id(self) -> str:
        return self.sandbox.id

    @property
    def digest(self) -> str:
        return self.spec.digest

    @property
    def arn(self) -> str:
        return self.spec.arn

    @property
    def can_be_reset(self) -> bool:
        """Whether it ended by what happened in it, so that another can take its place with its /tmp."""
        return self._began > 0 and not self._is_retired

    def rest(self) -> None:
        """Waits, reset, for the invocation that Init will be a part of."""
        self.phase = Phase.RESET
        self.idle_since = self._around.clock.elapsed()
        self.sandbox.exited.add_done_callback(self._on_exited)

    def begin(self, run: Run | None = None) -> None:
        """Starts Init. With `run`, Init is part of that invocation and its timeout: the one before had failed, or the
        environment was reset.
        """
        self._began = time.perf_counter()
        if self.phase is Phase.RESET:
            self._move(Happening.ASSIGNED)
        else:
            self.sandbox.exited.add_done_callback(self._on_exited)
        if run is None:
            self._timer = self._loop.call_later(self._around.init_limit_s, self._on_init_timeout)
        else:
            self._start(run)
        self._log.init_start(self._phase_of(run))
        self._inside.listen()
        self._channel.open(self._around.order)
        if self._extensions:
            self._extensions.open()

    def warn(self, text: str) -> None:
        """Tells the function's owner something, in its log."""
        self._log.say(f"LAMBENT_WARNING: {text}\n")

    def assign(self, run: Run) -> None:
        """Runs an invocation. The environment is idle, or reset."""
        if self.phase is Phase.RESET:
            self.begin(run)
            return
        if self.is_frozen:
            self.sandbox.thaw()
            self.is_frozen = False
            self.is_hot = self._around.clock.elapsed() - self.idle_since < LATE_S
        self._start(run)
        self._show_start(run)
        self._move(Happening.ASSIGNED)
        self._invoke(run)

    def freeze(self) -> None:
        """No process of it runs until the next invocation."""
        self._log.drain()
        self.sandbox.freeze()
        self.is_frozen = True

    def retire(self) -> None:
        """Ends it. A running invocation, if there is one, gets no answer of its own."""
        run = self.run
        self._is_retired = True
        self._end(Happening.RETIRED)
        if run:
            document = report.exited(run.invocation.request_id, -9)
            self._finish(run, Outcome(payload=document, status="error", error_type="Runtime.ExitError"))
        self._around.owner.has_ended(self, None)

    async def shut_down(self) -> None:
        """Gives extensions the time of the Shutdown phase, once its end is decided. Nothing is killed."""
        if self.phase is Phase.SHUTDOWN and self._extensions and self._extensions.shutdown_s:
            if self.is_frozen:
                self.sandbox.thaw()
                self.is_frozen = False
            self._log.send_telemetry()
            await self._extensions.shut_down(self._reason, self._around.clock.machine_now)

    # What the runtime says

    def on_ready(self) -> None:
        """The handler is loaded."""
        if self.phase is not Phase.INIT:
            self.on_violation("ready twice")
            return
        self._is_runtime_ready = True
        if self._extensions:
            self._extensions.members.takes_more = False
        if self._are_extensions_ready:
            self._initialised()

    def on_next(self) -> None:
        """The runtime, which has answered, asks for its next invocation."""
        run = self.run
        if self.phase is Phase.BUSY and run and run.outcome:
            run.asked = time.perf_counter()
            if self._are_extensions_ready:
                self._complete(run, run.outcome)
            else:
                self._log.runtime_done(self._summary(run, run.outcome))
                self._answer(run)

    def on_learnt(self, findings: bytes) -> None:
        """What its Init tells of itself."""
        if learnt := self.phase is Phase.INIT and self._around.learnt:
            learnt(findings)

    def on_extensions_ready(self) -> None:
        """Every extension waits for its next event: Init is over, or the invocation, if the runtime waits too."""
        if self.phase is Phase.INIT and self._is_runtime_ready:
            self._initialised()
        elif self.phase is Phase.BUSY and self.run and self.run.outcome and self._channel.asks:
            self._complete(self.run, self.run.outcome)

    def _initialised(self) -> None:
        self._move(Happening.READY)
        if self._extensions:
            self._extensions.members.is_open = False
            for one in self._extensions.members:
                self._log.say(*self._log.lines.extension(_report_of(one)))
        self.sandbox.throttle_cpu()
        init_ms = (time.perf_counter() - self._began) * 1000
        if self.run:
            self._log.init_end(InitReport(duration_ms=init_ms, phase="invoke"))
            self._show_start(self.run)
            self._move(Happening.ASSIGNED)
            self._invoke(self.run)
            return
        self._cancel_timer()
        if self.is_restored:
            self._restore_duration_ms = init_ms
        elif self._around.initialization_type == ON_DEMAND:
            self._init_duration_ms = init_ms  # the first invocation reports it, and is billed for it
        self._log.init_end(InitReport(duration_ms=init_ms, phase=self._phase_of(None)))
        self._become_idle()

    def on_response(self, payload: bytes) -> None:
        """The handler's answer."""
        if len(payload) > report.MAX_RESPONSE_BYTES:
            self.on_oversized()
        elif run := self._responded():
            if stream := run.invocation.stream:
                stream.begin(_JSON)
                stream.write(payload)
                payload = b""
            self._conclude(run, Outcome(payload=payload))

    def on_error(self, document: bytes, error_type: str | None = None) -> None:
        """The handler raised, or its answer is no JSON."""
        if run := self._responded():
            # For the platform the invocation went well: the runtime answered. REPORT has no status then.
            self._conclude(run, Outcome(payload=document, function_error="Unhandled", error_type=error_type))

    def on_oversized(self) -> None:
        """The answer is too long to be passed on."""
        if run := self._responded():
            kind = "Function.ResponseSizeTooLarge"
            self._conclude(run, Outcome(payload=report.response_too_large(), status="error", error_type=kind))

    def on_stream(self, content_type: str) -> None:
        """The answer comes in chunks."""
        run = self.run if self.phase is Phase.BUSY else None
        if run is None or run.invocation.stream is None or run.is_streaming or run.outcome:
            self.on_violation("a stream that nobody waits for")
            return
        # It becomes a header of somebody's response: nothing in it may end the line.
        kind = content_type if _MEDIA_TYPE.fullmatch(content_type) else _BYTES
        run.first_byte = time.perf_counter()
        run.invocation.stream.begin(kind, self._channel.pause, self._channel.resume)

    def on_chunk(self, data: bytes) -> None:
        """A part of the answer."""
        run = self.run
        stream = run.invocation.stream if run and run.is_streaming and not run.outcome else None
        if run is None or stream is None:
            self.on_violation("a chunk outside a stream")
            return
        room = stream.room()
        stream.write(data if len(data) <= room else data[:room])
        if len(data) > room:
            self._end(Happening.VIOLATED)
            payload, kind = report.response_too_large(MAX_BYTES), "Function.ResponseSizeTooLarge"
            self._finish(run, Outcome(payload=payload, status="error", error_type=kind))
            self._around.owner.has_ended(self, None)

    def on_stream_end(self, error_type: str | None, document: bytes) -> None:
        """The answer is complete, or, with an error's type and document, breaks off here."""
        if self.run is None or not self.run.is_streaming:
            self.on_violation("the end of no stream")
        elif run := self._responded(after_stream=True):
            # A runtime that tells of its error has answered: "Lambda treats this as a successful response".
            self._conclude(run, Outcome(payload=document, function_error=error_type))

    def on_init_error(self, document: bytes, error_type: str | None = None) -> None:
        """The handler could not be loaded."""
        if self.phase is not Phase.INIT:
            self.on_violation("init error after init")
            return
        kind = error_type or report.error_type(document)
        self._init_failed(Happening.INIT_FAILED, InitFailure(document=document, status="error", error_type=kind))

    def on_unstartable(self, reason: str) -> None:
        """There is nothing that could be executed as its runtime."""
        if self.phase is not Phase.INIT:
            self.on_violation("a runtime that was not started")
            return
        failure = InitFailure(document=None, status="error", error_type="Runtime.InvalidEntrypoint", reason=reason)
        self._init_failed(Happening.INIT_FAILED, failure)

    def on_extension_failed(self, extension: Extension, error_type: str, text: str) -> None:
        """An extension said that it failed, or has ended: whatever the runtime does, the environment ends."""
        run = self.run
        if self.phase in (Phase.SHUTDOWN, Phase.GONE):
            return
        self._log.say(*self._log.lines.extension(_report_of(extension)))
        document = report.extension_failed(run.invocation.request_id if run else "", error_type, text)
        if self.phase is Phase.INIT:
            self._init_failed(Happening.FAILED, InitFailure(document=document, status="error", error_type=error_type))
            return
        self._end(Happening.FAILED)
        if run:
            self._finish(run, Outcome(payload=document, status="error", error_type=error_type))
        self._around.owner.has_ended(self, None)

    def on_runtime_exited(self, how: RuntimeExit) -> None:
        """The runtime has ended, its parent and the extensions have not."""
        if self.phase in (Phase.SHUTDOWN, Phase.GONE):
            return
        self._has_exited = True
        self._channel.drain()
        self._without_runtime(how, Happening.FAILED)

    def on_violation(self, text: str) -> None:
        """The function's process speaks out of turn: whatever it is, it is no runtime any more."""
        run, phase = self.run, self.phase
        if phase in (Phase.SHUTDOWN, Phase.GONE):
            return
        self._log.say(f"The runtime was stopped: {text}.\n")
        if phase is Phase.INIT:
            failure = InitFailure(document=None, status="error", error_type="Runtime.ExitError")
            self._init_failed(Happening.VIOLATED, failure)
            return
        self._end(Happening.VIOLATED)
        if run:
            document = report.exited(run.invocation.request_id, -9)
            self._finish(run, Outcome(payload=document, status="error", error_type="Runtime.ExitError"))
        self._around.owner.has_ended(self, None)

    # What the clock and the kernel say

    def _on_init_timeout(self) -> None:
        failure = InitFailure(document=None, status="timeout", error_type=None)
        self._init_failed(Happening.INIT_TIMED_OUT, failure)

    def _on_deadline(self) -> None:
        run, self._timer = self.run, None
        if run is None:
            return
        if run.deadline - self._loop.time() > _TIMER_S:
            self._timer = self._loop.call_at(run.deadline, self._on_deadline)
            return
        request_id, timeout_s = run.invocation.request_id, self.spec.timeout_s
        self._log.drain()
        if self.phase is Phase.INIT:
            init = InitReport(duration_ms=timeout_s * 1000.0, phase="invoke", status="timeout")
            self._log.init_end(init)
        self._show_start(run)
        if self.spec.log_format != "JSON":
            self._log.say(report.timed_out_line(request_id, timeout_s, self._around.clock.now()))
        self._end(Happening.INIT_TIMED_OUT if self.phase is Phase.INIT else Happening.DEADLINE_PASSED)
        self._finish(run, Outcome(payload=report.timed_out(request_id, timeout_s), status="timeout"))
        self._around.owner.has_ended(self, None)

    def _on_exited(self, exited: "asyncio.Future[Exit]") -> None:
        if exited.cancelled() or self.phase is Phase.GONE:
            return
        # What it said before it ended counts: an answer may be in the socket still.
        self._has_exited = True
        self._channel.drain()
        if self.phase is Phase.SHUTDOWN:
            self._move(Happening.EXITED)
            self._close()
            return
        self._without_runtime(exited.result(), Happening.EXITED)

    def _without_runtime(self, how: Exit, happening: Happening) -> None:
        run = self.run
        kind = "Runtime.OutOfMemory" if how.out_of_memory else "Runtime.ExitError"
        if self.phase is Phase.INIT:
            self._init_failed(happening, InitFailure(document=None, status="error", error_type=kind, exit=how))
            return
        self._end(happening)
        if run and self._channel.has_event:  # it ended after its last answer, and never saw this one
            self.run = self._log.run = None
            self._around.owner.take_back(self, run)
            return
        if run:
            document = report.exited(run.invocation.request_id, -9 if how.out_of_memory else how.status)
            self._finish(run, Outcome(payload=document, status="error", error_type=kind))
        self._around.owner.has_ended(self, None)

    # Steps

    def _talk(self) -> Channel:
        sandbox, order = self.sandbox, self._around.order
        names = [path.rpartition("/")[2] for path in order["extensions"]]
        if names:
            self._attend(names)
        if not order["via_http"]:
            self._inside = InsideApi(sandbox.runtime_api, self._route)
            return FrameChannel(sandbox.control, self)
        self._inside = api = RuntimeApi(
            sandbox.runtime_api, self._route, sandbox.control, self, is_control_ours=not names
        )
        return api

    def _route(self, path: str) -> Serve | None:
        """Who answers a request from inside that is none of the Runtime API."""
        if path.startswith(METADATA):
            return MetadataApi(self.spec.region, self._around.order["environment"][TOKEN_VARIABLE]).serve
        if not path.startswith((EXTENSIONS, *TELEMETRY)):
            return None
        if self._extensions is None:
            self._attend(())
        return next(serve for base, serve in self._routes.items() if path.startswith(base))

    def _attend(self, names: Sequence[str]) -> None:
        """Extensions may take part from now on: external ones of these names, or, within the runtime, the first."""
        self._extensions = phases = ExtensionPhases(self.spec, self.sandbox, names, self)
        phases.members.is_open = phases.members.takes_more = self.phase is Phase.INIT
        telemetry = self._log.attend(phases.members, self.sandbox.connect)
        self._routes = {EXTENSIONS: phases.members.serve}
        self._routes |= dict.fromkeys(TELEMETRY, telemetry.serve)

    def _start(self, run: Run) -> None:
        self.run = self._log.run = run
        run.started = time.perf_counter()
        run.started_ms = self._around.clock.now_ms()
        run.deadline = self._loop.time() + self.spec.timeout_s
        # The one of an earlier run may be on still: it is not after this run's, and then looks again.
        if self._timer is None:
            self._timer = self._loop.call_at(run.deadline, self._on_deadline)

    def _show_start(self, run: Run) -> None:
        """Before the first line of the invocation's own; where Init is a part of it, behind that."""
        if not run.is_shown:
            run.is_shown = True
            self._log.say(*self._log.lines.start(run.invocation))

    def _invoke(self, run: Run) -> None:
        invocation = run.invocation
        left_s = run.deadline - self._loop.time()
        header = {
            "request_id": invocation.request_id,
            # The function compares it with its own clock, which is the machine's.
            "deadline_ms": int((self._around.clock.machine_now() + left_s) * 1000),
            "arn": invocation.invoked_arn,
            "trace": invocation.trace_header or f"{new_trace(self._around.clock.now())};Sampled=0",
            "client_context": invocation.client_context,
            "cognito_identity": None,
        }
        if invocation.stream:
            header["stream"] = True
        if self._extensions:
            self._extensions.invoke(header)
        self._channel.invoke(header, invocation.payload)

    def _responded(self, *, after_stream: bool = False) -> Run | None:
        run = self.run
        if self.phase is not Phase.BUSY or run is None or run.is_streaming != after_stream or run.outcome:
            self.on_violation("an answer that nobody waits for")
            return None
        return run

    @property
    def _are_extensions_ready(self) -> bool:
        return self._extensions is None or self._extensions.members.are_ready

    def _conclude(self, run: Run, outcome: Outcome) -> None:
        """The runtime has answered. The invocation is over when it and all extensions ask for the next.

        The caller waits for that a moment only: a runtime asks at once, unless it is busy with something else.
        """
        if self._channel.asks and self._are_extensions_ready:
            self._complete(run, outcome)
            return
        run.outcome = outcome
        if self._channel.asks:
            run.asked = outcome.at
            self._log.runtime_done(self._summary(run, outcome))
        if self._are_extensions_ready:
            self._loop.call_later(_ASKING_S, self._answer, run)
        else:
            self._answer(run)

    def _answer(self, run: Run) -> None:
        """Gives the caller the answer, once, while the invocation goes on. With the log's tail it ends with REPORT."""
        if run.outcome and not run.invocation.want_tail:
            run.respond(run.outcome.payload, run.function_error(run.outcome))

    def _complete(self, run: Run, outcome: Outcome) -> None:
        self._move(Happening.RESPONDED)
        self._finish(run, outcome)
        self._become_idle()

    def _finish(self, run: Run, outcome: Outcome) -> None:
        """The last log lines of an invocation, then its answer: what the runtime said, however it ended."""
        self._log.drain()
        self._show_start(run)
        self.run = None
        summary = self._summary(run, outcome)
        self._init_duration_ms = self._restore_duration_ms = None
        self._log.say(*self._log.lines.end(summary))
        self._log.run = None
        self._around.owner.has_reported(self, run, summary)
        said = run.outcome or outcome
        run.answer(said.payload, run.function_error(said))

    def _summary(self, run: Run, outcome: Outcome) -> report.Report:
        """What an invocation took until now."""
        payload, status, error_type = outcome.payload, outcome.status, outcome.error_type
        duration_s = time.perf_counter() - run.started
        return report.Report(
            request_id=run.invocation.request_id,
            duration_ms=self.spec.timeout_s * 1000.0 if status == "timeout" else duration_s * 1000,
            memory_mb=self.spec.memory_mb,
            max_memory_mb=self._max_memory_mb(),
            init_duration_ms=self._init_duration_ms,
            restore_duration_ms=self._restore_duration_ms,
            status=status,
            error_type=error_type,
            has_failed=status != "success" or outcome.function_error is not None,
            started_ms=run.started_ms,
            latency_ms=run.ms_until(run.first_byte),
            answered_ms=run.ms_until(run.outcome.at if run.outcome else None),
            asked_ms=run.ms_until(run.asked),
            produced_bytes=run.written(payload) if status == "success" else 0,
            trace_header=run.invocation.trace_header,
            post_runtime_ms=self._post_runtime_ms(run),
        )

    def _post_runtime_ms(self, run: Run) -> float | None:
        if self._extensions is None or self._extensions.members.is_empty:
            return None
        return (time.perf_counter() - run.asked) * 1000 if run.asked else 0.0

    def _init_failed(self, happening: Happening, failure: InitFailure) -> None:
        run = self.run
        self._end(happening)
        init_ms = (time.perf_counter() - self._began) * 1000
        init = InitReport(
            duration_ms=init_ms, phase=self._phase_of(run), status=failure.status, error_type=failure.error_type
        )
        self._log.init_end(init)
        if run:
            document = init_error_document(failure, run)
            self._finish(run, Outcome(payload=document, status="error", error_type=failure.error_type))
        self._around.owner.has_ended(self, None if run else failure)

    def _phase_of(self, run: Run | None) -> str:
        return RESTORE if self.is_restored else "invoke" if run else "init"

    def _become_idle(self) -> None:
        self.idle_since = self._around.clock.elapsed()
        if not self._has_exited:
            self._around.owner.is_idle(self)

    def _end(self, happening: Happening) -> None:
        self._move(happening)
        self._cancel_timer()
        self._reason = _REASONS.get(happening, "FAILURE")
        if self.phase is Phase.GONE or not (self._extensions and self._extensions.shutdown_s):
            self._close()

    def _close(self) -> None:
        if self._extensions:
            self._extensions.close()
        self._inside.close()
        self._channel.close()
        self._log.close()

    def _move(self, happening: Happening) -> None:
        self.phase = states.after(self.phase, happening)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _max_memory_mb(self) -> int:
        now = self._loop.time()
        if now - self._memory_read > _MEMORY_READ_S:
            self._memory_read = now
            peak = -(-self.sandbox.max_memory_bytes() // 1_048_576)
            self._memory_mb = max(1, min(peak, self.spec.memory_mb))
        return self._memory_mb


_REASONS: Final = {
    Happening.RETIRED: "SPINDOWN",
    Happening.DEADLINE_PASSED: "TIMEOUT",
    Happening.INIT_TIMED_OUT: "TIMEOUT",
}


def _report_of(extension: Extension) -> ExtensionReport:
    state = extension.state.value if extension.error_type is None else "Failed"
    return ExtensionReport(name=extension.name, state=state, events=extension.events, error_type=extension.error_type)
