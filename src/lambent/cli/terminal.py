"""How the command speaks: answers on stdout, all else on stderr, errors that say what, where and what next.

Colour only on a terminal, and never as the only sign. rich is imported when something is drawn, not before.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class CommandError(Exception):
    """The command cannot do what it was asked; `next_step` is what the user can do about it."""

    def __init__(self, what: str, next_step: str = "", *, status: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.status = status


def answer(text: str) -> None:
    """A line of the answer, at once: whoever reads it through a pipe may be waiting."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def answer_json(content: Any) -> None:
    """The answer as the API would give it."""
    answer(json.dumps(content, indent=2, default=str))


def note(text: str) -> None:
    """A line about the answer, on stderr."""
    sys.stderr.write(_faint(text) + "\n")


def complain(error: CommandError) -> None:
    """The error, on stderr, with the next step below it."""
    lines = error.what.splitlines() + error.next_step.splitlines()
    head, *rest = lines
    label = "\x1b[31merror:\x1b[0m" if _in_colour() else "error:"
    sys.stderr.write("\n".join([f"{label} {head}", *(f"       {line}" for line in rest)]) + "\n")


def columns(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Rows as plain columns; the header only on a terminal, so that a script reads rows alone."""
    shown = [list(header), *rows] if sys.stdout.isatty() else [list(row) for row in rows]
    widths = [max((len(row[at]) for row in shown), default=0) for at in range(len(header))]
    for row in shown:
        answer("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Shows that something goes on; the yielded function says what just now. One line without a terminal."""
    if not sys.stderr.isatty():
        note(f"{what} ...")
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status(what, spinner="line") as status:
        yield lambda text: status.update(f"{what}: {text}"[:100])


def _faint(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if _in_colour() else text


def _in_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
