"""Before a node serves: what was asked for, and what this machine offers. What cannot be is said with a way out."""

import asyncio
import ipaddress
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from lambent.config import Config
from lambent.engine.sandbox.probe import PROCESS, Finding, Walls, Way
from lambent.store.folder import DataFolder, FolderInUseError

_EXTRAS: Final = ("cgroups", "own uids", "egress by veth", "egress by pasta")
_OTHER_WAYS: Final = "--egress proxy needs nothing of the machine; `lambent doctor` says more."
_WAYS: Final = {
    "veth": "this machine forwards, and private addresses are refused",
    "pasta": "pasta makes the connections, and private addresses are refused",
    "proxy": "an HTTP proxy that refuses private addresses; HTTP_PROXY and HTTPS_PROXY name it to functions",
    "none": "the setting `egress` says so",
}

Probe = Callable[[], tuple[Walls, list[Finding]]]


class StartRefused(Exception):
    """The node cannot start like this; `next_step` is what can be done about it."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


def check_address(config: Config) -> None:
    """Raises StartRefused for an address that others can reach while anybody is let in."""
    if config.insecure or config.auth != "open" or is_loopback(config.host):
        return
    raise StartRefused(
        f"{config.host} is reachable from other machines, and any credentials are taken (auth is open).",
        "Listen on 127.0.0.1, or say --insecure if this network is yours alone.",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def walls_for(config: Config, probe: Probe) -> tuple[Walls, list[str]]:
    """The walls to put up, and what is to be said about them."""
    if config.isolation == "process":
        return PROCESS, []
    walls, findings = await asyncio.to_thread(probe)
    if walls.level == "namespaces":
        return replace(walls, way=way_out(config, walls, findings)), []
    wrong = [finding for finding in findings if not finding.ok and finding.name not in _EXTRAS]
    reasons = "; ".join(f"{finding.name}: {finding.detail}" for finding in wrong)
    remedy = next((finding.remedy for finding in wrong if finding.remedy), "")
    if config.isolation == "namespaces" or not is_loopback(config.host):
        raise StartRefused(
            f"functions cannot be isolated here ({reasons}).",
            f"{remedy}\n`lambent doctor` says more. --isolation process runs them without walls: trusted code only.",
        )
    return walls, [f"functions run without isolation here ({reasons}). Run trusted code only; see `lambent doctor`."]


def way_out(config: Config, walls: Walls, findings: list[Finding]) -> Way:
    """The way out that the settings ask for, or the best one. StartRefused: this machine lacks what was asked for."""
    if config.egress == "auto":
        return walls.way
    if config.egress in ("veth", "pasta") and config.egress != walls.way:
        found = next(finding for finding in findings if finding.name == f"egress by {config.egress}")
        raise StartRefused(
            f"egress is {config.egress}, which does not work here: {found.detail}.",
            f"{found.remedy}\n{_OTHER_WAYS}".strip(),
        )
    return config.egress


def egress_kind(config: Config, walls: Walls, findings: list[Finding]) -> tuple[str, str]:
    """How functions reach the internet, `veth`, `pasta`, `proxy`, `host` or `none`, and what that means."""
    if walls.level == "process":
        return "host", "without isolation, functions have this machine's network"
    try:
        way = way_out(config, walls, findings)
    except StartRefused as refused:
        return "refused", refused.what
    return way, _WAYS[way]


def raise_descriptor_limit() -> None:
    """Each environment takes about six descriptors of the node."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def bound(config: Config) -> Iterator[socket.socket]:
    """The socket that clients connect to, or StartRefused."""
    try:
        address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(address[0], socket.SOCK_STREAM)
    except OSError as error:
        raise StartRefused(f"{config.host}: {error.strerror}.", "Name an address of this machine.") from error
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        try:
            sock.bind(address[4])
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise StartRefused(
                f"{where}: {error.strerror}.", "Is a node running there already? Choose another with --port."
            ) from error
        yield sock


@contextmanager
def data_folder(config: Config) -> Iterator[DataFolder]:
    """The folder that this node alone uses, or StartRefused."""
    opening = DataFolder.ephemeral() if config.ephemeral else DataFolder.open(config.data_dir)
    try:
        folder = opening.__enter__()
    except FolderInUseError as error:
        raise StartRefused(str(error)) from error
    except OSError as error:
        raise StartRefused(f"{config.data_dir}: {error.strerror}.", "Name another folder with --data-dir.") from error
    with ExitStack() as stack:
        stack.push(opening)
        yield folder
