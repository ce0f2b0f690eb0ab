"""The HTTP Runtime API, spoken to by http.client, curl-like bytes and AWS's client (see test_parity)."""

import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.engine.frames import Listener
from lambent.engine.report import MAX_RESPONSE_BYTES
from lambent.engine.runtime_api import RuntimeApi

BASE = "/2018-06-01/runtime"
HEADER = {
    "request_id": "R1",
    "deadline_ms": 1_700_000_000_000,
    "arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "trace": "Root=1\r\nInjected: yes",
    "client_context": None,
    "cognito_identity": None,
}


class Runner(Listener):
    """The environment's part: hands out R1 when the runtime is ready, and notes what it says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.error_type: str | None = None
        self.on_first: Callable[[], None] = lambda: None

    def on_ready(self) -> None:
        self.said.append(("ready", b""))
        self.on_first()

    def on_next(self) -> None:
        self.said.append(("next", b""))

    def on_response(self, payload: bytes) -> None:
        self.said.append(("response", payload))

    def on_error(self, document: bytes, error_type: str | None = None) -> None:
        self.said.append(("error", document))
        self.error_type = error_type

    def on_init_error(self, document: bytes, error_type: str | None = None) -> None:
        self.said.append(("init error", document))
        self.error_type = error_type

    def on_oversized(self) -> None:
        self.said.append(("oversized", b""))

    def on_stream(self, content_type: str) -> None:
        self.said.append(("stream", content_type.encode()))

    def on_chunk(self, data: bytes) -> None:
        if self.said[-1][0] == "chunk":
            data = self.said.pop()[1] + data
        self.said.append(("chunk", data))

    def on_stream_end(self, error_type: str | None, document: bytes) -> None:
        self.said.append((f"stream end {error_type}", document))

    def on_violation(self, text: str) -> None:
        self.said.append(("violation", text.encode()))


def serve(
    client: Callable[[str, int], Any], *, event: bytes | None = b'{"a": 1}', stream: bool = False
) -> tuple[Any, Runner]:
    """What a blocking client returns, run in a thread against the API; and what the environment heard."""

    async def main() -> tuple[Any, Runner]:
        ours, theirs = socket.socketpair()
        listening = socket.create_server(("127.0.0.1", 0))
        runner = Runner()
        api = RuntimeApi(listening, lambda _path: None, ours, runner)
        if event is not None:
            runner.on_first = lambda: api.invoke({**HEADER, "stream": stream}, event)
        api.open({"handler": "app.handler"})
        try:
            return await asyncio.to_thread(client, *listening.getsockname()), runner
        finally:
            api.close()
            theirs.close()

    return asyncio.run(main())


class Client:
    """One kept-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=10)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        self.connection.request(method, BASE + path, body, headers or {})
        answer = self.connection.getresponse()
        self.headers = answer.headers
        data = answer.read()
        return answer.status, json.loads(data) if data else None


def test_next_gives_the_event_with_its_headers_and_takes_the_response() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            assert api.ask("GET", "/invocation/next") == (200, {"a": 1})
            assert api.headers["Lambda-Runtime-Aws-Request-Id"] == "R1"
            assert api.headers["Lambda-Runtime-Deadline-Ms"] == "1700000000000"
            assert api.headers["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:f")
            assert api.headers["Lambda-Runtime-Trace-Id"] == "Root=1  Injected: yes"
            assert "Lambda-Runtime-Client-Context" not in api.headers
            assert "Injected" not in api.headers
            headers = {"Lambda-Runtime-Invocation-Id": api.headers["Lambda-Runtime-Invocation-Id"]}
            return api.ask("POST", "/invocation/R1/response", b"[2]", headers)

    answer, runner = serve(client)
    assert answer == (202, {"status": "OK"})
    assert runner.said == [("ready", b""), ("response", b"[2]")]


def test_errors_go_out_as_they_are() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            return api.ask("POST", "/invocation/R1/error", b'{"errorType": "E"}')

    assert serve(client)[1].said[-1] == ("error", b'{"errorType": "E"}')


def test_an_init_error_comes_before_the_first_next() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            return api.ask("POST", "/init/error", b'{"errorType": "E"}')

    answer, runner = serve(client)
    assert answer[0] == 202
    assert runner.said == [("init error", b'{"errorType": "E"}')]

    def late(host: str, port: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            return api.ask("POST", "/init/error", b"{}")

    assert serve(late)[0][0] == 403


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/init/error", {"Lambda-Runtime-Function-Error-Type": "Runtime.NoSuchHandler"}, "Runtime.NoSuchHandler"),
        ("/init/error", {}, None),
        ("/invocation/R1/error", {"Lambda-Runtime-Function-Error-Type": "Function.Late"}, "Function.Late"),
        ("/invocation/R1/error", {"Lambda-Runtime-Function-Error-Type": "F" * 2000}, "F" * 256),
    ],
)
def test_the_header_of_an_error_says_its_type(path: str, headers: dict[str, str], kind: str | None) -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            if path != "/init/error":
                api.ask("GET", "/invocation/next")
            return api.ask("POST", path, b'{"errorType": "E"}', headers)

    answer, runner = serve(client)
    assert answer[0] == 202
    assert runner.error_type == kind


def test_what_is_wrong_is_told() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            other = Client(host, port)
            found = [api.ask("POST", "/invocation/R1/response", b"1")]
            api.ask("GET", "/invocation/next")
            with other:
                found.append(other.ask("GET", "/invocation/next"))
            found.append(api.ask("POST", "/invocation/R2/response", b"1"))
            found.append(api.ask("POST", "/invocation/R1/response", b"1", {"Lambda-Runtime-Invocation-Id": "x"}))
            found.append(api.ask("POST", "/invocation/R1/response", b"1"))
            found.append(api.ask("POST", "/invocation/R1/response", b"1"))
            found.append(api.ask("GET", "/invocation/R1/response"))
            found.append(api.ask("GET", "/nothing"))
            return [(status, body.get("errorType")) for status, body in found]

    answers, runner = serve(client)
    assert answers == [
        (400, "InvalidRequestID"),
        (403, "InvalidStateTransition"),
        (400, "InvalidRequestID"),
        (400, "InvalidInvocationId"),
        (202, None),
        (403, "InvalidStateTransition"),
        (405, "MethodNotAllowed"),
        (404, "NotFound"),
    ]
    assert [kind for kind, _payload in runner.said] == ["ready", "response"]


def test_without_a_snapshot_nothing_is_restored() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            found = [api.ask("GET", "/restore/next"), api.ask("POST", "/restore/error", b'{"errorType": "E"}')]
            found.append(api.ask("GET", "/invocation/next"))  # the runtime may go on
            found += [
                api.ask("GET", "/restore/next"),
                api.ask("POST", "/restore/next"),
                api.ask("GET", "/restore/error"),
            ]
            return [(status, body.get("errorType")) for status, body in found]

    answers, runner = serve(client)
    wrong = (403, "InvalidStateTransition")
    assert answers == [wrong, wrong, (200, None), wrong, (405, "MethodNotAllowed"), (405, "MethodNotAllowed")]
    assert runner.said == [("ready", b"")]


def test_each_try_has_an_invocation_id_of_its_own() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            return api.headers["Lambda-Runtime-Invocation-Id"]

    assert serve(client)[0] != serve(client)[0]  # the request id is the same


def test_the_largest_response_and_one_byte_more() -> None:
    def client(host: str, port: int, length: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            return api.ask("POST", "/invocation/R1/response", b"x" * length)

    answer, runner = serve(lambda host, port: client(host, port, MAX_RESPONSE_BYTES))
    assert answer[0] == 202
    assert len(runner.said[-1][1]) == MAX_RESPONSE_BYTES
    answer, runner = serve(lambda host, port: client(host, port, MAX_RESPONSE_BYTES + 1))
    assert answer == (
        413,
        {
            "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
            "errorType": "RequestEntityTooLarge",
        },
    )
    assert runner.said[-1] == ("oversized", b"")


def test_a_large_event_arrives_whole() -> None:
    event = json.dumps("x" * 6_000_000).encode()

    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            return api.ask("GET", "/invocation/next")

    assert serve(client, event=event)[0] == (200, "x" * 6_000_000)


def test_chunked_bodies_and_expect_100_continue() -> None:
    def client(host: str, port: int) -> Any:
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(f"GET {BASE}/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.recv(65536)
            sock.sendall(
                f"POST {BASE}/invocation/R1/response HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            first = sock.recv(65536)
            for part in (b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"):
                sock.sendall(part)
            return first, sock.recv(65536)

    (first, second), runner = serve(client)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert runner.said[-1] == ("response", b"[1,2]")


def test_what_is_no_http_is_refused_and_the_connection_ends() -> None:
    def client(host: str, port: int) -> Any:
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            data = b""
            while part := sock.recv(65536):
                data += part
            return data

    data, runner = serve(client)
    assert data.startswith(b"HTTP/1.1 400 ")
    assert runner.said == []


def test_a_head_without_end_is_cut_off() -> None:
    def client(host: str, port: int) -> Any:
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(f"GET {BASE}/invocation/next HTTP/1.1\r\n".encode())
            try:
                for _turn in range(100):
                    sock.sendall(b"X-Long: " + b"x" * 65_536 + b"\r\n")
                return sock.recv(1)
            except OSError:
                return b""

    assert serve(client)[0] == b""


def test_an_event_whose_connection_broke_is_given_again() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as first:
            first.ask("GET", "/invocation/next")
        with Client(host, port) as second:
            answer = (403, None)
            while answer[0] == 403:  # until the first one's end is seen
                answer = second.ask("GET", "/invocation/next")
            return answer

    assert serve(client)[0] == (200, {"a": 1})


# Streamed responses


MODE = b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"


def streamed(
    *parts: bytes, headers: bytes = b"", after: bytes = b"", mode: bytes = MODE
) -> Callable[[str, int], bytes]:
    """A client that answers R1 with a streamed response, and what it is told."""
    head = (
        f"POST {BASE}/invocation/R1/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{mode.decode()}"
    ).encode()

    def client(host: str, port: int) -> bytes:
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(f"GET {BASE}/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            sock.sendall(head + headers + b"\r\n")
            for part in parts:
                sock.sendall(part)
            if after:
                sock.sendall(after)
            sock.shutdown(socket.SHUT_WR)
            told = b""
            while part := sock.recv(65536):
                told += part
            return told

    return client


ERROR = base64.b64encode(b'{"errorType": "A.B", "errorMessage": "m"}')


@pytest.mark.parametrize("mode", [MODE, b""])
def test_a_streamed_response_is_passed_on_as_it_comes(mode: bytes) -> None:
    """Whether it says so or is just sent in chunks, as aws-lambda-go does."""
    parts = (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n")
    client = streamed(*parts, headers=b"Content-Type: text/event-stream\r\n", mode=mode)
    told, runner = serve(client, stream=True)
    assert told.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert runner.said == [
        ("ready", b""),
        ("stream", b"text/event-stream"),
        ("chunk", b"onetwo"),
        ("stream end None", b""),
    ]


def test_without_a_content_type_it_is_bytes() -> None:
    _told, runner = serve(streamed(b"0\r\n\r\n"), stream=True)
    assert runner.said[1:] == [("stream", b"application/octet-stream"), ("stream end None", b"")]


def test_trailers_tell_of_an_error_in_the_middle() -> None:
    trailers = (
        b"0\r\nLambda-Runtime-Function-Error-Type: A.B\r\nLambda-Runtime-Function-Error-Body: " + ERROR + b"\r\n\r\n"
    )
    client = streamed(b"1\r\nx\r\n", trailers, headers=b"Trailer: Lambda-Runtime-Function-Error-Type\r\n")
    told, runner = serve(client, stream=True)
    assert told.startswith(b"HTTP/1.1 202 ")
    assert runner.said[-1] == ("stream end A.B", b'{"errorType": "A.B", "errorMessage": "m"}')


@pytest.mark.parametrize(
    ("trailers", "end"),
    [
        (b"Lambda-Runtime-Function-Error-Type: A.B\r\n", ("stream end A.B", b"")),
        (b"Lambda-Runtime-Function-Error-Body: e30=\r\n", ("stream end Unhandled", b"{}")),
        (b"Lambda-Runtime-Function-Error-Body: no base64!\r\n", ("stream end Unhandled", b"no base64!")),
        (b"Lambda-Runtime-Function-Error-Type: " + b"x" * 5000 + b"\r\n", ("stream end " + "x" * 256, b"")),
        (b"Lambda-Runtime-Invocation-Id: of another\r\nX: y\r\n", ("stream end None", b"")),
        (b"".join(b"X%d: y\r\n" % number for number in range(5000)), ("stream end None", b"")),
    ],
)
def test_trailers_may_be_anything(trailers: bytes, end: tuple[str, bytes]) -> None:
    _told, runner = serve(streamed(b"1\r\nx\r\n", b"0\r\n" + trailers + b"\r\n"), stream=True)
    assert runner.said[-1] == end


def test_a_trailer_without_end_is_cut_off() -> None:
    endless = b"0\r\nX: " + b"x" * 3_000_000

    def client(host: str, port: int) -> bytes:
        try:
            return streamed(b"1\r\nx\r\n", endless)(host, port)
        except OSError:
            return b""

    told, runner = serve(client, stream=True)
    assert told == b""
    assert runner.said[-1] == ("violation", b"its streamed response broke off")


def test_a_connection_that_ends_in_the_middle_is_a_violation() -> None:
    _told, runner = serve(streamed(b"5\r\nab"), stream=True)
    assert runner.said[1:] == [
        ("stream", b"application/octet-stream"),
        ("chunk", b"ab"),
        ("violation", b"its streamed response broke off"),
    ]


def test_what_is_no_chunk_is_refused() -> None:
    told, runner = serve(streamed(b"zz\r\nab"), stream=True)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert runner.said[-1] == ("violation", b"its streamed response broke off")


def test_who_wants_it_whole_gets_a_streamed_response_whole() -> None:
    told, runner = serve(streamed(b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"))
    assert told.startswith(b"HTTP/1.1 202 ")
    assert runner.said[1:] == [("response", b"[1,2]")]


def test_who_wants_it_whole_gets_its_error() -> None:
    client = streamed(b"1\r\nx\r\n", b"0\r\nLambda-Runtime-Function-Error-Body: " + ERROR + b"\r\n\r\n")
    _told, runner = serve(client)
    assert runner.said[1:] == [("error", b'{"errorType": "A.B", "errorMessage": "m"}')]


def test_who_wants_it_whole_gets_six_megabytes_at_most() -> None:
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    told, runner = serve(streamed(*[piece] * 7, b"0\r\n\r\n"))
    assert told.startswith(b"HTTP/1.1 413 ")
    assert runner.said[1:] == [("oversized", b"")]


def test_a_buffered_response_to_who_wants_a_stream_is_a_response() -> None:
    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            assert api.headers["Lambent-Response-Mode"] == "streaming"
            return api.ask("POST", "/invocation/R1/response", b"[2]")

    assert serve(client, stream=True)[1].said[1:] == [("response", b"[2]")]


def test_a_stream_of_another_invocation_is_refused() -> None:
    mode = {"Lambda-Runtime-Function-Response-Mode": "streaming"}

    def client(host: str, port: int) -> Any:
        with Client(host, port) as api:
            api.ask("GET", "/invocation/next")
            found = [api.ask("POST", "/invocation/R2/response", b"x", mode)]
            found.append(api.ask("POST", "/invocation/R1/response", b"x", mode | {"Lambda-Runtime-Invocation-Id": "x"}))
            found.append(api.ask("POST", "/invocation/R1/response", b"x", mode))
            found.append(api.ask("POST", "/invocation/R1/response", b"x", mode))
            found.append(api.ask("POST", "/invocation/R1/error", b"{}"))
            return [(status, body.get("errorType")) for status, body in found]

    answers, runner = serve(client, stream=True)
    assert answers == [
        (400, "InvalidRequestID"),
        (400, "InvalidInvocationId"),
        (202, None),
        (403, "InvalidStateTransition"),
        (403, "InvalidStateTransition"),
    ]
    assert [kind for kind, _payload in runner.said] == ["ready", "stream", "chunk", "stream end None"]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=40)
def test_how_a_streamed_body_arrives_does_not_matter(chunks: list[bytes], cuts: list[int]) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    _told, runner = serve(streamed(*(body[start:end] for start, end in itertools.pairwise(places))), stream=True)
    expected = [("chunk", b"".join(chunks))] if chunks else []
    assert runner.said[2:] == [*expected, ("stream end None", b"")]


@given(st.binary(max_size=400))
@settings(max_examples=60)
def test_no_streamed_body_breaks_the_api(body: bytes) -> None:
    def client(host: str, port: int) -> None:
        with contextlib.suppress(ConnectionError):
            streamed(body)(host, port)

    _told, runner = serve(client, stream=True)
    assert runner.said[-1][0] in ("violation", "stream end None", "stream end Unhandled")
