"""Any history of a queue and its mapping: every message ends deleted, in the queue, or in the dead-letter queue.

A plain model of a queue, and the real decisions. Functions answer anything, lanes die between any two steps, the clock
jumps; a message is deleted only when a function has had it and did not report it, and a group stays in order.
"""

import json

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.eventing import batch
from lambent.eventing.batch import InvokeAgain
from lambent.eventing.source import Answered, Failed, Record, Refused

VISIBILITY_S = 30.0
MOST_RECEIVES = 3
CLUMSY = [b"{", b"[]", b'{"batchItemFailures": [{"itemIdentifier": ""}]}', b'{"batchItemFailures": 5}', b'"x"']


class QueueAndMapping(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.sent = 0
        self.queue = {}  # id: [group, receives, hidden until]
        self.dead = set()
        self.deleted = set()
        self.succeeded = set()  # what a function had and did not report
        self.lanes = []  # [records, tries, what is still to delete]

    @rule(group=st.sampled_from([None, "a", "b"]), count=st.integers(1, 4))
    def send(self, group, count):
        for _ in range(count):
            self.sent += 1
            self.queue[f"m{self.sent}"] = [group, 0, 0.0]

    @rule(most=st.integers(1, 10))
    def receive(self, most):
        locked = {group for group, _receives, until in self.queue.values() if group and until > self.now}
        found = []
        for name, row in list(self.queue.items()):
            group, receives, until = row
            if len(found) == most or until > self.now or group in locked:
                continue
            if receives == MOST_RECEIVES:
                self.dead.add(name)
                del self.queue[name]
                continue
            row[1:] = [receives + 1, self.now + VISIBILITY_S]
            found.append(Record(id=name, event=b"{}", group=group, expires_at=self.now + VISIBILITY_S))
        if found:
            self.lanes.append([found, 0, None])

    @precondition(lambda self: any(lane[2] is None for lane in self.lanes))
    @rule(data=st.data())
    def invoke(self, data):
        lane = data.draw(st.sampled_from([lane for lane in self.lanes if lane[2] is None]))
        records, tries, _ = lane
        names = [record.id for record in records]
        failed = data.draw(st.lists(st.sampled_from(names), unique=True))
        reports = json.dumps({"batchItemFailures": [{"itemIdentifier": name} for name in failed]}).encode()
        outcome = data.draw(
            st.sampled_from(
                [
                    Answered(b"null"),
                    Answered(reports),
                    *map(Answered, CLUMSY),
                    Failed(),
                    Refused("TooManyRequestsException"),
                    Refused("RecursiveInvocationException"),
                ]
            )
        )
        step = batch.after(outcome, records, reports_failures=True, tries=tries + 1, now=self.now)
        if isinstance(step, InvokeAgain):
            lane[1] += 1
            assert self.now + step.after_s < min(record.expires_at for record in records)
            self.now += step.after_s
            return
        assert {record.id for record in step.done} | {record.id for record in step.stay} == set(names)
        assert not {record.id for record in step.done} & {record.id for record in step.stay}
        if step.done:
            assert isinstance(outcome, Answered)
            assert outcome.payload in (b"null", reports)
        self.succeeded |= {record.id for record in step.done}
        for group in {record.group for record in records if record.group}:
            mine = [record for record in records if record.group == group]
            done = [record for record in mine if record in step.done]
            assert done == mine[: len(done)]  # nothing is deleted behind one that stays
        lane[2] = list(step.done)

    @precondition(lambda self: any(lane[2] is not None for lane in self.lanes))
    @rule(data=st.data(), count=st.integers(0, 10))
    def delete(self, data, count):
        """Some of them: the rest is cut off, or comes later."""
        lane = data.draw(st.sampled_from([lane for lane in self.lanes if lane[2] is not None]))
        now, lane[2] = lane[2][:count], lane[2][count:]
        for record in now:
            if record.id in self.queue:
                del self.queue[record.id]
                self.deleted.add(record.id)
        if not lane[2]:
            self.lanes.remove(lane)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def crash(self, data):
        self.lanes.remove(data.draw(st.sampled_from(self.lanes)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 29.0, 31.0, 3600.0, -100.0]))
    def clock(self, seconds):
        self.now += seconds

    @invariant()
    def each_message_is_in_one_place(self):
        assert len(self.queue) + len(self.dead) + len(self.deleted) == self.sent
        assert not self.dead & self.deleted

    @invariant()
    def nothing_is_deleted_that_no_function_had(self):
        assert self.deleted <= self.succeeded

    def teardown(self):
        """Whatever happened: given time and a function that works, the queue runs empty."""
        self.lanes.clear()
        for _ in range(MOST_RECEIVES + 1 + self.sent):
            self.now += 2 * VISIBILITY_S + 3600
            self.receive(10)
            for records, tries, _ in self.lanes:
                step = batch.after(Answered(b"null"), records, reports_failures=True, tries=tries + 1, now=self.now)
                for record in step.done:
                    del self.queue[record.id]
                    self.deleted.add(record.id)
            self.lanes.clear()
        assert not self.queue
        assert len(self.dead) + len(self.deleted) == self.sent


TestQueueAndMapping = QueueAndMapping.TestCase
