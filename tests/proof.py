"""Which test saw which operation answer, and with what: `make proof` keeps it for the reference.

Calls pass in two places: the unit tests' `Platform`, and the boto3 clients of a node. What passes while a test runs is
kept if the test passes. Tests that hypothesis generates see something else each time, so they prove nothing here.
"""

import contextlib
import json
from collections import Counter, defaultdict
from pathlib import Path

OK = "ok"

_seen_now = None  # (service, operation, outcome) of the test that runs, or None
_seen = defaultdict(set)  # ... -> the tests


@contextlib.contextmanager
def during(test):
    """Keeps what passes in the block, unless it raises."""
    global _seen_now
    _seen_now = set()
    try:
        yield
        for cell in _seen_now:
            _seen[cell].add(test)
    finally:
        _seen_now = None


@contextlib.contextmanager
def calling(service, operation):
    """Around one call."""
    outcome = OK
    try:
        yield
    except Exception as error:
        outcome = getattr(error, "code", None)
        raise
    finally:
        if _seen_now is not None and outcome is not None:
            _seen_now.add((service, operation, outcome))


def watch(session):
    """Keeps what the clients of a boto3 session are answered from now on."""

    def after_call(parsed, model, **_more):
        if _seen_now is not None:
            code = parsed.get("Error", {}).get("Code", OK)
            _seen_now.add((model.service_model.service_name, model.name, code))

    session.events.register("after-call", after_call)


def summary(service):
    """{operation: {outcome: test}}, with the test that saw the fewest other things for each."""
    breadth = Counter(test for tests in _seen.values() for test in tests)
    found = {}
    for (of, operation, outcome), tests in sorted(_seen.items()):
        if of == service:
            found.setdefault(operation, {})[outcome] = min(tests, key=lambda test: (breadth[test], test))
    return found


def write(path):
    """Writes what the operations of the service that the file is named after were seen to answer."""
    path = Path(path)
    path.write_text(json.dumps(summary(path.stem), indent=2, sort_keys=True) + "\n")
