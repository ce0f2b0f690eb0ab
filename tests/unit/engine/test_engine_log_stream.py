import asyncio
import itertools
import os

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.log_stream import MAX_EVENT_BYTES, Event, LogParser, LogPipe

NOW_MS = 1_790_000_000_000


def frame(text: str, moment_ms: int = NOW_MS, kind: int = 0xA55A0003) -> bytes:
    data = text.encode()
    return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + (moment_ms * 1000).to_bytes(8, "big") + data


def messages(*chunks: bytes, flush: bool = True) -> list[str]:
    parser = LogParser()
    events = [event for chunk in chunks for event in parser.feed(chunk, NOW_MS)]
    return [message for _moment, message in events + (parser.flush(NOW_MS) if flush else [])]


def test_each_printed_line_is_an_event() -> None:
    assert messages(b"one\n\ntwo\r\n") == ["one\n", "\n", "two\r\n"]


def test_a_frame_is_one_event() -> None:
    assert messages(frame("a\nb") + b"printed\n" + frame("c\n")) == ["a\nb\n", "printed\n", "c\n"]


def test_a_frame_does_not_end_a_line_that_has_begun() -> None:
    assert messages(b"begun ", frame("meanwhile"), b"ended\n") == ["meanwhile\n", "begun ended\n"]


def test_an_empty_frame_is_harmless() -> None:
    assert messages(frame(""), b"x\n") == ["x\n"]


def test_a_partial_line_waits_until_it_is_flushed() -> None:
    assert messages(b"partial", flush=False) == []
    assert messages(b"partial") == ["partial\n"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert messages(b"a\xff\xa5\n") == ["a\ufffd\ufffd\n"]


def test_a_frames_time_is_kept_within_reason() -> None:
    events = LogParser().feed(frame("a", NOW_MS - 5) + frame("b", 0) + frame("c", NOW_MS + 10**9), NOW_MS)
    assert [moment for moment, _message in events] == [NOW_MS - 5, NOW_MS - 900_000, NOW_MS]


def test_a_long_line_is_split_between_characters() -> None:
    text = "é" * MAX_EVENT_BYTES
    parts = messages(text.encode() + b"\n")
    assert "".join(part.rstrip("\n") for part in parts) == text
    assert all(len(part.encode()) <= MAX_EVENT_BYTES + 1 for part in parts)


def test_a_frame_of_any_claimed_length_holds_one_event_in_memory() -> None:
    parser = LogParser()
    parser.feed(b"\xa5\x5a\x00\x03" + b"\xff" * 12, NOW_MS)
    for _turn in range(40):
        parser.feed(b"x" * 100_000, NOW_MS)
        assert len(parser._frame) <= MAX_EVENT_BYTES + 100_000


pieces = st.one_of(
    st.text(max_size=20).map(lambda t: (t.replace("\n", "") + "\n").encode("utf-8", "replace")),
    st.text(max_size=20).map(lambda t: frame(t.encode("utf-8", "replace").decode())),
    st.binary(max_size=6),
)


@given(st.lists(pieces, max_size=8).map(b"".join), st.lists(st.integers(0, 60), max_size=6))
def test_how_the_bytes_arrive_does_not_matter(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert messages(*chunks) == messages(data)


def test_a_pipe_is_read_to_its_end() -> None:
    async def main() -> list[str]:
        reader, writer = os.pipe()
        found: list[Event] = []
        ended = asyncio.Event()

        def write(events: list[Event]) -> None:
            found.extend(events)
            if found[-1][1] == "end\n":
                ended.set()

        pipe = LogPipe(reader, write, lambda: NOW_MS)
        os.write(writer, b"one\ntw")
        pipe.drain(flush=False)
        os.write(writer, b"o\nend\n")
        await ended.wait()
        os.write(writer, b"rest")
        os.close(writer)
        pipe.close()
        pipe.close()
        return [message for _moment, message in found]

    assert asyncio.run(main()) == ["one\n", "two\n", "end\n", "rest\n"]


def test_a_flood_is_read_in_portions() -> None:
    async def main() -> int:
        reader, writer = os.pipe()
        read = 0
        enough = asyncio.Event()

        def write(events: list[Event]) -> None:
            nonlocal read
            read += sum(len(message) for _moment, message in events)
            if read >= 12_000_000:
                enough.set()

        pipe = LogPipe(reader, write, lambda: NOW_MS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(_write_all, writer, b"x" * 999 + b"\n", 13_000))
            await enough.wait()
            assert pipe._resume is not None  # it had to wait in between
        pipe.close()
        return read

    assert asyncio.run(main()) >= 12_000_000


def _write_all(fd: int, line: bytes, times: int) -> None:
    for _turn in range(times):
        os.write(fd, line)
    os.close(fd)
