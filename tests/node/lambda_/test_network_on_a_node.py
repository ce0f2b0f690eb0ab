"""The way to the internet as functions of a real node find it. What the proxy lets pass, and what it refuses, is in
tests/unit/engine/egress and tests/security/test_egress_walls.py.
"""

import json
import os
import socket
import subprocess
import sys

import pytest
from functions_on_a_node import call, create

PROXY = "http://169.254.100.1:80"
NAMES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
SOURCE = """
import os, urllib.error, urllib.request

def handler(event, context):
    if "url" not in event:
        return {name: os.environ[name] for name in event["names"] if name in os.environ}
    try:
        with urllib.request.urlopen(event["url"].replace("PLATFORM", os.environ["AWS_ENDPOINT_URL"])) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
    except urllib.error.URLError as error:
        return [0, str(error.reason)]
"""


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


def test_http_clients_take_the_proxy_by_themselves(client):
    name = create(client, SOURCE)
    found = call(client, name, {"names": NAMES})
    assert set(found) == set(NAMES)
    assert {found[name] for name in NAMES if name.upper() != "NO_PROXY"} == {PROXY}
    assert {"127.0.0.1", "localhost", "169.254.0.0/16"} <= set(found["NO_PROXY"].split(","))
    with socket.create_server(("127.0.0.3", 0)) as server:
        status, text = call(client, name, {"url": f"http://127.0.0.3:{server.getsockname()[1]}/"})
    assert (status, "has no public address" in text) == (403, True)


def test_the_platform_is_reached_without_the_proxy(client):
    status, text = call(client, create(client, SOURCE), {"url": "PLATFORM/2015-03-31/functions/"})
    assert "egress proxy" not in text
    assert status >= 200


def test_a_function_may_name_a_proxy_of_its_own(client):
    name = create(client, SOURCE, Environment={"Variables": {"https_proxy": "http://mine:1"}})
    found = call(client, name, {"names": NAMES})
    assert found["https_proxy"] == "http://mine:1"
    assert "HTTPS_PROXY" not in found
    assert found["http_proxy"] == PROXY


def test_a_function_in_subnets_has_no_way_out(client):
    vpc = {"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
    name = create(client, SOURCE, VpcConfig=vpc)
    assert call(client, name, {"names": NAMES}) == {}
    assert call(client, name, {"url": "http://192.0.2.1/"})[0] == 0


def test_the_setting_takes_the_way_out_away(own_node):
    with own_node("--egress", "none") as node:
        client = node.client("lambda")
        name = create(client, SOURCE)
        assert call(client, name, {"names": NAMES}) == {}
        assert call(client, name, {"url": "http://192.0.2.1/"})[0] == 0


@pytest.mark.parametrize(("setting", "kind"), [("auto", "proxy"), ("none", "none")])
def test_the_doctor_says_which_way_out_is_in_use(setting, kind):
    command = [sys.executable, "-m", "lambent", "doctor", "--json"]
    done = subprocess.run(command, env={**os.environ, "LAMBENT_EGRESS": setting}, capture_output=True, check=True)
    report = json.loads(done.stdout)
    expected = kind if report["isolation"] == "namespaces" else "host"
    assert report["egress"]["kind"] == expected
    assert report["egress"]["reason"]
