"""Extensions that are a part of a plain Python function, without a layer, a wrapper, or walls."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extension_layers import PRELUDE, in_a_loop

from lambent.engine.spec import FunctionSpec
from lambent.testing.plain_engine import function, plain_engine, until

FOLLOW = """
print("before")
register("INVOKE", name="inside")


def follow():
    while True:
        print(f"inside INVOKE {next_event()['requestId']}")
        time.sleep(0.05)


threading.Thread(target=follow, daemon=True).start()


def handler(event, context):
    return event
"""
LATE = """
def handler(event, context):
    status, said = register("INVOKE", name="late")
    return [status, said["errorType"]]
"""
# Init cannot end before `first` asks for its next event, which it does when it was told that registration is closed.
WAITING = """
register("INVOKE", name="first")
refusals = []


def follow():
    while not refusals or refusals[-1][1] == "Extension.AlreadyRegistered":
        status, said = ask_again("first")
        refusals.append([status, said["errorType"]])
    while True:
        next_event()


def ask_again(name):
    headers = {"Lambda-Extension-Name": name}
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("POST", "/2020-01-01/extension/register", json.dumps({"events": ["INVOKE"]}), headers)
    answer = api.getresponse()
    return answer.status, json.loads(answer.read())


threading.Thread(target=follow, daemon=True).start()


def handler(event, context):
    return refusals[-1]
"""
METADATA = """
def handler(event, context):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_METADATA_API"])
    seen = []
    for token in (os.environ["AWS_LAMBDA_METADATA_TOKEN"], "other"):
        path = "/2026-01-15/metadata/execution-environment"
        api.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = api.getresponse()
        seen.append([answer.status, json.loads(answer.read())])
    return seen
"""
# Takes what the platform sends in a thread of the function, as a library would; handlers ask for what came.
CONSUME = """
import http.server

print("before")
events = []


class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        events.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Taker)
threading.Thread(target=server.serve_forever, daemon=True).start()
register("INVOKE", name="library")
wanted = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}/"},
}
assert ask("PUT", "/2022-07-01/telemetry", json.dumps(wanted), Lambda_Extension_Identifier=ID)[0].status == 200


def follow():
    while True:
        next_event()


threading.Thread(target=follow, daemon=True).start()


def handler(event, context):
    print("says", event)
    while event and not any(each["type"] == event for each in events):
        time.sleep(0.005)
    return [[each["type"], each["record"]] for each in events]
"""


Make = Callable[..., FunctionSpec]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that speaks the extensions API itself."""

    def make(source: str, **fields: Any) -> FunctionSpec:
        (tmp_path / "app.py").write_text(PRELUDE.format(python="") + source)
        return function(tmp_path, **fields)

    return make


@in_a_loop
async def test_it_takes_part_in_init_and_in_each_invocation(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make(FOLLOW)
        assert (await engine.invoke(spec, 1, request_id="R1")).payload == b"1"
        await until(lambda: any("REPORT RequestId: R1" in message for message in engine.messages))
        result = await engine.invoke(spec, 2, request_id="R2", want_tail=True)
        assert (result.payload, result.function_error) == (b"2", None)
        said = result.log_tail.decode() if result.log_tail else ""
        # The invocation goes on until the extension asks again, which takes it 50 ms.
        assert "inside INVOKE R2\n" in said
        assert float(said.partition("Duration: ")[2].partition(" ms")[0]) > 50
        assert "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]\n" in engine.messages


@in_a_loop
async def test_it_cannot_register_after_init(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make(LATE)
        for _turn in range(2):
            result = await engine.invoke(spec)
            assert json.loads(result.payload) == [403, "Extension.RegistrationClosed"]


@in_a_loop
async def test_nor_when_the_runtime_is_ready_and_init_waits_for_others(make: Make) -> None:
    """As AWS's emulator has it."""
    async with plain_engine() as engine:
        result = await engine.invoke(make(WAITING))
        assert json.loads(result.payload) == [403, "Extension.RegistrationClosed"]


@in_a_loop
async def test_the_metadata_endpoint_answers_who_has_the_token(make: Make) -> None:
    async with plain_engine() as engine:
        (good, zone), (bad, _error) = json.loads((await engine.invoke(make(METADATA))).payload)
        assert (good, zone, bad) == (200, {"AvailabilityZoneID": "use1-az1"}, 401)


@in_a_loop
async def test_telemetry_comes_to_a_library_with_what_was_before_it_subscribed(make: Make) -> None:
    async with plain_engine() as engine:
        spec = make(CONSUME)
        await engine.invoke(spec, "platform.initReport", request_id="R1")
        result = await engine.invoke(spec, "platform.report", request_id="R2")
        events = json.loads(result.payload)
        kinds = [kind for kind, _record in events]
        assert kinds[:3] == ["platform.initStart", "function", "platform.telemetrySubscription"]
        assert events[1][1] == "before\n"
        assert {"platform.extension", "platform.initRuntimeDone", "platform.initReport", "platform.start"} < set(kinds)
        done = next(record for kind, record in events if kind == "platform.runtimeDone")
        assert (done["requestId"], done["status"]) == ("R1", "success")
        assert ["function", "says platform.initReport\n"] in events
