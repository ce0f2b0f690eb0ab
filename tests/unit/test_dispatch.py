"""The one door to an operation."""

from typing import Any

import pytest

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Dispatch
from lambent.store.database import DatabaseBusyError
from lambent.testing.loop import run

CALLER = Caller()


async def _echo(_caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return params


async def _busy(_caller: Caller, _params: dict[str, Any]) -> dict[str, Any]:
    raise DatabaseBusyError("20000 changes wait")


def _validate(_service: str, _operation: str, params: dict[str, Any]) -> None:
    if "bad" in params:
        raise ApiError("ValidationException", "1 validation error detected: ...")


def _authorize(caller: Caller, _service: str, operation: str, _params: dict[str, Any]) -> None:
    if caller.account == "111122223333":
        raise ApiError("AccessDeniedException", f"User: {caller.principal} is not authorized to perform: {operation}")


def _dispatch() -> Dispatch:
    operations = {"lambda": {"Echo": _echo, "Busy": _busy}}
    return Dispatch(operations=operations, validate=_validate, authorize=_authorize)


def _code(operation: str, params: dict[str, Any], caller: Caller = CALLER, service: str = "lambda") -> str:
    dispatch = _dispatch()
    with pytest.raises(ApiError) as raised:
        run(lambda _clock: dispatch.call(service, operation, params, caller=caller))
    assert dispatch.counts == {(service, operation, raised.value.code): 1}
    return raised.value.code


def test_an_operation_answers_and_is_counted():
    dispatch = _dispatch()
    assert run(lambda _clock: dispatch.call("lambda", "Echo", {"a": 1}, caller=CALLER)) == {"a": 1}
    assert dispatch.counts == {("lambda", "Echo", "ok"): 1}


def test_what_is_not_there_is_named():
    assert _code("PutFunctionConcurrency", {}) == "NotImplemented"
    assert _code("ListQueues", {}, service="sqs") == "NotImplemented"


def test_wrong_parameters_are_refused_before_anybody_is_asked_whether_they_may():
    assert _code("Echo", {"bad": 1}, Caller(account="111122223333")) == "ValidationException"


def test_who_may_not_is_refused():
    assert _code("Echo", {}, Caller(account="111122223333")) == "AccessDeniedException"


def test_a_store_that_is_far_behind_is_a_503():
    assert _code("Busy", {}) == "ServiceUnavailable"
