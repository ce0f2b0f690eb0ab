"""`--proof FILE` keeps which test saw which operation answer: see proof.py; `--behaviours FILE`: see behaviours.py."""

import hypothesis
import pytest

import behaviours
import proof

hypothesis.settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's matter
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser):
    parser.addoption("--proof", metavar="FILE", default=None, help="keep there which test saw which operation answer")
    parser.addoption("--behaviours", metavar="FILE", default=None, help="keep there which runtime has which behaviour")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    is_generated = getattr(getattr(item, "obj", None), "is_hypothesis_test", False) or "any_request" in item.location[0]
    if item.config.getoption("--proof") is None or is_generated:
        return (yield)
    with proof.during(f"{item.location[0]}::{item.originalname}"):
        return (yield)


def pytest_runtest_logreport(report):
    behaviours.see(report)


def pytest_sessionfinish(session, exitstatus):
    for option, keeper in (("--proof", proof), ("--behaviours", behaviours)):
        path = session.config.getoption(option)
        if path is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            keeper.write(path)


@pytest.fixture(scope="session")
def lambent(lambent):
    """The session's node, whose answers are seen."""
    proof.watch(lambent.session)
    return lambent
