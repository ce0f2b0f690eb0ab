"""What becomes of a batch: each answer that a function may give, throttles, groups, and sizes."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.eventing.batch import FUNCTION_FAILED, InvokeAgain, Settled, after, event, failures, not_behind, parts
from lambent.eventing.source import Answered, Failed, Record, Refused


def record(name, group=None, expires_at=1000.0, size=0):
    return Record(
        id=name, event=json.dumps({"id": name, "pad": "x" * size}).encode(), group=group, expires_at=expires_at
    )


BATCH = [record("a"), record("b"), record("c")]


def ids(records):
    return [each.id for each in records]


def step(outcome, batch=BATCH, *, reports=True, tries=1, now=0.0):
    return after(outcome, batch, reports_failures=reports, tries=tries, now=now)


def reported(*names):
    return json.dumps({"batchItemFailures": [{"itemIdentifier": name} for name in names]}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b'""',
        b"{}",
        b'{"batchItemFailures": []}',
        b'{"batchItemFailures": null}',
        b'{"statusCode": 200}',
    ],
)
def test_nothing_reported_is_success(payload):
    assert step(Answered(payload)) == Settled(done=tuple(BATCH))


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"not json",
        b"[]",
        b"5",
        b"true",
        b'"ok"',
        b'{"batchItemFailures": {}}',
        b'{"batchItemFailures": "a"}',
        b'{"batchItemFailures": ["a"]}',
        b'{"batchItemFailures": [{}]}',
        b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
        b'{"batchItemFailures": [{"itemIdentifier": null}]}',
        b'{"batchItemFailures": [{"itemIdentifier": 5}]}',
        b'{"batchItemFailures": [{"messageId": "a"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]}',
        b"[" * 5000 + b"]" * 5000,
        b"\xff",
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure_of_the_whole_batch(payload):
    settled = step(Answered(payload))
    assert (ids(settled.done), ids(settled.stay)) == ([], ["a", "b", "c"])
    assert (settled.is_failure, settled.result) == (True, FUNCTION_FAILED)


def test_what_is_reported_stays_and_is_no_failure_of_the_function():
    settled = step(Answered(reported("b", "b")))
    assert (ids(settled.done), ids(settled.stay), settled.is_failure) == (["a", "c"], ["b"], False)


def test_without_the_response_type_an_answer_is_not_looked_at():
    assert ids(step(Answered(reported("a")), reports=False).done) == ["a", "b", "c"]
    assert ids(step(Answered(b"{"), reports=False).done) == ["a", "b", "c"]


def test_a_function_that_fails_leaves_all_where_they_are():
    settled = step(Failed())
    assert (settled.done, settled.stay, settled.is_failure) == ((), tuple(BATCH), True)


def test_a_throttled_batch_is_tried_again_while_it_is_ours():
    waits = [step(Refused("TooManyRequestsException"), tries=tries) for tries in range(1, 9)]
    assert [round(wait.after_s, 1) for wait in waits] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert isinstance(step(Refused("TooManyRequestsException", "Rate Exceeded."), now=999.95), Settled)
    assert step(Refused("TooManyRequestsException", "Rate Exceeded."), now=2000.0).result == "PROBLEM: Rate Exceeded."


def test_the_first_message_to_come_back_decides():
    mixed = [record("a", expires_at=50.0), record("b", expires_at=1000.0)]
    assert isinstance(step(Refused("TooManyRequestsException"), mixed, now=60.0), Settled)


@pytest.mark.parametrize("code", ["RecursiveInvocationException", "ResourceNotFoundException", "AccessDeniedException"])
def test_what_time_does_not_mend_is_not_tried_again(code):
    assert step(Refused(code, "no")).stay == tuple(BATCH)


def test_the_rest_of_a_group_stays_behind_one_that_failed():
    batch = [record("a1", "a"), record("b1", "b"), record("a2", "a"), record("b2", "b"), record("a3", "a")]
    settled = step(Answered(reported("a2")), batch)
    assert (ids(settled.done), ids(settled.stay)) == (["a1", "b1", "b2"], ["a2", "a3"])
    assert ids(not_behind(batch, settled.stay)) == ["b1", "b2"]
    assert not_behind(BATCH, BATCH) == BATCH  # without groups nobody waits for anybody


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(100, 1000))
def test_parts_are_all_records_in_order_and_none_is_too_large(sizes, most):
    records = [record(str(number), size=size) for number, size in enumerate(sizes)]
    found = list(parts(records, most))
    assert [each for part in found for each in part] == records
    assert all(part for part in found)
    assert all(len(event(part)) <= most or len(part) == 1 for part in found)
    for one, following in itertools.pairwise(found):
        assert len(event([*one, following[0]])) > most - 1  # one comma is counted for each record


def test_the_event_of_a_batch_is_its_records():
    assert json.loads(event(BATCH)) == {"Records": [json.loads(each.event) for each in BATCH]}
    assert json.loads(event([])) == {"Records": []}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), st.booleans())
def test_whatever_a_function_answers_each_record_is_done_or_stays(payload, reports):
    settled = step(Answered(payload), reports=reports)
    assert sorted(ids(settled.done) + ids(settled.stay)) == ["a", "b", "c"]
    if settled.stay and not settled.is_failure:
        assert failures(payload, BATCH) == set(ids(settled.stay))


@given(st.integers(1, 10_000), st.floats(0, 1e9), st.floats(0, 1e9))
def test_who_is_told_to_try_again_does_so_before_the_batch_is_somebody_elses(tries, now, expires_at):
    batch = [record("a", expires_at=expires_at)]
    answer = step(Refused("TooManyRequestsException"), batch, tries=tries, now=now)
    if isinstance(answer, InvokeAgain):
        assert 0 < answer.after_s <= 10
        assert now + answer.after_s < expires_at
    assert isinstance(step(Refused("ServiceException"), [record("a", expires_at=math.inf)], now=now), InvokeAgain)
