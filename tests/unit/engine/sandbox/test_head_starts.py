"""How many environments wait with their program up, and of which kind."""

import os
import socket

import pytest

from lambent.engine.sandbox.head_starts import HeadStarts, Kind
from lambent.engine.sandbox.walls import Environment


def order(flag):
    return {"trees": {"/node": "/usr/bin/node"}, "head_start": {"command": ["/node", flag, "x"], "environment": {}}}


@pytest.fixture
def starting():
    """Has an environment start for a kind; the other end of its control socket."""
    ends = []

    def start(head_starts, kind):
        environment = Environment(len(ends))
        ours, theirs = socket.socketpair()
        ends.extend((ours, theirs))
        environment.node_ends["control"] = ours.fileno()
        assert head_starts.starts(kind, environment) == ours.fileno()
        return environment, theirs

    yield start
    for end in ends:
        end.close()


def ready(head_starts, starting, kind):
    environment, theirs = starting(head_starts, kind)
    theirs.send(b"\x01")
    assert head_starts.has_started(environment.node_ends["control"]) == (environment, True)
    return environment


def test_nothing_waits_before_it_was_asked_for(starting):
    head_starts = HeadStarts(4)
    assert head_starts.lacking() is None
    assert head_starts.take({"head_start": None}) is None
    assert head_starts.take(order("a")) is None
    kind = head_starts.lacking()
    assert isinstance(kind, Kind)
    environment = ready(head_starts, starting, kind)
    assert head_starts.counts() == {"/usr/bin/node a": 1}
    assert head_starts.take(order("b")) is None
    assert head_starts.take(order("a")) is environment
    assert head_starts.counts() == {}


def test_one_starts_at_a_time_and_its_order_says_that_it_waits(starting):
    head_starts = HeadStarts(4)
    kind = head_starts.expect(order("a"))
    _environment, theirs = starting(head_starts, kind)
    assert head_starts.lacking() is None
    frame = theirs.recv(65536)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 5
    assert b'"waits": true' in frame
    assert b'"LAMBENT_HEAD_START"' in frame


def test_as_many_as_were_asked_for_and_no_more_than_allowed(starting):
    head_starts = HeadStarts(3)
    for _one in range(5):
        head_starts.expect(order("a"))
    made = []
    while kind := head_starts.lacking():
        made.append(ready(head_starts, starting, kind))
    assert len(made) == 3
    assert head_starts.surplus() == []


def test_a_new_kind_takes_the_place_of_the_largest(starting):
    head_starts = HeadStarts(3)
    for _one in range(3):
        head_starts.expect(order("a"))
        ready(head_starts, starting, head_starts.lacking())
    head_starts.expect(order("b"))
    ready(head_starts, starting, head_starts.lacking())
    assert len(head_starts.surplus()) == 1
    assert head_starts.counts() == {"/usr/bin/node a": 2, "/usr/bin/node b": 1}
    head_starts.expect(order("b"))
    assert head_starts.lacking() is None


def test_what_was_not_asked_for_lately_goes_but_for_one_and_after_an_hour_that_too(starting):
    head_starts = HeadStarts(9)
    for _one in range(3):
        kind = head_starts.expect(order("a"))
        ready(head_starts, starting, kind)
    kind.asked = type(kind.asked)([moment - 61 for moment in kind.asked])
    assert len(head_starts.surplus()) == 2
    kind.asked = type(kind.asked)([moment - 3600 for moment in kind.asked])
    assert len(head_starts.surplus()) == 1
    assert head_starts.is_empty()
    assert head_starts.lacking() is None


def test_a_program_that_does_not_start_is_given_up(starting):
    head_starts = HeadStarts(9)
    for _one in range(3):
        kind = head_starts.expect(order("a"))
        assert head_starts.lacking() is kind
        environment, theirs = starting(head_starts, kind)
        theirs.close()
        assert head_starts.has_started(environment.node_ends["control"]) == (environment, False)
    assert head_starts.lacking() is None


def test_one_that_ends_is_nobodys(starting):
    head_starts = HeadStarts(9)
    kind = head_starts.expect(order("a"))
    waits = ready(head_starts, starting, kind)
    starts, _theirs = starting(head_starts, kind)
    assert head_starts.lose(waits) is None
    assert head_starts.lose(starts) == starts.node_ends["control"]
    assert head_starts.is_empty()
    reader, writer = os.pipe()
    assert head_starts.has_started(reader) is None
    os.close(reader)
    os.close(writer)


def test_none_is_added_when_memory_gets_short_and_all_go_when_it_is(starting):
    total = 100 << 30
    free = [total // 2]
    head_starts = HeadStarts(9, lambda: (free[0], total))
    for _one in range(2):
        kind = head_starts.expect(order("a"))
        assert head_starts.has_room()
        ready(head_starts, starting, kind)
    free[0] = total // 12
    head_starts.expect(order("a"))
    assert head_starts.lacking() is kind
    assert not head_starts.has_room()
    assert head_starts.lacking() is None  # nor for a while
    assert head_starts.surplus() == []
    free[0] = total // 25
    assert len(head_starts.surplus()) == 2
    assert head_starts.is_empty()


@pytest.mark.parametrize(("gigabytes", "most"), [(1, 1), (8, 3), (24, 10), (500, 20)])
def test_how_many_there_may_be_goes_by_the_machines_memory(starting, gigabytes, most):
    head_starts = HeadStarts(20, lambda: (gigabytes << 30, gigabytes << 30))
    for _one in range(30):
        head_starts.expect(order("a"))
    made = 0
    while kind := head_starts.lacking():
        ready(head_starts, starting, kind)
        made += 1
    assert made == most
