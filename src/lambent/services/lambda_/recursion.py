"""Recursive loops: how often each function has run in one chain of requests, and when that is enough. Pure.

The trace header carries it: `Lineage=a87bd80c:0|68fd508a:5` says that one function has run once in this chain and
another six times. Lambda adds to it before each run, and the AWS SDKs inside a function hand the header on with
every request they make. (AWS has since shortened the form to one counter for the whole chain, whose rules are not
public. Who only hands the header on cannot tell them apart.)

Source: AWS Lambda Developer Guide, "Use Lambda recursive loop detection to prevent infinite loops"; AWS X-Ray
Developer Guide, "Tracing header".
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

from lambent.aws.errors import ApiError
from lambent.aws.trace import part, with_part

TERMINATE: Final = "Terminate"
ALLOW: Final = "Allow"

RUNS: Final = 16
"""How often one function runs in one chain; the next run is stopped. Source: the guide, as above."""

# Functions that one header keeps count of: 17 bytes each at most, and a request's headers are not boundless. A chain
# of more functions than these counts the first ones, which a loop through them comes back to.
_FUNCTIONS: Final = 32
_CACHED_NAMES: Final = 16_384
_ENTRY: Final = re.compile(r"([0-9a-f]{8}):([0-9]{1,5})", re.ASCII)


def check(trace_header: str, function_arn: str, recursive_loop: str = TERMINATE) -> str:
    """The trace header that this run of the function is given. `function_arn` has no qualifier.

    A lineage that nobody can read counts nothing: who makes one up cheats only on their own loop.

    Raises:
        ApiError: RecursiveInvocationException, when the function has run 16 times in this chain and may not loop.
    """
    counts = lineage(trace_header)
    name = _name(function_arn)
    runs = counts.get(name, -1) + 1
    if runs >= RUNS and recursive_loop != ALLOW:
        # The wording is the API reference's of the exception; what the service itself says is not documented.
        raise ApiError(
            "RecursiveInvocationException",
            "Lambda has detected your function being invoked in a recursive loop with other AWS resources and stopped "
            "your function's invocation.",
        )
    if name in counts or len(counts) < _FUNCTIONS:
        counts[name] = min(runs, 99_999)
    return with_part(trace_header, "Lineage", "|".join(f"{each}:{count}" for each, count in counts.items()))


def runs(trace_header: str, function_arn: str) -> int:
    """How often the function has run in this chain."""
    return lineage(trace_header).get(_name(function_arn), -1) + 1


def first_run(function_arn: str) -> str:
    """The lineage of a chain that begins with this function."""
    return f"Lineage={_name(function_arn)}:0"


def lineage(trace_header: str) -> dict[str, int]:
    """How often each function has run before its last run, by the function's name in a lineage."""
    text = part(trace_header, "Lineage") or ""
    found = [match.groups() for entry in text.split("|")[:_FUNCTIONS] if (match := _ENTRY.fullmatch(entry))]
    return {name: int(count) for name, count in found}


@lru_cache(maxsize=_CACHED_NAMES)
def _name(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
