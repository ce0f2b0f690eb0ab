"""The phases of an execution environment and what may happen in each. Pure.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
"""

from enum import Enum
from typing import Final


class Phase(Enum):
    """Where an environment is in its life."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and each step looks into a table

    RESET = "reset"  # a runtime ended in its place: the next invocation begins with Init, its /tmp is as it was
    INIT = "init"  # the runtime starts and loads the handler
    IDLE = "idle"  # warm, perhaps frozen
    BUSY = "busy"  # runs one invocation
    SHUTDOWN = "shutdown"  # its end is decided, its processes are being killed
    GONE = "gone"  # no process is left


class Happening(Enum):
    """What can happen to an environment."""

    __hash__ = object.__hash__

    READY = "the runtime asked for its first invocation"
    INIT_FAILED = "the runtime reported an init error"
    INIT_TIMED_OUT = "init took too long"
    ASSIGNED = "an invocation was given to it"
    RESPONDED = "the runtime answered, with a response or an error"
    DEADLINE_PASSED = "the function's timeout is over"
    VIOLATED = "the runtime said what it must not say now"
    RETIRED = "it was idle too long, its function changed, or memory is short"
    FAILED = "its runtime or an extension ended, the processes beside it have not"
    EXITED = "its first process ended"


class ImpossibleTransitionError(Exception):
    """Our bug: this cannot happen in this phase."""


TRANSITIONS: Final[dict[tuple[Phase, Happening], Phase]] = {
    (Phase.RESET, Happening.ASSIGNED): Phase.INIT,
    (Phase.RESET, Happening.RETIRED): Phase.SHUTDOWN,
    (Phase.RESET, Happening.EXITED): Phase.GONE,
    (Phase.INIT, Happening.READY): Phase.IDLE,
    (Phase.INIT, Happening.INIT_FAILED): Phase.SHUTDOWN,
    (Phase.INIT, Happening.INIT_TIMED_OUT): Phase.SHUTDOWN,
    (Phase.INIT, Happening.VIOLATED): Phase.SHUTDOWN,
    (Phase.INIT, Happening.RETIRED): Phase.SHUTDOWN,
    (Phase.INIT, Happening.FAILED): Phase.SHUTDOWN,
    (Phase.INIT, Happening.EXITED): Phase.GONE,
    (Phase.IDLE, Happening.ASSIGNED): Phase.BUSY,
    (Phase.IDLE, Happening.VIOLATED): Phase.SHUTDOWN,
    (Phase.IDLE, Happening.RETIRED): Phase.SHUTDOWN,
    (Phase.IDLE, Happening.FAILED): Phase.SHUTDOWN,
    (Phase.IDLE, Happening.EXITED): Phase.GONE,
    (Phase.BUSY, Happening.RESPONDED): Phase.IDLE,
    (Phase.BUSY, Happening.DEADLINE_PASSED): Phase.SHUTDOWN,
    (Phase.BUSY, Happening.VIOLATED): Phase.SHUTDOWN,
    (Phase.BUSY, Happening.RETIRED): Phase.SHUTDOWN,  # only when the node stops and its grace is over
    (Phase.BUSY, Happening.FAILED): Phase.SHUTDOWN,
    (Phase.BUSY, Happening.EXITED): Phase.GONE,
    (Phase.SHUTDOWN, Happening.EXITED): Phase.GONE,
}


def after(phase: Phase, happening: Happening) -> Phase:
    """The next phase.

    Raises:
        ImpossibleTransitionError: there is none.
    """
    try:
        return TRANSITIONS[phase, happening]
    except KeyError:
        raise ImpossibleTransitionError(f"{happening.name} in phase {phase.name}") from None
