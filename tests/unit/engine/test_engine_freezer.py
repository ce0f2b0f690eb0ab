"""When idle environments are frozen, on the test's own time."""

import asyncio

from lambent.engine.freezer import LATE_S, Freezer
from lambent.engine.states import Phase
from lambent.testing.loop import run


class Idle:
    """An environment that notes when it was frozen."""

    def __init__(self, clock, *, is_hot=False):
        self.clock, self.is_hot = clock, is_hot
        self.frozen_after = None
        self.becomes_idle()

    def becomes_idle(self):
        self.phase, self.idle_since = Phase.IDLE, self.clock.elapsed()

    def freeze(self):
        assert self.phase is Phase.IDLE
        self.frozen_after = self.clock.elapsed() - self.idle_since


def test_an_idle_environment_is_frozen_soon_and_a_hot_one_later():
    async def main(clock):
        freezer, cold, hot = Freezer(clock.elapsed), Idle(clock), Idle(clock, is_hot=True)
        freezer.add(hot)
        freezer.add(cold)
        await asyncio.sleep(0.5)
        assert 0.01 <= cold.frozen_after < 0.03
        assert 0.1 <= hot.frozen_after < 0.12
        assert freezer._timer is None  # nothing wakes up for what is frozen

    run(main)


def test_one_that_is_busy_again_is_not_frozen_until_it_has_rested_anew():
    async def main(clock):
        freezer, one = Freezer(clock.elapsed), Idle(clock)
        for _time in range(20):
            one.becomes_idle()
            freezer.add(one)
            await asyncio.sleep(0.005)
            one.phase = Phase.BUSY
            await asyncio.sleep(0.05)
        assert one.frozen_after is None
        one.becomes_idle()
        freezer.add(one)
        await asyncio.sleep(LATE_S)
        assert one.frozen_after >= 0.01

    run(main)


def test_a_thousand_that_rest_hold_nobody_up():
    async def main(clock):
        freezer, looked_at = Freezer(clock.elapsed), 0

        class Watched(Idle):
            @property
            def idle_since(self):
                nonlocal looked_at
                looked_at += 1
                return self._since

            @idle_since.setter
            def idle_since(self, moment):
                self._since = moment

        for _one in range(1000):
            freezer.add(Watched(clock, is_hot=True))
        await asyncio.sleep(0.09)
        assert looked_at < 20  # a look a time, at the first of them
        await asyncio.sleep(0.1)
        assert not freezer._late

    run(main)
