"""The Extensions API against clients that say anything in any order."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.extensions_api import BASE, MAX_EXTENSIONS, Extension, Extensions, State


@dataclass(eq=False)
class Request:
    """A connection with one request on it."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_open: bool = True
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)

    def answer(self, status: int, body: bytes, headers: Any = None) -> None:
        self.answers.append((status, json.loads(body), dict(headers or [])))

    def refuse(self, status: int, kind: str, text: str) -> None:
        self.answer(status, json.dumps({"errorMessage": text, "errorType": kind}).encode())

    def is_method(self, wanted: str) -> bool:
        if self.method != wanted:
            self.refuse(405, "MethodNotAllowed", "")
        return self.method == wanted


class Environment:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_extensions_registered(self) -> None:
        self.told.append("registered")

    def on_extensions_ready(self) -> None:
        self.told.append("ready")

    def on_extension_failed(self, extension: Extension, error_type: str, text: str) -> None:
        self.told.append(f"failed {extension.name} {error_type}")


class House:
    """The API with the external extensions a and b."""

    def __init__(self) -> None:
        self.environment = Environment()
        about = {"functionName": "f", "functionVersion": "1", "handler": "app.handler"}
        self.extensions = Extensions(["a", "b"], about, "000000000000", self.environment)

    def ask(self, path: str, method: str = "POST", body: bytes = b"", **headers: str) -> Request:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(BASE + path, method, named, body)
        self.extensions.serve(request)  # type: ignore[arg-type]
        return request

    def register(self, name: str, *events: str) -> str:
        request = self.ask("register", body=json.dumps({"events": events}).encode(), lambda_extension_name=name)
        [(status, _body, headers)] = request.answers
        assert status == 200
        return headers["Lambda-Extension-Identifier"]

    def next(self, identifier: str) -> Request:
        return self.ask("event/next", "GET", lambda_extension_identifier=identifier)


def test_wrong_states_are_refused_each_in_its_way() -> None:
    house = House()
    a = house.register("a", "INVOKE", "SHUTDOWN")
    again = house.ask("register", body=b'{"events": []}', lambda_extension_name="a")
    inside = house.ask("register", body=b'{"events": ["SHUTDOWN"]}', lambda_extension_name="inside")
    assert [request.answers[0][0] for request in (again, inside)] == [403, 403]
    bodies = (b"", b"[]", b'{"events": ["OTHER"]}', b'{"events": {}}', b"[" * 60_000, b'{"events": []}' + b" " * 70_000)
    for body in bodies:
        assert house.ask("register", body=body, lambda_extension_name="b").answers[0][0] == 400
    for name in ("", "x" * 256, "line\x01break"):
        assert house.ask("register", body=b"{}", lambda_extension_name=name).answers[0][0] == 400
    assert house.next("nobody").answers[0][0] == 403
    assert house.ask("event/next", "GET").answers[0][0] == 403
    assert house.ask("event/next").answers[0][0] == 405
    assert house.ask("elsewhere").answers[0][0] == 404
    assert house.ask("init/error", lambda_extension_identifier=a).answers[0][0] == 400
    waiting = house.next(a)
    assert waiting.answers == []
    assert house.next(a).answers[0][0] == 403
    wrong = house.ask("init/error", lambda_extension_identifier=a, lambda_extension_function_error_type="X.Y")
    assert wrong.answers[0][0] == 403
    assert house.environment.told == []


def test_an_event_whose_reader_is_gone_is_there_for_the_next_request() -> None:
    house = House()
    a = house.register("a", "INVOKE")
    house.next(a).is_open = False
    house.extensions.invoke({"requestId": "R1"})
    [(status, event, headers)] = house.next(a).answers
    assert (status, event) == (200, {"eventType": "INVOKE", "requestId": "R1"})
    assert headers["Lambda-Extension-Event-Identifier"]


WORDS = st.sampled_from(["a", "b", "inside", "", "nobody"]) | st.text(max_size=5)
STEPS = st.one_of(
    st.tuples(
        st.just("register"), st.just("POST"), WORDS, st.sampled_from([b"{}", b'{"events":["INVOKE"]}']) | st.binary()
    ),
    st.tuples(st.just("event/next"), st.sampled_from(["GET", "PUT"]), WORDS, st.just(b"")),
    st.tuples(st.sampled_from(["init/error", "exit/error", ""]), st.just("POST"), WORDS, st.binary()),
    st.tuples(st.sampled_from(["invoke", "shut down", "exited", "close"]), st.just(""), WORDS, st.just(b"")),
)


@given(st.lists(STEPS, max_size=40))
def test_whatever_is_asked_is_answered_once_and_the_books_stay_right(steps: list[tuple[str, str, str, bytes]]) -> None:
    house = House()
    known: dict[str, str] = {}
    for what, method, name, body in steps:
        if what == "invoke":
            house.extensions.invoke({"requestId": "R"})
        elif what == "shut down":
            house.extensions.shut_down("SPINDOWN", 0)
        elif what == "exited":
            house.extensions.exited(name, 1)
        elif what == "close":
            house.extensions.is_open = False
        else:
            headers = {"lambda_extension_identifier": known.get(name, name), "lambda_extension_name": name}
            request = house.ask(what, method, body, lambda_extension_function_error_type="A.B", **headers)
            assert len(request.answers) <= 1
            assert request.answers or what == "event/next"
            if request.answers and "Lambda-Extension-Identifier" in request.answers[0][2]:
                known[name] = request.answers[0][2]["Lambda-Extension-Identifier"]
        members = list(house.extensions)
        assert sum(one.is_registered for one in members) <= MAX_EXTENSIONS
        assert not any(one.event and one.state is State.READY for one in members)
