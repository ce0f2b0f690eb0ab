"""docs/security.md names each attack, and names none that is not there."""

import ast
import re
from pathlib import Path

_HERE = Path(__file__).parent
_PAGE = (_HERE.parents[1] / "docs" / "security.md").read_text()
_NAMED_WHOLE = {"test_network_walls.py", "test_lifetimes.py", "test_zygotes.py", "test_documented.py"}


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", _PAGE))
    there = {name for path in _HERE.parent.rglob("test_*.py") for name in names_in(path)}
    assert named - there == set()


def test_the_page_names_every_wall_that_is_tested() -> None:
    tested = {name for path in _HERE.glob("test_*.py") if path.name not in _NAMED_WHOLE for name in names_in(path)}
    shown_elsewhere = {
        "test_its_own_proc_works",
        "test_the_most_memory_used_is_known_after_the_end",
    }
    assert tested - shown_elsewhere - set(re.findall(r"`(test_\w+)`", _PAGE)) == set()
