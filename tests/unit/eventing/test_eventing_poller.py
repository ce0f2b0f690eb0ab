"""The poller against a queue in memory: batches, windows, filters, scaling, failures, and how it stops."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from memory_source import MemoryTarget, make

from lambent.aws.errors import ApiError
from lambent.eventing.batch import MOST_BYTES
from lambent.eventing.scaling import Limits, limited, provisioned
from lambent.eventing.source import Answered, Failed, Refused
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.testing.loop import run


@asynccontextmanager
async def running(*made):
    async with asyncio.TaskGroup() as tasks:
        for each in made:
            tasks.create_task(supervise("poller", each.poller.run, Log("off")))
        yield
        for each in made:
            each.poller.stop()


def polled(main, **settings):
    """Runs `main(made)` beside a poller."""

    async def body(clock):
        made = make(clock, **settings)
        async with running(made):
            await main(made)
        return made

    return run(body)


def test_a_message_is_handed_on_the_moment_it_comes_and_then_deleted():
    async def main(made):
        await made.until(lambda: made.source.waiting)
        now = made.poller.clock.now()
        made.source.send("x")
        await made.until(lambda: not made.source.bodies)
        assert made.target.batches == [(now, ["x"])]

    made = polled(main)
    assert made.counts == {"PolledEventCount": 1, "InvokedEventCount": 1, "DeletedEventCount": 1}
    assert made.told == ["OK"]


def test_an_idle_mapping_has_one_long_poll():
    async def main(made):
        made.source.send(*range(200))
        await made.until(lambda: not made.source.bodies)
        await asyncio.sleep(100)
        made.source.receives.clear()
        await asyncio.sleep(100)
        assert [wait for _moment, _most, wait in made.source.receives] == [20] * 5

    polled(main)


def test_a_batch_has_no_more_than_its_size():
    async def main(made):
        made.source.send(*range(20))
        await made.until(lambda: not made.source.bodies)
        assert sorted(made.target.bodies) == list(range(20))
        assert max(len(bodies) for _moment, bodies in made.target.batches) == 3

    polled(main, batch_size=3)


def test_a_window_gathers_and_a_full_batch_does_not_wait_for_its_end():
    async def main(made):
        start = made.poller.clock.now()
        made.source.send(*range(25))
        await made.until(lambda: made.target.batches)
        assert made.target.batches == [(start, list(range(25)))]
        made.source.send("a")
        await asyncio.sleep(1)
        made.source.send("b")
        later = made.poller.clock.now()
        await made.until(lambda: len(made.target.batches) == 2)
        moment, bodies = made.target.batches[1]
        assert bodies == ["a", "b"]
        assert 3.9 <= moment - later <= 4.1

    polled(main, batch_size=25, window_s=5)


def test_a_window_is_not_lost_when_the_queue_goes():
    async def main(made):
        made.source.send("x")
        await made.until(lambda: not made.source._visible(0) and made.source.rows["m1"][3])
        made.source.problem = ApiError("QueueDoesNotExist", "gone")
        await made.until(lambda: made.target.batches)
        assert made.target.bodies == ["x"]
        made.source.problem = None

    polled(main, batch_size=25, window_s=60)


def test_an_event_is_never_larger_than_an_invocation_may_be():
    bodies = [f"{number}" * 1_000_000 for number in range(8)]

    async def main(made):
        made.source.send(*bodies)
        await made.until(lambda: not made.source.bodies)
        assert [len(batch) for _moment, batch in made.target.batches] == [6, 2]
        assert made.target.bodies == bodies

    polled(main)
    assert len("".join(bodies)) > MOST_BYTES


def test_what_a_filter_does_not_let_through_is_deleted():
    async def main(made):
        made.source.send('{"kind": "wanted"}', '{"kind": "other"}', "text")
        await made.until(lambda: not made.source.bodies)
        assert made.target.bodies == ['{"kind": "wanted"}']

    made = polled(main, filters=['{"body": {"kind": ["wanted"]}}'])
    assert made.counts["FilteredOutEventCount"] == 2
    assert made.counts["DeletedEventCount"] == 3


def test_what_is_reported_comes_again_and_the_rest_does_not():
    seen = []

    def does(bodies):
        seen.append(bodies)
        names = {"a": "m1", "b": "m2"}
        failed = [{"itemIdentifier": names[body]} for body in bodies if body == "b" and len(seen) == 1]
        return Answered(json.dumps({"batchItemFailures": failed}).encode())

    async def main(made):
        made.target.does = does
        made.source.send("a", "b")
        await made.until(lambda: not made.source.bodies)
        first, second = (moment for moment, _bodies in made.target.batches)
        assert second - first == pytest.approx(30, abs=0.1)
        assert seen == [["a", "b"], ["b"]]

    assert polled(main).counts["FailedInvokeEventCount"] == 1


def test_a_function_that_fails_gets_the_batch_again_after_the_visibility_timeout():
    async def main(made):
        made.target.does = lambda bodies: Failed() if len(made.target.batches) < 3 else None
        made.source.send("x")
        await made.until(lambda: not made.source.bodies)
        assert made.source.rows["m1"][3] == 3

    assert polled(main).told == ["PROBLEM: Function call failed"] * 2 + ["OK"]


def test_a_throttled_batch_is_not_received_again_while_it_is_ours():
    async def main(made):
        start = made.poller.clock.now()
        made.target.does = lambda _bodies: (
            Refused("TooManyRequestsException") if made.poller.clock.now() < start + 20 else None
        )
        made.source.send("x")
        await made.until(lambda: not made.source.bodies)
        assert made.source.rows["m1"][3] == 1
        assert 4 < len(made.target.batches) < 20

    polled(main)


def test_a_throttle_that_lasts_gives_the_message_back_to_the_queue():
    async def main(made):
        made.target.does = lambda _bodies: (
            Refused("TooManyRequestsException") if made.source.rows["m1"][3] < 3 else None
        )
        made.source.send("x")
        await made.until(lambda: not made.source.bodies)

    polled(main)


def test_a_group_stays_in_order_and_groups_run_beside_each_other():
    async def main(made):
        made.target.takes_s = 1
        for number in range(12):
            made.source.send(f"a{number}", group="a")
            made.source.send(f"b{number}", group="b")
        await made.until(lambda: not made.source.bodies)
        for group in "ab":
            mine = [body for body in made.target.bodies if body[0] == group]
            assert mine == [f"{group}{number}" for number in range(12)]
        assert made.target.most_at_once == 2

    polled(main, batch_size=1)


def test_the_next_part_of_a_large_batch_waits_behind_a_message_of_its_group_that_stays():
    async def main(made):
        large = {name: name * 3_000_000 for name in "abc"}
        made.target.does = lambda bodies: Failed() if bodies[0][0] == "a" and len(made.target.batches) == 1 else None
        made.source.send(large["a"], large["b"], group="one")
        made.source.send(large["c"], group="two")
        await made.until(lambda: not made.source.bodies)
        parts = [[body[0] for body in bodies] for _moment, bodies in made.target.batches]
        assert parts == [["a", "b"], ["c"], ["a", "b"]]
        made.target.batches.clear()
        made.source.send(large["a"], large["b"], large["c"], group="one")
        await made.until(lambda: not made.source.bodies)
        parts = [[body[0] for body in bodies] for _moment, bodies in made.target.batches]
        assert parts == [["a", "b"], ["a", "b"], ["c"]], "c did not overtake"

    polled(main)


def test_throttles_halve_what_may_be_under_way():
    async def main(made):
        made.target.takes_s = 1
        made.source.send(*range(2_000))
        await asyncio.sleep(10)
        assert made.target.at_once > 30
        made.target.does = lambda _bodies: Refused("TooManyRequestsException")
        await asyncio.sleep(1.01)
        assert made.poller._scale.allowed < 5

    polled(main, batch_size=1, limits=Limits(per_minute=240))


def test_five_batches_at_once_in_the_beginning_and_more_by_and_by():
    async def main(made):
        made.target.takes_s = 600
        made.source.visibility_s = 3600
        made.source.send(*range(100))
        await asyncio.sleep(0.1)
        assert made.target.at_once == 5
        await asyncio.sleep(1)
        assert made.target.at_once == 10
        await asyncio.sleep(10)
        assert made.target.at_once == 60

    polled(main, batch_size=1)


def test_maximum_concurrency_is_one():
    async def main(made):
        made.target.takes_s = 10
        made.source.send(*range(30))
        await made.until(lambda: not made.source.bodies)

    assert polled(main, batch_size=1, limits=limited(3)).target.most_at_once == 3


def test_provisioned_pollers_have_ten_batches_each():
    async def main(made):
        made.target.takes_s = 5
        made.source.send(*range(500))
        await asyncio.sleep(0.01)
        assert made.target.at_once == 20
        await made.until(lambda: not made.source.bodies)

    assert polled(main, batch_size=1, limits=provisioned(2, 3)).target.most_at_once == 30


def test_a_function_that_is_not_there_takes_nothing_from_the_queue():
    async def main(made):
        made.source.send("x")
        await asyncio.sleep(100)
        assert made.source.rows["m1"][3] == 0
        assert set(made.told) == {"PROBLEM: Function does not exist"}
        made.target.blocked_by = None
        await made.until(lambda: not made.source.bodies, 10)

    async def body(clock):
        made = make(clock, target=MemoryTarget(clock, blocked_by="PROBLEM: Function does not exist"))
        async with running(made):
            await main(made)

    run(body)


def test_a_queue_that_is_made_again_is_polled_again():
    async def main(made):
        made.source.problem = ApiError("QueueDoesNotExist", "The specified queue does not exist.")
        await asyncio.sleep(1000)
        assert len(made.source.receives) < 300
        assert made.told[-1] == "PROBLEM: The specified queue does not exist."
        made.source.problem = None
        made.source.send("x")
        await made.until(lambda: not made.source.bodies, 6)

    polled(main)


def test_a_failing_mapping_does_not_slow_another():
    async def body(clock):
        broken, hanging, well = make(clock), make(clock), make(clock)
        hanging.target.takes_s = 30_000
        hanging.source.visibility_s = 100_000

        async def breaks(_most, _wait_s):
            raise RuntimeError("a bug of ours")

        broken.source.receive = breaks
        async with running(broken, hanging, well):
            hanging.source.send(*range(1000))
            for number in range(20):
                await well.until(lambda: well.source.waiting, 1)
                now = clock.now()
                well.source.send(number)
                await well.until(lambda: not well.source.bodies, 1)
                assert well.target.batches[-1] == (now, [number])

    run(body)


def test_a_poller_that_fell_over_gets_up():
    async def main(made):
        receive, calls = made.source.receive, []

        async def falls(most, wait_s):
            calls.append(1)
            if len(calls) < 4:
                raise RuntimeError("a bug of ours")
            return await receive(most, wait_s)

        made.source.receive = falls
        made.source.send("x")
        await made.until(lambda: not made.source.bodies, 60)

    polled(main)


def test_messages_that_cannot_be_deleted_at_first_are_deleted_later():
    async def main(made):
        made.source.cannot_settle = 3
        made.source.send("x")
        await made.until(lambda: not made.source.bodies, 29)
        assert made.target.bodies == ["x"]

    assert polled(main).counts["DeletedEventCount"] == 1


def test_stopping_lets_a_batch_end_and_takes_no_other():
    async def main(made):
        made.target.takes_s = 20
        made.source.send("x")
        await made.until(lambda: made.target.at_once)
        made.poller.stop()
        made.source.send("y")

    made = polled(main, batch_size=1, limits=limited(2))
    assert (made.target.bodies, made.source.bodies) == (["x"], ["y"])


def test_a_clock_that_is_set_does_not_confuse_it():
    async def main(made):
        clock = made.poller.clock
        made.target.takes_s = 1
        for seconds in (0, 3600, 86_400 * 400):
            await clock.advance(seconds)
            made.source.send(*range(60))
            await made.until(lambda: not made.source.bodies, 200)
        assert len(made.target.bodies) == 180

    polled(main)
