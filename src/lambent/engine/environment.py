"""One execution environment: its Init phase, its invocations, its end.

Everything here happens in callbacks of the loop, so that an invocation runs to its end whoever waits for it, and a
warm one starts no task. What follows from it (to whom a free environment goes, who is told, what is killed) is the
owner's: see `invoke.py`.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lambent.aws.trace import new_trace
from lambent.clock import Clock
from lambent.engine import report, states
from lambent.engine.application_logs import keeps
from lambent.engine.frames import Channel, FrameChannel, Listener
from lambent.engine.log_lines import InitReport, lines_for
from lambent.engine.log_stream import Event, LogPipe
from lambent.engine.runtime_api import RuntimeApi
from lambent.engine.spec import ON_DEMAND, FunctionSpec, Invocation, InvocationResult
from lambent.engine.states import Happening, Phase
from lambent.engine.stream import MAX_BYTES

INIT_LIMIT_S: Final = 10.0
"""How long Init may take before it is done again inside the first invocation. Source: the guide, "Init phase"."""

TAIL_BYTES: Final = 4096
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))  # bytes that only go on with a UTF-8 character
_MEDIA_TYPE: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_MEMORY_READ_S: Final = 0.05  # reading the peak is a system call on a kernel file; not on each of many short runs


class Exit(Protocol):
    """How an environment's first process ended: an exit code, or a signal's negative number."""

    @property
    def status(self) -> int: ...
    @property
    def out_of_memory(self) -> bool: ...


class Sandbox(Protocol):
    """The walls and processes of one environment, as `sandbox.launch` makes them."""

    id: str
    control: Any  # socket.socket
    output: int
    runtime_api: Any  # socket.socket | None
    exited: "asyncio.Future[Any]"  # of an Exit

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def throttle_cpu(self) -> None: ...
    def max_memory_bytes(self) -> int: ...
    async def kill(self) -> None: ...
    async def stop(self) -> None: ...
    def discard(self) -> None: ...


@dataclass(slots=True, eq=False)
class Run:
    """One invocation on its way: waiting for an environment, then running in one."""

    spec: FunctionSpec
    invocation: Invocation
    future: "asyncio.Future[InvocationResult]"
    release: Callable[[], None]  # gives the concurrency slot back, once
    started: float = 0.0  # time.perf_counter(); the loop's own clock may tick in milliseconds
    started_ms: int = 0  # since the epoch
    is_shown: bool = False  # its START is in the log
    first_byte: float | None = None  # time.perf_counter(), of an answer that comes in chunks
    deadline: float = 0.0  # loop time
    tail: bytearray = field(default_factory=bytearray)

    def answer(self, payload: bytes, function_error: str | None = None) -> None:
        """Ends the run. Whoever waited may be gone; the slot comes back all the same."""
        self.release()
        if not self.future.done():
            # Cut to its length, the tail may begin within a character; what is left of that is left out.
            tail = bytes(self.tail).lstrip(_CONTINUATIONS) if self.invocation.want_tail else None
            self.future.set_result(InvocationResult(payload=payload, function_error=function_error, log_tail=tail))
        if self.invocation.stream:
            self.invocation.stream.end()

    def fail(self, error: Exception) -> None:
        """Ends the run because the platform could not do it."""
        self.release()
        if not self.future.done():
            self.future.set_exception(error)
        if self.invocation.stream:
            self.invocation.stream.end()

    def written(self, payload: bytes) -> int:
        """How many bytes the answer has that ends with this payload."""
        stream = self.invocation.stream
        return stream.size if stream and stream.has_begun else len(payload)

    @property
    def is_streaming(self) -> bool:
        """Whether a part of the answer has been passed on already."""
        return self.invocation.stream is not None and self.invocation.stream.has_begun


@dataclass(frozen=True, slots=True, kw_only=True)
class InitFailure:
    """Why an environment never got ready."""

    document: bytes | None  # the runtime's own error; None where the process ended or took too long
    status: str  # error or timeout
    error_type: str | None
    exit: Exit | None = None
    reason: str | None = None  # in AWS's words, where no runtime could be started


class Owner(Protocol):
    """Who is told of an environment's life. `failure` comes with an Init that failed outside an invocation."""

    def is_idle(self, environment: "Environment") -> None: ...
    def has_ended(self, environment: "Environment", failure: InitFailure | None) -> None: ...
    def has_reported(self, environment: "Environment", run: Run, summary: report.Report) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an environment needs besides its sandbox."""

    clock: Clock
    owner: Owner
    write_log: Callable[[list[Event]], None]  # to this environment's log stream
    order: dict[str, Any]  # the INIT frame
    init_limit_s: float = INIT_LIMIT_S
    initialization_type: str = ON_DEMAND


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
        self.is_wanted = True  # False: its function changed while it was busy
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.born = around.clock.elapsed()
        self._lines = lines_for(spec, around.clock.now, stream, around.initialization_type)
        is_json = spec.log_format.upper() == "JSON"
        self._keeps = keeps(spec.application_log_level or "INFO") if is_json else None
        self._logs = LogPipe(sandbox.output, self._log, around.clock.now_ms)
        self._channel: Channel = self._talk()
        self._timer: asyncio.TimerHandle | None = None
        self._has_exited = False
        self._began = 0.0
        self._is_retired = False
        self._init_duration_ms: float | None = None
        self._memory_mb = 0
        self._memory_read = 0.0

    @property
    def id(self) -> str:
        return self.sandbox.id

    @property
    def digest(self) -> str:
        return self.spec.digest

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
            self._say(*self._lines.init_start())
            self._timer = self._loop.call_later(self._around.init_limit_s, self._on_init_timeout)
        else:
            self._start(run)
        self._channel.open(self._around.order)

    def warn(self, text: str) -> None:
        """Tells the function's owner something, in its log."""
        self._say(f"LAMBENT_WARNING: {text}\n")

    def assign(self, run: Run) -> None:
        """Runs an invocation. The environment is idle, or reset."""
        if self.phase is Phase.RESET:
            self.begin(run)
            return
        if self.is_frozen:
            self.sandbox.thaw()
            self.is_frozen = False
        self._start(run)
        self._show_start(run)
        self._move(Happening.ASSIGNED)
        self._invoke(run)

    def freeze(self) -> None:
        """No process of it runs until the next invocation."""
        self._logs.drain(flush=True)
        self.sandbox.freeze()
        self.is_frozen = True

    def retire(self) -> None:
        """Ends it. A running invocation, if there is one, gets no answer of its own."""
        run = self.run
        self._is_retired = True
        self._end(Happening.RETIRED)
        if run:
            document = report.exited(run.invocation.request_id, -9)
            self._finish(run, document, status="error", error_type="Runtime.ExitError")
        self._around.owner.has_ended(self, None)

    # What the runtime says

    def on_ready(self) -> None:
        """The handler is loaded."""
        if self.phase is not Phase.INIT:
            self.on_violation("ready twice")
            return
        self._move(Happening.READY)
        self.sandbox.throttle_cpu()
        init_ms = (time.perf_counter() - self._began) * 1000
        if self.run:
            self._say(*self._lines.init_end(InitReport(duration_ms=init_ms, phase="invoke")))
            self._show_start(self.run)
            self._move(Happening.ASSIGNED)
            self._invoke(self.run)
            return
        self._cancel_timer()
        if self._around.initialization_type == ON_DEMAND:
            self._init_duration_ms = init_ms  # the first invocation reports it, and is billed for it
        self._say(*self._lines.init_end(InitReport(duration_ms=init_ms)))
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
            self._finish(run, payload, status="success", error_type=None)
            self._become_idle()

    def on_error(self, document: bytes) -> None:
        """The handler raised, or its answer is no JSON."""
        if run := self._responded():
            # For the platform the invocation went well: the runtime answered. REPORT has no status then.
            self._finish(run, document, status="success", error_type=None, function_error="Unhandled")
            self._become_idle()

    def on_oversized(self) -> None:
        """The answer is too long to be passed on."""
        if run := self._responded():
            self._finish(run, report.response_too_large(), status="error", error_type="Function.ResponseSizeTooLarge")
            self._become_idle()

    def on_stream(self, content_type: str) -> None:
        """The answer comes in chunks."""
        run = self.run if self.phase is Phase.BUSY else None
        if run is None or run.invocation.stream is None or run.is_streaming:
            self.on_violation("a stream that nobody waits for")
            return
        # It becomes a header of somebody's response: nothing in it may end the line.
        kind = content_type if _MEDIA_TYPE.fullmatch(content_type) else _BYTES
        run.first_byte = time.perf_counter()
        run.invocation.stream.begin(kind, self._channel.pause, self._channel.resume)

    def on_chunk(self, data: bytes) -> None:
        """A part of the answer."""
        run = self.run
        stream = run.invocation.stream if run and run.is_streaming else None
        if run is None or stream is None:
            self.on_violation("a chunk outside a stream")
            return
        room = stream.room()
        stream.write(data if len(data) <= room else data[:room])
        if len(data) > room:
            self._end(Happening.VIOLATED)
            document = report.response_too_large(MAX_BYTES)
            self._finish(run, document, status="error", error_type="Function.ResponseSizeTooLarge")
            self._around.owner.has_ended(self, None)

    def on_stream_end(self, error_type: str | None, document: bytes) -> None:
        """The answer is complete, or, with an error's type and document, breaks off here."""
        if self.run is None or not self.run.is_streaming:
            self.on_violation("the end of no stream")
        elif run := self._responded(after_stream=True):
            # A runtime that tells of its error has answered: "Lambda treats this as a successful response".
            self._finish(run, document, status="success", error_type=None, function_error=error_type)
            self._become_idle()

    def on_init_error(self, document: bytes) -> None:
        """The handler could not be loaded."""
        if self.phase is not Phase.INIT:
            self.on_violation("init error after init")
            return
        kind = report.error_type(document)
        self._init_failed(Happening.INIT_FAILED, InitFailure(document=document, status="error", error_type=kind))

    def on_unstartable(self, reason: str) -> None:
        """There is nothing that could be executed as its runtime."""
        if self.phase is not Phase.INIT:
            self.on_violation("a runtime that was not started")
            return
        failure = InitFailure(document=None, status="error", error_type="Runtime.InvalidEntrypoint", reason=reason)
        self._init_failed(Happening.INIT_FAILED, failure)

    def on_violation(self, text: str) -> None:
        """The function's process speaks out of turn: whatever it is, it is no runtime any more."""
        run, phase = self.run, self.phase
        if phase in (Phase.SHUTDOWN, Phase.GONE):
            return
        self._say(f"The runtime was stopped: {text}.\n")
        if phase is Phase.INIT:
            failure = InitFailure(document=None, status="error", error_type="Runtime.ExitError")
            self._init_failed(Happening.VIOLATED, failure)
            return
        self._end(Happening.VIOLATED)
        if run:
            document = report.exited(run.invocation.request_id, -9)
            self._finish(run, document, status="error", error_type="Runtime.ExitError")
        self._around.owner.has_ended(self, None)

    # What the clock and the kernel say

    def _on_init_timeout(self) -> None:
        failure = InitFailure(document=None, status="timeout", error_type=None)
        self._init_failed(Happening.INIT_TIMED_OUT, failure)

    def _on_deadline(self) -> None:
        run = self.run
        assert run is not None
        request_id, timeout_s = run.invocation.request_id, self.spec.timeout_s
        self._logs.drain(flush=True)
        if self.phase is Phase.INIT:
            init = InitReport(duration_ms=timeout_s * 1000.0, phase="invoke", status="timeout")
            self._say(*self._lines.init_end(init))
        self._show_start(run)
        if self.spec.log_format != "JSON":
            self._say(report.timed_out_line(request_id, timeout_s, self._around.clock.now()))
        self._end(Happening.INIT_TIMED_OUT if self.phase is Phase.INIT else Happening.DEADLINE_PASSED)
        self._finish(run, report.timed_out(request_id, timeout_s), status="timeout", error_type=None)
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
        how, run = exited.result(), self.run
        kind = "Runtime.OutOfMemory" if how.out_of_memory else "Runtime.ExitError"
        if self.phase is Phase.INIT:
            self._init_failed(Happening.EXITED, InitFailure(document=None, status="error", error_type=kind, exit=how))
            return
        self._end(Happening.EXITED)
        if run:
            status = -9 if how.out_of_memory else how.status
            self._finish(run, report.exited(run.invocation.request_id, status), status="error", error_type=kind)
        self._around.owner.has_ended(self, None)

    # Steps

    def _talk(self) -> Channel:
        if self.sandbox.runtime_api is not None:
            return RuntimeApi(self.sandbox.runtime_api, self.sandbox.control, self)
        return FrameChannel(self.sandbox.control, self)

    def _start(self, run: Run) -> None:
        self.run = run
        run.started = time.perf_counter()
        run.started_ms = self._around.clock.now_ms()
        run.deadline = self._loop.time() + self.spec.timeout_s
        self._timer = self._loop.call_at(run.deadline, self._on_deadline)

    def _show_start(self, run: Run) -> None:
        """Before the first line of the invocation's own; where Init is a part of it, behind that."""
        if not run.is_shown:
            run.is_shown = True
            self._say(*self._lines.start(run.invocation), run=run)

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
        self._channel.invoke(header, invocation.payload)

    def _responded(self, *, after_stream: bool = False) -> Run | None:
        run = self.run
        if self.phase is not Phase.BUSY or run is None or run.is_streaming != after_stream:
            self.on_violation("an answer that nobody waits for")
            return None
        self._move(Happening.RESPONDED)
        return run

    def _finish(
        self, run: Run, payload: bytes, *, status: str, error_type: str | None, function_error: str | None = None
    ) -> None:
        """The last log lines of an invocation, then its answer."""
        duration_s = time.perf_counter() - run.started
        self._cancel_timer()
        self._logs.drain(flush=True)
        self._show_start(run)
        self.run = None
        summary = report.Report(
            request_id=run.invocation.request_id,
            duration_ms=self.spec.timeout_s * 1000.0 if status == "timeout" else duration_s * 1000,
            memory_mb=self.spec.memory_mb,
            max_memory_mb=self._max_memory_mb(),
            init_duration_ms=self._init_duration_ms,
            status=status,
            error_type=error_type,
            has_failed=status != "success" or function_error is not None,
            started_ms=run.started_ms,
            latency_ms=None if run.first_byte is None else (run.first_byte - run.started) * 1000,
            produced_bytes=run.written(payload) if status == "success" else 0,
            trace_header=run.invocation.trace_header,
        )
        self._init_duration_ms = None
        now_ms = self._around.clock.now_ms()
        self._log_of(run, [(now_ms, line) for line in self._lines.end(summary)])
        self._around.owner.has_reported(self, run, summary)
        if status != "success":
            function_error = _cut_off(status, error_type) if run.is_streaming else "Unhandled"
        run.answer(payload, function_error)

    def _init_failed(self, happening: Happening, failure: InitFailure) -> None:
        run = self.run
        self._end(happening)
        init_ms = (time.perf_counter() - self._began) * 1000
        phase = "invoke" if run else "init"
        init = InitReport(duration_ms=init_ms, phase=phase, status=failure.status, error_type=failure.error_type)
        self._say(*self._lines.init_end(init), run=run)
        if run:
            self._finish(run, init_error_document(failure, run), status="error", error_type=failure.error_type)
        self._around.owner.has_ended(self, None if run else failure)

    def _become_idle(self) -> None:
        self.idle_since = self._around.clock.elapsed()
        if not self._has_exited:
            self._around.owner.is_idle(self)

    def _end(self, happening: Happening) -> None:
        self._move(happening)
        self._cancel_timer()
        self._close()

    def _close(self) -> None:
        self._channel.close()
        self._logs.close()

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

    def _say(self, *messages: str, run: Run | None = None) -> None:
        now_ms = self._around.clock.now_ms()
        self._log_of(run or self.run, [(now_ms, message) for message in messages])

    def _log(self, events: list[Event]) -> None:
        if self._keeps:
            events = [event for event in events if self._keeps(event[1])]
        self._log_of(self.run, events)

    def _log_of(self, run: Run | None, events: list[Event]) -> None:
        if not events:
            return
        if run and run.invocation.want_tail:
            run.tail += "".join(message for _moment, message in events).encode()
            del run.tail[:-TAIL_BYTES]
        self._around.write_log(events)


def _cut_off(status: str, error_type: str | None) -> str:
    """The ErrorCode of a stream that ended before the function ended it."""
    if status == "timeout":
        return "Sandbox.Timedout"
    return error_type if error_type == "Function.ResponseSizeTooLarge" else "Runtime.TruncatedResponse"


def init_error_document(failure: InitFailure, run: Run) -> bytes:
    """What the invocation answers whose environment could not be initialised."""
    if failure.document is not None:
        return failure.document
    if failure.reason is not None:
        return report.unstartable(run.invocation.request_id, failure.reason)
    if failure.exit is None:
        return report.exited(run.invocation.request_id, -9)
    status = -9 if failure.exit.out_of_memory else failure.exit.status
    return report.exited(run.invocation.request_id, status)
