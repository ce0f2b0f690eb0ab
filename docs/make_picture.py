"""Draws docs/picture.svg: `lambent up` and an invocation, as a terminal shows them. What it shows was really run.

.venv/bin/python docs/make_picture.py
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

LAMBENT = str(Path(sys.executable).with_name("lambent"))
HANDLER = """\
def lambda_handler(event, context):
    print("hello from", context.function_name)
    return {"greeting": f"Hello {event['name']}"}
"""
PORT = "4566"


def main() -> None:
    """Run the commands and draw what they said."""
    console = Console(record=True, width=118, file=io.StringIO(), force_terminal=True)

    def show(command: str, output: str) -> None:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text(output.rstrip().expandtabs(4)))

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hello").mkdir()
        Path(folder, "hello", "app.py").write_text(HANDLER)
        # Its functions' log and its place are nobody's business: the picture shows a fresh folder.
        with subprocess.Popen(
            [LAMBENT, "up", "--port", PORT, "--ephemeral"], cwd=folder, stdout=subprocess.PIPE, text=True
        ) as node:
            assert node.stdout is not None
            show("lambent up --ephemeral", node.stdout.readline())
            try:
                for command in (
                    "cat hello/app.py",
                    "lambent deploy hello",
                    """lambent invoke hello --payload '{"name": "Ada"}'""",
                    """lambent invoke hello --payload '{"name": "Grace"}'""",
                    "lambent logs hello",
                ):
                    show(command, run(command, folder))
            finally:
                node.terminate()
    drawing = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="Lambent"), flags=re.DOTALL)
    Path(__file__).with_name("picture.svg").write_text(drawing)


def run(command: str, folder: str) -> str:
    """What a command says on both of its outputs."""
    environment = {**os.environ, "PATH": f"{Path(LAMBENT).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return result.stdout


if __name__ == "__main__":
    main()
