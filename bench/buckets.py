#!/usr/bin/env python3
"""Measures buckets: objects of 1 KB, 1 MB and 1 GB put and got, 100,000 keys listed, and from a put to a function that
is told of it; and peers. `make bench` prints the same after its own table.

    .venv/bin/python bench/buckets.py                   # five minutes
    .venv/bin/python bench/buckets.py --quick           # 100 MB instead of 1 GB, 10,000 keys
    .venv/bin/python bench/buckets.py --peer ''         # without MiniStack and moto

Requests are raw HTTP, one connection, one after the other, without a checksum of the client's and without a signature
that anybody could verify. Neither peer keeps objects on disk by default. What a put waits for here is the disk.
"""

import argparse
import asyncio
import base64
import http.client
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import harness
import running
from queues import moto, peer
from rows import BUCKET_ROWS, table

SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/{service}/aws4_request, "
    "SignedHeaders=host, Signature=x",
    "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
}
KB, MB = 1024, 1024 * 1024
BLOCK = os.urandom(MB)
FILLERS = 8  # connections that put the keys to list
# Puts down when each object's event arrived.
ARRIVED = """
import os, time, urllib.request
def handler(event, context):
    now = str(time.time()).encode()
    for record in event["Records"]:
        url = os.environ["AWS_ENDPOINT_URL"] + "/bench/arrived-" + record["s3"]["object"]["key"]
        urllib.request.urlopen(urllib.request.Request(url, now, method="PUT")).close()
"""


class Client:
    """One connection, kept."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        address = urlsplit(endpoint)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=600)

    def __call__(self, method: str, path: str, body: object = None, length: int | None = None, service: str = "s3"):
        headers = {name: value.format(service=service) for name, value in SIGNED.items()}
        if length is not None:
            headers["content-length"] = str(length)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response, response.status

    def whole(self, method: str, path: str, body: object = None, service: str = "s3") -> bytes:
        response, status = self(method, path, body, None if isinstance(body, bytes | None) else 0, service)
        content = response.read()
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content[:300]!r}")
        return content


def small(client: Client, count: int, size: int) -> dict:
    body, put, got = BLOCK[:size], [], []
    for number in range(count):
        began = time.perf_counter()
        client.whole("PUT", f"/bench/{size}/{number}", body)
        put.append((time.perf_counter() - began) * 1000)
    for number in range(count):
        began = time.perf_counter()
        client.whole("GET", f"/bench/{size}/{number}")
        got.append((time.perf_counter() - began) * 1000)
    return {"put": harness.summary(put), "got": harness.summary(got)}


def large(client: Client, blocks: int) -> dict:
    began = time.perf_counter()
    response, status = client("PUT", "/bench/large", (BLOCK for _ in range(blocks)), blocks * MB)
    response.read()
    assert status == 200, status
    put_s = time.perf_counter() - began
    began = time.perf_counter()
    response, _ = client("GET", "/bench/large")
    while response.read(MB):
        pass
    got_s = time.perf_counter() - began
    client.whole("DELETE", "/bench/large")
    return {"put_mb_per_s": round(blocks / put_s), "got_mb_per_s": round(blocks / got_s)}


def listing(client: Client, count: int) -> dict:
    client.whole("PUT", "/listed")

    def fill(first: int) -> None:
        own = Client(client.endpoint)
        for number in range(first, count, FILLERS):
            own.whole("PUT", f"/listed/{number % 100:02}/{number:06}", b"")

    with ThreadPoolExecutor(FILLERS) as threads:
        list(threads.map(fill, range(FILLERS)))
    began, token, found = time.perf_counter(), "", 0
    while True:
        page = client.whole("GET", f"/listed?list-type=2{token}")
        found += page.count(b"<Key>")
        more = re.search(rb"<NextContinuationToken>([^<]+)<", page)
        if more is None:
            break
        token = f"&continuation-token={quote(more[1].decode().replace('&amp;', '&'), safe='')}"
    assert found == count, found
    listed_s = time.perf_counter() - began
    began = time.perf_counter()
    assert client.whole("GET", "/listed?list-type=2&delimiter=/").count(b"<CommonPrefixes>") == 100
    return {"listed_s": round(listed_s, 3), "folders_ms": round((time.perf_counter() - began) * 1000, 2)}


def told(client: Client, count: int = 100) -> dict:
    """Milliseconds from a put's request to the handler's first line, with nothing else to do."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", ARRIVED)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:told"
    code = {"ZipFile": base64.b64encode(archive.getvalue()).decode()}
    made = {"FunctionName": "told", "Runtime": "python3.11", "Handler": "app.handler", "Code": code, "Timeout": 30}
    made["Role"] = "arn:aws:iam::000000000000:role/r"
    functions = "/2015-03-31/functions"
    client.whole("POST", functions, json.dumps(made).encode(), service="lambda")
    while b'"Active"' not in client.whole("GET", f"{functions}/told/configuration", service="lambda"):
        time.sleep(0.05)
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    client.whole("POST", f"{functions}/told/policy", json.dumps(permission).encode(), service="lambda")
    rule = "<FilterRule><Name>prefix</Name><Value>told-</Value></FilterRule>"
    entry = (
        f"<CloudFunction>{arn}</CloudFunction><Event>s3:ObjectCreated:*</Event><Filter><S3Key>{rule}</S3Key></Filter>"
    )
    configuration = f"<CloudFunctionConfiguration>{entry}</CloudFunctionConfiguration>"
    document = f"<NotificationConfiguration>{configuration}</NotificationConfiguration>".encode()
    client.whole("PUT", "/bench?notification", document)
    taken = []
    for number in range(count + 5):
        began = time.time()
        client.whole("PUT", f"/bench/told-{number}", b"x")
        while True:
            response, status = client("GET", f"/bench/arrived-told-{number}")
            at = response.read()
            if status == 200:
                break
            time.sleep(0.002)
        taken.append((float(at) - began) * 1000)
        time.sleep(0.02)
    return harness.summary(taken[5:])


def measure(endpoint: str, *, quick: bool, tells: bool) -> dict:
    """Figures by name."""
    client = Client(endpoint)
    client.whole("PUT", "/bench")
    small(client, 50, KB)  # warm
    found = {"kb": small(client, 500, KB), "mb": small(client, 50, MB), "large": large(client, 100 if quick else 1_000)}
    found |= listing(client, 10_000 if quick else 100_000)
    return found | ({"to_handler": told(client)} if tells else {})


async def results(peer_command: str, *, quick: bool) -> dict[str, dict]:
    """The figures of Lambent and of its peers, in the shape of the harness's results."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        async with running.node(Path(folder) / "data") as node:
            print("== buckets", file=sys.stderr)
            mine = await asyncio.to_thread(measure, node.endpoint, quick=quick, tells=True)
            found["lambent"] = {"scenarios": {"buckets": mine}}
    commands = {}
    if peer_command and shutil.which(peer_command.split()[0]):
        commands[Path(peer_command.split()[0]).name] = peer_command
    if peer_command and (command := moto()):
        commands["moto"] = command
    for name, command in commands.items():
        async with peer(command) as endpoint:
            print(f"== buckets of {name}", file=sys.stderr)
            theirs = await asyncio.to_thread(measure, endpoint, quick=quick, tells=False)
            found[name] = {"scenarios": {"buckets": theirs}}
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 MB are large, and 10,000 keys many")
    parser.add_argument("--peer", default="ministack", help="a peer's command, started with GATEWAY_PORT set")
    options = parser.parse_args()
    found = await results(options.peer, quick=options.quick)
    print(table(found, [name for name in found if name != "lambent"], BUCKET_ROWS))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
