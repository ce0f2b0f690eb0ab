"""Parked environments in which a program already runs, by what it was started with.

A program such as Node.js takes tens of milliseconds to start. Here it has done so before anything of the function is
known, behind all its walls, and sleeps in a read on its control socket until it is told which function it is. Nobody's
code has run in it, and each is a process of its own, so that no two share random numbers.

They cost memory that others could use (about ten MiB each), so there are few: as many of a kind as were asked for
within the last minute, one for an hour after that, none when memory is short.
"""

from __future__ import annotations

import collections
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambent.engine.sandbox.walls import Environment

LOOK_S = 10.0  # how often one looks whether there are too many
QUIET_S = 0.025  # a start takes a processor for as long: who was just given an environment needs it more
_SAME_S = 0.1  # nobody fills a tenth of the memory in that time
_RECENT_S = 60.0
_KEPT_S = 3600.0
_MOST_KINDS = 8
_MOST_ASKED = 100
_COST = 48 << 20  # bytes of memory, with what is shared
_SHARE = 0.02  # of the machine's memory, for all of them
_FREE_SHARE = 0.1  # of it must be free for a new one
_SCARCE_SHARE = 0.05  # below, there is none
_GIVE_UP_AFTER = 3
_ROOM = "LAMBENT_HEAD_START"
_ROOM_BYTES = 12_288  # for the variables of its function in /proc/self/environ: 4 KB of its own, and the platform's


class Kind:
    """What a program is started with, and the environments where it was."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.trees: dict[str, str] = order["trees"]
        self.command: list[str] = order["head_start"]["command"]
        self.environment: dict[str, str] = order["head_start"]["environment"]
        self.ready: list[Environment] = []
        self.starting: dict[int, Environment] = {}  # by their control sockets
        self.asked: collections.deque[float] = collections.deque(maxlen=_MOST_ASKED)  # when
        self.failures = 0

    def wanted(self, now: float) -> int:
        """How many there should be."""
        if self.failures >= _GIVE_UP_AFTER or now - self.asked[-1] > _KEPT_S:
            return 0
        return max(1, sum(now - moment < _RECENT_S for moment in self.asked))

    def there(self) -> int:
        return len(self.ready) + len(self.starting)

    def frame(self) -> bytes:
        """The order to start, for the environment's first process."""
        order = {
            "command": self.command,
            "environment": self.environment | {_ROOM: "x" * _ROOM_BYTES},
            "extensions": [],
            "waits": True,
        }
        data = json.dumps(order).encode()
        return len(data).to_bytes(4, "big") + b"\x01" + data


class HeadStarts:
    """All of a launcher's, `most` of them if memory allows: `memory` says how many bytes are free, and of how many."""

    def __init__(self, most: int, memory: Callable[[], tuple[int, int]] | None = None) -> None:
        self._kinds: dict[str, Kind] = {}  # the one asked for last is the last
        self._memory = memory or _Memory()
        total = self._memory()[1]
        self._not_before = 0.0
        self._most = min(most, max(1, int(total * _SHARE) // _COST))

    def is_empty(self) -> bool:
        return not any(kind.there() for kind in self._kinds.values())

    def counts(self) -> dict[str, int]:
        """How many are ready, by the program and its arguments but the last, which is always the same."""
        counts: collections.Counter[str] = collections.Counter()
        for kind in self._kinds.values():
            program, *arguments = kind.command[:-1]
            if kind.ready:
                counts[" ".join([kind.trees[program], *arguments])] += len(kind.ready)
        return dict(counts)

    def expect(self, order: dict[str, Any]) -> Kind:
        """Somebody needs one of this kind, or soon will."""
        key = json.dumps([order["trees"], order["head_start"]])
        kind = self._kinds.pop(key, None) or Kind(order)
        self._kinds[key] = kind
        kind.asked.append(time.monotonic())
        return kind

    def take(self, order: dict[str, Any]) -> Environment | None:
        """One for that function, if there is one."""
        if not order.get("head_start"):
            return None
        kind = self.expect(order)
        return kind.ready.pop() if kind.ready else None

    def lacking(self) -> Kind | None:
        """The kind of which one more should be started now."""
        now = time.monotonic()
        if now < self._not_before or any(kind.starting for kind in self._kinds.values()):
            return None
        counts = [kind.there() for kind in self._kinds.values()]
        # At the limit a kind may still take the place of another that has two more than it.
        limit = max(counts, default=0) - 1 if sum(counts) >= self._most else self._most
        kinds = reversed(self._kinds.values())
        return next((kind for kind in kinds if kind.there() < min(limit, kind.wanted(now))), None)

    def has_room(self) -> bool:
        """Whether there is memory for one more; if not, none is lacking for a while."""
        free, total = self._memory()
        if free > total * _FREE_SHARE:
            return True
        self._not_before = time.monotonic() + LOOK_S
        return False

    def starts(self, kind: Kind, environment: Environment) -> int:
        """Its program is told to start; the descriptor on which it will say that it has."""
        control = environment.node_ends["control"]
        environment.has_program = True
        os.write(control, kind.frame())
        kind.starting[control] = environment
        return control

    def has_started(self, control: int) -> tuple[Environment, bool] | None:
        """Whose descriptor that is, and whether its program runs now; None when it is nobody's."""
        kind = next((kind for kind in self._kinds.values() if control in kind.starting), None)
        if kind is None:
            return None
        environment = kind.starting.pop(control)
        try:
            is_ready = os.read(control, 1) != b""
        except ConnectionError:
            is_ready = False
        kind.failures = 0 if is_ready else kind.failures + 1
        if is_ready:
            kind.ready.append(environment)
        return environment, is_ready

    def lose(self, environment: Environment) -> int | None:
        """It has ended; the descriptor that it was to speak on, if it had not yet."""
        for kind in self._kinds.values():
            if environment in kind.ready:
                kind.ready.remove(environment)
            control = next((fd for fd, one in kind.starting.items() if one is environment), None)
            if control is not None:
                del kind.starting[control]
                kind.failures += 1
                return control
        return None

    def surplus(self) -> list[Environment]:
        """Those that are no longer wanted, the oldest first; they are nobody's now."""
        now, (free, total) = time.monotonic(), self._memory()
        keys = list(self._kinds)
        leaving: list[Environment] = []
        for place, key in enumerate(keys):
            kind = self._kinds[key]
            is_old = place < len(keys) - _MOST_KINDS or now - kind.asked[-1] > _KEPT_S
            wanted = 0 if is_old or free < total * _SCARCE_SHARE else kind.wanted(now)
            while kind.ready and kind.there() > wanted:
                leaving.append(kind.ready.pop(0))
            if is_old and not kind.there():
                del self._kinds[key]
        for _one in range(sum(kind.there() for kind in self._kinds.values()) - self._most):
            largest = max(self._kinds.values(), key=lambda kind: len(kind.ready))
            leaving += [largest.ready.pop(0)] if largest.ready else []
        return leaving


class _Memory:
    """Available and total memory in bytes, as of a moment ago; where that cannot be read, plenty."""

    def __init__(self) -> None:
        self._when = 0.0
        self._seen = (0, 0)

    def __call__(self) -> tuple[int, int]:
        now = time.monotonic()
        if now - self._when >= _SAME_S:
            self._when, self._seen = now, _look()
        return self._seen


def _look() -> tuple[int, int]:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return 1 << 40, 1 << 40
    return int(fields["MemAvailable"].split()[0]) << 10, int(fields["MemTotal"].split()[0]) << 10
