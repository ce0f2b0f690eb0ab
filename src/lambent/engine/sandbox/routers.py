"""The router: a network namespace of a launcher's own, through which its environments reach the internet.

Each environment with a way out has a link of its own to it, with one address and one route. Whatever keeps them from
this machine, from the networks around it and from each other is a rule of the router, not of the host: it forwards
for itself alone, and when it goes, links, rules and connections go with it. Out of the router leads a second link:
as root a veth pair to the host, which has to forward and translates the router's one address; as a plain user pasta,
which makes each connection anew with sockets of the host.

A router's own namespace may set what it likes: nothing here changes a setting of the host.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import struct

from lambent.engine.sandbox import kernel, netlink, rootfs

WAYS = ("veth", "pasta")
ADDRESS = rootfs.ROUTER_ADDRESS
NAMES_PORT = 53
UPLINK = "up0"
HOST_LINK = "lambent"
"""How links to routers are called on the host, and their nftables tables there, with a number behind it."""

_ROUTERS = 1024  # on one machine
_POOL = 100 << 24 | 64 << 16  # 100.64.0.0/10: seen by nobody but the router
_POOL_BITS = 22
_FIRST_PEER = 16
_PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:/run/current-system/sw/bin"
_PASTA_LIMIT_MS, _PASTA_PAUSE_MS = 5000, 2
_PASTA_MTU = 65520  # the most that it takes: fewer pieces to copy
_SIOCGIFMTU = 0x8921
_TOO_MANY = 1 << 16
# AWS's NAT gateways close what has been idle for 350 seconds.
_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "1",  # an address counts on its own link only
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_LATE_SETTINGS = {"net/netfilter/nf_conntrack_tcp_timeout_established": "350"}

_RULES = """
table inet lambent {{
  set closed {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {closed} }} }}
  set busy {{ type ipv4_addr; size 65535; flags dynamic; timeout 1m; }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname != "v*" drop
    oifname != "up0" reject with icmp type admin-prohibited
    ip daddr @closed reject with icmp type admin-prohibited
    tcp dport 25 reject with icmp type admin-prohibited
    ct state new add @busy {{ ip saddr limit rate over 500/second burst 1000 packets }} drop
    meta l4proto {{ tcp, udp, icmp }} ct state new accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "v*" ip daddr {address} meta l4proto {{ tcp, udp }} th dport 53 accept
    iifname "v*" reject with icmp type admin-prohibited
  }}
  chain translate {{
    type nat hook postrouting priority srcnat;
    oifname "up0" masquerade
  }}
}}
"""

# The host's part. What is for this machine itself is dropped before anything could lead it elsewhere.
_HOST_RULES = """
table inet {link} {{ }}
delete table inet {link}
table inet {link} {{
  set closed {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {closed} }} }}
  chain arriving {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{link}" ip saddr != {router} drop
    iifname "{link}" fib daddr type != unicast drop
    iifname "{link}" ip daddr @closed drop
    iifname "{link}" meta nfproto ipv6 drop
  }}
  chain own {{
    type filter hook input priority filter; policy accept;
    iifname "{link}" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{link}" ct state != {{ established, related }} drop
  }}
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {router} oifname != "{link}" masquerade
  }}
}}
"""


class Router:
    """One launcher's way out. The calling process is inside after it was made, and must go elsewhere by itself."""

    def __init__(self, closed: list[str], pasta: Pasta | None = None) -> None:
        """Make it.

        `closed` are the networks that it leads nowhere to. Without `pasta` it is the host that forwards, which takes
        root. Raises OSError: the text says which step failed.
        """
        host = None if pasta else os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        closed = [*closed, *own_addresses()]
        self._mtu = _PASTA_MTU if pasta else _outer_mtu()
        kernel.unshare(kernel.CLONE_NEWNET)
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._table = ""  # on the host
        self._host = host
        self._tables = netlink.Netlink()
        self._made = 0
        self._next_address = 0
        _set(_SETTINGS)
        self._tables.ask(netlink.raise_link(netlink.LOOPBACK), netlink.add_address(netlink.LOOPBACK, ADDRESS))
        load_rules(_RULES.format(closed=", ".join(closed), address=ADDRESS))
        _set(_LATE_SETTINGS)
        self.names = (_names(socket.SOCK_DGRAM), _names(socket.SOCK_STREAM))
        if pasta:
            pasta.lead_out(self.fd)
        else:
            self._join_host(closed)

    def link(self) -> Link:
        """A way to here for the network that the process is in, open."""
        self._made += 1
        return Link(self, _FIRST_PEER + self._made)

    def close(self) -> None:
        """Take away what is the host's; the rest goes with the namespace."""
        if self._table and self._host is not None:
            kernel.setns(self._host, kernel.CLONE_NEWNET)
            load_rules(f"delete table inet {self._table}\n")
            self._table = ""

    def _join_host(self, closed: list[str]) -> None:
        assert self._host is not None
        for number in range(_ROUTERS):
            name = f"{HOST_LINK}{number}"
            try:
                self._tables.ask(netlink.veth(UPLINK, name, self._host, mtu=self._mtu))
                break
            except FileExistsError:
                continue
        else:
            raise OSError(f"all links {HOST_LINK}0 to {HOST_LINK}{_ROUTERS - 1} are taken")
        third, fourth = 192 + number // 64, number % 64 * 4
        theirs, ours = f"169.254.{third}.{fourth + 1}", f"169.254.{third}.{fourth + 2}"
        kernel.setns(self._host, kernel.CLONE_NEWNET)
        try:
            load_rules(_HOST_RULES.format(link=name, router=ours, closed=", ".join(closed)))
            self._table = name
            index = socket.if_nametoindex(name)
            netlink.ask_here(netlink.raise_link(index), netlink.add_address(index, theirs, 30))
        finally:
            kernel.setns(self.fd, kernel.CLONE_NEWNET)
        index = socket.if_nametoindex(UPLINK)
        self._tables.ask(netlink.add_address(index, ours, 30), netlink.add_route(index, gateway=theirs))

    def admit(self, index: int) -> str:
        """A new address for the link with that index here, and the route to it; addresses come again last."""
        for _ in range(_TOO_MANY):
            self._next_address = (self._next_address + 1) % ((1 << _POOL_BITS) - 1)
            address = socket.inet_ntoa((_POOL + self._next_address).to_bytes(4, "big"))
            try:
                self._tables.ask(netlink.add_route(index, address))
            except FileExistsError:
                continue
            return address
        raise OSError("the router has no address left")

    def dismiss(self, index: int, address: str) -> None:
        """Nothing comes from that link any more, and nothing goes there."""
        self._tables.ask(netlink.remove_route(index, address))

    def attach(self, index: int) -> None:
        """A pair of links between here and the network that the process is in."""
        netlink.ask_here(netlink.veth("eth0", f"v{index}", self.fd, peer_index=index, mtu=self._mtu))
        self._tables.ask(netlink.raise_link(index))


class Link:
    """What leads from an environment's network to the router. Every method is called from inside that network."""

    _ETH0 = 2

    def __init__(self, router: Router, index: int) -> None:
        _set({"net/ipv6/conf/default/disable_ipv6": "1"})
        self._router = router
        self._index = index
        self._address = ""
        router.attach(index)
        self.open()

    def open(self) -> None:
        """A way out, from an address that no environment has had for long: late answers find nobody."""
        if self._address:
            return
        self._address = self._router.admit(self._index)
        netlink.ask_here(
            netlink.add_address(self._ETH0, self._address),
            netlink.add_route(self._ETH0, ADDRESS),
            netlink.add_route(self._ETH0, gateway=ADDRESS),
        )

    def close(self) -> None:
        """No way out: neither a route here, nor one back, without which the router takes nothing from here."""
        if not self._address:
            return
        self._router.dismiss(self._index, self._address)
        netlink.ask_here(
            netlink.remove_route(self._ETH0, gateway=ADDRESS),
            netlink.remove_route(self._ETH0, ADDRESS),
            netlink.remove_address(self._ETH0, self._address),
        )
        self._address = ""


class Pasta:
    """pasta, as a child that starts in the host's network and user namespace and waits there for a router.

    It is made before its parent goes into namespaces of its own, and is killed when that ends.
    """

    def __init__(self) -> None:
        path = program("pasta")
        reader, self._go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._go)
                self._become(path, reader)
            finally:
                os._exit(1)
        os.close(reader)

    def lead_out(self, router: int) -> None:
        """Have it join that namespace, in which the process is, and wait until its link is up."""
        os.write(self._go, f"{os.getpid()} {router}".encode())
        os.close(self._go)
        process = os.pidfd_open(self.pid)
        try:
            ended = select.poll()
            ended.register(process, select.POLLIN)
            for _ in range(_PASTA_LIMIT_MS // _PASTA_PAUSE_MS):
                if _default_link() == UPLINK:
                    return
                if ended.poll(_PASTA_PAUSE_MS):
                    raise OSError("pasta ended instead of leading out")
            raise OSError("pasta did not come up")
        except OSError:
            self.end()
            raise
        finally:
            os.close(process)

    def end(self) -> None:
        """End it and wait for that."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _become(self, path: str, reader: int) -> None:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        words = os.read(reader, 64).decode().split()
        if not words:
            return
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # it refuses to start without
        parent, router = words
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        kernel.close_from(3)
        command = [
            path,
            "--foreground",
            "--quiet",
            "--ipv4-only",
            "--config-net",
            "--no-map-gw",
            "--no-dhcp",
            "--no-ra",
        ]
        command += ["--ns-ifname", UPLINK, "-t", "none", "-u", "none", "-T", "none", "-U", "none"]
        os.execve(path, [*command, "--userns", f"/proc/{parent}/ns/user", "--netns", f"/proc/{parent}/fd/{router}"], {})


def own_addresses() -> list[str]:
    """The machine's own IPv4 addresses at this moment, loopback's too."""
    found, last = set(), ""
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        for line in file:
            word = line.split()
            if word[0] in ("|--", "+--"):
                last = word[1]
            elif word[:3] == ["/32", "host", "LOCAL"]:
                found.add(last)
    return sorted(found)


def program(name: str) -> str:
    """Where one of the system's programs is, as a path; empty when it is not there."""
    return shutil.which(name, path=_PROGRAMS) or ""


def load_rules(rules: str) -> None:
    """Have nft carry out a script, whole or not at all, in the network that the process is in. Raises OSError."""
    nft = program("nft")
    script, errors = os.memfd_create("rules"), os.memfd_create("errors")
    try:
        os.write(script, rules.encode())
        os.lseek(script, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, script, 0), (os.POSIX_SPAWN_DUP2, errors, 1), (os.POSIX_SPAWN_DUP2, errors, 2)]
        pid = os.posix_spawn(nft, [nft, "-f", "-"], {}, file_actions=actions)
        if os.waitpid(pid, 0)[1] != 0:
            said = os.pread(errors, 500, 0).decode(errors="replace").strip().partition("\n")[0]
            raise OSError(f"nft: {said or 'refused'}")
    finally:
        os.close(script)
        os.close(errors)


def _names(kind: socket.SocketKind) -> socket.socket:
    """Where the resolver of this router is asked."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((ADDRESS, NAMES_PORT))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def _default_link() -> str:
    """The link that most packets take here; none is empty."""
    with open("/proc/net/route", encoding="ascii") as file:
        words = [line.split() for line in file.readlines()[1:]]
    return next((each[0] for each in words if each[1] == each[7] == "00000000"), "")


def _outer_mtu() -> int:
    link = _default_link()
    if not link:
        return 1500
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFMTU, struct.pack("16si12x", link.encode(), 0))
    return min(int(struct.unpack_from("16si", answer)[1]), _PASTA_MTU)


def _set(settings: dict[str, str]) -> None:
    """Settings of the network that the process is in; what the kernel was built without needs none."""
    for name, value in settings.items():
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(value)
