"""No statement of a rows.py looks through a whole table, but for those that want all of it."""

import random

from sqlalchemy import create_engine, event
from tests.unit.store.rows_modules import MODULES, call, frame_in, functions

from lambent.store.schema import BULK, MAIN

_ROUNDS = 60
_READS_ALL = {
    ("lambent.services.lambda_.rows", "everything"),  # at start
    ("lambent.services.lambda_.layers.rows", "everything"),  # at start
    ("lambent.services.lambda_.mappings.rows", "everything"),  # at start
    ("lambent.services.logs.rows", "groups_with_retention"),  # every ten minutes
    ("lambent.services.logs.rows", "tombstones"),  # whatever was deleted and has not been removed yet
    ("lambent.services.s3.rows", "all_buckets"),  # at start
    ("lambent.services.s3.rows", "unmentioned"),  # an index that has nothing else
    ("lambent.services.sns.rows", "all_topics"),  # at start
    ("lambent.services.sns.rows", "all_subscriptions"),  # at start
    ("lambent.services.sns.rows", "waited_for"),  # at start
    ("lambent.services.sns.rows", "collect"),  # at start
    ("lambent.services.sqs.rows", "all_queues"),  # at start
    ("lambent.services.sqs.rows", "move_tasks"),  # at start
    ("lambent.services.sqs.rows", "_go_back"),  # at start, when the clock was set back
    ("lambent.services.sqs.rows", "next_epoch"),  # the same
    ("lambent.services.sqs.rows", "collect"),  # any one of what was deleted and has not been removed yet
    ("lambent.services.logs.rows", "insert_events"),  # json_each over the batch itself
    ("lambent.engine.rows", "insert_events"),  # the same
    ("lambent.engine.rows", "delete_events"),  # the same
}


def test_tables_are_read_by_their_keys():
    scans = {(module.__name__, name): step for module in MODULES for name, step in _scans(module)}
    assert set(scans) == _READS_ALL, scans


def _scans(module):
    """(function, step of the plan) of every statement that goes through a whole table."""
    engine, rng, found = create_engine("sqlite://"), random.Random(4711), set()
    with engine.connect() as tx:
        MAIN.create_all(tx)
        BULK.create_all(tx)

        @event.listens_for(engine, "before_cursor_execute")
        def _explain(connection, _cursor, statement, parameters, _context, many):
            frame = frame_in(module)
            if frame is None or not statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                return
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters[0] if many else parameters)
            steps = [step for *_, step in cursor.fetchall()]
            found.update((_outermost(frame), step) for step in steps if step.startswith("SCAN"))

        for _ in range(_ROUNDS):
            for function in functions(module):
                call(function, tx, rng)
    engine.dispose()
    return found


def _outermost(frame):
    """The public function of the module that this is part of."""
    name = frame.f_code.co_name
    while frame is not None:
        if frame.f_code.co_filename.endswith("rows.py"):
            name = frame.f_code.co_name
        frame = frame.f_back
    return name
