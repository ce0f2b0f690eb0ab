"""Answers that come while they are written, from real subprocesses."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine import stream as stream_module
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult
from lambent.engine.stream import MAX_BYTES, ResponseStream
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until


def app(folder: Path, code: str, **fields: Any) -> FunctionSpec:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(code)
    return function(folder, **fields)


def start(
    plain: PlainEngine, spec: FunctionSpec, event: Any = None, **fields: Any
) -> "tuple[ResponseStream, asyncio.Future[InvocationResult]]":
    stream = ResponseStream()
    payload = json.dumps(event).encode()
    invocation = Invocation(
        request_id=str(uuid.uuid4()), payload=payload, invoked_arn=spec.arn, stream=stream, **fields
    )
    return stream, plain.engine.start(spec, invocation)


async def whole(plain: PlainEngine, spec: FunctionSpec, event: Any = None, **fields: Any) -> "tuple[list[bytes], Any]":
    stream, result = start(plain, spec, event, **fields)
    return [chunk async for chunk in stream], await result


WAITS = """
import os, time
def handler(event, context):
    yield b"first"
    while not os.path.exists(event["gate"]):
        time.sleep(0.005)
    yield "zwölf"
"""


async def a_first_byte_comes_before_the_end(folder: Path) -> None:
    async with plain_engine() as plain:
        spec = app(folder / "f", WAITS)
        gate = folder / "gate"
        stream, result = start(plain, spec, {"gate": str(gate)})
        assert await anext(stream) == b"first"
        assert stream.content_type == "application/octet-stream"
        assert not result.done()
        gate.touch()
        assert [chunk async for chunk in stream] == ["zwölf".encode()]
        assert await result == InvocationResult(payload=b"")


def test_the_first_byte_comes_before_the_function_ends(tmp_path: Path) -> None:
    asyncio.run(a_first_byte_comes_before_the_end(tmp_path))


ITEMS = """
def handler(event, context):
    kind = event["kind"]
    if kind == "plain":
        return {"a": 1}
    if kind == "iterator":
        return iter([bytearray(b"x"), memoryview(b"y"), "", b"", "z"])
    return items(kind)

def items(kind):
    if kind == "none":
        return
    if kind == "early":
        raise KeyError("early")
    if kind == "metadata":
        yield {"statusCode": 418, "headers": {"x-a": "b"}, "cookies": ["c=d"]}
    yield b"1"
    if kind == "late":
        raise ValueError("late")
    if kind == "unfit":
        yield 17
    if kind == "dict":
        yield {"statusCode": 200}
    if kind == "exit":
        raise SystemExit(3)
    if kind == "print":
        print("in the log")
    yield b"2"
"""


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_what_a_handler_yields_goes_out(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", ITEMS, environment=wrapped(tmp_path) if wrapper else {})
            done = InvocationResult(payload=b"")
            assert await whole(plain, spec, {"kind": "none"}) == ([], done)
            assert await whole(plain, spec, {"kind": "two"}) == ([b"1", b"2"], done)
            assert await whole(plain, spec, {"kind": "iterator"}) == ([b"x", b"y", b"z"], done)
            assert await whole(plain, spec, {"kind": "plain"}) == ([b'{"a": 1}'], done)
            stream, result = start(plain, spec, {"kind": "metadata"})
            parts = [part async for part in stream]
            assert await result == done
            assert stream.content_type == "application/vnd.awslambda.http-integration-response"
            assert json.loads(parts[0][:-8]) == {"statusCode": 418, "headers": {"x-a": "b"}, "cookies": ["c=d"]}
            assert parts[0][-8:] == bytes(8)
            assert parts[1:] == [b"1", b"2"]
            assert len(plain.launchers[0].sandboxes) == 1

    asyncio.run(main())


def wrapped(folder: Path) -> dict[str, str]:
    """Variables under which the runtime speaks HTTP."""
    wrapper = folder / "wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@"\n')
    wrapper.chmod(0o755)
    return {"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper)}


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_errors_before_and_after_the_first_byte(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", ITEMS, environment=wrapped(tmp_path) if wrapper else {})
            chunks, early = await whole(plain, spec, {"kind": "early"})
            assert (chunks, early.function_error) == ([], "Unhandled")
            document = json.loads(early.payload)
            assert (document["errorType"], document["errorMessage"]) == ("KeyError", "'early'")
            chunks, late = await whole(plain, spec, {"kind": "late"})
            assert (chunks, late.function_error) == ([b"1"], "ValueError")
            document = json.loads(late.payload)
            assert (document["errorType"], document["errorMessage"]) == ("ValueError", "late")
            assert "app.py" in document["stackTrace"][0]
            assert len(document["stackTrace"]) == 1
            for kind, name in (("unfit", "int"), ("dict", "dict")):
                chunks, unfit = await whole(plain, spec, {"kind": kind})
                assert (chunks, unfit.function_error) == ([b"1"], "Runtime.MarshalError")
                said = f"Unable to marshal response: A streamed response is made of bytes or str, not {name}"
                assert json.loads(unfit.payload)["errorMessage"] == said
            assert len(plain.launchers[0].sandboxes) == 1  # it served all of these
            assert any("[ERROR] ValueError: late" in message for message in plain.messages)
            chunks, left = await whole(plain, spec, {"kind": "exit"})
            assert (chunks, left.function_error) == ([b"1"], "Runtime.TruncatedResponse")
            assert json.loads(left.payload)["errorType"] == "Runtime.ExitError"
            assert (await whole(plain, spec, {"kind": "two"}))[0] == [b"1", b"2"]
            assert len(plain.launchers[0].sandboxes) == 2

    asyncio.run(main())


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_a_generator_is_no_answer_to_who_wants_it_whole(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", ITEMS, environment=wrapped(tmp_path) if wrapper else {})
            result = await plain.invoke(spec, {"kind": "two"})
            assert result.function_error == "Unhandled"
            document = json.loads(result.payload)
            assert document["errorType"] == "Runtime.MarshalError"
            assert document["errorMessage"] == (
                "Unable to marshal response: Object of type generator is not JSON serializable"
            )

    asyncio.run(main())


def test_a_timeout_cuts_a_stream_off_and_the_tail_comes_with_it(tmp_path: Path) -> None:
    code = "import time\ndef handler(event, context):\n    print('said')\n    yield b'1'\n    time.sleep(60)\n"

    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", code, timeout_s=1)
            chunks, result = await whole(plain, spec, want_tail=True)
            assert (chunks, result.function_error) == ([b"1"], "Sandbox.Timedout")
            assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"
            assert b"said\n" in result.log_tail
            assert b"Task timed out after 1.00 seconds" in result.log_tail

    asyncio.run(main())


MUCH = """
def handler(event, context):
    piece = b"x" * 65536
    for _turn in range(event["pieces"]):
        yield piece
    print("done")
    yield b"!"
"""


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_a_slow_reader_holds_the_function_not_the_memory(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", MUCH, environment=wrapped(tmp_path) if wrapper else {})
            stream, result = start(plain, spec, {"pieces": 256})
            await until(lambda: stream._is_paused)
            for _turn in range(20):  # it stays as it is
                await asyncio.sleep(0)
            assert stream.size < 3 * 1_048_576
            assert not result.done()
            assert sum([len(chunk) async for chunk in stream]) == 256 * 65536 + 1
            assert (await result).function_error is None
            assert not stream._is_paused
            assert (await plain.invoke(app(tmp_path / "g", "def handler(event, context): return 1"))).payload == b"1"

    asyncio.run(main())


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_a_function_runs_on_when_its_reader_has_gone(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", MUCH, environment=wrapped(tmp_path) if wrapper else {})
            stream, result = start(plain, spec, {"pieces": 256})
            await until(lambda: stream._is_paused)
            await stream.aclose()
            assert (await result).function_error is None
            assert stream.size == 256 * 65536 + 1
            assert any("done" in message for message in plain.messages)
            assert [chunk async for chunk in stream] == []

    asyncio.run(main())


@pytest.mark.parametrize("wrapper", [False, True], ids=["frames", "http"])
def test_an_environment_serves_on_while_an_answer_is_read_slowly(tmp_path: Path, wrapper: bool) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", MUCH, environment=wrapped(tmp_path) if wrapper else {})
            slow, result = start(plain, spec, {"pieces": 17})  # one more than the stream takes at once
            await until(lambda: slow._is_paused or result.done())
            while slow._is_paused:
                await anext(slow)
            assert (await result).function_error is None
            assert slow._chunks  # not read yet
            chunks, second = await whole(plain, spec, {"pieces": 1})
            assert second.function_error is None
            assert len(b"".join(chunks)) == 65537
            assert len(plain.launchers[0].sandboxes) == 1
            assert sum([len(chunk) async for chunk in slow]) > 0

    asyncio.run(main())


HOSTILE = """
import os, socket, struct
def handler(event, context):
    fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
    sock = next(socket.socket(fileno=os.dup(fd)) for fd in sorted(fds) if fd > 2 and is_socket(fd))
    for kind, size in event["frames"]:
        sock.sendall(struct.pack("!IB", size, kind) + b"x" * size)
    return 1
def is_socket(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False
"""

STREAM, CHUNK, END, ERROR = 20, 21, 22, 23


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([[CHUNK, 1]], "Unhandled"),  # a chunk of nothing
        ([[END, 0]], "Unhandled"),
        ([[ERROR, 0]], "Unhandled"),
        ([[STREAM, 5], [STREAM, 5]], "Runtime.TruncatedResponse"),
        ([[STREAM, 5], [17, 5]], "Runtime.TruncatedResponse"),  # a whole response in the middle of one
        ([[STREAM, 5], [18, 5]], "Runtime.TruncatedResponse"),
        ([[STREAM, 5], [CHUNK, 6_291_557]], "Runtime.TruncatedResponse"),
        ([[STREAM, 5], [99, 5]], "Runtime.TruncatedResponse"),
        ([[STREAM, 5], [CHUNK, 5], [16, 0]], "Runtime.TruncatedResponse"),
    ],
)
def test_frames_out_of_turn_end_the_environment(tmp_path: Path, sent: list[list[int]], code: str) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            spec = app(tmp_path / "f", HOSTILE)
            _chunks, result = await whole(plain, spec, {"frames": sent})
            assert result.function_error == code
            assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
            await until(plain.launchers[0].sandboxes[0].exited.done)

    asyncio.run(main())


@pytest.mark.parametrize("sent", [[[STREAM, 5]], [[CHUNK, 5]], [[END, 0]]])
def test_a_stream_that_nobody_asked_for_ends_the_environment(tmp_path: Path, sent: list[list[int]]) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            result = await plain.invoke(app(tmp_path / "f", HOSTILE), {"frames": sent})
            assert result.function_error == "Unhandled"
            assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"

    asyncio.run(main())


def test_a_content_type_can_be_no_second_header(tmp_path: Path) -> None:
    code = HOSTILE.replace('b"x" * size)', '(b"a\\r\\nb: c" if kind == 20 else b"x" * size)[:size])')

    async def main() -> None:
        async with plain_engine() as plain:
            stream, result = start(plain, app(tmp_path / "f", code), {"frames": [[STREAM, 7], [CHUNK, 1]]})
            await anext(stream)
            assert stream.content_type == "application/octet-stream"
            await result

    asyncio.run(main())


LONG = """
def handler(event, context):
    piece = b"x" * 1048576
    for _turn in range(200):
        yield piece
    for _turn in range(event["more"]):
        yield b"!"
"""


@pytest.mark.parametrize(("more", "code"), [(0, None), (1, "Function.ResponseSizeTooLarge")])
def test_two_hundred_megabytes_and_one_byte_more(tmp_path: Path, more: int, code: str | None) -> None:
    async def main() -> None:
        async with plain_engine() as plain:
            stream, done = start(plain, app(tmp_path / "f", LONG), {"more": more})
            total = 0
            async for chunk in stream:
                total += len(chunk)
                assert stream._buffered < 4 * 1_048_576
            result = await done
            assert total == MAX_BYTES
            assert result.function_error == code
            if code:
                assert json.loads(result.payload) == {
                    "errorType": code,
                    "errorMessage": "Response payload size exceeded maximum allowed payload size (209715200 bytes).",
                }

    asyncio.run(main())


# The stream itself


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.just(None)), max_size=60), st.integers(0, 60))
def test_a_stream_gives_what_it_took_in_order(steps: list[bytes | None], closed_after: int) -> None:
    """None is a read; a full buffer pauses, an empty one resumes, and closing forgets."""
    calls: list[str] = []

    async def main() -> None:
        stream = ResponseStream()
        stream.begin("text/plain", lambda: calls.append("pause"), lambda: calls.append("resume"))
        taken: list[bytes] = []
        waiting: list[bytes] = []
        for count, step in enumerate(steps):
            if count == closed_after:
                await stream.aclose()
                waiting.clear()
            if step is not None:
                stream.write(step)
                if count < closed_after:
                    waiting.append(step)
            elif waiting:
                taken.append(await anext(stream))
                assert taken[-1] == waiting.pop(0)
        stream.end()
        assert [chunk async for chunk in stream] == waiting
        assert stream.size == sum(len(step) for step in steps if step)
        assert stream._buffered == 0
        assert stream.begun.done()
        assert calls in ([], *(["pause", "resume"] * n for n in range(1, 61)))

    high, low = stream_module._HIGH_WATER, stream_module._LOW_WATER
    assert high > low
    asyncio.run(main())


def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    async def main() -> None:
        stream = ResponseStream()
        stream.begin("text/plain")
        reader = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
        stream.write(b"a")
        stream.end()
        assert [chunk async for chunk in stream] == [b"a"]

    asyncio.run(main())


def test_a_million_small_chunks_are_not_held() -> None:
    async def main() -> None:
        stream = ResponseStream()
        paused: list[int] = []
        stream.begin("text/plain", lambda: paused.append(len(stream._chunks)), lambda: None)
        while not paused:
            stream.write(b"x")
        assert paused[0] < 20_000

    asyncio.run(main())
