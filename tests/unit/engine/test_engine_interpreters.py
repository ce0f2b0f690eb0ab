import asyncio
import os
import sys
from pathlib import Path

import pytest

from lambent.engine.interpreters import Interpreter, Interpreters, NoInterpreterError, candidates, choose


def found(*versions: str) -> list[Interpreter]:
    parsed = [tuple(map(int, version.split("."))) for version in versions]
    return [Interpreter((one[0], one[1], one[2]), Path(f"/opt/python{one[0]}.{one[1]}.{one[2]}")) for one in parsed]


@pytest.mark.parametrize(
    ("runtime", "there", "taken", "exact"),
    [
        ("python3.11", ["3.10.1", "3.11.2", "3.11.10", "3.12.0"], "3.11.10", True),
        ("python3.12", ["3.10.1", "3.11.2"], "3.11.2", False),
        ("python3.11", ["3.10.1", "3.12.2"], "3.12.2", False),  # equally near: the newer
        ("python3.15", ["3.10.1", "3.13.2", "3.13.4"], "3.13.4", False),
        ("python3.10", ["3.9.1", "3.12.2"], "3.12.2", False),  # 3.9 is no runtime any more,
        ("python3.9", ["3.9.1", "3.10.2"], "3.10.2", False),  # not even where retired ones are accepted
    ],
)
def test_the_own_version_else_the_nearest(runtime: str, there: list[str], taken: str, exact: bool) -> None:
    choice = choose(runtime, found(*there), strict=False)
    assert choice.interpreter == found(taken)[0]
    assert (choice.warning is None) == exact
    if choice.warning:
        assert choice.warning.startswith(f"{runtime} is not on this machine: the function runs on python3.")


def test_strict_takes_the_own_version_only() -> None:
    assert choose("python3.11", found("3.11.2"), strict=True).warning is None
    with pytest.raises(NoInterpreterError, match=r"No interpreter for python3.12 .*found: python3.11.*python_paths"):
        choose("python3.12", found("3.11.2"), strict=True)


def test_nothing_there_says_what_to_install() -> None:
    with pytest.raises(NoInterpreterError, match=r"found: none.*lambent runtime install python3.12"):
        choose("python3.12", [], strict=False)
    with pytest.raises(NoInterpreterError, match=r"nodejs22.x is not a Python runtime"):
        choose("nodejs22.x", found("3.11.2"), strict=False)


def test_candidates_come_from_path_pyenv_uv_and_settings(tmp_path: Path) -> None:
    def place(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path.resolve()

    expected = {
        place("bin/python3.12"),
        place("home/.pyenv/versions/3.10.1/bin/python3"),
        place("home/.local/share/uv/python/cpython-3.13/bin/python3"),
        place("own/python"),
        Path(sys.executable).resolve(),
    }
    place("home/.pyenv/shims/python3.11")
    place("bin/python3.4")
    (tmp_path / "bin/python3.13").write_text("not executable")
    path = os.pathsep.join(str(tmp_path / name) for name in ("bin", "home/.pyenv/shims"))
    paths = candidates({"PATH": path}, tmp_path / "home", [str(tmp_path / "own/python")])
    assert set(paths) == expected
    assert len(paths) == len(expected)


def test_each_is_asked_what_it_is(tmp_path: Path) -> None:
    liar = tmp_path / "liar"
    liar.write_text(f"#!/bin/sh\necho hello\necho asked >> {tmp_path}/asked\n")
    liar.chmod(0o755)
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)

    async def main() -> list[Interpreter]:
        interpreters = Interpreters((str(liar), str(broken)), environ={"PATH": ""}, home=tmp_path)
        first = await interpreters.found()
        interpreters.look_again()
        assert await interpreters.found() == first
        return first

    assert asyncio.run(main()) == [Interpreter(sys.version_info[:3], Path(sys.executable).resolve())]
    assert (tmp_path / "asked").read_text() == "asked\n"
