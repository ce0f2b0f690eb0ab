#!/usr/bin/env python3
"""Minutes of mixed load: steady calls, bursts, deployments, failures of every kind. A node must end as it began.

    make soak                                          # ten minutes
    .venv/bin/python bench/soak.py --minutes 1

What a node holds is read before and after, both times when it has been left alone for long enough that its idle
environments went: processes, memory, descriptors, namespaces, mounts, cgroups, the latency of a warm invocation.
Exits with 1 when it ends with more than it began with.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import harness
from running import Node, node, p50

IDLE_S = 10
WARM_UP_S = 45.0
MORE_MEMORY = 1.15  # logs and metrics of minutes are kept, in part in memory
SLOWER = 2.0  # the machine may be busy

FAILURES = """
import os, sys, time
kept = []
def handler(event, context):
    how = event["how"]
    if how == "raise":
        raise ValueError("as ordered")
    if how == "exit":
        os._exit(3)
    if how == "hang":
        time.sleep(60)
    if how == "memory":
        while True:
            kept.append(bytearray(16 << 20))
    if how == "children":
        for _ in range(20):
            if os.fork() == 0:
                time.sleep(60)
        os._exit(0)
"""
HOWS = ("raise", "exit", "hang", "memory", "children")


async def load(running: Node, seconds: float) -> dict[str, int]:
    """Everything at once for so long. Returns how often each answer came."""
    counts: dict[str, int] = {}
    until = time.perf_counter() + seconds

    async def call(name: str, event: dict) -> None:
        status, _, headers = await running.invoke(name, json.dumps(event).encode())
        what = f"{name.split('-')[0]} {status}{'' if harness.ok(status, headers) else ' error'}"
        counts[what] = counts.get(what, 0) + 1

    async def steadily(name: str, events: "itertools.cycle[dict]", pause_s: float) -> None:
        while time.perf_counter() < until:
            await call(name, next(events))
            await asyncio.sleep(pause_s)

    async def in_bursts() -> None:
        while time.perf_counter() < until:
            await asyncio.gather(*(call("sleep", {"s": 0.2}) for _ in range(50)))
            await asyncio.sleep(3.0)

    async def deploying() -> None:
        for number in itertools.count():
            if time.perf_counter() >= until:
                return
            name = f"new-{number}"
            await asyncio.to_thread(running.create, name, harness.make_zip({"index.py": harness.HELLO_PY}))
            await call(name, {"n": number})
            await asyncio.to_thread(running.delete, name)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(steadily("hello", itertools.cycle([{"n": 1}]), 0.005))
        tasks.create_task(steadily("failing", itertools.cycle({"how": how} for how in HOWS), 0.1))
        tasks.create_task(in_bursts())
        tasks.create_task(deploying())
    return dict(sorted(counts.items()))


async def alone(running: Node) -> dict[str, float]:
    """What the node holds when nobody has asked for long enough."""
    await asyncio.sleep(IDLE_S + 5.0)
    return held(running.tree) | {"warm_p50_ms": p50(await running.warm("hello", 2000))}


def held(tree: harness.Tree) -> dict[str, float]:
    """What these processes have, and what they made."""
    pids = tree.pids()
    return {
        "processes": len(pids),
        "pss_mib": tree.memory()["pss_mib"],
        "descriptors": sum(_count(f"/proc/{pid}/fd") for pid in pids),
        "namespaces": len({os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/ns").iterdir()}),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": len(_cgroups(pids)),
    }


def _cgroups(pids: set[int]) -> list[Path]:
    """The folders of those launchers, in every hierarchy."""
    launchers = [folder for pid in pids for folder in Path("/sys/fs/cgroup").rglob(f"lambent-{pid}-*")]
    return [inner for folder in launchers for inner in folder.rglob("*") if inner.is_dir()]


def _count(folder: str) -> int:
    return len(os.listdir(folder))


def grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What there is more of."""
    allowed = {"pss_mib": MORE_MEMORY, "warm_p50_ms": SLOWER}
    return [name for name in before if after[name] > before[name] * allowed.get(name, 1.0)]


async def soak(minutes: float) -> int:
    with tempfile.TemporaryDirectory(prefix="lambent-soak-") as folder:
        async with node(Path(folder), idle_environment_s=IDLE_S) as running:
            await asyncio.to_thread(running.create, "hello", harness.make_zip({"index.py": harness.HELLO_PY}))
            await asyncio.to_thread(running.create, "sleep", harness.make_zip({"index.py": harness.SLEEP_PY}))
            failing = harness.make_zip({"index.py": FAILURES})
            await asyncio.to_thread(running.create, "failing", failing, Timeout=1, MemorySize=128)
            await load(running, WARM_UP_S)
            before = await alone(running)
            print("before:", json.dumps(before), flush=True)
            answers = await load(running, minutes * 60)
            print("answers:", json.dumps(answers), flush=True)
            after = await alone(running)
            print("after: ", json.dumps(after), flush=True)
    more = grown(before, after)
    print(f"more than before: {', '.join(more)}" if more else "it ended as it began")
    return bool(more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)s")
    sys.exit(asyncio.run(soak(parser.parse_args().minutes)))


if __name__ == "__main__":
    main()
