"""What a function cannot reach through the egress proxy: in real environments, with the proxy in its own process."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attacks import EGRESS_UID, INTERNET, Inside, Outside

METADATA = "169.254.169.254"


def connect(host, port):
    import socket

    with socket.create_connection((host, port), timeout=5):
        return "connected"


def ask(request, seconds=20):
    """What the proxy answers: its status, or what it says of not answering."""
    import socket

    with socket.create_connection(("169.254.100.1", 80), timeout=seconds) as sock:
        sock.sendall(request.encode("latin-1"))
        try:
            answer = sock.recv(65536).decode("latin-1")
        except TimeoutError:
            return "silence"
    return int(answer.split()[1]) if answer else "hung up"


def tunnel(host: str, port: int) -> str:
    return f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n"


@contextmanager
def listening(host: str) -> Iterator[tuple[int, Callable[[], int]]]:
    """A port of this machine, and how many came there since it was last asked: the kernel takes them."""
    with socket.create_server((host, 0)) as server:
        server.setblocking(False)

        def came() -> int:
            count = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.accept()[0].close()
                    count += 1
            return count

        yield server.getsockname()[1], came


@pytest.fixture
def online(fresh: Callable[..., Inside]) -> Inside:
    """An environment with a way out."""
    return fresh(with_egress=True)


def proxy_process() -> Path:
    """The proxy's own folder in /proc."""
    mark = f"# the egress proxy of process {os.getpid()}\n".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "cmdline").read_bytes():
                return path
        except OSError:
            continue
    raise AssertionError("the egress proxy does not run")


def test_the_internet_is_reached_through_the_proxy(online: Inside) -> None:
    """The control for all of the below."""
    with listening(INTERNET) as (port, came):
        assert online.run(ask, tunnel(INTERNET, port)) == 200
        assert came() == 1


def test_the_hosts_loopback_is_not_reached_through_the_proxy(online: Inside, outside: Outside) -> None:
    """The platform's own port and its control endpoint listen there, as a host's databases do."""
    with listening("127.0.0.1") as (port, came):
        assert outside.run(connect, "127.0.0.1", port) == "connected"
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.0.0.3"):
            assert online.run(ask, tunnel(host, port)) == 403
            assert online.run(ask, f"GET http://{host}:{port}/_lambent/reset HTTP/1.1\r\n\r\n") == 403
        for host in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1"):
            assert online.run(ask, tunnel(host, port)) == 400
        assert came() == 1


def test_the_hosts_other_addresses_are_not_reached_through_the_proxy(online: Inside) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.250", 9))
            own = sock.getsockname()[0]
        except OSError:  # a machine with loopback only
            own = "127.0.0.1"
    with listening("0.0.0.0") as (port, came):
        for host in (own, socket.gethostname()):
            assert online.run(ask, tunnel(host, port)) == 403
        assert came() == 0


@pytest.mark.parametrize("host", [METADATA, "169.254.170.2", "100.100.100.200", "[fd00:ec2::254]", "168.63.129.16"])
def test_no_metadata_service_is_reached_through_the_proxy(online: Inside, host: str) -> None:
    assert online.run(ask, tunnel(host, 80)) == 403
    assert online.run(ask, f"GET http://{host}/latest/meta-data/ HTTP/1.1\r\n\r\n") == 403


@pytest.mark.parametrize("host", ["10.0.0.1", "172.17.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]"])
def test_no_private_network_is_reached_through_the_proxy(online: Inside, host: str) -> None:
    assert online.run(ask, tunnel(host, 443)) == 403


def test_another_environment_is_not_reached_through_the_proxy(online: Inside, fresh: Callable[..., Inside]) -> None:
    def listen():
        import socket

        globals()["server"] = socket.create_server(("0.0.0.0", 7777))

    other = fresh(with_egress=True)
    other.run(listen)
    for address in ("127.0.0.1", "169.254.100.1"):
        assert other.run(connect, address, 7777) == "connected"
        assert online.run(ask, tunnel(address, 7777)) == 403
        assert other.run(ask, tunnel(address, 7777)) == 403  # not even its own: that is not what it is for
    assert online.run(ask, tunnel("169.254.100.1", 80)) == 403


def test_an_environment_without_egress_gets_no_answer(fresh: Callable[..., Inside]) -> None:
    with listening(INTERNET) as (port, came):
        assert fresh().run(ask, tunnel(INTERNET, port), 0.3) == "silence"
        assert came() == 0


def test_what_it_asked_for_is_not_done_for_the_next_one(fresh: Callable[..., Inside]) -> None:
    """Networks are used again, and so is the proxy's listener in them."""

    def leave_requests(request):
        import socket

        globals()["left"] = [socket.create_connection(("169.254.100.1", 80)) for _ in range(10)]
        for sock in globals()["left"]:
            sock.sendall(request.encode())

    with listening(INTERNET) as (port, came), listening(INTERNET) as (other_port, others):
        first = fresh()
        first.run(leave_requests, tunnel(INTERNET, port))
        first.kill()
        for _ in range(4):  # more than are parked, so that the network comes round again
            environment = fresh(with_egress=True)
            assert environment.run(ask, tunnel(INTERNET, other_port)) == 200
            assert others() == 1
            environment.kill()
        assert came() == 0


def test_a_proxied_request_carries_no_second_one(online: Inside) -> None:
    """Smuggling, and heads without end."""
    with listening(INTERNET) as (port, _):
        for fields in ("Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length: 1\r\nContent-Length: 2"):
            assert online.run(ask, f"POST http://{INTERNET}:{port}/ HTTP/1.1\r\n{fields}\r\n\r\nx") == 400
        assert online.run(ask, f"GET http://{INTERNET}:{port}/ HTTP/1.1\r\nX: {'a' * 200_000}") == 431


def test_the_proxy_has_no_privileges_and_little_to_steal(online: Inside) -> None:
    """Should a request get hold of its process."""
    with listening(INTERNET) as (port, _):
        assert online.run(ask, tunnel(INTERNET, port)) == 200
    process = proxy_process()
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    if os.getuid() == 0:
        assert set(status["Uid"].split()) == {str(EGRESS_UID)}
        assert set(status["Gid"].split()) == {str(EGRESS_UID)}
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["Groups"].split() == []
    assert status["NoNewPrivs"].strip() == "1"
    assert (process / "environ").read_bytes() == b""
    held = [os.readlink(path).partition(":")[0] for path in (process / "fd").iterdir() if int(path.name) > 2]
    assert set(held) <= {"socket", "anon_inode", "pipe"}


def test_a_proxy_that_is_killed_comes_back_for_everyone(online: Inside) -> None:
    with listening(INTERNET) as (port, _):
        assert online.run(ask, tunnel(INTERNET, port)) == 200
        old = proxy_process()
        os.kill(int(old.name), signal.SIGKILL)
        assert online.run(ask, tunnel(INTERNET, port)) == 200
        assert proxy_process() != old
