"""The ways out that a machine may allow besides the proxy: what each needs, and a trial that goes it.

What a machine lacks outright is said without a trial, which takes some twenty milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import socket

from lambent.engine.sandbox import kernel, namespaces, netlink, networks, routers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_TUN = "/dev/net/tun"
_LIMIT_S, _TRIES = 0.4, 5
_PORT = 80
_NOWHERE = ["0.0.0.0/8"]
_NEAR, _FAR = "198.18.255.253", "198.18.255.254"  # a range for measurements, which no network uses
NOT_PASSED_ON = "what it should forward does not arrive"
_FIREWALL = (
    "Its firewall must pass on what comes from Lambent: iptables -I FORWARD -i lambent+ -j ACCEPT, and iptables "
    "-I FORWARD -o lambent+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; where Docker is, DOCKER-USER "
    "instead of FORWARD."
)


class Way:
    """One way: `missing` says what the machine lacks for it and what helps, `trial` raises OSError."""

    def __init__(
        self, name: str, detail: str, remedy: str, missing: Callable[..., tuple[str, str]], trial: Callable[[], None]
    ) -> None:
        self.name = name
        self.detail = detail
        self.remedy = remedy
        self.missing = missing
        self.trial = trial


def _veth_missing(*, root: bool) -> tuple[str, str]:
    if not root:
        return "only root can make links to the host", ""
    if not routers.program("nft"):
        return "nft is not installed", "Install it: apt-get install nftables."
    with open(_FORWARDING, encoding="ascii") as file:
        if file.read().strip() == "0":
            return "this machine forwards no packets", "If it may: sysctl -w net.ipv4.ip_forward=1."
    return "", ""


def _pasta_missing(*, root: bool) -> tuple[str, str]:
    if root:
        return "it is for nodes of plain users", ""
    for program, package in (("pasta", "passt"), ("nft", "nftables")):
        if not routers.program(program):
            return f"{program} is not installed", f"Install it: apt-get install {package}."
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"{_TUN} is not open to this user", f"As root: chmod 666 {_TUN}, as most systems have it."
    return "", ""


def _go_by_veth() -> None:
    """From an environment over the host to another namespace: what a firewall keeps for itself does not arrive."""
    host = os.open("/proc/self/ns/net", os.O_RDONLY)
    router = routers.Router(_NOWHERE)
    try:
        kernel.setns(host, kernel.CLONE_NEWNET)
        kernel.unshare(kernel.CLONE_NEWNET)
        name = f"lambent-t{os.getpid()}"
        netlink.ask_here(netlink.veth("t0", name, host))
        netlink.ask_here(netlink.add_address(socket.if_nametoindex("t0"), _FAR, 30))
        with socket.create_server((_FAR, _PORT)):
            kernel.setns(host, kernel.CLONE_NEWNET)
            near = socket.if_nametoindex(name)
            netlink.ask_here(netlink.raise_link(near), netlink.add_address(near, _NEAR, 30))
            networks.Network(router=router)
            _arrive()
    finally:
        router.close()


def _arrive() -> None:
    """A link takes some time after it was set up, and what is sent meanwhile is lost."""
    for _ in range(_TRIES):
        with contextlib.suppress(TimeoutError):
            socket.create_connection((_FAR, _PORT), timeout=_LIMIT_S).close()
            return
    raise OSError(NOT_PASSED_ON)


def _go_by_pasta() -> None:
    """As far as an environment's network with a router from which pasta leads; where to is not known."""
    pasta = routers.Pasta()
    try:
        namespaces.become_root_of_own_namespace()
        networks.Network(router=routers.Router(_NOWHERE, pasta))
    finally:
        pasta.end()


WAYS = (
    Way("veth", "a router that this machine forwards for", _FIREWALL, _veth_missing, _go_by_veth),
    Way("pasta", "a router that pasta makes connections for", "", _pasta_missing, _go_by_pasta),
)
