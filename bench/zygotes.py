"""Later cold starts of a function with pandas in a layer, with and without package zygotes, and SnapStart restores.

    python bench/zygotes.py --layer pandas.zip     # a layer's zip with python/pandas; needs no network then

A start is cold when every environment there is is kept busy meanwhile; what is timed is the whole invocation over HTTP.
"""

import argparse
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

CODE = """
import time
import numpy, pandas
def handler(event, context):
    time.sleep(event or 0)
    return int(pandas.DataFrame({"a": numpy.arange(4)}).a.sum())
"""
HOLD_S = 1.0
ROLE = "arn:aws:iam::000000000000:role/r"


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), text)
    return content.getvalue()


def cold_ms(client, name: str, qualifier: str, count: int) -> list[float]:
    """The time of `count` invocations that found no free environment."""
    taken = []

    def invoke(event: object) -> None:
        client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))

    with ThreadPoolExecutor(count + 1) as callers:
        for busy in range(1, count + 1):
            held = [callers.submit(invoke, HOLD_S) for _ in range(busy)]
            time.sleep(HOLD_S / 2)  # until all of them run
            began = time.perf_counter()
            invoke(None)
            taken.append((time.perf_counter() - began) * 1000)
            for one in held:
                one.result()
    return taken


def measure(layer: bytes, count: int, *, zygotes: bool) -> dict[str, list[float]]:
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [str(Path(sys.executable).with_name("lambent")), "up", "--port", str(port), "--data-dir", folder]
        environment = {**os.environ, "LAMBENT_PACKAGE_ZYGOTES": str(zygotes).lower(), "LAMBENT_LOG_LEVEL": "error"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as node:
            try:
                return _measure(port, layer, count, zygotes=zygotes)
            finally:
                node.terminate()


def _measure(port: int, layer: bytes, count: int, *, zygotes: bool) -> dict[str, list[float]]:
    settings = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}
    config = Config(retries={"total_max_attempts": 30, "mode": "standard"}, max_pool_connections=count + 2)
    client = boto3.client("lambda", endpoint_url=f"http://127.0.0.1:{port}", config=config, **settings)
    arn = client.publish_layer_version(LayerName="pandas", Content={"ZipFile": layer})["LayerVersionArn"]
    runtime = f"python3.{sys.version_info.minor}"
    common = {"Runtime": runtime, "Role": ROLE, "Handler": "app.handler", "Timeout": 60, "MemorySize": 1769}
    common |= {"Code": {"ZipFile": zipped(CODE)}, "Layers": [arn]}
    client.create_function(FunctionName="plain", **common)
    client.get_waiter("function_active_v2").wait(FunctionName="plain")
    client.invoke(FunctionName="plain", Payload="null")
    time.sleep(20 if zygotes else 1)  # until the zygote is there, on a busy machine too
    found = {"pandas, later": cold_ms(client, "plain", "$LATEST", count)}
    if zygotes and sys.version_info >= (3, 12):
        client.create_function(FunctionName="snap", SnapStart={"ApplyOn": "PublishedVersions"}, **common)
        client.get_waiter("function_active_v2").wait(FunctionName="snap")
        client.publish_version(FunctionName="snap")
        client.get_waiter("published_version_active").wait(FunctionName="snap", Qualifier="1")
        found["SnapStart"] = cold_ms(client, "snap", "1", count)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    layer = options.layer.read_bytes()
    for zygotes in (True, False):
        for name, taken in measure(layer, options.count, zygotes=zygotes).items():
            row = f"p50 {statistics.median(taken):.1f}, least {min(taken):.1f}, most {max(taken):.1f} ms"
            print(f"{name}, {'with' if zygotes else 'without'} package zygotes: {row} (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
