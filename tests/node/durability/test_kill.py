"""A node that is killed at any moment keeps all that it acknowledged, and no half of a change."""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.node.durability.things import (
    EventsThing,
    FifoThing,
    FunctionThing,
    GroupThing,
    LinesThing,
    QueueThing,
    RecordsThing,
    RoleThing,
    Unanswered,
)

_KINDS = {EventsThing: 1, RecordsThing: 1, FunctionThing: 3, RoleThing: 2, GroupThing: 2, LinesThing: 1}
_QUEUES = {QueueThing: 2, FifoThing: 2}


@pytest.mark.timeout(300)
def test_ten_kills_lose_nothing_acknowledged(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 10)
    assert '"level":"error"' not in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_nothing_acknowledged(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 100)
    assert '"level":"error"' not in capfd.readouterr().err


@pytest.mark.timeout(300)
def test_ten_kills_lose_no_message_and_send_none_twice(own_node, tmp_path):
    _kill_again_and_again(own_node, tmp_path / "data", 10, _QUEUES)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_no_message_and_send_none_twice(own_node, tmp_path):
    _kill_again_and_again(own_node, tmp_path / "data", 100, _QUEUES)


def _kill_again_and_again(own_node, data_dir, times, kinds=_KINDS):
    seed = int(os.environ.get("DURABILITY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DURABILITY_SEED={seed}")
    rng = random.Random(seed)
    things = [
        kind(f"{kind.__name__}-{number}{kind.suffix}", random.Random(rng.random()))
        for kind, count in kinds.items()
        for number in range(count)
    ]
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        for thing in things:
            thing.prepare(node)
    for _ in range(times):
        with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
            if rng.random() < 0.2:  # it also survives being killed while it recovers
                os.kill(node.pid, signal.SIGKILL)
                continue
            _settle(node, things)
            _write_until_killed(node, things, rng)
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        _settle(node, things)
        for thing in things:
            thing.use(node)
    acknowledged = {thing.name: thing.acknowledged for thing in things}
    print(acknowledged)
    assert all(acknowledged.values())


def _settle(node, things):
    is_queue = [isinstance(thing, QueueThing) for thing in things]
    for service in ("sqs",) if all(is_queue) else ("iam", "lambda", "logs", "sqs"):
        node.client(service)  # making one is not thread-safe, and takes long
    for thing in things:
        thing.settle(node)


def _write_until_killed(node, things, rng):
    """Everybody writes at once; the kill comes after a random number of answers and a random moment more."""
    left, enough = [rng.randrange(1, 200)], threading.Event()

    def write(thing):
        try:
            while True:
                thing.step(node)
                left[0] -= 1
                if left[0] <= 0:
                    enough.set()
        except Unanswered:
            pass
        finally:
            enough.set()  # also when it failed otherwise: nobody waits in vain

    with ThreadPoolExecutor(len(things)) as threads:
        writers = [threads.submit(write, thing) for thing in things]
        enough.wait()
        threading.Event().wait(rng.random() * 0.02)
        os.kill(node.pid, signal.SIGKILL)
    for writer in writers:
        writer.result()
