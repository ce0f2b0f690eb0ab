"""A node for these tests: with the exact versions of Node.js, installed as anybody would."""

import fcntl
import sys
from pathlib import Path

import pytest

from lambent.practices.interpreters import install
from lambent.pytest_plugin import running_node

RUNTIMES = Path(sys.prefix) / "runtimes"  # beside the packages of the tests' own interpreter


@pytest.fixture(scope="session")
def runtimes_dir():
    """Where `lambent runtime install` put what the development set-up does not bring."""
    RUNTIMES.mkdir(exist_ok=True)
    with (RUNTIMES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: sessions may run side by side
        for runtime in ("nodejs20.x", "nodejs22.x"):
            if not (RUNTIMES / runtime).exists():
                install(runtime, RUNTIMES, lambda line: None)
        if not (RUNTIMES / "aws-sdk-js/node_modules/@aws-sdk/client-lambda").exists():
            install("@aws-sdk/client-lambda", RUNTIMES, lambda line: None)
    return RUNTIMES


@pytest.fixture(scope="session")
def lambent(pytestconfig, runtimes_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBENT_RUNTIMES_DIR", str(runtimes_dir))
        with running_node() as node:
            yield node
