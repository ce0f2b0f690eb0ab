"""Tasks that move the messages of a dead-letter queue back to where they came from, or elsewhere.

A message is moved in one transaction, so that it is always in one queue. Moved, it is a new one: with another id, sent
now, never received. A task goes on after a restart.

Source: Amazon SQS API Reference, StartMessageMoveTask; Developer Guide, "Configure a dead-letter queue redrive".
"""

import asyncio
import uuid
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.services.sqs import rows
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.live import Ground, LiveQueue
from lambent.services.sqs.messages import Content, decoded
from lambent.services.sqs.model import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    FAILED,
    MAX_VISIBILITY_S,
    RUNNING,
    MoveTask,
)

_AT_ONCE: Final = 100  # messages of one transaction
_ROUND_S: Final = 1.0
_KEPT: Final = 10  # ended tasks of a queue: what ListMessageMoveTasks shows at most
_LONGEST_MS: Final = 36 * 3_600_000
_NO_SOURCE: Final = "CouldNotDetermineMessageSource"
_NO_QUEUE: Final = "AWS.SimpleQueueService.NonExistentQueue"


class _Moved(NamedTuple):
    """A message that goes from one queue to another."""

    old: Entry
    new: Entry
    content: Content
    target: LiveQueue


class _Failed(Exception):
    """A task cannot go on; the text is its FailureReason."""


@dataclass(slots=True, eq=False)
class Moves:
    """All tasks of a node. Its `run` must be awaited by whoever made it."""

    ground: Ground
    log: Log
    tasks: dict[str, MoveTask] = field(default_factory=dict)
    _new: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)  # at most MAX_ACTIVE of each account
    _stop: dict[str, asyncio.Event] = field(default_factory=dict)

    def loaded(self, found: list[MoveTask]) -> None:
        """Takes up the tasks that the store has."""
        for task in found:
            self.tasks[task.id] = task
            if task.is_active:
                self._begin(task)

    def active(self) -> list[MoveTask]:
        """The tasks that are under way."""
        return [task for task in self.tasks.values() if task.is_active]

    def _begin(self, task: MoveTask) -> None:
        self._stop[task.id] = asyncio.Event()
        self._new.put_nowait(task.id)

    async def start(self, source: LiveQueue, destination: str | None, per_second: int | None) -> MoveTask:
        """Stores a task and begins it."""
        task = MoveTask(
            id=str(uuid.uuid4()),
            number=self.ground.next_number(),
            scope=source.queue.scope,
            source=source.queue.arn,
            destination=destination,
            per_second=per_second,
            to_move=source.counts().visible,
            started_ms=self.ground.time.now(),
        )
        self.tasks[task.id] = task  # at once, so that there is no second one
        try:
            await self._keep(task)
        except BaseException:
            del self.tasks[task.id]
            raise
        self._begin(task)
        return task

    async def cancel(self, task: MoveTask) -> None:
        """Ends a task when what it is moving has been moved."""
        await self._keep(replace(task, status=CANCELLING))
        self._stop[task.id].set()

    async def run(self) -> None:
        """Carry out tasks, until cancelled."""
        async with asyncio.TaskGroup() as running:
            while True:
                task_id = await self._new.get()
                name = f"sqs.move.{task_id}"
                running.create_task(supervise(name, partial(self._carry_out, task_id), self.log), name=name)

    async def _carry_out(self, task_id: str) -> None:
        stop = self._stop[task_id]
        try:
            while self.tasks[task_id].status == RUNNING:
                if not await self._round(task_id):
                    await self._end(task_id, COMPLETED)
                elif self.tasks[task_id].per_second is not None:
                    await self.ground.clock.wait(stop, _ROUND_S)
        except _Failed as failure:
            await self._end(task_id, FAILED, str(failure))
        else:
            if self.tasks[task_id].status == CANCELLING:
                await self._end(task_id, CANCELLED)

    async def _end(self, task_id: str, status: str, reason: str | None = None) -> None:
        task = self.tasks[task_id]
        if status == COMPLETED and task.status == CANCELLING:
            status = CANCELLED
        await self._keep(replace(task, status=status, reason=reason))
        ended = [one for one in self.tasks.values() if one.source == task.source and not one.is_active]
        old = [one.id for one in sorted(ended, key=lambda one: one.number)[:-_KEPT]]
        if old:
            await self.ground.database.write(lambda tx: rows.delete_move_tasks(tx, old))
        for each in old:
            del self.tasks[each]

    async def _round(self, task_id: str) -> int:
        """Moves the messages of one second, or as many as fit into a transaction; how many."""
        task, moved = self.tasks[task_id], 0
        if self.ground.time.now() > task.started_ms + _LONGEST_MS:
            raise _Failed("The task took longer than 36 hours.")
        most = task.per_second or _AT_ONCE
        while moved < most and self.tasks[task_id].status == RUNNING:
            some = await self._move_some(self.tasks[task_id], min(most - moved, _AT_ONCE))
            if not some:
                break
            moved += some
        return moved

    async def _move_some(self, task: MoveTask, most: int) -> int:
        source = self.ground.find(task.source)
        if source is None:
            raise _Failed(_NO_QUEUE)
        await source.open()
        entries = await source.take_to_move(most, MAX_VISIBILITY_S * 1000)
        if not entries:
            return 0
        try:
            await self._commit(task, source, await self._plan(task, entries))
        except asyncio.CancelledError:
            raise  # what was begun is done all the same
        except IntegrityError:
            source.give_back(entries)
            raise _Failed(_NO_QUEUE) from None
        except BaseException:
            source.give_back(entries)
            raise
        return len(entries)

    async def _plan(self, task: MoveTask, entries: list[Entry]) -> list[_Moved]:
        seqs = [entry.seq for entry in entries]
        fetched = await self.ground.database.read(lambda tx: rows.contents(tx, seqs))
        moves = []
        for entry in entries:
            if entry.seq not in fetched:
                continue
            content, origin = fetched[entry.seq]
            target_arn = task.destination or origin
            if target_arn is None:
                raise _Failed(_NO_SOURCE)
            target = self.ground.find(target_arn)
            if target is None:
                raise _Failed(_NO_QUEUE)
            now = target.now()
            new = Entry(self.ground.next_number(), now, now + target.queue.delay_ms, group=entry.group)
            told = msgspec.structs.replace(decoded(content), message_id=str(uuid.uuid4()))
            moves.append(_Moved(entry, new, told, target))
        return moves

    async def _commit(self, task: MoveTask, source: LiveQueue, moves: list[_Moved]) -> None:
        partition = source.queue.partition

        def change(tx: Connection) -> tuple[MoveTask, list[_Moved]]:
            done = [move for move in moves if rows.remove_messages(tx, partition, [move.old.seq])]
            for move in done:
                position = move.target.position(move.new)
                rows.insert_messages(tx, move.target.queue.id, [(move.new, position, move.content.encoded())])
            kept = replace(task, moved=task.moved + len(done))
            rows.keep_progress(tx, kept)
            return kept, done

        def moved(outcome: tuple[MoveTask, list[_Moved]]) -> None:
            kept, done = outcome
            self.tasks[task.id] = replace(self.tasks[task.id], moved=kept.moved)
            source.removed([move.old.seq for move in moves], len(done))
            for move in done:
                move.target.sent([(move.new, move.content)])

        await self.ground.database.write(change, committed=moved)

    async def _keep(self, task: MoveTask) -> None:
        def follow(_done: None) -> None:
            self.tasks[task.id] = replace(task, moved=max(task.moved, self.tasks[task.id].moved))

        await self.ground.database.write(lambda tx: rows.keep_move_task(tx, task), committed=follow)
