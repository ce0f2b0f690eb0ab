"""Environments to attack: as root and as a plain user, as far as we may."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import House, Inside, Outside, plain_launcher
from machine import BEST, MODES

from lambent.engine.sandbox.launch import Launcher
from lambent.engine.sandbox.probe import PROCESS, Walls


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


@pytest.fixture(scope="session")
def launchers(house: House) -> dict[str, Launcher]:
    """One launcher as root with all walls, where we are root, and one of a plain user."""
    if not BEST.root:
        return {"plain": house.launcher(BEST, Path(sys.executable))}
    plain = plain_launcher(house.folder)
    return {
        "root": house.launcher(BEST, Path(sys.executable)),
        "plain": house.launcher(Walls(level="namespaces"), plain),
    }


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def launcher(launchers: dict[str, Launcher], mode: str) -> Launcher:
    return launchers[mode]


@pytest.fixture(scope="session")
def _shared(house: House, launchers: dict[str, Launcher]) -> Iterator[dict[str, Inside]]:
    shared = {name: house.claim(launcher) for name, launcher in launchers.items()}
    yield shared
    for environment in shared.values():
        environment.close()


@pytest.fixture
def inside(_shared: dict[str, Inside], mode: str) -> Inside:
    """An environment that serves many attacks: none of them may end or change it."""
    return _shared[mode]


@pytest.fixture
def fresh(house: House, launcher: Launcher) -> Iterator[Callable[..., Inside]]:
    """Environments of one's own: `fresh(memory_mb=128)`."""
    made: list[Inside] = []

    def claim(**order: Any) -> Inside:
        made.append(house.claim(launcher, **order))
        return made[-1]

    yield claim
    for environment in made:
        environment.close()


@pytest.fixture
def limited(house: House, launchers: dict[str, Launcher]) -> Iterator[Callable[..., Inside]]:
    """Environments in cgroups, where this machine lets us have them: like `fresh`."""
    made: list[Inside] = []

    def claim(**order: Any) -> Inside:
        made.append(house.claim(launchers["root" if BEST.root else "plain"], **order))
        return made[-1]

    yield claim
    for environment in made:
        environment.close()


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture(scope="session")
def without_walls(house: House) -> Iterator[Inside]:
    """An environment at level `process`."""
    environment = house.claim(house.launcher(PROCESS, Path(sys.executable), parked=1))
    yield environment
    environment.close()
