"""One invocation on its way, and what became of it.

Who runs it is an environment; who made it waits for its future.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from lambent.engine import report
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult

_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))  # bytes that only go on with a UTF-8 character


class Exit(Protocol):
    """How an environment's first process ended: an exit code, or a signal's negative number."""

    @property
    def status(self) -> int: ...
    @property
    def out_of_memory(self) -> bool: ...


class Run(msgspec.Struct, eq=False):
    """One invocation on its way: waiting for an environment, then running in one."""

    spec: FunctionSpec
    invocation: Invocation
    future: "asyncio.Future[InvocationResult]"
    release: Callable[[], None]  # gives the concurrency slot back, once
    started: float = 0.0  # time.perf_counter(); the loop's own clock may tick in milliseconds
    started_ms: int = 0  # since the epoch
    is_shown: bool = False  # its START is in the log
    outcome: "Outcome | None" = None  # of a run whose runtime has answered while extensions still work
    asked: float | None = None  # time.perf_counter(), when its runtime wanted the next one
    first_byte: float | None = None  # time.perf_counter(), of an answer that comes in chunks
    deadline: float = 0.0  # loop time
    tail: bytearray = msgspec.field(default_factory=bytearray)

    def answer(self, payload: bytes, function_error: str | None = None) -> None:
        """Ends the run. Whoever waited may be gone; the slot comes back all the same."""
        self.release()
        self.respond(payload, function_error)

    def respond(self, payload: bytes, function_error: str | None = None) -> None:
        """Gives the caller the answer, once; the run may go on."""
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

    def ms_until(self, moment: float | None) -> float | None:
        """From its start to a moment of time.perf_counter(), in milliseconds."""
        return None if moment is None else (moment - self.started) * 1000

    def written(self, payload: bytes) -> int:
        """How many bytes the answer has that ends with this payload."""
        stream = self.invocation.stream
        return stream.size if stream and stream.has_begun else len(payload)

    def function_error(self, outcome: "Outcome") -> str | None:
        """What the answer calls the error, if it is one."""
        if outcome.status == "success":
            return outcome.function_error
        return _cut_off(outcome.status, outcome.error_type) if self.is_streaming else "Unhandled"

    @property
    def is_streaming(self) -> bool:
        """Whether a part of the answer has been passed on already."""
        return self.invocation.stream is not None and self.invocation.stream.has_begun


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime made of an invocation."""

    payload: bytes
    status: str = "success"  # success, error or timeout
    error_type: str | None = None
    function_error: str | None = None
    at: float = msgspec.field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitFailure:
    """Why an environment never got ready."""

    document: bytes | None  # the runtime's own error; None where the process ended or took too long
    status: str  # error or timeout
    error_type: str | None
    exit: Exit | None = None
    reason: str | None = None  # in AWS's words, where no runtime could be started


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
