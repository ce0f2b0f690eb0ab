"""What is visible, and what is next: the two kinds of queues against models that keep every message in a list.

The store is a list too, of which the queues see the parts that they ask for.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lambent.services.sqs import fifo, standard
from lambent.services.sqs.entries import Entry, State
from lambent.services.sqs.fifo import FifoQueue
from lambent.services.sqs.live import Contents, Told
from lambent.services.sqs.messages import Content
from lambent.services.sqs.standard import StandardQueue

MOST_RECEIVES = 4
RETENTION = 50
GROUPS = st.sampled_from(["a", "b", "c"])


class Known:
    """A message as the model has it."""

    def __init__(self, seq, now, delay, group):
        self.seq, self.sent, self.visible, self.receives, self.group = seq, now, now + delay, 0, group
        self.in_flight = False
        self.stored = (self.visible, 0)  # what the store knows: when it is visible, how often it was received


class Cores(RuleBasedStateMachine):
    """Both kinds; `messages` is all that is neither deleted, expired nor dead."""

    is_fifo = False

    def __init__(self):
        super().__init__()
        self.now, self.seq = 100, 0
        self.messages: dict[int, Known] = {}
        self.ended: dict[int, str] = {}
        self.core = self.empty()
        self.held: list[Entry] = []

    def empty(self):
        return FifoQueue() if self.is_fifo else StandardQueue()

    # what the service does with a core

    def stored(self, after):
        """The rows behind a position, in their order."""
        rows = sorted(
            (known.seq if self.is_fifo else known.stored[0], known.seq, known) for known in self.messages.values()
        )
        found = []
        for position, seq, known in rows:
            if (position, seq) > after:
                found.append(Entry(seq, known.sent, known.stored[0], known.stored[1], None, known.group))
        return found

    def fill(self, most):
        while self.core.is_short(self.now, most):
            horizon = self.core.horizon
            after = (horizon, horizon) if self.is_fifo else horizon
            found = self.stored(after)
            self.core.load(found[:3], self.now, is_all=len(found) <= 3)

    def settle(self):
        for known in self.messages.values():
            if known.in_flight and known.visible <= self.now:
                known.in_flight = False

    @rule(steps=st.integers(0, 5))
    def time_passes(self, steps):
        self.now += steps
        self.settle()

    @rule(count=st.integers(1, 4), delay=st.sampled_from([0, 0, 0, 1, 7]), data=st.data())
    def send(self, count, delay, data):
        for _ in range(count):
            self.seq += 1
            group = data.draw(GROUPS) if self.is_fifo else data.draw(st.sampled_from([None, None, "a", "b"]))
            self.messages[self.seq] = Known(self.seq, self.now, delay, group)
            self.core.add(Entry(self.seq, self.now, self.now + delay, group=group))

    @rule(most=st.integers(1, 4), timeout=st.integers(0, 6))
    def receive(self, most, timeout):
        self.settle()
        self.expire()
        self.fill(most)
        before = {seq: (known.receives, known.in_flight) for seq, known in self.messages.items()}
        taken, dead = self.core.take(
            self.now, most, self.now + timeout, max_receives=MOST_RECEIVES, sent_after=self.now - RETENTION
        )
        assert len(taken) <= most
        for entry in dead:
            known = self.messages.pop(entry.seq)
            assert known.receives == MOST_RECEIVES
            assert not known.in_flight
            self.ended[entry.seq] = "dead"
            self.core.remove(entry.seq)
        for entry in taken:
            known = self.messages[entry.seq]
            receives, was_in_flight = before[entry.seq]
            assert not was_in_flight, "received by two"
            assert known.visible <= self.now, "before its time"
            assert entry.receives == receives + 1 <= MOST_RECEIVES
            known.receives, known.visible, known.in_flight = entry.receives, self.now + timeout, timeout > 0
            entry.is_dirty = True
        self.check_order(taken, before)
        self.check_all(taken, most)
        self.held += taken

    def check_order(self, taken, before):
        """FIFO: nothing of a group before what was sent earlier, nor beside what is in flight."""
        if not self.is_fifo:
            return
        numbers = [entry.seq for entry in taken]
        for entry in taken:
            others = [known for known in self.messages.values() if known.group == entry.group]
            assert not any(before[known.seq][1] for known in others), "the group was locked"
            earlier = [known.seq for known in others if known.seq < entry.seq]
            assert set(earlier) <= set(numbers[: numbers.index(entry.seq)]), "out of order"

    def check_all(self, taken, most):
        """Fewer than asked for only if there was no more."""
        if len(taken) == most:
            return
        visible = [k for k in self.messages.values() if not k.in_flight and k.visible <= self.now]
        left = [k for k in visible if k.seq not in {entry.seq for entry in taken}]
        if self.is_fifo:
            locked = {k.group for k in self.messages.values() if k.in_flight}
            locked |= {entry.group for entry in taken}
            waiting = {k.group: k for k in sorted(self.messages.values(), key=lambda k: -k.seq)}
            left = [k for k in left if k.group not in locked and waiting[k.group] is k]
            if taken or len(self.core.entries) >= self.core.max_known:  # the store is asked when nothing else is left
                left = [k for k in left if k.seq in self.core.entries]
        assert not left, "a visible message was not given out"

    def expire(self):
        """As the worker does."""
        for seq in [seq for seq, known in self.messages.items() if known.sent <= self.now - RETENTION]:
            del self.messages[seq]
            self.ended[seq] = "expired"
            self.core.remove(seq)

    @rule(data=st.data())
    def delete(self, data):
        if self.held:
            entry = data.draw(st.sampled_from(self.held))
            self.held.remove(entry)
            if self.core.flying(entry.seq, entry.receives, self.now) is entry:
                self.messages.pop(entry.seq)
                self.ended[entry.seq] = "deleted"
                self.core.remove(entry.seq)

    @rule(data=st.data(), timeout=st.integers(0, 9))
    def change_visibility(self, data, timeout):
        self.settle()
        if self.held:
            entry = data.draw(st.sampled_from(self.held))
            if self.core.flying(entry.seq, entry.receives, self.now) is entry:
                known = self.messages[entry.seq]
                assert known.in_flight
                known.visible, known.in_flight = self.now + timeout, timeout > 0
                entry.is_dirty = True
                self.core.change(entry, self.now + timeout, self.now)

    @rule(data=st.data())
    def nobody_gets_it(self, data):
        self.settle()
        if self.held:
            entry = data.draw(st.sampled_from(self.held))
            if self.core.flying(entry.seq, entry.receives, self.now) is entry:
                self.held.remove(entry)
                self.core.give_back([entry], self.now)
                known = self.messages[entry.seq]
                known.receives, known.visible, known.in_flight = known.receives - 1, self.now, False
                entry.is_dirty = True

    @rule()
    def receives_are_stored(self):
        self.settle()
        for entry in self.core.entries.values():
            if entry.is_dirty:
                entry.is_dirty = False
                self.messages[entry.seq].stored = (entry.visible_ms, entry.receives)

    @rule()
    def the_node_is_killed(self):
        """Only what the store knows is left: of a FIFO queue that is all."""
        if self.is_fifo:
            self.receives_are_stored()
        self.held = []
        for known in self.messages.values():
            known.visible, known.receives = known.stored
            known.in_flight = known.receives > 0 and known.visible > self.now
        self.core = self.empty()
        found = self.stored((-1, -1))
        if not self.is_fifo:
            self.core.load([e for e in found if e.receives and e.visible_ms > self.now], self.now, is_all=False)
            found = self.stored((-1, -1))
            self.core.load(found[:5], self.now, is_all=len(found) <= 5)
        else:
            most = self.core.max_known
            self.core.load(found[:most], self.now, is_all=len(found) <= most)

    @invariant()
    def every_message_is_in_one_place(self):
        assert set(self.messages) | set(self.ended) == set(range(1, self.seq + 1))
        assert set(self.core.entries) <= set(self.messages), "a message that ended is still known"
        self.core.settle(self.now)
        self.settle()
        in_flight = [known.seq for known in self.messages.values() if known.in_flight]
        if self.is_fifo and self.core.horizon is not None:  # after a start, what is behind is found when it is loaded
            in_flight = [seq for seq in in_flight if seq <= self.core.horizon]
        assert self.core.in_flight == len(in_flight)
        flying = [entry for entry in self.core.entries.values() if entry.state is State.IN_FLIGHT]
        assert len(flying) == self.core.in_flight


class FifoCores(Cores):
    is_fifo = True


class SmallWindows(Cores):
    """With so little memory that most of the messages are in the store alone."""

    def empty(self):
        return SmallStandard()


class SmallFifoWindows(FifoCores):
    def empty(self):
        return SmallFifo()


class SmallFifo(FifoQueue):
    max_known = 6


class SmallStandard(StandardQueue):
    window = 4


TestStandard = Cores.TestCase
TestFifo = FifoCores.TestCase
TestStandardWithSmallWindows = SmallWindows.TestCase
TestFifoWithSmallWindows = SmallFifoWindows.TestCase
TestFifoWithSmallWindows.settings = TestStandard.settings = TestFifo.settings = (
    TestStandardWithSmallWindows.settings
) = settings(max_examples=50, stateful_step_count=40)


def test_a_quiet_group_does_not_wait_behind_a_noisy_one():
    queue = StandardQueue()
    for seq in range(1, 10 * standard.WINDOW):
        queue.add(Entry(seq, 0, 0, group="noisy"))
    noisy, _dead = queue.take(1, 20, 1000, max_receives=None, sent_after=-1)
    assert len(noisy) == 20
    queue.add(Entry(10**6, 2, 2, group="quiet"))  # behind ten thousand
    queue.add(Entry(10**6 + 1, 2, 2, group="another"))
    queue.add(Entry(10**6 + 2, 2, 2))
    taken, _dead = queue.take(3, 4, 1000, max_receives=None, sent_after=-1)
    assert [entry.group for entry in taken[:2]] == ["quiet", "another"]


def test_without_noise_messages_come_by_age():
    queue = StandardQueue()
    for seq in range(30):
        queue.add(Entry(seq, seq, seq, group="abc"[seq % 3]))
    taken, _dead = queue.take(100, 30, 1000, max_receives=None, sent_after=-1)
    assert [entry.seq for entry in taken] == list(range(30))


def test_memory_is_bounded():
    queue, fifo_queue = StandardQueue(), FifoQueue()
    for seq in range(1, fifo.MAX_KNOWN + 1000):
        queue.add(Entry(seq, 0, seq % 7))
        fifo_queue.add(Entry(seq, 0, 0, group=str(seq % 1000)))
    assert len(queue.entries) <= 2 * standard.WINDOW
    assert len(fifo_queue.entries) == fifo.MAX_KNOWN
    for _ in range(200):  # received and shown again at once, for ever
        queue.take(10, 10, 10, max_receives=None, sent_after=-1)
    assert len(queue.entries) <= 2 * standard.WINDOW + 10
    assert len(queue._due) <= 4 * standard.WINDOW


def test_bodies_in_memory_are_bounded_however_small_they_are():
    contents = Contents(100_000)
    for seq in range(1_000):
        contents.put(seq, Told(Content(str(seq), "x", "", "", size=1)))
    assert 50 < len(contents) < 100
    assert contents.get(0) is None
    assert contents.get(999) is not None
    contents.put(1_000, Told(Content("", "x" * 100_000, "", "", size=100_000)))
    assert len(contents) == 0
    for _ in range(1_000):  # read again and again
        contents.put(1_001, Told(Content("", "x", "", "", size=1)))
    assert len(contents) == 1
    contents.drop([1_001, 5])
    assert len(contents) == 0
    contents.put(1_002, Told(Content("", "x" * 90_000, "", "", size=90_000)))
    assert len(contents) == 1


def test_no_more_than_the_documented_number_is_in_flight():
    queue = StandardQueue()
    for seq in range(1, standard.MAX_IN_FLIGHT + 2):
        queue.add(Entry(seq, 0, 0))
        if len(queue.entries) - queue.in_flight >= standard.WINDOW or seq > standard.MAX_IN_FLIGHT:
            queue.take(1, standard.WINDOW, 10**9, max_receives=None, sent_after=-1)
    assert queue.in_flight == standard.MAX_IN_FLIGHT
    assert queue.take(2, 10, 10**9, max_receives=None, sent_after=-1) == ([], [])
    queue.remove(1)
    assert len(queue.take(2, 10, 10**9, max_receives=None, sent_after=-1)[0]) == 1


def fifo_of(*groups):
    queue = FifoQueue()
    for seq, group in enumerate(groups, 1):
        queue.add(Entry(seq, 0, 0, group=group))
    return queue


def receive(queue, most, until=100):
    return queue.take(1, most, until, max_receives=None, sent_after=-1)[0]


def test_a_group_is_locked_though_an_earlier_message_of_it_is_visible_again():
    queue = fifo_of("a", "a")
    (first,) = receive(queue, 1)
    queue.change(first, 1, 1)  # its group is noted as free, more than once
    first, second = receive(queue, 2)
    queue.change(first, 1, 1)
    assert receive(queue, 2) == [], "the second one is still in flight"
    queue.change(second, 1, 1)
    assert receive(queue, 2) == [first, second]


def test_what_is_sent_while_others_are_in_the_store_alone_waits_behind_them():
    queue = SmallFifo()
    for seq, group in enumerate("abbbbbaa", 1):  # the last two are in the store alone
        queue.add(Entry(seq, 0, 0, group=group))
    (first, *_more) = receive(queue, 1)
    queue.remove(first.seq)
    queue.add(Entry(9, 0, 0, group="a"))
    assert receive(queue, 1)[0].group == "b"
    assert receive(queue, 1) == [], "9 would come before 7 and 8"
    queue.load([Entry(seq, 0, 0, group="a") for seq in (7, 8, 9)], 1, is_all=True)
    assert [entry.seq for entry in receive(queue, 3)] == [7, 8, 9]
