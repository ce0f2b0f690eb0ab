"""A node that dies exactly between two steps of the store: what it had said holds, and no step is there by half."""

import contextlib
import itertools
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.node.durability.things import (
    EventsThing,
    FunctionThing,
    GroupThing,
    RecordsThing,
    RoleThing,
    Unanswered,
    streams_of,
)

from lambent.pytest_plugin import LambentNode

_KINDS = (FunctionThing, RoleThing, GroupThing)


# A start writes too: tables, and what metrics no longer need. The counts are such that the things' own steps are hit.
@pytest.mark.parametrize(
    ("point", "counts"), [("store.written", (15, 25)), ("store.committed", (15, 25)), ("blobs.written", (3, 8))]
)
def test_a_crash_between_two_steps_loses_nothing_acknowledged(point, counts, own_node, tmp_path):
    data = str(tmp_path / "data")
    things = [kind(kind.__name__, random.Random(point)) for kind in _KINDS]
    for count in counts:
        with _crashing_node(f"{point}:{count}", data) as (process, node):
            for thing in things:
                thing.settle(node)
            _step_until_it_dies(node, things)
            assert process.wait(timeout=30) == -signal.SIGKILL
    with own_node("--data-dir", data, ephemeral=False) as node:
        for thing in things:
            thing.settle(node)
            thing.use(node)


def test_an_event_whose_node_dies_before_it_is_deleted_runs_again(own_node, tmp_path):
    data = str(tmp_path / "data")
    event = EventsThing("events", random.Random(0))
    with _crashing_node("event.responded:2", data) as (process, node):
        event.prepare(node)
        event.step(node)
        event.settle(node)
        _step_until_it_dies(node, [event])
        assert process.wait(timeout=30) == -signal.SIGKILL
    again_ms = int(time.time() * 1000)
    with own_node("--data-dir", data, ephemeral=False) as node:
        event.settle(node)
        deadline = time.monotonic() + 60
        while not _starts(node, event.name, again_ms):
            assert time.monotonic() < deadline, "the event that was not deleted did not run again"


@pytest.mark.parametrize("point", ["event.responded", "event.ended", "event.delivered"])
def test_a_record_whose_node_dies_before_or_after_its_delivery_arrives(point, own_node, tmp_path):
    data = str(tmp_path / "data")
    records = RecordsThing("records", random.Random(0))
    with _crashing_node(f"{point}:3", data) as (process, node):
        records.prepare(node)
        _step_until_it_dies(node, [records])
        assert process.wait(timeout=30) == -signal.SIGKILL
    with own_node("--data-dir", data, ephemeral=False) as node:
        records.settle(node)
        assert records.state <= streams_of(node, records.group)


def _starts(node, name, from_ms):
    client = node.client("logs")
    wanted = {"startTime": from_ms, "filterPattern": "START"}
    try:
        return client.filter_log_events(logGroupName=f"/aws/lambda/{name}", **wanted)["events"]
    except client.exceptions.ResourceNotFoundException:
        return []  # the crash took the lines of the first run


def _step_until_it_dies(node, things):
    with contextlib.suppress(Unanswered):
        for thing in itertools.cycle(things):
            thing.step(node)


@contextlib.contextmanager
def _crashing_node(point, data):
    command = [sys.executable, "-m", "lambent.testing.faults", point, "up", "--port", "0", "--data-dir", data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            yield process, LambentNode(re.search(r"http://\S+", line)[0], process.pid)
        finally:
            process.kill()
