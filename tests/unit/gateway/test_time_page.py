"""`/_lambent/time`: what it answers, and who may move the time."""

import asyncio
import json

import pytest

from lambent.gateway.pages import time_page
from lambent.protocol.http import HttpRequest
from lambent.testing.loop import START, run


def asked(method, body=b"", *, may_advance=True, before=0.0):
    async def main(clock):
        await clock.advance(before)
        page = time_page(lambda: clock, may_advance=may_advance)
        answer = await page(HttpRequest(method, "/_lambent/time", "", {}, body))
        assert clock.now() == pytest.approx(START + json.loads(answer.body).get("ahead_s", before))
        return answer.status, json.loads(answer.body)

    return run(main)


def test_what_time_it_is():
    assert asked("GET", may_advance=False) == (
        200,
        {"now": "2026-09-21T14:13:20.000Z", "now_ms": 1_790_000_000_000, "ahead_s": 0.0},
    )


@pytest.mark.parametrize(
    "body", [b'{"advance": "6h"}', b'{"advance_s": 21600}', b'{"advance": null, "advance_s": 21600.0}']
)
def test_time_is_advanced(body):
    status, content = asked("POST", body)
    assert (status, content["now"], content["ahead_s"]) == (200, "2026-09-21T20:13:20.000Z", 21_600.0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", 'Say {"advance": "6h"} or {"advance_s": 21600}.'),
        (b'{"advance": "6h", "advance_s": 1}', 'Say {"advance": "6h"} or {"advance_s": 21600}.'),
        (b'{"advance": "six hours"}', "'six hours' is not a length of time"),
        (b'{"advance_s": "6"}', "Expected `float | null`, got `str` - at `$.advance_s`"),
        (b'{"advance_s": -1}', "-1 seconds; time can be advanced by 0 to 315360000 seconds (3650d) at once."),
        (b'{"by": "6h"}', "unknown field `by`"),
        (b'{"advance": "\xff"}', "utf-8"),
    ],
)
def test_what_cannot_be_read_is_said(body, words):
    status, content = asked("POST", body)
    assert status == 400
    assert words in content["error"]


def test_years_stay_years():
    assert asked("POST", b'{"advance": "3650d"}', before=3_650 * 86_400)[0] == 200
    status, content = asked("POST", b'{"advance": "3650d"}', before=3_650 * 86_400 + 1)
    assert (status, content["error"]) == (400, "Time would be more than 630720000 seconds ahead.")


def test_a_node_that_keeps_its_data_refuses():
    status, content = asked("POST", b'{"advance": "6h"}', may_advance=False)
    assert status == 403
    assert content["error"] == (
        "This node keeps its data, so its time cannot be advanced: after the next start it would be earlier than what "
        "is stored. Start one with --ephemeral."
    )


def test_other_methods_are_refused():
    assert asked("DELETE") == (405, {"error": "Use GET or POST."})


def test_the_answer_comes_after_what_was_due():
    async def main(clock):
        done = []

        async def worker():
            await clock.sleep(3_600)
            await asyncio.to_thread(lambda: None)
            done.append(clock.now())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker())
            await asyncio.sleep(0)
            page = time_page(lambda: clock, may_advance=True)
            await page(HttpRequest("POST", "/_lambent/time", "", {}, b'{"advance": "6h"}'))
            assert done == [pytest.approx(START + 3_600)]

    run(main)
