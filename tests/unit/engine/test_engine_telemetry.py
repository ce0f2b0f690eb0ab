"""Telemetry and logs that real extensions subscribe to, without walls."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extension_layers import in_a_loop, layer
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.telemetry_api import LOGS, TELEMETRY, InvalidSubscriptionError, Subscription, parse
from lambent.engine.telemetry_delivery import Subscriber
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
def handler(event, context):
    print("says", event)
    return event
"""
# Listens, subscribes, and writes each batch that it gets to a file; asks for the next event when the runtime is done.
LISTEN = """
import http.server
FILE = {file!r}
done = threading.Semaphore(0)


def take(events):
    with open(FILE, "a") as file:
        for event in events:
            file.write(json.dumps(event) + chr(10))
            if event["type"] == "platform.runtimeDone":
                done.release()


class Taker(http.server.BaseHTTPRequestHandler):
    refusals = 1  # the first batch comes again

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if Taker.refusals else 200)
        self.end_headers()
        if not Taker.refusals:
            take(json.loads(body))
        Taker.refusals = 0

    def log_message(self, *arguments):
        pass


def take_lines(listener):
    connection, _ = listener.accept()
    for line in connection.makefile():
        take([json.loads(line)])


if {tcp}:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    threading.Thread(target=take_lines, args=(listener,), daemon=True).start()
    destination = dict(protocol="TCP", port=port)
else:
    server = http.server.HTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    destination = dict(protocol="HTTP", URI=f"http://sandbox.localdomain:{{server.server_port}}/take")
register("INVOKE", "SHUTDOWN")
wanted = dict(types=["platform", "function", "extension"], buffering=dict(timeoutMs=25), destination=destination)
wanted["schemaVersion"] = {schema!r}
answer, body = ask("PUT", {api!r}, json.dumps(wanted), Lambda_Extension_Identifier=ID)
say("subscribed", answer.status, body.decode())
while next_event()["eventType"] == "INVOKE":
    if {waits}:
        done.acquire()
done.acquire(timeout=1)
"""


async def play(folder: Path, engine: PlainEngine, *, api: str, schema: str, tcp: bool) -> list[dict[str, Any]]:
    """The events that an extension got of two invocations and its end."""
    (folder / "app.py").write_text(CODE)
    got = folder / "got"
    waits = schema != "2020-08-15"
    source = LISTEN.format(file=str(got), tcp=tcp, api=api, schema=schema, waits=waits)
    spec = function(folder, layer_dirs=(layer(folder / "layer", listen=source),))
    for turn in (1, 2):
        assert (await engine.invoke(spec, turn, request_id=f"R{turn}")).payload == b"%d" % turn
        report = f"REPORT RequestId: R{turn}\t"  # from then on the environment is free
        await until(lambda report=report: any(message.startswith(report) for message in engine.messages))  # type: ignore[misc]
    await engine.engine.retire(spec.arn)
    await until(lambda: got.exists() and got.read_text().count('"platform.report"') == 2)
    return [json.loads(line) for line in got.read_text().splitlines()]


@pytest.mark.parametrize("tcp", [False, True], ids=["http", "tcp"])
@in_a_loop
async def test_an_extension_gets_the_events_of_init_of_invocations_and_of_logs(tmp_path: Path, tcp: bool) -> None:
    async with plain_engine() as engine:
        events = await play(tmp_path, engine, api=TELEMETRY, schema="2022-12-13", tcp=tcp)
        kinds = [event["type"] for event in events]
        platform = [kind.removeprefix("platform.") for kind in kinds if kind.startswith("platform.")]
        assert platform[:2] == ["initStart", "telemetrySubscription"]
        assert platform[2:] == [
            "initRuntimeDone",
            "initReport",
            "extension",
            *["start", "runtimeDone", "report"] * 2,
        ] or (platform[2:] == ["extension", "initRuntimeDone", "initReport", *["start", "runtimeDone", "report"] * 2])
        said = [event["record"] for event in events if event["type"] == "function"]
        assert said == ["says 1\n", "says 2\n"]
        assert 'listen subscribed 200 "OK"\n' in [event["record"] for event in events if event["type"] == "extension"]
        assert kinds.index("function") < kinds.index("platform.runtimeDone")
        assert "TELEMETRY\tName: listen\tState: Subscribed\tTypes: [Platform, Function, Extension]\n" in engine.messages
        start = next(event["record"] for event in events if event["type"] == "platform.start")
        assert start["requestId"] == "R1"
        for kind, names in (
            ("platform.runtimeDone", ["responseLatency", "responseDuration", "runtimeOverhead"]),
            ("platform.report", ["extensionOverhead"]),
        ):
            spans = [event["record"]["spans"] for event in events if event["type"] == kind]
            assert [[span["name"] for span in each] for each in spans] == [names, names]
            assert all(span["durationMs"] >= 0 for each in spans for span in each)


@pytest.mark.parametrize("schema", ["2020-08-15", "2021-03-18"])
@in_a_loop
async def test_the_logs_api_has_its_older_events(tmp_path: Path, schema: str) -> None:
    async with plain_engine() as engine:
        events = await play(tmp_path, engine, api=LOGS, schema=schema, tcp=False)
        kinds = [event["type"].removeprefix("platform.") for event in events if event["type"].startswith("platform.")]
        done = ["runtimeDone"] if schema == "2021-03-18" else []
        assert kinds == ["logsSubscription", "extension", *["start", *done, "end", "report"] * 2]
        report = next(event["record"] for event in events if event["type"] == "platform.report")
        assert set(report) == {"requestId", "metrics"}
        assert "LOGS\tName: listen\tState: Subscribed\tTypes: [Platform, Function, Extension]\n" in engine.messages


GOOD: dict[str, Any] = {
    "schemaVersion": "2022-12-13",
    "types": ["platform"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/x?y=1"},
}


def test_a_subscription_has_defaults() -> None:
    assert parse(json.dumps(GOOD).encode(), TELEMETRY, "e") == Subscription(
        name="e", api=TELEMETRY, schema="2022-12-13", types=("platform",), max_items=10_000, max_bytes=262_144,
        timeout_ms=1000, protocol="HTTP", port=8080, path="/x?y=1",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"schemaVersion": "2020-08-15"},
        {"schemaVersion": None},
        {"types": []},
        {"types": ["everything"]},
        {"types": "platform"},
        {"buffering": {"maxItems": 999}},
        {"buffering": {"maxBytes": 1_048_577}},
        {"buffering": {"timeoutMs": 24}},
        {"buffering": {"timeoutMs": True}},
        {"buffering": []},
        {"destination": None},
        {"destination": {"protocol": "UDP", "port": 1}},
        {"destination": {"protocol": "TCP", "port": 9001}},
        {"destination": {"protocol": "TCP", "port": 0}},
        {"destination": {"protocol": "TCP"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain/x"}},
        {"destination": {"protocol": "HTTP", "URI": "http://169.254.169.254:80/x"}},
        {"destination": {"protocol": "HTTP", "URI": "https://sandbox.localdomain:80/x"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:99999/x"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:80/x HTTP/1.1\r\nA: b"}},
        {"destination": {"protocol": "HTTP", "URI": "http://[:80/x"}},
    ],
)
def test_what_is_no_subscription_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidSubscriptionError):
        parse(json.dumps(GOOD | wrong).encode(), TELEMETRY, "e")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(st.sampled_from([TELEMETRY, LOGS]), st.dictionaries(st.sampled_from([*GOOD, "buffering"]), JSON) | JSON)
def test_any_body_is_a_subscription_or_is_refused(api: str, content: Any) -> None:
    whole = GOOD | content if isinstance(content, dict) else content
    for body in (json.dumps(whole).encode(), json.dumps(whole).encode()[:-1], b"[" * 100_000):
        try:
            found = parse(body, api, "e")
        except InvalidSubscriptionError:
            continue
        assert 1 <= found.port <= 65_535


def subscriber(connect: Callable[..., None]) -> Subscriber:
    wanted = {**GOOD, "types": ["function"], "buffering": {"maxItems": 1000, "timeoutMs": 25}}
    wanted["destination"] = {"protocol": "TCP", "port": 1}
    return Subscriber(parse(json.dumps(wanted).encode(), TELEMETRY, "e"), connect, lambda: 0.0)


@in_a_loop
async def test_what_a_subscriber_does_not_take_is_dropped_and_told() -> None:
    asked: list[Callable[[socket.socket | None], None]] = []
    one = subscriber(lambda _port, then: asked.append(then))
    for number in range(2500):
        one.put({"time": "t", "type": "function", "record": f"{number}\n"})
    ours, theirs = socket.socketpair()
    asked.pop()(ours)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    events: list[dict[str, Any]] = []
    rest = b""
    async with asyncio.timeout(10):
        while not any(event["type"] == "platform.logsDropped" for event in events):
            rest += await loop.sock_recv(theirs, 1_000_000)
            *lines, rest = rest.split(b"\n")
            events += map(json.loads, lines)
    one.close()
    theirs.close()
    assert [event["record"] for event in events[:2000]] == [f"{number}\n" for number in range(2000)]
    [dropped] = events[2000:]
    assert dropped["record"]["droppedRecords"] == 500
    assert dropped["record"]["droppedBytes"] > 500 * 40
