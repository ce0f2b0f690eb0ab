"""Writes the reference pages that are made from the code: `make docs`. tests/tidy checks that they are current."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

_HEAD = """# Configuration

Made by `make docs` from `src/lambent/config.py`. Each setting can be given as a flag of `lambent up` (where there is
one), as `LAMBENT_NAME` in the environment, or as `name = value` in `lambent.toml`: the first of these that is there
wins. Settings that begin with the same word may be written as a table: `[runtimes]` and `strict = true` is
`runtimes_strict`. An unknown name is an error.
"""


def configuration() -> str:
    """The page about settings: each field of Config with its type, default and docstring."""
    tree = ast.parse((ROOT / "src/lambent/config.py").read_text())
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    parts = [_HEAD]
    for field, text in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            parts.append(_setting(field, text))
    return "\n".join(parts)


def _setting(field: ast.AnnAssign, text: ast.stmt | None) -> str:
    name = ast.unparse(field.target)
    if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
        raise SystemExit(f"config.py:{field.lineno}: {name} has no docstring")
    default = ast.unparse(field.value) if field.value else "none"
    meaning = " ".join(str(text.value.value).split())
    return (
        f"## {name}\n\n`{ast.unparse(field.annotation)}`, default `{default}`; `LAMBENT_{name.upper()}`\n\n{meaning}\n"
    )


_COMMANDS = """# The lambent command

Made by `make docs` from `src/lambent/cli`. Answers are on stdout, all else on stderr. The exit status is 0 when it is
done, 1 when it failed, 2 when it was asked wrongly.
"""


def commands() -> str:
    """The page about the command: each command's own help."""
    import typer.main

    from lambent.cli.application import application

    group = typer.main.get_command(application)
    parts = [_COMMANDS]
    for name, command in group.commands.items():
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=100)
        context.info_name = f"lambent {name}"
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


PAGES = {"docs/reference/commands.md": commands, "docs/reference/configuration.md": configuration}


def main() -> None:
    """Write every page."""
    for path, page in PAGES.items():
        (ROOT / path).write_text(page())
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
