"""External extensions behind real walls."""

import io
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
    answer = call(client, name, "db")
    assert "asked" in answer, (answer, messages(lambent, name, "REPORT"))
    assert answer["asked"] == "/secretsmanager/get?secretId=db"
    assert answer["uid"] == answer["mine"]
    assert answer["processes"] == ["quiet.sh", "secrets"]
    assert "_HANDLER" not in answer["names"]
    assert call(client, name, "again")["asked"].endswith("again")
    client.delete_function(FunctionName=name)
    log = messages(lambent, name, "secrets hear SHUTDOWN")
    assert f"secrets know {name}\n" in log
    assert "quiet.sh is /opt/extensions/quiet.sh\n" in log
    assert "EXTENSION\tName: quiet.sh\tState: Ready\tEvents: []\n" in log
    assert "EXTENSION\tName: secrets\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    assert log.count("secrets hear INVOKE \n") == 2
    assert "secrets hear SHUTDOWN SPINDOWN\n" in log
