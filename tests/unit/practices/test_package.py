"""A folder as a deployment package."""

import importlib.util
import io
import marshal
import os
import stat
import sys
import zipfile

import pytest

from lambent.practices import package


def folder_with(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "handler"),
    [
        ("def lambda_handler(event, context): pass", "app.lambda_handler"),
        ("def other(): pass\ndef handler(event, context): pass", "app.handler"),
        ("handler = make()", "app.handler"),
        ("from service import run as lambda_handler", "app.lambda_handler"),
        ("async def handler(event, context): pass\ndef lambda_handler(e, c): pass", "app.lambda_handler"),
    ],
)
def test_the_handler_is_found_without_running_the_code(tmp_path, source, handler):
    assert package.find_handler(folder_with(tmp_path, app_py=f"{source}\nimport nowhere_to_be_found\n")) == handler


def test_the_usual_module_names_are_tried_in_turn(tmp_path):
    folder_with(tmp_path, main_py="def handler(event, context): pass", app_py="x = 1")
    assert package.find_handler(tmp_path) == "main.handler"


def test_a_folder_without_a_handler_is_told_what_was_looked_for(tmp_path):
    folder_with(tmp_path, app_py="def run(): pass")
    with pytest.raises(package.PackageError) as refused:
        package.find_handler(tmp_path)
    assert "lambda_handler, handler, main in app.py" in refused.value.next_step
    assert "--handler" in refused.value.next_step


def test_a_syntax_error_is_told_with_its_line(tmp_path):
    folder_with(tmp_path, app_py="x = 1\ndef handler(:\n")
    with pytest.raises(package.PackageError, match=r"app\.py:2: "):
        package.find_handler(tmp_path)


def test_the_same_files_give_the_same_bytes(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, order in ((one, ("a.py", "b.py")), (other, ("b.py", "a.py"))):
        folder.mkdir()
        for name in order:
            (folder / name).write_text(name)
    os.utime(other / "a.py", (0, 0))
    assert package.build(one) == package.build(other)


def test_what_no_function_needs_is_left_out(tmp_path):
    folder_with(tmp_path, app_py="x = 1", __git__HEAD="", __pycache__="")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    (tmp_path / "app.pyc").write_bytes(b"")
    names = zipfile.ZipFile(io.BytesIO(package.build(tmp_path))).namelist()
    assert [name for name in names if name.endswith((".pyc", "HEAD")) and name.startswith((".git", "app"))] == []
    assert "app.py" in names


def test_the_folders_own_files_win_over_installed_ones(tmp_path):
    installed, own = tmp_path / "installed", tmp_path / "own"
    for folder in (installed, own):
        folder.mkdir()
        (folder / "shared.py").write_text(folder.name)
    archive = zipfile.ZipFile(io.BytesIO(package.build(own, installed)))
    assert archive.read("shared.py") == b"own"


def test_modes_are_readable_by_all_and_keep_the_execute_bit(tmp_path):
    for name, mode in (("bootstrap", 0o700), ("data.json", 0o600)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    archive = zipfile.ZipFile(io.BytesIO(package.build(tmp_path)))
    modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in archive.infolist()}
    assert modes == {"bootstrap": 0o755, "data.json": 0o644}


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(package.PackageError, match="nothing in it to deploy"):
        package.build(tmp_path)


@pytest.mark.parametrize(("text", "is_there"), [("requests\n", True), ("# none yet\n\n", False)])
def test_requirements_count_when_there_is_something_in_them(tmp_path, text, is_there):
    (tmp_path / "requirements.txt").write_text(text)
    assert (package.requirements(tmp_path) is not None) is is_there
    assert package.requirements(tmp_path / "nowhere") is None


def test_what_is_installed_comes_with_byte_code_that_fits_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheel, own = tmp_path / "made-1-py3-none-any.whl", tmp_path / "own"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made.py", "def broken():\n    raise ValueError\n")
        archive.writestr("made-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 1\n")
        archive.writestr("made-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("made-1.dist-info/RECORD", "")
    own.mkdir()
    (own / "requirements.txt").write_text(f"{wheel}\n")
    (own / "app.py").write_text("def handler(event, context): pass\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    installed = package.install(own / "requirements.txt", version, lambda _line: None)
    archive = zipfile.ZipFile(io.BytesIO(package.build(own, installed)))
    byte_code = archive.read(f"__pycache__/made.{sys.implementation.cache_tag}.pyc")
    assert int.from_bytes(byte_code[4:8], "little") == 3  # by hash, and the source is looked at
    assert byte_code[8:16] == importlib.util.source_hash(archive.read("made.py"))
    assert marshal.loads(byte_code[16:]).co_filename == "/var/task/made.py"
    assert package.install(own / "requirements.txt", version, lambda _line: None) == installed


@pytest.mark.parametrize(
    ("files", "language", "handler"),
    [
        ({"index.mjs": "export const handler = async () => 1"}, package.NODEJS, "index.handler"),
        ({"app.js": "exports.lambdaHandler = async () => 1"}, package.NODEJS, "app.lambdaHandler"),
        ({"index.ts": "export async function handler() {}", "package.json": "{}"}, package.NODEJS, "index.handler"),
        ({"index.js": "module.exports.handler = 1"}, package.NODEJS, "index.handler"),
        ({"bootstrap": "#!/bin/sh\n", "index.js": ""}, package.PROVIDED, "bootstrap"),
        ({"app.py": "def handler(e, c): ...", "index.js": ""}, package.PYTHON, "app.handler"),
    ],
)
def test_the_files_say_which_language_it_is(tmp_path, files, language, handler):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert package.language(tmp_path) == language
    assert package.find_handler(tmp_path, language) == handler


def test_a_script_without_a_handler_says_how_to_name_it(tmp_path):
    (tmp_path / "index.js").write_text("const handler = 1")
    with pytest.raises(package.PackageError, match=r"no export named handler\. Name yours with --handler"):
        package.find_handler(tmp_path, package.NODEJS)
    with pytest.raises(package.PackageError, match=r"no handler found"):
        package.find_handler(tmp_path / "empty", package.NODEJS)


def test_modules_of_node_are_for_node(tmp_path):
    (tmp_path / "node_modules/a").mkdir(parents=True)
    (tmp_path / "node_modules/a/index.js").write_text("")
    (tmp_path / "index.js").write_text("")
    names = [zipfile.ZipFile(io.BytesIO(package.build(tmp_path, with_node_modules=kept))).namelist() for kept in (0, 1)]
    assert names == [["index.js"], ["index.js", "node_modules/a/index.js"]]
