"""The documents are there, and say what the code says."""

import ast
import importlib.util
import re

import pytest
import source

_spec = importlib.util.spec_from_file_location("make_reference", source.ROOT / "docs/make_reference.py")
assert _spec is not None
assert _spec.loader is not None
_make_reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_make_reference)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "docs/decisions/README.md"])
def test_it_is_there(name):
    assert (source.ROOT / name).stat().st_size > 0


@pytest.mark.parametrize("path", sorted(_make_reference.PAGES))
def test_the_reference_is_current(path):
    assert (source.ROOT / path).read_text() == _make_reference.PAGES[path](), "run `make docs`"


@pytest.mark.parametrize("service", _make_reference.SERVICES)
def test_each_operation_has_been_seen_to_answer_and_each_error_has_a_test_or_a_reason(service):
    proof, reasons, _quotas = _make_reference.facts(service)
    there = _make_reference.operations(service)
    assert [name for name in there if "ok" not in proof.get(name, {})] == [], "run `make proof`"
    errors = {(name, code) for name in there for code in _make_reference.errors(service).get(name, ())}
    unexplained = [
        f"{name}: {code}"
        for name, code in sorted(errors)
        if code not in proof[name] and not _make_reference.reason(reasons, name, code)
    ]
    assert unexplained == [], f"write a test and run `make proof`, or say in docs/reference/{service}.toml why not"


@pytest.mark.parametrize("service", _make_reference.SERVICES)
def test_the_tests_that_the_reference_names_are_there(service):
    proof, _reasons, quotas = _make_reference.facts(service)
    named = {test for outcomes in proof.values() for test in outcomes.values()} | set(quotas.values())
    gone = []
    for test in sorted(named):
        file, _, name = test.partition("::")
        path = source.ROOT / file
        if not path.exists() or f"def {name}(" not in path.read_text():
            gone.append(test)
    assert gone == [], "run `make proof`"
    assert sorted(quotas) == sorted(_make_reference.limits(service))


def test_each_behaviour_has_its_test_and_was_seen_with_each_runtime():
    folder = source.ROOT / "tests/node/runtimes"
    tests = {one.name for one in source.functions(folder / "test_every_runtime.py") if one.name.startswith("test_")}
    known = next(
        ast.literal_eval(node.value)
        for node in ast.walk(source.tree(folder / "languages.py"))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALL"
    )
    seen = _make_reference.behaviours()
    runtimes = {language for cells in seen.values() for language in cells}  # with what is on some machines only
    assert runtimes >= {*known}, "make proof"
    assert {test: {*cells} for test, cells in seen.items()} == dict.fromkeys(tests, runtimes), "make proof"


def test_the_changelog_has_the_next_release():
    assert "## Unreleased" in (source.ROOT / "CHANGELOG.md").read_text()


def test_links_between_documents_lead_somewhere():
    dead = []
    for page in [*source.ROOT.glob("*.md"), *(source.ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(source.ROOT)}: {target}")
    assert dead == []


def test_each_test_that_the_specification_names_is_there():
    text = (source.ROOT / "docs/specification.md").read_text()
    defined = "\n".join(path.read_text() for path in (source.ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", text)
    assert len(named) > 15
    assert [f"{file}::{name}" for file, name in named if file and not (source.ROOT / file).exists()] == []
    assert [name for _file, name in named if f"def {name}(" not in defined] == []
