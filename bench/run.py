#!/usr/bin/env python3
"""Measures Lambent, and a peer in the same run where one is installed, and prints a table, and another one of queues.

    make bench                                    # all of it, about half an hour
    .venv/bin/python bench/run.py --quick         # five minutes, to see a trend
    .venv/bin/python bench/run.py --peer 'ministack'

Every row comes from `harness.py`, which speaks the Lambda API to whatever answers. Lambent runs with full isolation,
once with 1,769 MB (one vCPU) and once with 128 MB, whose CPU quota is part of the contract. The JSON of every row is
written to bench/results/, a line for each whole run to bench/history.jsonl.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from buckets import results as bucket_results
from queues import results as queue_results
from rows import BUCKET_ROWS, LANGUAGES, QUEUE_ROWS, TOPIC_ROWS, figures, table
from topics import results as topic_results

HERE = Path(__file__).parent
SCENARIOS = "cold,warm,import,node,custom,firstbyte,throughput,burst,memory,async,sqs"
QUICK = "cold,warm,node,custom,firstbyte,throughput"

NODE = "nodejs24.x"  # what the development set-up brings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


TOOLS = {"go": "go", "rust": "cargo", "bash": "bash", "awslambdaric": "sh"}


def packages(folder: Path) -> list[str]:
    """NAME=ZIP of custom runtimes: the tests' own, built where there is the toolchain."""
    sys.path.insert(0, str(HERE.parent / "tests/node/runtimes"))
    from languages import files
    from packages import packed

    made = []
    for language, tool in TOOLS.items():
        if shutil.which(tool) is None:
            print(f"no {LANGUAGES[language]} measured: {tool} is not on PATH", file=sys.stderr)
            continue
        path = folder / f"{language}.zip"
        path.write_bytes(packed(files(language, "echo")))
        made.append(f"{language}={path}")
    return made


def measure(label: str, start: str, port: int, memory: int, quick: bool, custom: list[str]) -> dict:
    """One run of the harness against a server that it starts itself."""
    out = HERE / "results" / f"{label}.json"
    out.parent.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "harness.py"), "--endpoint", f"http://127.0.0.1:{port}", "--start", start]
    command += ["--scenarios", QUICK if quick else SCENARIOS, "--memory", str(memory), "--label", label]
    command += ["--runtime", f"python3.{sys.version_info.minor}", "--burst", "100,500,1000", "--json", str(out)]
    command += ["--node-runtime", NODE, *(word for one in custom for word in ("--custom", one))]
    command += ["--counter-logs", "--seconds", "3" if quick else "5", "--memory-n", "20"]
    print(f"== {label}", file=sys.stderr)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer scenarios, shorter")
    parser.add_argument("--peer", default="ministack", help="a peer's command, started with GATEWAY_PORT set")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    # The default lets in 10,000 requests a second, which a fast machine exceeds: the limit is not what is measured.
    os.environ.setdefault("LAMBENT_CONCURRENT_EXECUTIONS", "10000")
    results = {}
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        custom = packages(Path(folder))
        for memory in (1769, 128):
            port = free_port()
            lambent = Path(sys.executable).with_name("lambent")
            start = f"{lambent} up --port {port} --data-dir {folder}/{memory} --log-level error"
            results[f"lambent-{memory}-mb"] = measure(
                f"lambent-{memory}-mb", start, port, memory, options.quick, custom
            )
    peer = None if options.no_peer else shutil.which(options.peer.split()[0])
    label = Path(peer).name if peer else None
    if peer and label:
        port = free_port()
        os.environ["GATEWAY_PORT"] = str(port)
        results[label] = measure(label, options.peer, port, 1769, options.quick, [])
    elif not options.no_peer:
        print(f"no peer measured: {options.peer} is not installed", file=sys.stderr)
    machine = f"{os.cpu_count()} cores, kernel {platform.release()}, Python {platform.python_version()}"
    print(f"{machine}, the client on the same cores\n")
    print(table(results, [label] if label else []))
    queues = asyncio.run(queue_results("" if options.no_peer else options.peer, quick=options.quick))
    print(f"\n{table(queues, [name for name in queues if name != 'lambent'], QUEUE_ROWS)}")
    buckets = asyncio.run(bucket_results("" if options.no_peer else options.peer, quick=options.quick))
    print(f"\n{table(buckets, [name for name in buckets if name != 'lambent'], BUCKET_ROWS)}")
    topics = asyncio.run(topic_results("" if options.no_peer else options.peer))
    print(f"\n{table(topics, [name for name in topics if name != 'lambent'], TOPIC_ROWS)}")
    if not options.quick:
        more = queues["lambent"]["scenarios"] | buckets["lambent"]["scenarios"]
        results["lambent-1769-mb"]["scenarios"] |= more
        remember(results, machine)


def remember(results: dict[str, dict], machine: str) -> None:
    """Adds a line to the history."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    line = {"date": time.strftime("%Y-%m-%d"), "commit": commit.strip(), "machine": machine}
    line |= {label: figures(result) for label, result in results.items()}
    with (HERE / "history.jsonl").open("a") as history:
        history.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
