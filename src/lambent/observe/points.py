"""Named moments in the code at which a test may end the process: see `lambent.testing.faults`.

A name says what has just happened: `store.committed`. Without a test, passing one costs a comparison.
"""

from collections.abc import Callable

_watch: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Tell the watcher, if there is one. May not return: a crash is what the watcher is for."""
    if _watch is not None:
        _watch(name)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Call this with each name from now on, in whichever thread it is reached; None ends that."""
    global _watch
    _watch = watcher
