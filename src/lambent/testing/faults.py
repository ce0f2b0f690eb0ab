"""Crashes at named points: the process ends there as with SIGKILL, and nothing of it runs any more.

    python -m lambent.testing.faults event.responded up --data-dir data

runs the `lambent` command until the point is reached; `event.responded:3` until it is reached the third time. A test
then starts a node on the same folder and looks at what caller and store saw. The points are the calls of
`points.reached` in the code.
"""

import os
import runpy
import signal
import sys

from lambent.observe import points


def crash_at(point: str) -> None:
    """End this process when it reaches the point (`NAME`, or `NAME:COUNT` for a later time)."""
    name, _, count = point.partition(":")
    left = int(count or 1)

    def watcher(reached: str) -> None:
        nonlocal left
        if reached != name:
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    points.watch(watcher)


if __name__ == "__main__":
    crash_at(sys.argv[1])
    del sys.argv[1]
    runpy.run_module("lambent", run_name="__main__", alter_sys=True)
