"""External extensions behind real walls."""

import base64
import io
import json
import zipfile

import pytest
from functions_on_a_node import SOON, call, create, unused_name

SECRETS = """#!/var/lang/bin/python3
import http.client, http.server, json, os, sys, threading

class Secrets(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"asked": self.path, "names": sorted(os.environ), "uid": os.getuid()}).encode())

    def log_message(self, *arguments):
        pass

server = http.server.HTTPServer(("localhost", 2773), Secrets)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2020-01-01/extension/"
api.request("POST", base + "register", json.dumps({"events": ["INVOKE", "SHUTDOWN"]}),
            {"Lambda-Extension-Name": os.path.basename(sys.argv[0])})
answer = api.getresponse()
identifier = answer.headers["Lambda-Extension-Identifier"]
print("secrets know", json.loads(answer.read())["functionName"], flush=True)
while True:
    api.request("GET", base + "event/next", headers={"Lambda-Extension-Identifier": identifier})
    event = json.loads(api.getresponse().read())
    print("secrets hear", event["eventType"], event.get("shutdownReason", ""), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
"""
FUNCTION = """
import json, os, urllib.request

def handler(event, context):
    with urllib.request.urlopen("http://localhost:2773/secretsmanager/get?secretId=" + event) as answer:
        return {**json.loads(answer.read()), "mine": os.getuid(), "processes": sorted(os.listdir("/opt/extensions"))}
"""
QUIET_BASH = r"""#!/bin/bash
base=/2020-01-01/extension
body='{"events": []}'
exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}"
printf 'POST %s HTTP/1.1\r\nHost: x\r\nLambda-Extension-Name: quiet.sh\r\n' $base/register >&3
printf 'Content-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do
    case "$line" in Lambda-Extension-Identifier:*) id="${line#*: }"; id="${id%$'\r'}";; esac
done
echo "quiet.sh is $0"
exec 4<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}"
printf 'GET %s HTTP/1.1\r\nHost: x\r\nLambda-Extension-Identifier: %s\r\n\r\n' $base/event/next "$id" >&4
read -r line <&4
"""


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


def layer_of(client, **extensions):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in extensions.items():
            info = zipfile.ZipInfo(f"extensions/{name}", (2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o755 << 16
            archive.writestr(info, content)
    answer = client.publish_layer_version(LayerName=f"layer-{unused_name()}", Content={"ZipFile": buffer.getvalue()})
    return answer["LayerVersionArn"]


BASH_RUNTIME = r"""#!/bin/bash
base=/2018-06-01/runtime/invocation
ask() {  # METHOD PATH BODY
    exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}"
    printf '%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" ${#3} "$3" >&3
    while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do
        case "$line" in Lambda-Runtime-Aws-Request-Id:*) id="${line#*: }"; id="${id%$'\r'}";; esac
    done
}
while true; do
    ask GET $base/next ""
    ask POST $base/$id/response "\"from bash\""
done
"""


def test_a_custom_runtime_runs_beside_an_extension(lambent, client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("bootstrap", (2026, 1, 1, 0, 0, 0))
        info.external_attr = 0o755 << 16
        archive.writestr(info, BASH_RUNTIME)
    code = {"ZipFile": buffer.getvalue()}
    layers = [layer_of(client, **{"quiet.sh": QUIET_BASH})]
    name = create(client, "", Runtime="provided.al2023", Code=code, Layers=layers)
    for _turn in range(2):
        answer = client.invoke(FunctionName=name, LogType="Tail")
        assert json.loads(answer["Payload"].read()) == "from bash"
    log = messages(lambent, name, "REPORT")
    assert "quiet.sh is /opt/extensions/quiet.sh\n" in log
    assert "EXTENSION\tName: quiet.sh\tState: Ready\tEvents: []\n" in log


def messages(lambent, name, wanted):
    """A function's log, once this is in it."""
    logs = lambent.client("logs")
    for _turn in range(SOON["MaxAttempts"]):
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        if any(wanted in event["message"] for event in events):
            break
    return [event["message"] for event in events]


def test_a_function_asks_an_extension_on_localhost_and_the_extension_hears_of_its_end(lambent, client):
    layers = [layer_of(client, secrets=SECRETS), layer_of(client, **{"quiet.sh": QUIET_BASH})]
    name = create(client, FUNCTION, Layers=layers)
    answer = call(client, name, "db", LogType="Tail")  # answered when the extensions are done too
    assert "asked" in answer, (answer, messages(lambent, name, "REPORT"))
    assert answer["asked"] == "/secretsmanager/get?secretId=db"
    assert answer["uid"] == answer["mine"]
    assert answer["processes"] == ["quiet.sh", "secrets"]
    assert "_HANDLER" not in answer["names"]
    assert call(client, name, "again", LogType="Tail")["asked"].endswith("again")
    client.delete_function(FunctionName=name)
    log = messages(lambent, name, "secrets hear SHUTDOWN")
    assert f"secrets know {name}\n" in log
    assert "quiet.sh is /opt/extensions/quiet.sh\n" in log
    assert "EXTENSION\tName: quiet.sh\tState: Ready\tEvents: []\n" in log
    assert "EXTENSION\tName: secrets\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    assert log.count("secrets hear INVOKE \n") == 2
    assert "secrets hear SHUTDOWN SPINDOWN\n" in log


TELEMETRY = """#!/var/lang/bin/python3
import http.client, http.server, json, os, threading

class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        for event in events:
            if event["type"] != "extension":
                print("taken", event["type"], json.dumps(event["record"]), flush=True)

    def log_message(self, *arguments):
        pass

server = http.server.HTTPServer(("sandbox.localdomain", 4243), Taker)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def ask(method, path, body=None, **headers):
    api.request(method, path, body and json.dumps(body), {k.replace("_", "-"): v for k, v in headers.items()})
    answer = api.getresponse()
    return answer.headers, json.loads(answer.read())

headers, _ = ask("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]},
                 Lambda_Extension_Name="taker")
me = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/"}
wanted = {"schemaVersion": "2025-01-29", "types": ["platform", "function"], "destination": destination}
print("subscribed", ask("PUT", "/2022-07-01/telemetry", wanted | {"buffering": {"timeoutMs": 25}}, **me)[1], flush=True)
while ask("GET", "/2020-01-01/extension/event/next", **me)[1]["eventType"] != "SHUTDOWN":
    pass
threading.Event().wait(0.3)
"""
ASK_METADATA = """
import json, os, urllib.error, urllib.request

def ask(token, method="GET"):
    url = f"http://{os.environ['AWS_LAMBDA_METADATA_API']}/2026-01-15/metadata/execution-environment"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method)) as answer:
            return [answer.status, json.loads(answer.read()), answer.headers["Cache-Control"]]
    except urllib.error.HTTPError as error:
        return [error.code]

def handler(event, context):
    print({"a": 1})
    mine = os.environ["AWS_LAMBDA_METADATA_TOKEN"]
    return [ask(mine), ask("another"), ask(mine, "PUT")]
"""


def test_an_extension_gets_telemetry_inside_and_a_function_its_metadata(lambent, client):
    name = create(client, ASK_METADATA, Layers=[layer_of(client, taker=TELEMETRY)])
    right, wrong, put = call(client, name)
    assert right == [200, {"AvailabilityZoneID": "use1-az1"}, "private, max-age=43200, immutable"]
    assert (wrong, put) == ([401], [405])
    client.delete_function(FunctionName=name)
    log = messages(lambent, name, "taken platform.report")
    assert "subscribed OK\n" in log
    assert "taken function \"{'a': 1}\\n\"\n" in log
    assert any(message.startswith("taken platform.report ") for message in log)


LIBRARY = """
import http.client, http.server, json, os, threading

events = []

class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        events.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        came.set()

    def log_message(self, *arguments):
        pass

def ask(method, path, body=None, **headers):
    api.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = api.getresponse()
    return answer.headers, json.loads(answer.read())

came = threading.Event()
server = http.server.HTTPServer(("localhost", 4243), Taker)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
headers, me = ask("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', Lambda_Extension_Name="library")
wanted = {"schemaVersion": "2022-12-13", "types": ["platform"], "buffering": {"timeoutMs": 25},
          "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/"}}
me = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
said = ask("PUT", "/2022-07-01/telemetry", json.dumps(wanted), **me)[1]

def follow():
    while True:
        ask("GET", "/2020-01-01/extension/event/next", **me)

threading.Thread(target=follow, daemon=True).start()

def handler(event, context):
    came.wait(10)
    return [said, [each["type"] for each in events]]
"""
WRAPPED = {"Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/usr/bin/env"}}}


@pytest.mark.parametrize("settings", [{}, WRAPPED], ids=["plain", "behind a wrapper"])
def test_a_library_in_a_function_gets_telemetry(client, settings):
    said, kinds = call(client, create(client, LIBRARY, **settings))
    assert said == "OK"
    assert kinds[:2] == ["platform.initStart", "platform.telemetrySubscription"]


HOARD = """
def handler(event, context):
    return len([b"x" * (1 << 20) for _ in range(event)])
"""


def test_too_much_memory_beside_an_extension_is_told_apart_and_both_start_anew(lambent, client):
    name = create(client, HOARD, Layers=[layer_of(client, secrets=SECRETS)], MemorySize=256, Timeout=30)
    assert call(client, name, 1, LogType="Tail") == 1
    answer = client.invoke(FunctionName=name, Payload=b"4096", LogType="Tail")
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.ExitError"
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "Status: error\tError Type: Runtime.OutOfMemory" in tail
    after = client.invoke(FunctionName=name, Payload=b"1", LogType="Tail")
    assert json.loads(after["Payload"].read()) == 1  # reset, with new processes
    log = messages(lambent, name, f"REPORT RequestId: {after['ResponseMetadata']['RequestId']}")
    assert log.count(f"secrets know {name}\n") == 2
