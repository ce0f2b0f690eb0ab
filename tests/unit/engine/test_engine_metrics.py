"""The metrics of an invocation: which, of what, and of which moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.test_engine_invoke import play

from lambent.aws.caller import Scope
from lambent.engine.metrics import FunctionMetrics, Resource
from lambent.observe.metrics import Metric
from lambent.testing.plain_engine import PlainEngine, function

SCOPE = ("000000000000", "us-east-1")
CODE = """
import os, time
def handler(event, context):
    if event == "raise":
        raise ValueError
    if event == "leave":
        os._exit(1)
    if event == "sleep":
        time.sleep(60)
"""


def recorded(folder: Path, event: str | None, **fields: Any) -> list[Metric]:
    found: list[Metric] = []

    async def script(plain: PlainEngine, folder: Path) -> None:
        plain.engine.metrics = FunctionMetrics(lambda scope, metric: found.extend(metric.apart()) or check(scope))
        await plain.invoke(function(folder, "app.handler", timeout_s=1), event, **fields)

    def check(scope: object) -> None:
        assert scope == SCOPE

    play(script, folder, CODE)
    return [metric for metric in found if metric.name in ("Invocations", "Errors", "Throttles", "Duration")]


def test_an_invocation_has_four_metrics_of_one_moment(tmp_path: Path) -> None:
    found = recorded(tmp_path, None)
    assert [(metric.name, metric.unit) for metric in found] == [
        ("Invocations", "Count"),
        ("Errors", "Count"),
        ("Throttles", "Count"),
        ("Duration", "Milliseconds"),
    ]
    assert [metric.value for metric in found[:3]] == [1, 0, 0]
    assert 0 < found[3].value < 1000
    assert len({metric.at_ms for metric in found}) == 1
    assert all(metric.dimensions == ((), (("FunctionName", "f"),)) for metric in found)


@pytest.mark.parametrize("event", ["raise", "leave", "sleep"])
def test_whatever_ends_it_badly_is_an_error(tmp_path: Path, event: str) -> None:
    invocations, errors, _throttles, duration = recorded(tmp_path, event)
    assert (invocations.value, errors.value) == (1, 1)
    assert (duration.value == 1000) == (event == "sleep")


def test_a_qualifier_and_the_version_that_ran_are_dimensions(tmp_path: Path) -> None:
    found = recorded(tmp_path, None, qualifier="live", executed_version="3")
    name, resource = ("FunctionName", "f"), ("Resource", "f:live")
    sets = ((), (name,), (name, resource), (name, resource, ("ExecutedVersion", "3")))
    assert {metric.dimensions for metric in found} == {sets}


def test_an_invocation_that_init_took_down_is_an_error_too(tmp_path: Path) -> None:
    found: list[Metric] = []

    async def script(plain: PlainEngine, folder: Path) -> None:
        plain.engine.metrics = FunctionMetrics(lambda _scope, metric: found.extend(metric.apart()))
        await plain.invoke(function(folder, "app.handler"))

    play(script, tmp_path, "raise ValueError")
    assert {metric.name: metric.value for metric in found if metric.name in ("Invocations", "Errors")} == {
        "Invocations": 1,
        "Errors": 1,
    }


def test_the_dimensions_of_a_resource() -> None:
    found: list[Metric] = []
    record: Callable[..., None] = lambda _scope, metric: found.append(metric)  # noqa: E731
    FunctionMetrics(record).add(Scope(*SCOPE), "Throttles", 1, of=Resource("f", "$LATEST"))
    assert found == [
        Metric("Throttles", 1, ((), (("FunctionName", "f"),), (("FunctionName", "f"), ("Resource", "f:$LATEST"))))
    ]
