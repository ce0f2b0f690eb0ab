"""Which runtime was seen to have which behaviour: `make proof` keeps it for docs/reference/runtimes.md."""

import json
from collections import defaultdict
from pathlib import Path

TESTS = "tests/node/runtimes/test_every_runtime.py"

_seen = defaultdict(dict)  # behaviour -> language -> "yes", "yes: how it differs" or "no: why"


def see(report):
    """Keeps what a test of the list showed, if it passed."""
    path, _, name = report.nodeid.partition("::")
    if path == TESTS and report.when == "call" and report.passed:
        behaviour, _, language = name.rstrip("]").partition("[")
        _seen[behaviour][language] = dict(report.user_properties).get("seen", "yes")


def write(path):
    """Writes what was seen."""
    Path(path).write_text(json.dumps(_seen, indent=2) + "\n")
