#!/usr/bin/env python3
"""The curves: what a node costs with 1, 10, 100 and 1,000 functions, and with as many warm environments; overload.

    make scale                                         # ten minutes, then the plots are in docs/reference/plots
    .venv/bin/python bench/scale.py --most 100         # two

Flat is good: start-up time, memory per function and the latency of a warm invocation must not grow with how many
others there are.
"""

import argparse
import asyncio
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from rows import plot_history
from running import Node, node, p50, p99

HERE = Path(__file__).parent
PLOTS = HERE.parent / "docs" / "reference" / "plots"
COUNTS = (1, 10, 100, 1000)
CALLED = 100  # of the functions
HELLO = harness.make_zip({"index.py": harness.HELLO_PY})
SLEEP = harness.make_zip({"index.py": harness.SLEEP_PY})
LIMITS = {"concurrent_executions": 10_000}


async def functions(counts: list[int], folder: Path) -> list[dict]:
    """With that many functions deployed: starting, memory, cold starts of a part of them, warm invocations of one."""
    rows, deployed = [], 0
    for count in counts:
        async with node(folder / "functions", **LIMITS) as running:
            began = time.perf_counter()
            await asyncio.to_thread(_deploy, running, deployed, count)
            create_ms = (time.perf_counter() - began) * 1000 / (count - deployed)
            deployed = count
        async with node(folder / "functions", **LIMITS) as running:
            await asyncio.sleep(1.5)
            idle = running.tree.memory()
            cold = [(await running.invoke(f"f{number}"))[1] for number in range(min(count, CALLED))]
            warm = await running.warm("f0")
            rows.append(
                {
                    "functions": count,
                    "create_ms_each": round(create_ms, 2),
                    "ready_s": round(running.ready_s, 3),
                    "idle_pss_mib": idle["pss_mib"],
                    "cold_p50_ms": p50(cold),
                    "warm_p50_ms": p50(warm),
                    "warm_p99_ms": p99(warm),
                }
            )
        print(rows[-1], flush=True)
    return rows


def _deploy(running: Node, first: int, end: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: running.create(f"f{number}", HELLO), range(first, end)))


async def environments(counts: list[int], folder: Path) -> list[dict]:
    """With that many warm environments at once: how long until they ran, their memory, warm invocations beside them."""
    rows = []
    for count in counts:
        async with node(folder / f"environments{count}", **LIMITS) as running:
            await asyncio.to_thread(running.create, "hello", HELLO)
            await asyncio.to_thread(running.create, "sleep", SLEEP)
            await asyncio.sleep(1.5)
            before = running.tree.memory()
            cold_s = await _burst(running, "sleep", count)
            warm_s = await _burst(running, "sleep", count)
            await asyncio.sleep(1.0)
            after = running.tree.memory()
            warm = await running.warm("hello")
            rows.append(
                {
                    "environments": count,
                    "cold_sleeps_s": round(cold_s, 3),
                    "warm_sleeps_s": round(warm_s, 3),
                    "pss_mib_each": round((after["pss_mib"] - before["pss_mib"]) / count, 2),
                    "warm_p50_ms": p50(warm),
                    "warm_p99_ms": p99(warm),
                }
            )
        print(rows[-1], flush=True)
    return rows


async def _burst(running: Node, name: str, count: int) -> float:
    began = time.perf_counter()
    answers = await asyncio.gather(*(running.invoke(name, b'{"s": 0.5}') for _ in range(count)))
    wall = time.perf_counter() - began
    failed = [status for status, _, headers in answers if not harness.ok(status, headers)]
    if failed:
        raise RuntimeError(f"{len(failed)} of {count} failed: {failed[:3]}")
    return wall


async def overload(folder: Path, slots: int = 20, times: int = 10, seconds: float = 5.0) -> dict:
    """As many callers as fit, then so many times more, then as many as fit again."""
    async with node(folder / "overload", concurrent_executions=slots) as running:
        await asyncio.to_thread(running.create, "sleep", SLEEP)
        await _callers(running, slots, 2.0)
        fits = await _callers(running, slots, seconds)
        too_much = await _callers(running, slots * times, seconds)
        after = await _callers(running, slots, 1.0)
    return {"slots": slots, "callers": slots * times, "fits": fits, "overload": too_much, "the_second_after": after}


async def _callers(running: Node, count: int, seconds: float) -> dict:
    """What callers see who ask five times a second, whatever they are answered."""
    accepted: list[float] = []
    refused: list[float] = []
    other: list[int] = []
    until = time.perf_counter() + seconds

    async def ask() -> None:
        while time.perf_counter() < until:
            status, ms, headers = await running.invoke("sleep", b'{"s": 0.2}')
            if status == 429:
                refused.append(ms)
                await asyncio.sleep(0.2)
            elif harness.ok(status, headers):
                accepted.append(ms)
            else:
                other.append(status)

    await asyncio.gather(*(ask() for _ in range(count)))
    return {
        "accepted_per_s": round(len(accepted) / seconds),
        "accepted_p50_ms": p50(accepted),
        "accepted_p99_ms": p99(accepted),
        "refused_per_s": round(len(refused) / seconds),
        "refused_p50_ms": p50(refused) if refused else None,
        "refused_p99_ms": p99(refused) if refused else None,
        "other": len(other),
    }


def plot(results: dict) -> None:
    """The curves as pictures; matplotlib is needed for this alone."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: pip install matplotlib")
        return
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lambent"
    from matplotlib import pyplot

    PLOTS.mkdir(exist_ok=True)
    for name, columns in {
        "functions": {"ready_s": "start to ready, s", "idle_pss_mib": "idle, MiB PSS", "warm_p50_ms": "warm p50, ms"},
        "environments": {
            "cold_sleeps_s": "cold sleeps of 0.5 s, wall s",
            "pss_mib_each": "MiB PSS each",
            "warm_p50_ms": "warm p50, ms",
        },
    }.items():
        rows = results[name]
        figure, axes = pyplot.subplots(1, len(columns), figsize=(11, 3), layout="constrained")
        for axis, (column, title) in zip(axes, columns.items(), strict=True):
            axis.plot([row[name] for row in rows], [row[column] for row in rows], marker="o")
            axis.set(xscale="log", title=title, xlabel=name)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
        figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
    history = HERE / "history.jsonl"
    if history.exists():
        plot_history([json.loads(line) for line in history.read_text().splitlines()], PLOTS)


async def measure(most: int) -> dict:
    counts = [count for count in COUNTS if count <= most]
    with tempfile.TemporaryDirectory(prefix="lambent-scale-") as name:
        folder = Path(name)
        return {
            "functions": await functions(counts, folder),
            "environments": await environments(counts, folder),
            "overload": await overload(folder),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="go up to so many (default: %(default)s)")
    parser.add_argument("--no-plots", action="store_true")
    options = parser.parse_args()
    harness.uvloop and harness.uvloop.install()
    results = asyncio.run(measure(options.most))
    print(json.dumps(results["overload"], indent=1))
    out = HERE / "results" / "scale.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    if not options.no_plots:
        plot(results)


if __name__ == "__main__":
    main()
