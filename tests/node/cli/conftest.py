"""Commands list all that there is: each file begins with an empty node."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module", autouse=True)
def _empty(lambent):
    lambent.reset()


@pytest.fixture
def run(lambent):
    """`lambent` as a user of this node types it."""

    def run(*arguments, stdin=None):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["LAMBENT_ENDPOINT"] = lambent.endpoint
        command = [sys.executable, "-m", "lambent", *arguments]
        return subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, timeout=110, check=False
        )

    return run
