"""A node for these tests: with the exact versions of Node.js, installed as anybody would."""

import contextlib
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
    with _alone():
        for runtime in ("nodejs20.x", "nodejs22.x"):
            _fetch(runtime)
        if not (RUNTIMES / "aws-sdk-js/node_modules/@aws-sdk/client-lambda").exists():
            install("@aws-sdk/client-lambda", RUNTIMES, lambda line: None)
    return RUNTIMES


@pytest.fixture
def fetched(language, lambent):
    """The language's Node.js is there, also where only long tests use it."""
    if language == "nodejs26.x":
        with _alone():
            _fetch(language)


@contextlib.contextmanager
def _alone():
    RUNTIMES.mkdir(exist_ok=True)
    with (RUNTIMES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: sessions may run side by side
        yield


def _fetch(runtime):
    if not (RUNTIMES / runtime).exists():
        install(runtime, RUNTIMES, lambda line: None)


@pytest.fixture(scope="session")
def lambent(pytestconfig, runtimes_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBENT_RUNTIMES_DIR", str(runtimes_dir))
        with running_node() as node:
            yield node
