"""Queues with more messages than memory holds: what comes next is known ahead, and what is known has a bound."""

import json

import pytest
from tests.unit.services.sqs.sqs_service import ARN, Client, opened, with_sqs

from lambent.services.sqs.entries import Entry
from lambent.services.sqs.fifo import FifoQueue
from lambent.services.sqs.live import Delays
from lambent.services.sqs.standard import StandardQueue
from lambent.testing.loop import run


async def fill(sqs: Client, url: str, count: int, *, groups: int = 0, body: str = "") -> None:
    """Messages 0, 1, 2, ... each followed by the same text."""
    for start in range(0, count, 10):
        entries = [
            {"Id": str(number % 10), "MessageBody": f"{number} {body}"}
            | ({"MessageGroupId": f"g{number % groups}", "MessageDeduplicationId": str(number)} if groups else {})
            for number in range(start, start + 10)
        ]
        await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)


async def numbers(sqs: Client, url: str) -> list[int]:
    return [int(body.split()[0]) for body in await sqs.bodies(url)]


@pytest.mark.parametrize(("name", "groups", "ahead"), [("q", 0, 1_000), ("q.fifo", 20, 500)])
def test_bodies_are_read_ahead(tmp_path, name, groups, ahead):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue(name)
            await fill(sqs, url, 1_500, groups=groups)
        async with opened(tmp_path, clock) as sqs:  # which knows nothing of what was sent before
            contents = sqs.service.ground.contents
            found = await numbers(sqs, url)
            assert ahead - 10 <= len(contents) <= ahead + 10, "the next receives need no look at the disk"
            while more := await numbers(sqs, url):
                found += more
            if groups:  # each has one batch in flight
                assert found == [number for first in range(20) for number in range(first, first + 200, 20)]
            else:
                assert found == list(range(1_500))

    run(main)


def test_large_bodies_are_not_read_ahead_and_come_all_the_same(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue()
            await fill(sqs, url, 30, body="x" * 5_000)
            await sqs.send(url, "30 small")
        async with opened(tmp_path, clock) as sqs:
            assert await numbers(sqs, url) == list(range(10))
            assert len(sqs.service.ground.contents) == 1
            assert await numbers(sqs, url) + await numbers(sqs, url) + await numbers(sqs, url) == list(range(10, 31))

    run(main)


def test_a_dead_letter_that_was_read_ahead_knows_where_it_comes_from(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            dead = await sqs.queue("dead")
            redrive = {"deadLetterTargetArn": f"{ARN}dead", "maxReceiveCount": 1}
            url = await sqs.queue("q", RedrivePolicy=json.dumps(redrive))
            await sqs.send(url, "a")
            for _ in range(2):
                await sqs.receive(url, VisibilityTimeout=0)
        async with opened(tmp_path, clock) as sqs:
            (letter,) = await sqs.receive(dead)
            assert letter["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}q"

    run(main)


def test_what_was_deleted_is_not_known_any_more(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            urls = [await sqs.queue("q"), await sqs.queue("q.fifo")]
            for url, groups in zip(urls, (0, 3), strict=True):
                await fill(sqs, url, 100, groups=groups)
        async with opened(tmp_path, clock) as sqs:
            for url in urls:
                while messages := await sqs.receive(url):
                    await sqs.delete(url, *messages)
            assert len(sqs.service.ground.contents) == 0

    run(main)


def test_a_million_delays_take_no_more_memory_than_the_tenths_of_a_quarter_of_an_hour():
    delays = Delays()
    for number in range(1_000_000):
        delays.add(10**12 + number * 9 // 10)
    assert len(delays._due) == len(delays._counts) == 9_000
    assert delays.count(10**12 - 1) == 1_000_000
    assert 499_800 <= delays.count(10**12 + 450_000) <= 500_200
    assert delays.count(10**12 + 900_000) == 0
    assert not delays._due
    assert not delays._counts


def test_the_delays_of_a_queue_are_counted_after_a_restart(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue("q.fifo", DelaySeconds=900)
            await fill(sqs, url, 20, groups=3)
            await sqs.clock.sleep(899)
        async with opened(tmp_path, clock) as sqs:
            assert await sqs.counts(url) == (0, 0, 20)
            await sqs.clock.sleep(1)
            assert await sqs.counts(url) == (20, 0, 0)

    run(main)


def test_attempts_that_mean_nothing_any_more_are_forgotten(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo", VisibilityTimeout=0)
        await fill(sqs, url, 10, groups=2)
        first = await sqs.receive(url, 5, VisibilityTimeout=60, ReceiveRequestAttemptId="first")
        for number in range(2_000):
            assert await sqs.receive(url, 1, ReceiveRequestAttemptId=str(number))
        (live,) = sqs.service.by_key.values()
        assert len(live._attempts) <= 1_000
        assert await sqs.bodies(url, ReceiveRequestAttemptId="first") == [message["Body"] for message in first]

    with_sqs(tmp_path, test)


def test_what_is_kept_for_the_order_of_groups_is_bounded():
    queue, seqs = StandardQueue(), iter(range(1_000_000))
    queue.add(Entry(2_000_000, 0, 0))  # comes before what a noisy group has at its noisiest: nobody looks behind it
    queue.add(Entry(next(seqs), 0, 0, group="noisy"))
    for _ in range(3_000):
        for _message in range(10):
            queue.add(Entry(next(seqs), 0, 0, group="noisy"))
        taken, _dead = queue.take(1, 10, 100, max_receives=None, sent_after=-1)
        assert {entry.group for entry in taken} == {"noisy"}
        for entry in taken:
            queue.remove(entry.seq)
    assert len(queue._order) <= 2 * len(queue._ready) + queue.window
    assert len(queue._due) <= 2 * len(queue.entries) + queue.window + 1


def test_a_group_is_noted_as_free_once_however_many_messages_it_has():
    queue = FifoQueue()
    for seq in range(10_000):
        queue.add(Entry(seq, 0, seq, group=f"{seq % 3}"))
    queue.settle(20_000)
    assert len(queue._free) == 3


def test_what_is_delayed_is_left_to_the_store():
    queue = StandardQueue()
    for seq in range(1, 10 * queue.window):
        queue.add(Entry(seq, 0, 1_000 + seq))
    assert queue.horizon is not None
    assert not queue.is_short(900, 10)
    assert queue.is_short(queue.horizon[0], 2 * queue.window)


def test_a_receive_that_the_store_does_not_know_stays_in_memory():
    queue = StandardQueue()
    queue.window = 2
    queue.add(Entry(1, 0, 0))
    ((received,), _dead) = queue.take(0, 1, 50, max_receives=None, sent_after=-1)
    received.is_dirty = True
    for seq in range(2, 20):
        queue.add(Entry(seq, 0, 1))
    queue.settle(60)  # it is the last in line now, where others are left to the store
    assert 19 not in queue.entries
    assert queue.entries[1] is received


def test_no_more_than_the_documented_number_of_a_fifo_queue_is_in_flight():
    queue = FifoQueue()
    for seq in range(1, queue.max_known + 1):
        queue.add(Entry(seq, 0, 0, group=str(seq)))
    taken, _dead = queue.take(1, queue.max_known, 10**9, max_receives=None, sent_after=-1)
    assert len(taken) == queue.in_flight == 120_000
    queue.remove(7)
    queue.load([Entry(10**6, 0, 0, group="a"), Entry(10**6 + 1, 0, 0, group="b")], 1, is_all=True)
    taken, _dead = queue.take(2, 10, 10**9, max_receives=None, sent_after=-1)
    assert [entry.seq for entry in taken] == [10**6], "one past the limit waits; AWS answers no error"
