"""One way to run a function, whoever asks: Invoke, a URL, an event, a mapping.

Here a qualifier becomes a version (an alias with weights stands for another one each time), the version's state is
checked, and a throttle is counted. The caller has checked what it alone knows: who may, and how long a payload may be.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.aws.trace import new_trace
from lambent.engine.metrics import Resource
from lambent.engine.spec import ACTIVE, Invocation, InvocationResult
from lambent.engine.stream import ResponseStream
from lambent.services.lambda_ import recursion
from lambent.services.lambda_.attached import Recursion
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import FunctionKey, FunctionVersion, check_may_run, not_found

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_BYTES: Final = "application/octet-stream"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request to run a function. `payload` is JSON; `client_context` is JSON text, not base64."""

    key: FunctionKey
    qualifier: str | None
    payload: bytes
    request_id: str
    client_context: str | None = None
    trace_header: str | None = None
    want_tail: bool = False
    is_event: bool = False  # asynchronous: requests per second are not limited


class Answer(msgspec.Struct, frozen=True):
    """What the function answered, and which version of it. `trace_header` is what the function was given."""

    result: InvocationResult
    version: FunctionVersion
    trace_header: str


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that comes while the function writes it.

    `result` is done by the time of the last chunk; its payload is empty, or the error document, and its function_error
    the error's type, or "Unhandled" where it came before any byte. Who stops reading calls `chunks.aclose()`: the
    function runs on to its end, and what it writes is thrown away.
    """

    version: FunctionVersion
    trace_header: str
    content_type: str
    chunks: ResponseStream
    result: "asyncio.Future[InvocationResult]"


def choose(service: "Lambda", key: FunctionKey, qualifier: str | None) -> FunctionVersion:
    """The version that one invocation runs.

    Raises:
        ApiError: ResourceNotFoundException; ResourceConflictException, when the version cannot run.
    """
    entry = service.catalogue.find(key)
    if entry is None:
        raise not_found(key, qualifier)
    version = entry.resolve(qualifier, sample=service.sample())
    check_may_run(version)
    return version


async def run(service: "Lambda", asked: Asked, version: FunctionVersion | None = None) -> Answer:
    """Runs the function once, or the `version` of it that was chosen before, and waits for its answer.

    A function's failure is a result, not an exception. Cancelling stops the waiting, not the invocation.

    Raises:
        ApiError: as `choose`, `recursion.check`, `Lambda.ready_spec` and `Engine.invoke`.
    """
    version = version or choose(service, asked.key, asked.qualifier)
    invocation = _invocation(service, asked, version)
    try:
        spec = service.spec_if_ready(version) or await service.ready_spec(version)
        result = await service.engine.invoke(spec, invocation)
    except ApiError as error:
        _count(service, asked, invocation, error)
        raise
    return Answer(result, version, invocation.trace_header or "")


async def run_streaming(service: "Lambda", asked: Asked, version: FunctionVersion | None = None) -> Streamed:
    """Runs the function once; returns at the first byte of its answer, or at its end if that comes first.

    Cancelling stops the waiting, not the invocation; what it answers is thrown away.

    Raises:
        ApiError: as `run`.
    """
    version = version or choose(service, asked.key, asked.qualifier)
    invocation = _invocation(service, asked, version)
    stream = invocation.stream = ResponseStream()
    try:
        spec = service.spec_if_ready(version) or await service.ready_spec(version)
        result = service.engine.start(spec, invocation)
        result.add_done_callback(_is_looked_at)
        try:
            await stream.begun
        except asyncio.CancelledError:
            await stream.aclose()
            raise
        if result.done():
            result.result()  # raises what kept it from running
    except ApiError as error:
        _count(service, asked, invocation, error)
        raise
    return Streamed(
        version=version,
        trace_header=invocation.trace_header or "",
        content_type=stream.content_type or _BYTES,
        chunks=stream,
        result=result,
    )


def _is_looked_at(result: "asyncio.Future[InvocationResult]") -> None:
    """Nobody may wait any more for an invocation that could not be started: that is no bug of ours."""
    if not result.cancelled():
        result.exception()


def _invocation(service: "Lambda", asked: Asked, version: FunctionVersion) -> Invocation:
    entry = service.catalogue.get(asked.key)
    alias = entry.aliases.get(asked.qualifier) if asked.qualifier else None
    return Invocation(
        request_id=asked.request_id,
        payload=asked.payload,
        invoked_arn=asked.key.arn(asked.qualifier),
        qualifier=asked.qualifier,
        executed_version=version.version if alias and alias.additional_version else None,
        client_context=asked.client_context,
        trace_header=_trace_header(service, asked, version, entry),
        want_tail=asked.want_tail,
        is_event=asked.is_event,
    )


def _trace_header(service: "Lambda", asked: Asked, version: FunctionVersion, entry: Entry) -> str:
    """What the function is to hand on; one that is stopped in a loop is a refused request, not an invocation."""
    now_s, is_active = service.clock.now(), entry.specs[version.version].tracing == ACTIVE
    arn = entry.specs[version.version].arn
    if asked.trace_header is None and not is_active:  # the usual case: what follows would say the same, later
        return f"{new_trace(now_s)};Sampled=0;{recursion.first_run(arn)}"
    header = service.sampler.decided(asked.trace_header or new_trace(now_s), arn, now_s, is_active=is_active)
    found = entry.its(Recursion)
    try:
        return recursion.check(header, arn, found.recursive_loop if found else recursion.TERMINATE)
    except ApiError:
        of = Resource(asked.key.name, asked.qualifier)
        service.metrics.add(asked.key.scope, "RecursiveInvocationsDropped", 1, of=of)
        raise


def _count(service: "Lambda", asked: Asked, invocation: Invocation, error: ApiError) -> None:
    """A throttle is no invocation and no error: it has a metric of its own."""
    if error.code == "TooManyRequestsException":
        of = Resource(asked.key.name, asked.qualifier, invocation.executed_version)
        service.metrics.add(asked.key.scope, "Throttles", 1, of=of)
