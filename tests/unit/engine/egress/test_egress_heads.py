"""What the proxy takes for a request, and that it refuses what could be read in two ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.egress.heads import HeadError, Request, read


def head(*lines):
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_connect_names_a_host_and_a_port():
    found = read(head("CONNECT example.com:443 HTTP/1.1", "Host: other:1"))
    assert found == Request(host="example.com", port=443, head=None)
    assert read(head("CONNECT [2606:4700::1111]:443 HTTP/1.1")).host == "2606:4700::1111"


def test_a_plain_request_is_written_anew():
    found = read(
        head(
            "GET http://Example.com/a?b=c HTTP/1.1",
            "Host: inner.example",
            "Proxy-Authorization: Basic eDp5",
            "Proxy-Connection: keep-alive",
            "Connection: keep-alive, X-Between",
            "X-Between: 1",
            "Upgrade: h2c",
            "Accept: */*",
        )
    )
    assert (found.host, found.port, found.length) == ("Example.com", 80, 0)
    expected = ["GET /a?b=c HTTP/1.1", "Host: Example.com", "Accept: */*", "Connection: close"]
    assert found.head == head(*expected)


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://a", "GET / HTTP/1.1", "a"),
        ("HTTP://a?x", "GET /?x HTTP/1.1", "a"),
        ("http://a:8080/", "GET / HTTP/1.1", "a:8080"),
        ("http://[2606::1]:81/", "GET / HTTP/1.1", "[2606::1]:81"),
    ],
)
def test_targets(url, line, host):
    written = read(head(f"GET {url} HTTP/1.1")).head.decode()
    assert written.startswith(f"{line}\r\nHost: {host}\r\n")


@pytest.mark.parametrize(
    "target",
    [
        "2130706433:80",
        "0x7f000001:80",
        "0x7f.0.0.1:80",
        "127.1:80",
        "0177.0.0.1:80",
        "127.0.0.0x1:80",
        "127.0.0.1.:80",
        "010.0.0.1:80",
        "[::1%lo]:80",
        "[127.0.0.1]:80",
        "user@host:80",
        "user:pass@host:80",
        "host",
        "host:0",
        "host:65536",
        "host:-1",
        "host:80/path",
        "host:80#x",
        "a..b:80",
        ".a:80",
        ":80",
        "h\u00f6st:80",
        "*",
    ],
)
def test_a_target_in_disguise_is_refused(target):
    with pytest.raises(HeadError):
        read(head(f"CONNECT {target} HTTP/1.1"))
    if target not in ("host", "host:80/path"):  # which a URL may have
        with pytest.raises(HeadError):
            read(head(f"GET http://{target} HTTP/1.1"))


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 1", "Content-Length: 2"],
        ["Content-Length: 1", "Content-Length: 1"],
        ["Content-Length: +1"],
        ["Content-Length: 1, 1"],
        ["Content-Length: 0x1"],
        ["Content-Length: 1", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Connection: content-length", "Content-Length: 5"],
        ["Connection: close, Transfer-Encoding", "Transfer-Encoding: chunked"],
        ["Connection: host"],
        ["X: 1", " folded"],
        ["X: a\rb"],
        ["X: a\nContent-Length: 5"],
        ["X: a\0b"],
        ["no colon"],
        [": no name"],
        ["X Y: 1"],
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines):
    with pytest.raises(HeadError):
        read(head("POST http://a/ HTTP/1.1", *lines))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET / HTTP/1.1",
        "GET https://a/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http://a/ HTTP/2",
        "GET http://a/ HTTP/1.1 ",
        "GET  http://a/ HTTP/1.1",
        "GET http://a/#x HTTP/1.1",
        "GET http://a/ b HTTP/1.1",
        "GET http://a\\@b/ HTTP/1.1",
        "PRI * HTTP/2.0",
    ],
)
def test_it_is_no_request_to_a_proxy(line):
    with pytest.raises(HeadError):
        read(head(line))


def test_http_1_0_has_no_chunks():
    with pytest.raises(HeadError):
        read(head("POST http://a/ HTTP/1.0", "Transfer-Encoding: chunked"))
    assert read(head("POST http://a/ HTTP/1.1", "Transfer-Encoding: chunked")).length is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    for start in (b"", b"CONNECT ", b"GET http://", b"POST http://a/ HTTP/1.1\r\n"):
        try:
            found = read(start + data + b"\r\n\r\n")
        except HeadError:
            continue
        assert found.host
        assert 0 < found.port < 65_536


_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
_VALUES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8), st.from_regex(r"/[!-\"$-~]{0,20}", fullmatch=True))
def test_what_is_passed_on_reads_the_same_again(fields, path):
    """Written anew, a request has one head, one host and one end, and reading it a second time changes nothing."""
    try:
        first = read(head(f"GET http://a.example{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)))
    except HeadError:
        return
    lines = first.head.decode("latin-1").split("\r\n")
    assert lines[-2:] == ["", ""]
    assert "" not in lines[:-2]
    assert [line for line in lines if line.lower().startswith("host:")] == ["Host: a.example"]
    again = read(first.head.replace(b"GET /", b"GET http://a.example/", 1))
    assert again == first
