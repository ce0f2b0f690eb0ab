"""What we do not write: homeless modules, orphaned tasks, patched modules, sleeping tests, traces of a machine."""

import ast
import collections
import re
import subprocess

import source

_HOMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
_ORPHANS = {"asyncio.create_task", "asyncio.gather", "asyncio.ensure_future", "asyncio.wait_for"}
# Style section 6: the front, supervise and the guest. The other two hand what they caught to whoever waits for it.
_CATCHES_ALL = (
    "gateway/front.py",
    "gateway/connection.py",
    "observe/supervise.py",
    "guest/",
    "engine/invoke.py",
    "services/logs/sink.py",
)
# The node reads PATH once, at its start; the sandbox's launcher and the guest are other processes.
_READS_ENVIRONMENT = ("node/", "engine/sandbox/", "cli/", "practices/", "guest/", "pytest_plugin.py")
_TODO = re.compile(r"#.*\b(TO" + r"DO|FIX" + r"ME)\b(?!.*\d)")
_MACHINE = re.compile(r"/work" + r"/|/root" + r"/|\.libr" + r"ary\b")


def test_every_module_is_named_for_what_it_is():
    assert [path for path in source.modules("src") if path.stem.strip("_") in _HOMELESS] == []


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their name alone, so that one of two could not be collected."""
    names = collections.Counter(path.name for path in source.modules("tests") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_task_has_a_parent():
    orphans = [
        f"{source.named(path, node)} {name}"
        for path in source.modules("src")
        for node, name in source.calls(path)
        if name in _ORPHANS or (name.endswith("loop.create_task"))
    ]
    assert orphans == []


def test_tests_do_not_patch():
    patched = [
        f"{source.named(path, node)} {name}"
        for path in source.modules("tests")
        for node, name in source.calls(path)
        if "mock.patch" in name or name in ("patch", "patch.object") or name == "monkeypatch.setattr"
    ]
    assert patched == []


def test_tests_do_not_sleep():
    asleep = [
        source.named(path, node)
        for path in source.modules("tests")
        for node, name in source.calls(path)
        if name == "time.sleep"
    ]
    assert asleep == []


def test_no_test_is_skipped():
    skipped = [
        source.named(path, node)
        for path in source.modules("tests")
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.skip")
    ]
    assert skipped == []


def test_a_todo_has_an_issue_number():
    loose = [
        f"{path}:{number}"
        for path in source.modules("src", "tests", "bench")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _TODO.search(line)
    ]
    assert loose == []


def test_everything_is_caught_in_few_places_only():
    caught = [
        source.named(path, node)
        for path in source.modules("src")
        if not str(path.relative_to(source.SOURCE)).startswith(_CATCHES_ALL)
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert caught == []


def test_settings_come_from_config_alone():
    read = [
        source.named(path, node)
        for path in source.modules("src")
        if not str(path.relative_to(source.SOURCE)).startswith(_READS_ENVIRONMENT)
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    ]
    assert read == []


def test_nothing_committed_names_the_machine_it_was_written_on():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=source.ROOT, capture_output=True, check=True).stdout
    found = []
    for name in filter(None, names.decode().split("\0")):
        path = source.ROOT / name
        text = path.read_bytes().decode(errors="ignore") if path.is_file() else ""
        found += [f"{name}: {hit[0]}" for hit in _MACHINE.finditer(text)]
    assert found == []
