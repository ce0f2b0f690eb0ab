"""The ways out of a real node, in a small internet of network namespaces: what functions reach, and what is left."""

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest
from tests.node.places import NOBODY, Place, below, wait_until_gone
from tests.security.world import HOST, HOST_TOO, METADATA, NAME, PORT, PRIVATE, SERVER, World

USERS = {"veth": 0, "pasta": NOBODY} if os.getuid() == 0 else {}  # only root makes networks
SOURCE = """
import os, socket

def reach(host, port):
    with socket.create_connection((host, port), timeout=5) as sock:
        return sock.recv(100).decode()

def ask(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect((host, port))
        sock.send(b"hello")
        return sock.recv(100).decode()

def proxy():
    return os.environ.get("HTTPS_PROXY")

def handler(event, context):
    how, *where = event
    try:
        return globals()[how](*where)
    except OSError as error:
        return {"refused": str(error)}
"""


class Town:
    """A world, a place in it, and what is done there."""

    def __init__(self, uid, *, forwards=True):
        self.world = World(forwards=forwards)
        self.place = Place(self.world, uid)

    def close(self):
        self.place.close()
        self.world.close()

    def deploy(self, node, zipped):
        """Calls a new function of the node."""
        run, name = self.world.host.run, f"fn-{uuid.uuid4().hex[:8]}"
        client = run(node.client, "lambda")
        version = "python{}.{}".format(*sys.version_info)
        role = "arn:aws:iam::000000000000:role/r"
        made = {"FunctionName": name, "Runtime": version, "Handler": "app.handler", "Role": role, "Timeout": 20}
        run(lambda: client.create_function(Code={"ZipFile": zipped(app=SOURCE)}, **made))
        waiter, soon = client.get_waiter("function_active_v2"), {"Delay": 0.02, "MaxAttempts": 500}
        run(lambda: waiter.wait(FunctionName=name, WaiterConfig=soon))

        def call(*event):
            answer = run(lambda: client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())
            return json.loads(answer)

        return call

    def left(self):
        """The links of nodes, and their nftables tables, in the network of the host."""
        command = ["nft", "list", "tables", "inet"]
        listed = self.world.host.run(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
        return [name for name in self.world.links() if name.startswith("lambent")], listed.stdout.splitlines()

    def doctor(self):
        command = [sys.executable, "-m", "lambent", "doctor", "--json"]
        return json.loads(self.place.run(lambda: subprocess.run(command, capture_output=True, check=True)).stdout)


@pytest.fixture
def settle():
    towns = []

    def settle(uid, **more):
        towns.append(Town(uid, **more))
        return towns[-1]

    yield settle
    for town in towns:
        town.close()


@pytest.mark.parametrize("way", USERS)
def test_functions_of_a_node_reach_the_internet_and_nothing_else(settle, zipped, way):
    town = settle(USERS[way])
    assert town.doctor()["egress"]["kind"] == way
    with town.place.node("--egress", "auto") as node:
        call = town.deploy(node, zipped)
        assert call("proxy") is None
        assert call("reach", SERVER, PORT) == f"{SERVER} sees {HOST}"
        assert call("ask", SERVER, PORT) == f"{SERVER} sees {HOST}"
        assert call("reach", NAME, PORT) == f"{SERVER} sees {HOST}"
        heard = list(town.world.heard)
        for host in (HOST, HOST_TOO, PRIVATE, METADATA):
            for how in ("reach", "ask"):
                assert set(call(how, host, PORT)) == {"refused"}
        assert town.world.heard == heard


@pytest.mark.parametrize("way", USERS)
def test_what_a_killed_node_left_is_gone_after_the_next_start(settle, zipped, way):
    town = settle(USERS[way])
    arguments = ("--data-dir", str(town.place.folder / "data"), "--egress", way)
    with town.place.node(*arguments, ephemeral=False) as node:
        assert town.deploy(node, zipped)("reach", SERVER, PORT) == f"{SERVER} sees {HOST}"
        started = below(node.pid)
        assert started
        for pid in (node.pid, *started):  # nobody is left who could clear up
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(started)
    with town.place.node(*arguments, ephemeral=False) as node:
        assert town.deploy(node, zipped)("reach", SERVER, PORT) == f"{SERVER} sees {HOST}"
        links, tables = town.left()
        assert (len(links), tables) == ((1, [f"table inet {links[0]}"]) if way == "veth" else (0, []))
        started = below(node.pid)
    wait_until_gone(started)
    while town.left() != ([], []):  # the kernel takes links away some time after the last process of their namespace
        pass


@pytest.mark.parametrize("uid", list(USERS.values())[:1])
def test_a_node_on_a_machine_that_does_not_forward_takes_the_proxy(settle, zipped, uid):
    town = settle(uid, forwards=False)
    report = town.doctor()
    assert report["egress"]["kind"] == "proxy"
    [found] = [finding for finding in report["findings"] if finding["name"] == "egress by veth"]
    assert found["detail"] == "this machine forwards no packets"
    assert found["remedy"] == "If it may: sysctl -w net.ipv4.ip_forward=1."
    with town.place.node("--egress", "auto") as node:
        call = town.deploy(node, zipped)
        assert call("proxy") == "http://169.254.100.1:80"
        assert set(call("reach", SERVER, PORT)) == {"refused"}
    assert town.left() == ([], [])
