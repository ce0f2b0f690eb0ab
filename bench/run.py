#!/usr/bin/env python3
"""Measures Lambent, and a peer in the same run where one is installed, and prints one table.

    make bench                                    # all of it, about five minutes
    .venv/bin/python bench/run.py --quick         # a minute, to see a trend
    .venv/bin/python bench/run.py --peer 'ministack'

Every row comes from `harness.py`, which speaks the Lambda API to whatever answers. Lambent runs with full isolation,
once with 1,769 MB (one vCPU) and once with 128 MB, whose CPU quota is part of the contract. The JSON of every row is
written to bench/results/.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SCENARIOS = "cold,warm,node,custom,firstbyte,throughput,burst,memory,async"
QUICK = "cold,warm,node,custom,firstbyte,throughput"

NODE = "nodejs24.x"  # what the development set-up brings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LANGUAGES = {"go": "Go", "rust": "Rust (debug build)", "bash": "bash"}
TOOLS = {"go": "go", "rust": "cargo", "bash": "bash"}


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
    command += ["--runtime", f"python3.{sys.version_info.minor}", "--burst", "32,100", "--json", str(out)]
    command += ["--node-runtime", NODE, *(word for one in custom for word in ("--custom", one))]
    command += ["--counter-logs", "--seconds", "3" if quick else "5", "--memory-n", "20"]
    print(f"== {label}", file=sys.stderr)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return json.loads(out.read_text())


def rows_of(result: dict) -> dict[str, str]:
    """The figures of one run by the name of their row."""
    scenarios = result["scenarios"]
    rows = {}
    if "idle" in result:
        rows["start to ready, ms"] = f"{result['idle']['start_to_ready_ms']:.0f}"
        rows["idle PSS of the node, MiB"] = f"{result['idle']['pss_mib']}"
    rows["cold start, ms"] = spread(scenarios.get("cold", {}).get("cold"))
    rows["warm invocation, ms"] = spread(scenarios.get("warm"))
    node = scenarios.get("node", {})
    rows["cold start of Node.js, ms"] = spread(node.get("cold"))
    rows["warm invocation of Node.js, ms"] = spread(node.get("warm"))
    custom = scenarios.get("custom", {})
    for language, name in LANGUAGES.items():
        rows[f"cold start of {name}, ms"] = spread(custom.get(language, {}).get("cold"))
        rows[f"warm invocation of {name}, ms"] = spread(custom.get(language, {}).get("warm"))
    streamed = scenarios.get("firstbyte", {})
    rows["response streaming, first byte, ms"] = (
        spread(streamed["first"]["first_byte"]) if streamed.get("supported") else "-"
    )
    for connections in (16, 64):
        load = scenarios.get("throughput", {}).get(f"c{connections}")
        rows[f"invocations/s at {connections} connections"] = f"{load['per_s']:,.0f}" if load else "-"
        rows[f"  each, ms, at {connections}"] = spread(load)
    for count in (32, 100):
        burst = scenarios.get("burst", {}).get(f"n{count}")
        rows[f"{count} sleeps of 0.5 s, cold / warm, s"] = (
            f"{burst['cold']['wall_s']} / {burst['warm']['wall_s']}" if burst else "-"
        )
    memory = scenarios.get("memory", {})
    rows["PSS per warm environment, MiB"] = str(memory.get("pss_per_warm_function_mib", "-"))
    events = scenarios.get("async", {})
    rows["Event invokes acknowledged/s"] = str(events.get("ack_per_s", "-"))
    rows["Event invokes run/s"] = str(events.get("executed_per_s", "-"))
    return rows


def spread(summary: dict | None) -> str:
    """min / p50 / p99."""
    if not summary or "p50_ms" not in summary:
        return "-"
    return f"{summary['min_ms']:.2f} / {summary['p50_ms']:.2f} / {summary['p99_ms']:.2f}"


def table(results: dict[str, dict]) -> str:
    columns = {label: rows_of(result) for label, result in results.items()}
    names = list(dict.fromkeys(name for rows in columns.values() for name in rows))
    lines = ["| min / p50 / p99 | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(rows.get(name, "-") for rows in columns.values()) + " |" for name in names]
    return "\n".join(lines)


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
    peer = shutil.which(options.peer.split()[0])
    if peer and not options.no_peer:
        port = free_port()
        os.environ["GATEWAY_PORT"] = str(port)
        results[Path(peer).name] = measure(Path(peer).name, options.peer, port, 1769, options.quick, [])
    elif not options.no_peer:
        print(f"no peer measured: {options.peer} is not installed", file=sys.stderr)
    machine = f"{os.cpu_count()} cores, kernel {platform.release()}, Python {platform.python_version()}"
    print(f"{machine}, the client on the same cores\n")
    print(table(results))


if __name__ == "__main__":
    main()
