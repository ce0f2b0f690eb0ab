"""Whom a function reaches through a router: in real environments, in a small internet of network namespaces."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from attacks import House, Inside, Refused, plain_launcher
from machine import BEST
from test_without_walls import Cut, interpreter_with
from world import HOST, HOST_TOO, METADATA, NAME, PORT, PRIVATE, SERVER, World

from lambent.engine.egress.addresses import CLOSED_V4
from lambent.engine.sandbox.launch import Launcher
from lambent.engine.sandbox.probe import Walls
from lambent.engine.sandbox.sweep import sweep

WAYS = ("veth", "pasta") if BEST.root else ()
UPLINK = "169.254.192.1"  # the host's end of the first veth pair
TUN = "unshare -m sh -c 'mount -t tmpfs tun /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec \"$@\"' sh"
REFUSALS = (Refused("EHOSTUNREACH"), Refused("ECONNREFUSED"), Refused("ENETUNREACH"), Refused("timed out"))


def reach(host, port):
    import socket

    with socket.create_connection((host, port), timeout=5) as sock:
        return sock.recv(100).decode()


def ask(host, port):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect((host, port))
        sock.send(b"hello")
        return sock.recv(100).decode()


def look_up(name):
    import socket

    return socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]


def own_address():
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("20.20.20.20", 9))
        return sock.getsockname()[0]


def say_from(source, host, port):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(b"hello", (host, port))
        return "sent"


@dataclass(frozen=True)
class Town:
    """A world, and a house in it with one launcher."""

    world: World
    house: House
    launcher: Launcher
    made: list[Inside] = field(default_factory=list)

    def claim(self, **order: object) -> Inside:
        self.made.append(self.house.claim(self.launcher, **{"with_egress": True} | order))
        return self.made[-1]

    def end_environments(self) -> None:
        while self.made:
            self.made.pop().close()

    def close(self) -> None:
        self.end_environments()
        self.house.close()
        self.world.close()


def settle(world: World, way: str, interpreter: Path | None = None, walls: Walls = BEST) -> Town:
    house = House(world.enter_host)
    if way == "pasta":
        interpreter, walls = plain_launcher(house.folder, TUN), Walls(level="namespaces")
    launcher = house.launcher(walls, interpreter or Path(sys.executable), way=way, closed=CLOSED_V4)
    return Town(world, house, launcher)


@pytest.fixture(scope="module", params=WAYS)
def town(request: pytest.FixtureRequest) -> Iterator[Town]:
    world = World()
    town = settle(world, request.param)
    yield town
    town.close()


@pytest.fixture
def claim(town: Town) -> Iterator[Callable[..., Inside]]:
    yield town.claim
    town.end_environments()


def test_the_internet_is_reached_by_tcp_and_udp(claim: Callable[..., Inside]) -> None:
    """The control for all of the below."""
    inside = claim()
    assert inside.run(reach, SERVER, PORT) == f"{SERVER} sees {HOST}"
    assert inside.run(ask, SERVER, PORT) == f"{SERVER} sees {HOST}"


def test_names_are_looked_up_by_a_resolver_that_is_out_of_reach(claim: Callable[..., Inside]) -> None:
    inside = claim()
    assert inside.run(look_up, NAME) == SERVER
    assert inside.run(ask, PRIVATE, 53) in REFUSALS


@pytest.mark.parametrize("host", [HOST, HOST_TOO, PRIVATE, METADATA, UPLINK, "169.254.100.2"])
def test_neither_this_machine_nor_private_networks_are_reached_through_the_router(
    claim: Callable[..., Inside], town: Town, host: str
) -> None:
    inside, before = claim(), list(town.world.heard)
    for attack in (reach, ask):
        assert inside.run(attack, host, PORT) in REFUSALS
    assert town.world.heard == before


def test_mail_is_not_sent(claim: Callable[..., Inside]) -> None:
    assert claim().run(reach, SERVER, 25) in REFUSALS


def test_one_environment_is_not_reached_by_another(claim: Callable[..., Inside]) -> None:
    def listen():
        import socket

        globals()["server"] = socket.create_server(("0.0.0.0", 7777))

    mine, theirs = claim(), claim()
    theirs.run(listen)
    address = theirs.run(own_address)
    assert address != mine.run(own_address)
    assert mine.run(reach, address, 7777) in REFUSALS


def test_an_address_that_is_not_its_own_is_not_believed(claim: Callable[..., Inside], town: Town) -> None:
    """The Runtime API's is the one other that its kernel lets it send from."""
    inside, before = claim(), list(town.world.heard)
    assert inside.run(say_from, "169.254.100.1", SERVER, PORT) == "sent"
    assert inside.run(ask, SERVER, PORT) == f"{SERVER} sees {HOST}"  # sent later, heard first
    assert town.world.heard[len(before) :] == [(SERVER, PORT, HOST)]


def test_an_environment_without_egress_has_no_way_out(claim: Callable[..., Inside]) -> None:
    inside = claim(with_egress=False)
    assert inside.run(reach, SERVER, PORT) == Refused("ENETUNREACH")
    assert "Temporary failure in name resolution" in inside.run(look_up, NAME).reason
    assert inside.run(say_from, "169.254.100.1", SERVER, PORT) == Refused("ENETUNREACH")


def test_the_next_environment_of_a_network_has_another_address(claim: Callable[..., Inside]) -> None:
    """What comes late for the last one finds nobody."""
    seen = []
    for _ in range(5):  # more than are parked or made ahead, so that a network comes round again
        environment = claim()
        seen.append(environment.run(own_address))
        environment.kill()
    assert len(set(seen)) == len(seen)


def test_it_still_has_no_capability_over_its_link(claim: Callable[..., Inside]) -> None:
    def take_another_address():
        import fcntl
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            address = struct.pack("16sHH4s8x", b"eth0", socket.AF_INET, 0, socket.inet_aton("100.64.0.200"))
            fcntl.ioctl(sock, 0x8916, address)

    assert claim().run(take_another_address) == Refused("EPERM")


def test_it_has_no_address_of_ipv6_but_loopbacks(claim: Callable[..., Inside]) -> None:
    def addresses():
        with open("/proc/net/if_inet6") as file:
            return [line.split()[-1] for line in file]

    assert set(claim().run(addresses)) <= {"lo"}


# Each wall taken away, and the same attack gets through.

CLOSED: tuple[Cut, ...] = (
    ("routers", "    ip daddr @closed reject with icmp type admin-prohibited\n", ""),
    ("routers", '    iifname "{link}" ip daddr @closed drop\n', ""),
)
OWN: tuple[Cut, ...] = (
    ("routers", '    iifname "{link}" fib daddr type != unicast drop\n', ""),
    ("routers", '    iifname "{link}" drop\n', ""),
)
SPOOFED: tuple[Cut, ...] = (
    ("routers", '    "net/ipv4/conf/all/rp_filter": "1",  # an address counts on its own link only\n', ""),
    ("routers", '    "net/ipv4/conf/default/rp_filter": "1",\n', ""),
)
EACH_OTHER: Cut = ("routers", '    oifname != "up0" reject with icmp type admin-prohibited\n', "")
MAIL: Cut = ("routers", "    tcp dport 25 reject with icmp type admin-prohibited\n", "")


@pytest.fixture
def without() -> Iterator[Callable[..., Town]]:
    """A town behind whose router some walls are cut out."""
    towns: list[Town] = []

    def settle_without(*cuts: Cut) -> Town:
        world = World()
        folder = Path(tempfile.mkdtemp(prefix="lambent-router-"))
        towns.append(settle(world, "veth", interpreter_with(cuts, folder)))
        return towns[-1]

    yield settle_without
    for town in towns:
        town.close()


@pytest.mark.parametrize("host", [PRIVATE, METADATA])
def test_without_the_closed_networks_private_addresses_are_reached(without: Callable[..., Town], host: str) -> None:
    assert without(*CLOSED).claim().run(reach, host, PORT) == f"{host} sees {HOST}"


def test_without_the_hosts_own_rules_it_is_reached(without: Callable[..., Town]) -> None:
    cut = ("routers", "        closed = [*closed, *own_addresses()]\n", "")
    assert without(*OWN, cut).claim().run(reach, HOST, PORT).startswith(f"{HOST} sees")


def test_either_wall_before_the_host_stands_by_itself(without: Callable[..., Town]) -> None:
    assert without(*OWN).claim().run(reach, HOST, PORT) in REFUSALS


def test_without_the_check_of_the_source_another_address_is_believed(without: Callable[..., Town]) -> None:
    town = without(*SPOOFED)
    inside = town.claim()
    assert inside.run(say_from, "169.254.100.1", SERVER, PORT) == "sent"
    assert inside.run(ask, SERVER, PORT) == f"{SERVER} sees {HOST}"
    assert town.world.heard == [(SERVER, PORT, HOST)] * 2


def test_without_the_rule_between_environments_they_reach_each_other(without: Callable[..., Town]) -> None:
    def listen():
        import socket
        import threading

        server = socket.create_server(("0.0.0.0", 7777))
        threading.Thread(target=lambda: server.accept()[0].send(b"through"), daemon=True).start()

    town = without(EACH_OTHER, *CLOSED)
    mine, theirs = town.claim(), town.claim()
    theirs.run(listen)
    assert mine.run(reach, theirs.run(own_address), 7777) == "through"


def test_without_its_rule_mail_is_sent(without: Callable[..., Town]) -> None:
    assert without(MAIL).claim().run(reach, SERVER, 25) == f"{SERVER} sees {HOST}"


def test_without_closing_the_link_an_environment_without_egress_has_a_way_out(without: Callable[..., Town]) -> None:
    town = without(("walls", "            environment.network.shut()\n", "            pass\n"))
    assert town.claim(with_egress=False).run(reach, SERVER, PORT) == f"{SERVER} sees {HOST}"


def test_with_the_old_address_kept_the_next_environment_has_it(without: Callable[..., Town]) -> None:
    town = without(("networks", "            self.shut()\n            self.link.open()\n", "            pass\n"))
    seen: set[str] = set()
    address = ""
    while address not in seen:  # networks are used again some time after their environment's end
        seen.add(address)
        environment = town.claim()
        address = environment.run(own_address)
        environment.kill()


def tables(world: World) -> str:
    """Those of the host."""
    command = ["nft", "list", "tables", "inet"]
    return world.host.run(lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def lambents(world: World) -> list[str]:
    return [name for name in world.links() if name.startswith("lambent")]


def test_a_launcher_that_ends_leaves_nothing_on_the_host(without: Callable[..., Town]) -> None:
    town = without()
    town.claim().kill()
    town.claim()
    assert lambents(town.world) == ["lambent0"]
    assert tables(town.world) == "table inet lambent0\n"
    town.end_environments()
    town.house.stop_launchers()
    assert tables(town.world) == ""
    until_gone(town.world)


def test_what_a_killed_launcher_left_on_the_host_is_swept_up(without: Callable[..., Town]) -> None:
    town = without()
    town.claim()
    for mountpoint in town.house.folder.glob("launcher-*"):
        os.kill(int(mountpoint.name.removeprefix("launcher-")), signal.SIGKILL)
    until_gone(town.world)
    assert tables(town.world) == "table inet lambent0\n"
    town.world.host.run(sweep, town.house.folder)
    assert tables(town.world) == ""


def until_gone(world: World) -> None:
    """The kernel takes links away some time after the last process of their namespace."""
    while lambents(world):
        pass
