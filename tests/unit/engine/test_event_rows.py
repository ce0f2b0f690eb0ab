"""Events in the database."""

import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine

from lambent.aws.caller import Scope
from lambent.engine import rows
from lambent.store.schema import MAIN

EVENT = rows.Event(
    scope=Scope("000000000000", "us-east-1"),
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    qualifier=None,
    request_id="request",
    payload=b"{}",
    arrived_ms=1,
    visible_ms=1,
)


def test_an_id_is_never_used_again():
    """The queue knows running events by their id; one that comes as another goes must not be taken for it."""
    with create_engine("sqlite://").connect() as tx:
        MAIN.create_all(tx, tables=[rows.EVENTS])
        first = rows.insert_event(tx, EVENT)
        rows.delete_event(tx, first)
        assert rows.insert_event(tx, EVENT) > first


@pytest.mark.parametrize(
    "payloads",
    [
        [b'{"a": "\\u0000\\ud83d"}', b"[1]", '"\u00fc\U0001f600"'.encode()],
        [b"[1]", b"no text \xff", b"[2]"],
        [b"[1]", b'"' + b"x" * 100_000 + b'"'],
        [b"[1]", b"a\0b"],
    ],
)
def test_a_group_is_kept_as_it_was(payloads):
    """Whether all of it can go into one statement or not."""
    events = [replace(EVENT, payload=one, request_id=f"r{at}", qualifier="live") for at, one in enumerate(payloads)]
    events[0] = replace(events[0], qualifier=None, trace_header='Root=1-"2"')
    with create_engine("sqlite://").connect() as tx:
        MAIN.create_all(tx, tables=[rows.EVENTS])
        ids = rows.insert_events(tx, events)
        assert [rows.event(tx, key) for key in ids] == [
            replace(event, id=key) for event, key in zip(events, ids, strict=True)
        ]
        rows.delete_events(tx, ids[1:])
        assert rows.due_ids(tx, 10, 10) == [ids[0]]
