"""How old environments become: by the clock, so that an advance ends them at their moment."""

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.pool import Pool
from lambent.testing.plain_engine import function, plain_engine, until

CODE = """
import os, time

def handler(event, context):
    return [os.getpid(), context.get_remaining_time_in_millis(), time.time()]
"""


class Idle:
    digest, arn = "d", "arn"

    def __init__(self, since):
        self.idle_since = self.born = since


@given(st.lists(st.floats(0, 1e6)), st.floats(0, 1e6), st.floats(0.1, 1e5))
def test_nothing_is_too_old_before_the_moment_that_was_said(since, now, limit_s):
    pool = Pool()
    for moment in sorted(moment for moment in since if moment <= now):
        one = Idle(moment)
        pool.add(one)
        pool.put_idle(one)
    for one in pool.idle_too_long(now, limit_s):
        pool.remove(one)
    wait_s = pool.until_idle_too_long(now, limit_s)
    assert 0 < wait_s <= limit_s
    assert pool.idle_too_long(now + wait_s * 0.999 - 1e-6, limit_s) == []
    if pool.idle:
        assert pool.idle_too_long(now + wait_s + 1e-6, limit_s) != []


def on_an_engine(folder, script, **settings):
    (folder / "app.py").write_text(CODE)

    async def main():
        async with plain_engine(**settings) as plain:

            async def ask():
                return json.loads((await plain.invoke(function(folder, digest="one", timeout_s=30))).payload)

            await script(plain.engine, ask)

    asyncio.run(main())


def test_an_idle_environment_goes_when_its_time_has_come(tmp_path):
    async def script(engine, ask):
        first, *_rest = await ask()
        await engine.clock.advance(500)
        assert engine.environments == 1
        assert (await ask())[0] == first  # and being used, it is young again
        await engine.clock.advance(590)
        assert engine.environments == 1
        await engine.clock.advance(20)
        assert engine.environments == 0
        assert (await ask())[0] != first

    on_an_engine(tmp_path, script, idle_environment_s=600.0)


def test_no_environment_lives_longer_than_its_credentials(tmp_path):
    async def script(engine, ask):
        first, *_rest = await ask()
        await engine.clock.advance(5.9 * 3600)
        assert (await ask())[0] == first
        await engine.clock.advance(0.2 * 3600)
        assert engine.environments == 0  # idle ones go at their moment, not when they are next needed
        second, *_rest = await ask()
        assert second != first
        await engine.clock.advance(24 * 3600)
        assert engine.environments == 0
        assert (await ask())[0] != second

    on_an_engine(tmp_path, script, idle_environment_s=1e9)


def test_a_functions_own_time_is_the_machines(tmp_path):
    async def script(engine, ask):
        await engine.clock.advance(6 * 3600)
        _pid, left_ms, now = await ask()
        assert 25_000 < left_ms <= 30_000
        assert now == pytest.approx(time.time(), abs=10)

    on_an_engine(tmp_path, script)


def test_a_short_idle_time_ends_by_itself(tmp_path):
    async def script(engine, ask):
        await ask()
        await until(lambda: engine.environments == 0)

    on_an_engine(tmp_path, script, idle_environment_s=0.05)


_CREDENTIALS_S = 12 * 3600.0
_LONGEST_TIMEOUT_S = 900.0
EXPIRES = """
import os, time

os.chdir(os.path.dirname(__file__))

def wait(name):
    while not os.path.exists(name):
        time.sleep(0.005)

if os.path.exists("slow"):
    wait("initialise")

def handler(event, context):
    if event:
        open("began", "w").close()
        wait(event)
    return [os.getpid(), float(os.environ["AWS_SESSION_TOKEN"])]
"""


def on_an_engine_with_credentials(folder, script):
    """Their token says when they expire."""
    (folder / "app.py").write_text(EXPIRES)

    async def main():
        async with plain_engine(idle_environment_s=1e9) as plain:

            async def credentials(role, session):
                return {"AWS_SESSION_TOKEN": str(plain.engine.clock.now() + _CREDENTIALS_S)}

            plain.engine._starts.credentials = credentials
            spec = function(folder, digest="one")
            async with asyncio.TaskGroup() as tasks:

                def ask(event=None):
                    return tasks.create_task(plain.invoke(spec, event))

                await script(plain.engine, ask)

    asyncio.run(main())


def test_no_invocation_begins_with_credentials_that_do_not_outlast_it(tmp_path):
    async def script(engine, ask):
        pids = set()
        for hours in (0.1, 2.0, 3.8, 0.05, 0.2, 5.9, 5.9, 11.0, 30.0, 0.0):
            await engine.clock.advance(hours * 3600)
            pid, expires = json.loads((await ask()).payload)
            assert expires > engine.clock.now() + _LONGEST_TIMEOUT_S
            pids.add(pid)
        assert len(pids) > 3

    on_an_engine_with_credentials(tmp_path, script)


def test_an_environment_that_is_never_idle_grows_old_too(tmp_path):
    """Whoever waits when it comes free gets a new one."""

    async def script(engine, ask):
        first = ask("go_on")
        await until((tmp_path / "began").exists)
        (tmp_path / "slow").touch()
        for environment in engine._pool.in_life():  # an advance would wait for it: only real hours make it so old
            environment.born -= 7 * 3600
        second = ask()  # starts an environment, whose Init takes until we say so
        await until(lambda: engine.environments == 2)
        (tmp_path / "go_on").touch()
        old, _expires = json.loads((await first).payload)
        (tmp_path / "initialise").touch()
        pid, expires = json.loads((await second).payload)
        assert pid != old
        assert expires > engine.clock.now() + _LONGEST_TIMEOUT_S

    on_an_engine_with_credentials(tmp_path, script)
