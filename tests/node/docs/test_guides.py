"""Every command of the guide runs: the fenced `sh` blocks of each page, in order, in one shell, against a node.

A block is left out when its fence says ```sh no-run (what needs a terminal, another machine, or never ends). A page's
shell starts in a folder of its own that holds a copy of `examples/`; `lambent` is on PATH, and the variables of the
AWS clients are set as the guide's first page tells the reader to. A block whose last line is a comment `# -> TEXT`
must print TEXT.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs/guide").glob("*.md"))
BLOCK = re.compile(r"^```sh[ \t]*(?P<flags>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """(line number, commands) of each block that is to be run."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if "no-run" not in found["flags"]:
            yield text.count("\n", 0, found.start()) + 2, found["text"]


def expected(commands):
    return re.findall(r"^# -> (.+)$", commands, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, tmp_path, lambent):
    lambent.reset()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": lambent.endpoint,
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "lambent",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
        "NO_COLOR": "1",
    }
    script = ["set -euo pipefail"]
    for line, commands in blocks(page):
        script += [f"echo '--- {page.name}:{line}'", commands]
    shell = ["bash", "-c", "\n".join(script)]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for _line, commands in blocks(page):
        for text in expected(commands):
            assert text in said, f"{text!r} is not in\n{said}"


def test_the_runner_finds_the_blocks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```sh\necho one\n# -> one\n```\n\n```sh no-run\nlambent up\n```\n\n```python\nx\n```\n")
    assert list(blocks(page)) == [(4, "echo one\n# -> one\n")]
    assert expected("echo one\n# -> one\n") == ["one"]
