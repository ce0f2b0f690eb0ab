"""The rows of the benchmark's table: where each figure is in the harness's results, and what it is to reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LANGUAGES = {"go": "Go", "rust": "Rust (debug build)", "bash": "bash", "awslambdaric": "AWS's own awslambdaric"}


@dataclass(frozen=True)
class Row:
    """`path` leads to a number, or to a summary of milliseconds, whose median is the figure then.

    `goal` is what the figure is to reach, and is better than that if it is less, or, with `is_rate`, more.
    """

    name: str
    path: str
    goal: float | None = None
    is_rate: bool = False

    def figure(self, result: dict[str, Any]) -> float | None:
        """The number of this row, None where it was not measured."""
        found = self._found(result)
        if isinstance(found, dict):
            found = found.get("p50_ms")
        return None if found is None else float(found)

    def text(self, result: dict[str, Any]) -> str:
        """As it stands in the table."""
        found = self._found(result)
        if isinstance(found, dict):
            if "p50_ms" not in found:
                return "-"
            return f"{found['min_ms']:.2f} / {found['p50_ms']:.2f} / {found['p99_ms']:.2f}"
        return "-" if found is None else f"{found:,.0f}" if self.is_rate else f"{found:,}"

    def _found(self, result: dict[str, Any]) -> Any:
        found: Any = {**result, **result["scenarios"]}
        for name in self.path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found


_COLD = {"go": 10.0, "rust": 10.0}

ROWS = (
    Row("start to ready, ms", "idle.start_to_ready_ms", 600),
    Row("idle PSS of the node, MiB", "idle.pss_mib", 80),
    Row("CreateFunction to Active, ms", "cold.create_active", 20),
    Row("cold start, ms", "cold.cold", 3),
    Row("warm invocation, ms", "warm", 0.4),
    Row("numpy and pandas in a layer: first cold start, ms", "import.cold", 250),
    Row("cold start of Node.js, ms", "node.cold", 15),
    Row("warm invocation of Node.js, ms", "node.warm"),
    *(Row(f"cold start of {name}, ms", f"custom.{one}.cold", _COLD.get(one)) for one, name in LANGUAGES.items()),
    *(Row(f"warm invocation of {name}, ms", f"custom.{one}.warm") for one, name in LANGUAGES.items()),
    Row("response streaming, first byte, ms", "firstbyte.first.first_byte", 5),
    Row("invocations/s at 16 connections", "throughput.c16.per_s", 8000, is_rate=True),
    Row("– each, ms", "throughput.c16"),
    Row("invocations/s at 64 connections", "throughput.c64.per_s", 8000, is_rate=True),
    Row("– each, ms", "throughput.c64"),
    Row("– function on awslambdaric, at 16", "custom.awslambdaric.throughput.c16.per_s", 4000, is_rate=True),
    Row("– function on awslambdaric, at 64", "custom.awslambdaric.throughput.c64.per_s", 4000, is_rate=True),
    Row("100 cold sleeps of 0.5 s, wall s", "burst.n100.cold.wall_s", 0.8),
    Row("500 cold sleeps of 0.5 s, wall s", "burst.n500.cold.wall_s", 1.2),
    Row("1,000 cold sleeps of 0.5 s, wall s", "burst.n1000.cold.wall_s", 2.0),
    Row("PSS per warm environment, MiB", "memory.pss_per_warm_function_mib", 3),
    Row("Event invokes acknowledged/s", "async.ack_per_s", 3000, is_rate=True),
    Row("2,000 Event invokes: all run, s", "async.all_executed_s", 1.0),
    Row("first message of a queue to a new function, ms", "sqs.first_message_ms"),
    Row("2,000 messages in batches of 10: all handed on, s", "sqs.all_consumed_s", 0.8),
)

_DEPTHS = ("sent", "received", "deleted")
QUEUE_ROWS = (
    Row("sent in tens, durable, messages/s", "queues.sent_per_s", is_rate=True),
    Row("received in tens, messages/s", "queues.received_per_s", is_rate=True),
    Row("deleted in tens, durable, messages/s", "queues.deleted_per_s", is_rate=True),
    Row("send to a waiting receiver, ms", "queues.wake"),
    Row("SendMessage to the handler, idle queue, ms", "queues.to_handler", 20),
    Row("2,000 waiting messages in batches of 10: all handed on, s", "queues.drained_s", 0.8),
    *(Row(f"{one}, CPU of the node each, with 1,000 waiting, µs", f"queues.shallow_{one}_us") for one in _DEPTHS),
    *(Row(f"– with a million waiting: {one}, times that", f"queues.{one}_ratio", 1.1) for one in _DEPTHS),
    Row("memory of the first 1,000 messages, MiB", "queues.shallow_mib"),
    Row("memory of the million, MiB", "queues.deep_mib", 100),
)

BUCKET_ROWS = (
    Row("PutObject of 1 KB, ms", "buckets.kb.put"),
    Row("GetObject of 1 KB, ms", "buckets.kb.got"),
    Row("PutObject of 1 MB, ms", "buckets.mb.put"),
    Row("GetObject of 1 MB, ms", "buckets.mb.got"),
    Row("PutObject of 1 GB, MB/s", "buckets.large.put_mb_per_s", is_rate=True),
    Row("GetObject of 1 GB, MB/s", "buckets.large.got_mb_per_s", is_rate=True),
    Row("100,000 keys listed, s", "buckets.listed_s"),
    Row("their 100 common prefixes, ms", "buckets.folders_ms"),
    Row("PutObject to the handler, idle platform, ms", "buckets.to_handler", 10),
)


TOPIC_ROWS = (
    Row("published to 1 queue, durable, messages/s acknowledged", "topics.one_acknowledged_per_s", is_rate=True),
    Row("– until they are all there, messages/s", "topics.one_delivered_per_s", is_rate=True),
    Row("published to 100 queues, durable, messages/s acknowledged", "topics.hundred_acknowledged_per_s", is_rate=True),
    Row("– until they are all there, deliveries/s", "topics.hundred_delivered_per_s", is_rate=True),
    Row("publish to a waiting receiver of a queue, ms", "topics.told"),
)


def table(results: dict[str, dict[str, Any]], peers: Sequence[str], rows: Sequence[Row] = ROWS) -> str:
    """One column for each run; and for each peer, how many times better the first column is."""
    first = next(iter(results.values()))
    columns = [*results, *(f"to {peer}" for peer in peers), "to reach"]
    lines = ["| min / p50 / p99 | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for row in rows:
        cells = [row.text(result) for result in results.values()]
        cells += [_ratio(row, first, results[peer]) for peer in peers]
        cells.append("" if row.goal is None else f"{row.goal:,}")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(row: Row, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    mine, other = row.figure(ours), row.figure(theirs)
    if not mine or not other:
        return "-"
    return f"{mine / other if row.is_rate else other / mine:,.1f}×"


def figures(result: dict[str, Any]) -> dict[str, float]:
    """All figures of a run by their path: what the history keeps."""
    found = {row.path: row.figure(result) for row in (*ROWS, *QUEUE_ROWS, *BUCKET_ROWS)}
    return {path: figure for path, figure in found.items() if figure is not None}


def plot_history(lines: list[dict[str, Any]], folder: Path) -> None:
    """How a few figures changed from run to run. Needs matplotlib."""
    from matplotlib import pyplot

    shown = [row for row in ROWS if row.path in ("cold.cold", "warm", "throughput.c16.per_s", "async.ack_per_s")]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(13, 3), layout="constrained")
    for axis, row in zip(axes, shown, strict=True):
        points = [line["lambent-1769-mb"].get(row.path) for line in lines if "lambent-1769-mb" in line]
        axis.plot(range(1, len(points) + 1), points, marker="o")
        axis.set(title=row.name, xlabel="run")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(folder / "history.svg", metadata={"Date": None})
    pyplot.close(figure)
