"""The launcher's process: keeps environments parked, attaches functions to them, reports their end.

It has one thread and one loop. What must be quick (claims, deaths) is done as it comes; what can wait (parking, taking
walls down) is done one piece at a time while nothing else is asked. It never runs a function's code: that happens in
the copies it makes of itself, which are therefore as warm as it is. When the node goes away, for whatever reason, all
environments go too.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import time

from lambent.engine.sandbox import demand, estates, families, guests, head_starts, kernel, processes, walls, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GIVE_UP_AFTER = 3  # starts that failed one after the other; then only a claim makes it try again
_MANY_GONE = 32  # more of them are not left until it is quiet: under a load without a pause that is never
_QUIET_S = 0.002  # the function that was just given an environment starts meanwhile, and needs the processors more
_CALM_S = 0.05  # and while there are enough for those who may come, it has until a burst of starts is over
_FEW_ARE_LEFT = 3  # for each that is parked, as many are missing
_COMMAND_LINE = "/var/lang/bin/python3 /var/runtime/bootstrap.py"


def main(control_fd: int) -> None:
    """Serve the node at the other end of that socket until it hangs up."""
    node = socket.socket(fileno=control_fd)
    node.setblocking(True)
    reader = wire.Reader(node)
    messages = reader.receive()
    if not messages:
        return
    settings = messages[0]
    try:
        launcher = Launcher(node, reader, settings)
    except OSError as error:
        with contextlib.suppress(ConnectionError):  # a node that was killed meanwhile wants no answer
            wire.send(node, {"op": "failed", "error": str(error)})
        return
    try:
        with contextlib.suppress(ConnectionError):
            wire.send(node, {"op": "ready"}, launcher.names())
            launcher.run()
    finally:
        launcher.close()


class _Poll:
    """epoll where there is one, since there may be thousands of descriptors; else poll."""

    def __init__(self) -> None:
        self._scale = 1 if hasattr(select, "epoll") else 1000  # one counts in seconds, the other in milliseconds
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()

    def register(self, fd: int) -> None:
        self._poll.register(fd, select.POLLIN)

    def unregister(self, fd: int) -> None:
        self._poll.unregister(fd)

    def wait(self, seconds: float | None) -> list[int]:
        """The descriptors that are ready; None waits for ever."""
        return [fd for fd, _ in self._poll.poll(None if seconds is None else seconds * self._scale)]


class Launcher:
    """All environments of one interpreter."""

    def __init__(self, node: socket.socket, reader: wire.Reader, settings: dict[str, Any]) -> None:
        self._node = node
        self._reader = reader
        self._demand = demand.Demand(settings["parked"])
        self._parked: list[walls.Environment] = []  # the last one in is the first one out: its pages are warm
        self._starting: dict[int, walls.Environment] = {}  # by sync descriptor
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()  # orders, oldest first
        self._by_pid: dict[int, walls.Environment] = {}
        self._by_id: dict[str, walls.Environment] = {}
        self._estates: dict[str, estates.Estate] = {}  # of environments that ended: the node says who gets them
        self._gone: collections.deque[walls.Environment] = collections.deque()  # walls to take down
        self._head_starts = head_starts.HeadStarts(settings["head_starts"])
        self._told: dict[str, int] = {}
        self._free_slots: list[int] = []
        self._slots = 0
        self._failures = 0
        os.umask(0o022)
        processes.raise_file_limit()
        guest = guests.load(settings["bootstrap"])
        level = walls.NamespaceWalls if settings["level"] == "namespaces" else walls.ProcessWalls
        self._walls = level(settings, guest)
        self._families = families.Families(self._walls, self._next_slot, self._claim, self._tell)
        self._poll = _Poll()
        self._poll.register(node.fileno())
        self._wakeup = _wake_on_child_death()
        self._poll.register(self._wakeup)
        if sys.platform == "linux":
            kernel.rename_process(_COMMAND_LINE)
        _leave_no_trace()
        gc.collect()
        gc.disable()
        gc.freeze()
        self._walls.settle()

    def names(self) -> dict[str, int]:
        """The descriptors that whoever looks up names for its environments listens on."""
        return self._walls.names()

    def run(self) -> None:
        while True:
            pause = self._pause_before_idle_work()
            events = self._poll.wait(pause)
            if not all(self._on_readable(fd) for fd in events):
                return
            if not events and pause is not None:
                self._work_while_idle()
            elif len(self._gone) > _MANY_GONE:
                self._take_back_one()

    def _on_readable(self, fd: int) -> bool:
        """Handle one descriptor; False when it was the node hanging up."""
        if fd == self._node.fileno():
            return self._read_orders()
        if fd == self._wakeup:
            os.read(self._wakeup, 4096)
            self._bury()
        elif fd in self._starting:
            self._on_started(fd)
        elif self._families.is_news(fd):
            self._on_birth(fd)
        elif found := self._head_starts.has_started(fd):
            self._poll.unregister(fd)
            if not found[1]:
                self._walls.kill(found[0])
            self._tell_head_starts()
        return True

    def close(self) -> None:
        """Kill what lives, take every wall down."""
        self._take_down(self._families.close())
        for environment in self._by_pid.values():
            self._walls.kill(environment)
        while self._by_pid:
            pid, _ = os.waitpid(-1, 0)
            if pid in self._by_pid:
                self._take_down(self._families.bury(self._by_pid.pop(pid)))
        for _ in range(1000):
            if not self._gone:
                break
            environment = self._gone.popleft()
            if not self._walls.recycle(environment):
                self._gone.append(environment)
                _Poll().wait(0.005)
        self._walls.close()

    def _read_orders(self) -> bool:
        try:
            messages = self._reader.receive()
        except ConnectionError:
            return False
        for message in messages or ():
            if message["op"] == "claim":
                self._on_claim(message)
            elif message["op"] == "connect":
                self._connect(message["id"], message["port"])
            elif message["op"] == "expect":
                self._on_expectation(message)
            elif message["id"] in self._by_id:
                self._on_order(self._by_id[message["id"]], message)
            elif message["op"] == "kill" and message["id"] in self._estates:
                self._settle(self._estates.pop(message["id"]))
        self._serve_waiting()
        return messages is not None

    def _connect(self, environment_id: str, port: int) -> None:
        """Give the node a connection to a listener inside; without one when there is none."""
        environment = self._by_id.get(environment_id)
        answer = {"op": "connected", "id": environment_id}
        try:
            connection = self._walls.connect(environment, port) if environment else None
        except OSError:
            connection = None
        if connection is None:
            wire.send(self._node, answer)
            return
        with connection:
            wire.send(self._node, answer, {"connection": connection.fileno()})

    def _on_claim(self, order: dict[str, Any]) -> None:
        if order["child_of"]:
            self._expect(self._families.order(order))
        elif order["is_zygote"] or order["file_systems"] or order["heir_of"] in self._estates:
            self._start_for(order)
        elif ready := self._head_starts.take(order):
            self._claim(ready, order)
        else:
            self._demand.claimed(time.monotonic())
            self._waiting.append(order)

    def _on_expectation(self, message: dict[str, Any]) -> None:
        """A function was made: as if it had been claimed for just now."""
        if message["head_start"]:
            self._head_starts.expect(message)
        else:
            self._demand.claimed(time.monotonic())

    def _on_order(self, environment: walls.Environment, message: dict[str, Any]) -> None:
        if message["op"] == "seal":
            self._expect(self._families.seal(environment, message["parked"], keeps_tmp=message["keeps_tmp"]))
            return
        environment.leaves_tmp = message["op"] == "stop"
        self._walls.kill(environment)

    def _start_for(self, order: dict[str, Any]) -> None:
        """Start an environment for one order: in the place of one that ended, with its /tmp, or with file systems."""
        estate = self._estates.pop(order["heir_of"], None) or estates.Estate(self._next_slot(), -1)
        try:
            environment = self._walls.start(estate.slot, walls.AWAITED, order, estate.tmp)
        except OSError as error:
            self._settle(estate)
            wire.send(self._node, {"op": "refused", "id": order["id"], "error": str(error)})
            return
        self._watch(environment)

    def _expect(self, news: int) -> None:
        """Watch for a birth; -1 is none."""
        if news >= 0:
            self._poll.register(news)

    def _on_birth(self, fd: int) -> None:
        """A zygote's child is there, or is not."""
        self._poll.unregister(fd)
        child, gone = self._families.on_news(fd)
        if child:
            self._by_pid[child.pid] = child
            self._expect(self._families.settle(child))
        self._take_down(gone)
        for environment in gone:
            self._expect(self._families.next_birth(environment))

    def _take_down(self, gone: list[walls.Environment]) -> None:
        for environment in gone:
            environment.close_ends()
            self._gone.append(environment)

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            wire.send(self._node, message)

    def _settle(self, estate: estates.Estate) -> None:
        """Nobody inherits it."""
        self._walls.end_tmp(estate.slot, estate.tmp)
        self._free_slots.append(estate.slot)

    def _serve_waiting(self) -> None:
        """Give parked environments to the oldest orders, and start one for each order that is left."""
        while self._waiting and self._parked:
            self._claim(self._parked.pop(), self._waiting.popleft())
        while sum(each.order is None for each in self._starting.values()) < len(self._waiting):
            self._start()

    def _tell_head_starts(self) -> None:
        counts = self._head_starts.counts()
        if counts != self._told:
            self._told = counts
            with contextlib.suppress(ConnectionError):
                wire.send(self._node, {"op": "head_starts", "ready": counts})

    def _claim(self, environment: walls.Environment, order: dict[str, Any]) -> None:
        try:
            fds = self._walls.attach(environment, order)
        except OSError as error:
            if error.errno == errno.ESRCH and environment.order is None:  # it has just died: the order gets another
                self._waiting.appendleft(order)
                return
            wire.send(self._node, {"op": "refused", "id": order["id"], "error": str(error)})
            self._walls.kill(environment)
            return
        environment.id = order["id"]
        self._by_id[order["id"]] = environment
        ends = environment.node_ends
        message = {"op": "claimed", "id": order["id"], "pid": environment.pid, "inherited": environment.inherited}
        wire.send(self._node, message | {"folder": environment.folder}, ends | fds)
        environment.node_ends = {}
        for fd in ends.values():
            os.close(fd)

    def _start(self) -> None:
        slot = self._next_slot()
        try:
            environment = self._walls.start(slot, walls.AWAITED if self._waiting else walls.PARKED)
        except OSError as error:
            self._free_slots.append(slot)
            self._on_failed_start(str(error))
            return
        self._watch(environment)

    def _next_slot(self) -> int:
        slot = self._free_slots.pop() if self._free_slots else self._slots
        self._slots = max(self._slots, slot + 1)
        return slot

    def _watch(self, environment: walls.Environment) -> None:
        self._by_pid[environment.pid] = environment
        self._starting[environment.sync] = environment
        self._poll.register(environment.sync)

    def _on_started(self, fd: int) -> None:
        environment = self._starting[fd]
        word = self._last_word(environment)
        if environment.order is not None:
            self._on_heir(environment, environment.order, word)
        elif word == walls.READY:
            self._failures = 0
            self._parked.append(environment)
            self._serve_waiting()
        else:
            self._walls.kill(environment)
            self._on_failed_start(word.decode(errors="replace"))

    def _on_heir(self, environment: walls.Environment, order: dict[str, Any], word: bytes) -> None:
        """It is for one order only, and for that order there is no other."""
        if word == walls.READY:
            self._claim(environment, order)
            return
        self._walls.kill(environment)
        error = word.decode(errors="replace") or "it was killed while its walls were put up"
        wire.send(self._node, {"op": "refused", "id": order["id"], "error": error})

    def _last_word(self, environment: walls.Environment) -> bytes:
        """What it said when it came to the end of its walls."""
        del self._starting[environment.sync]
        self._poll.unregister(environment.sync)
        try:
            return os.read(environment.sync, 4096)
        except ConnectionError:
            return b""

    def _on_failed_start(self, reason: str) -> None:
        """Tell the oldest order, or, when it was killed without a reason, start another in its place.

        With nobody waiting it was to be parked; that is not tried for ever either.
        """
        self._failures += 1
        if not self._waiting:
            return
        if reason or self._failures >= _GIVE_UP_AFTER:
            order = self._waiting.popleft()
            text = reason or "it was killed while its walls were put up"
            wire.send(self._node, {"op": "refused", "id": order["id"], "error": text})
        else:
            self._serve_waiting()

    def _bury(self) -> None:
        """Collect the dead, tell the node, and leave their walls for later."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._by_pid:
                self._walls.buried(pid)
                continue
            environment = self._by_pid.pop(pid)
            if environment in self._parked:
                self._parked.remove(environment)
            if environment.has_program and (unheard := self._head_starts.lose(environment)) is not None:
                self._poll.unregister(unheard)
            if environment.sync in self._starting and environment.order is None:
                self._on_failed_start(self._last_word(environment).decode(errors="replace"))
            elif environment.sync in self._starting:
                self._on_started(environment.sync)
            self._leave(environment)
            if environment.id is not None:
                del self._by_id[environment.id]
                self._report(environment, os.waitstatus_to_exitcode(status))
            self._take_down(self._families.bury(environment))
            self._expect(self._families.next_birth(environment))

    def _leave(self, environment: walls.Environment) -> None:
        """Put aside what another may inherit, before the node learns of its end."""
        if environment.id is not None and environment.leaves_tmp:
            self._estates[environment.id] = estates.Estate(environment.slot, environment.tmp)
            environment.slot = -1
        else:
            self._walls.end_tmp(environment.slot, environment.tmp)
        environment.tmp = -1

    def _report(self, environment: walls.Environment, status: int) -> None:
        oom = status != 0 and self._walls.out_of_memory(environment)
        message = {"op": "exited", "id": environment.id, "status": status, "oom": oom}
        with contextlib.suppress(ConnectionError):
            wire.send(self._node, message | {"peak": self._walls.peak_bytes(environment)})

    def _pause_before_idle_work(self) -> float | None:
        """How long nothing may be asked before doing what can wait; None when there is nothing to do."""
        lacking = self._lacking()
        if self._gone or lacking or self._walls.needs_preparing():
            if not self._parked:
                return 0
            return _CALM_S if 0 < lacking <= _FEW_ARE_LEFT * len(self._parked) else _QUIET_S
        if self._parked and self._head_starts.lacking():
            return head_starts.QUIET_S
        if not self._head_starts.is_empty():
            return head_starts.LOOK_S
        return self._demand.changes_in(time.monotonic())

    def _lacking(self) -> int:
        """How many parked environments are missing; less than 0, how many are too many."""
        wanted = self._demand.wanted(time.monotonic())
        if wanted > self._demand.least and not self._head_starts.has_room():
            wanted = self._demand.least
        lacking = max(wanted - len(self._parked) - len(self._starting), -len(self._parked))
        return 0 if lacking > 0 and self._failures >= _GIVE_UP_AFTER else lacking

    def _work_while_idle(self) -> None:
        """One piece of what can wait: parking first, since the next claim is quick because of it."""
        lacking = self._lacking()
        if lacking > 0:
            self._start()
        elif lacking < 0 and self._parked:
            self._walls.kill(self._parked.pop(0))  # the coldest
        elif self._gone:
            self._take_back_one()
        elif self._walls.needs_preparing():
            self._walls.prepare_one()
        else:
            self._look_after_head_starts()

    def _take_back_one(self) -> None:
        environment = self._gone.popleft()
        if self._walls.recycle(environment):
            if environment.slot >= 0:
                self._free_slots.append(environment.slot)
        else:
            self._gone.append(environment)
            self._poll.wait(0.001)

    def _look_after_head_starts(self) -> None:
        for environment in self._head_starts.surplus():
            self._walls.kill(environment)
        self._tell_head_starts()
        kind = self._head_starts.lacking()
        if kind is None or not self._parked or not self._head_starts.has_room():
            return
        environment = self._parked.pop()
        try:
            self._walls.give_program(environment, kind.trees)
            self._poll.register(self._head_starts.starts(kind, environment))
        except OSError:  # its interpreter is gone, or it has died itself
            kind.failures += 1
            self._walls.kill(environment)


def _leave_no_trace() -> None:
    """Do once what every copy would do: functions see no modules of ours, and no environment variables."""
    os.environ.clear()
    for name in [name for name in sys.modules if name == "lambent" or name.startswith("lambent.")]:
        del sys.modules[name]


def _wake_on_child_death() -> int:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader
