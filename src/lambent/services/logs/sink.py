"""Where the engine leaves log lines: appended in memory, written in batches at most 100 ms later.

Appending costs a few microseconds and never waits. A group and stream that do not exist are created with the first
batch that needs them; nothing else of this path touches the main database.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from lambent.aws.caller import Scope
from lambent.clock import Clock
from lambent.observe.log import Log
from lambent.services.logs import rows
from lambent.services.logs.model import EVENT_OVERHEAD_BYTES, Group, message_bytes
from lambent.services.logs.rows import NewEvent
from lambent.store.database import Database

# Waiting collects lines of many invocations into one transaction, and a reader waits for none of it.
_DELAY_S: Final = 0.05
# Characters held in memory while the disk is slower than the functions' output. Beyond it lines are dropped, counted,
# and the count logged: an invocation never waits for its log.
MAX_BUFFERED: Final = 64 * 1024 * 1024
# One transaction's share, so that other writers of the bulk database get their turn.
_MAX_WRITE_EVENTS: Final = 5_000
_MAX_WRITE_BYTES: Final = 4 * 1024 * 1024
# Streams remembered; there is one for each environment that ever ran. All are forgotten when there are more.
_MAX_REMEMBERED: Final = 20_000
# A line that is at most so much older than the last one written was delayed on its way; any older one is of its time.
_DELAYED_MS: Final = 1_000

_Key = tuple[Scope, str, str]


_Line = tuple[_Key, Sequence[tuple[int, str]], int]
"""Scope, group and stream; what was written there at once; its size."""


class Sink:
    """The buffer and its one writer, `run`."""

    def __init__(self, main: Database, bulk: Database, clock: Clock, log: Log) -> None:
        self._main = main
        self._bulk = bulk
        self._clock = clock
        self._log = log
        self._lines: list[_Line] = []
        self._size = 0
        self._dropped = 0
        self._is_running = False
        self._is_writing = False
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._ids: dict[_Key, tuple[int, int]] = {}
        self._latest: dict[int, int] = {}  # the latest timestamp written, by group id

    def append(self, scope: Scope, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Takes (timestamp in ms, message) pairs; the sequence must not change afterwards."""
        size = EVENT_OVERHEAD_BYTES * len(events)
        for _moment, message in events:
            size += len(message)
        if not size:
            return
        if self._size + size > MAX_BUFFERED:
            self._dropped += len(events)
            return
        self._size += size
        self._lines.append(((scope, group, stream), events, size))
        if len(self._lines) == 1:
            self._wake.set()

    async def flush(self) -> None:
        """Returns when all that was appended before is stored."""
        if not self._lines and not self._is_writing:
            return
        if not self._is_running:  # at the end, when the writer is gone
            await self._write_all()
            return
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(written)
        self._wake.set()
        self._hurry.set()
        await written

    async def run(self) -> None:
        """Write what is appended, until cancelled; then what is left."""
        self._is_running = True
        try:
            while True:
                await self._wake.wait()
                await self._pause()
                await self._write_all()
        finally:
            self._is_running = False
            await self._write_all()

    def forget(self, scope: Scope, group: str, stream: str | None = None) -> None:
        """A group, or one stream of it, was deleted: its next line creates it anew."""
        if stream is not None:
            self._ids.pop((scope, group, stream), None)
            return
        for key in [key for key in self._ids if key[:2] == (scope, group)]:
            del self._ids[key]

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_DELAY_S):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _write_all(self) -> None:
        """Writes what is buffered now, and wakes who waited for it. What cannot be written stays buffered."""
        lines, self._lines = self._lines, []
        waiting, self._waiting = self._waiting, []
        self._wake.clear()
        self._hurry.clear()
        self._is_writing = True
        error: Exception | None = None
        try:
            while lines:
                share = _share(lines)
                await self._write(lines[:share], rest=lines)
        except Exception as failure:
            error = failure
            raise
        finally:
            self._is_writing = False
            self._lines = lines + self._lines
            if self._lines:
                self._wake.set()
            for each in waiting:
                if not each.done():
                    each.set_exception(error) if error else each.set_result(None)
        if self._dropped:
            self._log.warning("logs.dropped", events=self._dropped, why="the disk is slower than the functions' output")
            self._dropped = 0

    async def _write(self, lines: list[_Line], *, rest: list[_Line]) -> None:
        """Writes some lines, and takes them from the front of `rest` unless the database refuses them."""
        ids = await self._find({key for key, _events, _size in lines})
        batch = self._batch(lines, ids)
        try:
            await self._bulk.write(lambda tx: rows.insert_events(tx, batch))
        except Exception:
            raise
        except BaseException:  # cancelled: the database carries out what it was given, so it must not be given twice
            self._drop_front(rest, len(lines))
            raise
        self._drop_front(rest, len(lines))

    def _batch(self, lines: list[_Line], ids: dict[_Key, tuple[int, int]]) -> list[NewEvent]:
        """The rows, each later than what readers of its group may have seen already.

        Who follows a group asks for what is newer than the last line it saw. A line of another environment, written
        in the same millisecond or delayed on its way here, must not fall behind that.
        """
        now_ms = self._clock.now_ms()
        batch: list[NewEvent] = []
        for key, events, _size in lines:
            group_id, stream_id = ids[key]
            seen = self._latest.get(group_id, 0)
            for timestamp, message in events:
                moment = seen + 1 if seen - _DELAYED_MS < timestamp <= seen else timestamp
                size = message_bytes(message) + EVENT_OVERHEAD_BYTES
                batch.append((group_id, stream_id, moment, now_ms, size, message))
        if len(self._latest) > _MAX_REMEMBERED:
            self._latest.clear()
        for group_id, _, moment, *_ in batch:
            if moment > self._latest.get(group_id, 0):
                self._latest[group_id] = moment
        return batch

    def _drop_front(self, lines: list[_Line], count: int) -> None:
        self._size -= sum(size for _key, _events, size in lines[:count])
        del lines[:count]

    async def _find(self, keys: set[_Key]) -> dict[_Key, tuple[int, int]]:
        """The ids of groups and streams, which are made now where there are none."""
        known = {key: self._ids[key] for key in keys if key in self._ids}
        missing = sorted(keys - known.keys())
        if not missing:
            return known
        if len(self._ids) + len(missing) > _MAX_REMEMBERED:
            self._ids.clear()
        now_ms = self._clock.now_ms()

        def change(tx: Connection) -> dict[_Key, tuple[int, int]]:
            return {key: _ids(tx, key, now_ms) for key in missing}

        return known | await self._main.write(change, committed=self._ids.update)


def _share(lines: list[_Line]) -> int:
    """How many of the first lines one transaction takes: at least one."""
    count = total = 0
    for at, (_key, events, size) in enumerate(lines):
        count += len(events)
        total += size
        if at and (count > _MAX_WRITE_EVENTS or total > _MAX_WRITE_BYTES):
            return at
    return len(lines)


def _ids(tx: Connection, key: _Key, now_ms: int) -> tuple[int, int]:
    scope, group_name, stream_name = key
    group = rows.group(tx, scope, group_name)
    group_id = group.id if group else rows.insert_group(tx, scope, Group(name=group_name, created_at=now_ms))
    stream = rows.stream(tx, group_id, stream_name)
    return group_id, stream.id if stream else rows.insert_stream(tx, group_id, stream_name, now_ms)
