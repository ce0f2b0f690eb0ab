"""Events in the database."""

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
