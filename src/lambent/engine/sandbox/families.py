"""Zygotes and their children, as the launcher keeps them: parked ahead, born on demand, one after the other.

A zygote serves one function. The node has it made like any environment, lets it do its work (import packages, or a
function's whole Init), and has it sealed. From then on the launcher has it bear children: as many as the node wants
parked, and one for each order beyond. A zygote that fails is given up: its orders are refused, and the node starts
its function's environments as it starts all others.
"""

from __future__ import annotations

import collections
import contextlib
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from lambent.engine.sandbox import walls

_GIVE_UP_AFTER = 3


class Family:
    """One zygote and its children."""

    def __init__(self, zygote: walls.Environment) -> None:
        self.zygote = zygote
        self.wanted = 0  # parked
        self.parked: list[walls.Environment] = []
        self.waiting: collections.deque[dict[str, Any]] = collections.deque()  # orders, oldest first
        self.birth: tuple[walls.Environment, socket.socket] | None = None
        self.children = 0  # that live
        self.failures = 0
        self.is_over = False  # no more births
        self.is_dead = False


class Families:
    """All of a launcher's. `claim` hands an environment over; `tell` sends the node a message."""

    def __init__(
        self,
        launcher_walls: Any,
        next_slot: Callable[[], int],
        claim: Callable[[walls.Environment, dict[str, Any]], None],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._walls = launcher_walls
        self._next_slot = next_slot
        self._claim = claim
        self._tell = tell
        self._by_id: dict[str, Family] = {}
        self._births: dict[int, Family] = {}  # by the descriptor on which their news come

    def seal(self, zygote: walls.Environment, wanted: int, *, keeps_tmp: bool) -> int:
        """It has done its work. From now on it has children, `wanted` of them ahead."""
        assert zygote.id is not None
        family = self._by_id.get(zygote.id)
        if family is None:
            family = self._by_id[zygote.id] = Family(zygote)
            try:
                self._walls.seal(zygote, keeps_tmp=keeps_tmp)
            except OSError as error:
                self.give_up(family, str(error))
        family.wanted = wanted
        return self.go_on(family)

    def order(self, order: dict[str, Any]) -> int:
        """An environment for that order, from the zygote it names. Where a birth begins, the descriptor to watch."""
        family = self._by_id.get(order["child_of"])
        if family is None or family.is_over:
            self._refuse(order, "its zygote has ended")
            return -1
        family.waiting.append(order)
        return self.go_on(family)

    def go_on(self, family: Family) -> int:
        """Serve who waits, and begin the next birth if one is wanted; the descriptor to watch, or -1."""
        while family.waiting and family.parked:
            self._claim(family.parked.pop(), family.waiting.popleft())
        if family.birth or family.is_over or not (family.waiting or len(family.parked) < family.wanted):
            return -1
        try:
            family.birth = self._walls.start_child(self._next_slot(), family.zygote)
        except OSError as error:
            self.give_up(family, str(error))
            return -1
        fd = family.birth[1].fileno()
        self._births[fd] = family
        return fd

    def is_news(self, fd: int) -> bool:
        return fd in self._births

    def on_news(self, fd: int) -> tuple[walls.Environment | None, list[walls.Environment]]:
        """What became of a birth: the environment that lives, if it does, and those whose walls can be taken down.

        The living one is to be watched, then `settle` says what becomes of it.
        """
        family = self._births.pop(fd)
        assert family.birth
        environment, news = family.birth
        family.birth = None
        try:
            self._walls.receive_child(environment, news)
        except OSError as error:
            family.failures += 1
            if environment.pidfd >= 0:
                self._walls.kill(environment)
            if family.failures >= _GIVE_UP_AFTER:
                self.give_up(family, str(error))
            is_last = family.is_dead and not family.children
            return None, [environment, *([self._end(family)] if is_last else [])]
        finally:
            news.close()
        family.failures = 0
        family.children += 1
        return environment, []

    def settle(self, child: walls.Environment) -> int:
        """A child was born and is watched: it serves whoever waits, or is parked. As `go_on`."""
        family = self._by_id[child.parent.id or ""] if child.parent else None
        assert family
        if family.is_over:
            self._walls.kill(child)
            return -1
        family.parked.append(child)
        return self.go_on(family)

    def next_birth(self, environment: walls.Environment) -> int:
        """A child has ended or was not born: as `go_on`."""
        family = self._by_id.get(environment.parent.id or "") if environment.parent else None
        return self.go_on(family) if family else -1

    def give_up(self, family: Family, reason: str) -> None:
        """No more births: whoever waits for one gets an environment otherwise."""
        if family.is_over:
            return
        family.is_over = True
        for order in family.waiting:
            self._refuse(order, reason)
        family.waiting.clear()
        self._tell({"op": "barren", "id": family.zygote.id, "error": reason})
        for child in family.parked:
            self._walls.kill(child)
        self._walls.kill(family.zygote)

    def close(self) -> list[walls.Environment]:
        """The launcher ends: no births, and nobody waits for the last child of a zygote. Who was being born."""
        unborn = []
        for family in list(self._by_id.values()):
            family.waiting.clear()
            if family.birth:
                unborn.append(family.birth[0])
                family.birth = None
            self.give_up(family, "the launcher is closed")
            _end_holder(family.zygote)
        return unborn

    def bury(self, environment: walls.Environment) -> list[walls.Environment]:
        """An environment has ended: those whose walls can be taken down now.

        A zygote's stand until its last child has ended, for they are in its namespaces.
        """
        zygote = environment.parent or environment
        family = self._by_id.get(zygote.id or "")
        if family is None:
            _end_holder(environment)  # of a zygote that never had its work done
            return [environment]
        gone = []
        if environment is zygote:
            family.is_dead = True
            self.give_up(family, "the zygote has ended")
        else:
            gone.append(environment)
            family.children -= 1
            with contextlib.suppress(ValueError):
                family.parked.remove(environment)
        if family.is_dead and not family.children and not family.birth:
            gone.append(self._end(family))
        return gone

    def _end(self, family: Family) -> walls.Environment:
        del self._by_id[family.zygote.id or ""]
        _end_holder(family.zygote)
        return family.zygote

    def _refuse(self, order: dict[str, Any], reason: str) -> None:
        self._tell({"op": "refused", "id": order["id"], "error": reason})


def _end_holder(environment: walls.Environment) -> None:
    if environment.holder >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(environment.holder, signal.SIGKILL)
