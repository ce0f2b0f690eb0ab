"""Writes the reference pages that are made from the code: `make docs`. tests/tidy checks that they are current."""

import ast
import functools
import importlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

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

    parts = [_COMMANDS]
    for name, command in typer.main.get_command(application).commands.items():
        parts.append(_help(f"lambent {name}", command, "##"))
        for inner, one in getattr(command, "commands", {}).items():
            parts.append(_help(f"lambent {name} {inner}", one, "###"))
    return "\n".join(parts)


def _help(name: str, command: Any, level: str) -> str:
    context = command.make_context(name, [], resilient_parsing=True, terminal_width=100)
    context.info_name = name
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"{level} {name.removeprefix('lambent ')}\n\n```text\n{text}\n```\n"


_SERVICE = """# The {title} API, and what shows it

Made by `make docs` from the service model, from `{name}.toml` beside this page, and from `{name}.json`, which `make proof`
makes by a run of the tests: for each answer that a test saw and went on from, one test is named, that which saw the fewest
other things. What no test can see here has its reason. `tests/...::name` is relative to the repository.
"""

SERVICES = {"lambda": "Lambda", "sns": "SNS", "sqs": "SQS"}
"""The services that have a page, by botocore's name."""


def service(name: str) -> str:
    """The page about a service: each operation, what it may answer, and the test or the reason."""
    there = operations(name)
    proof, reasons, quotas = facts(name)
    model = errors(name)
    head = _SERVICE.format(title=SERVICES[name], name=name)
    parts = [head, f"## Operations\n\n{len(there)} of the model's {len(model)} are there.\n"]
    for operation in there:
        shown = proof.get(operation, {})
        rows = [f"| answers | {_test(shown.get('ok'))} |"]
        for code in sorted({*model.get(operation, ()), *shown} - {"ok"}):
            rows.append(f"| {code} | {_test(shown[code]) if code in shown else reason(reasons, operation, code)} |")
        parts.append(f"### {operation}\n\n| | shown by |\n| --- | --- |\n" + "\n".join(rows) + "\n")
    missing = [operation for operation in sorted(model) if operation not in there]
    parts.append("## Not there yet\n\nThey answer NotImplemented, 501, and name themselves.\n")
    parts.append(", ".join(missing) + ".\n" if missing else "None.\n")
    rows = [f"| {limit} | {value:,} | {_test(quotas.get(limit))} |" for limit, value in limits(name).items()]
    parts.append("## Quotas\n\n| quota | value | shown by |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def operations(name: str) -> list[str]:
    """A service's operations that a node answers."""
    from lambent.node import operations_there

    return operations_there()[name]


def facts(name: str) -> tuple[dict[str, dict[str, str]], dict[str, Any], dict[str, str]]:
    """What a run of the tests saw of a service, the reasons, and the tests of quotas."""
    written = tomllib.loads((ROOT / f"docs/reference/{name}.toml").read_text())
    return json.loads((ROOT / f"docs/reference/{name}.json").read_text()), written["reasons"], written["quotas"]


def errors(name: str) -> dict[str, list[str]]:
    """The errors that a service model lists, by operation."""
    import botocore.session

    model = botocore.session.get_session().get_service_model(name)
    has_codes = model.metadata["protocol"] == "query"  # elsewhere an error is told by its shape's name

    def of(one: str) -> list[str]:
        return [shape.error_code if has_codes else shape.name for shape in model.operation_model(one).error_shapes]

    return {one: of(one) for one in model.operation_names}


def limits(name: str) -> dict[str, int]:
    """A service's limits: those of aws/quotas.py are Lambda's; other services have theirs where they are held."""
    if name == "lambda":
        from lambent.aws import quotas

        return _numbers(vars(quotas))
    found: dict[str, int] = {}
    for path in sorted((ROOT / f"src/lambent/services/{name}").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for line in re.findall(r"^(MAX_\w+): Final = ", path.read_text(), re.MULTILINE):
            found[line] = getattr(importlib.import_module(module), line)
    return dict(sorted(found.items()))


def _numbers(names: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in names.items() if name.isupper() and isinstance(value, int) and name != "MIB"}


def reason(reasons: dict[str, Any], operation: str, code: str) -> str:
    """Why no test sees an error; empty if nobody says."""
    return str(reasons.get(operation, {}).get(code) or reasons.get(code, ""))


def _test(name: str | None) -> str:
    return f"`{name}`" if name else ""


_RUNTIMES = """# The runtimes, and what each was seen to do

Made by `make docs` from `runtimes.json` beside this page, which `make proof` makes by a run of the tests in
`tests/node/runtimes/test_every_runtime.py`: each behaviour is one test there, run with every runtime; with Node.js 26 and
further Pythons of the machine, among the long tests. `awslambdaric`, bash, Go and Rust are custom runtimes (`provided.al2023`). bash speaks the Runtime API itself; the others are AWS's own clients:

"""


def runtimes() -> str:
    """The page about runtimes: which was seen to have which behaviour, and what differs."""
    seen = behaviours()
    languages = sorted({language for cells in seen.values() for language in cells}, key=_row)
    notes: dict[str, int] = {}
    rows = []
    for behaviour, cells in seen.items():
        shown = [_cell(cells.get(language), notes) for language in languages]
        rows.append(f"| {_sentence(behaviour)} | {' | '.join(shown)} |")
    head = [f"| | {' | '.join(languages)} |", f"| --- |{' --- |' * len(languages)}"]
    remarks = [f"{number}. {text[0].upper()}{text[1:]}." for text, number in notes.items()]
    return "\n".join([f"{_RUNTIMES}{_clients()}\n", *head, *rows, "", *remarks]) + "\n"


def behaviours() -> dict[str, dict[str, str]]:
    """What a run of the tests saw: {test: {runtime: "yes", "yes: how it differs" or "no: why"}}."""
    found: dict[str, dict[str, str]] = json.loads((ROOT / "docs/reference/runtimes.json").read_text())
    return found


def _clients() -> str:
    folder = ROOT / "tests/node/runtimes"
    go = re.search(r"aws-lambda-go v([\d.]+)", (folder / "go/go.mod").read_text())
    rust = next(
        one
        for one in tomllib.loads((folder / "rust/Cargo.lock").read_text())["package"]
        if one["name"] == "lambda_runtime"
    )
    assert go is not None
    python = re.search(r"^awslambdaric==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert python is not None
    return f"- Python: `awslambdaric` {python[1]}\n- Go: `github.com/aws/aws-lambda-go` {go[1]}\n- Rust: `lambda_runtime` {rust['version']}\n"


def _row(language: str) -> tuple[bool, str]:
    return "." not in language, language  # those of our own first


def _cell(seen: str | None, notes: dict[str, int]) -> str:
    answer, _, why = (seen or "not seen").partition(": ")
    return f"{answer} ({notes.setdefault(why, len(notes) + 1)})" if why else answer


def _sentence(test: str) -> str:
    text = test.removeprefix("test_").replace("_", " ")
    return (
        (text[0].upper() + text[1:])
        .replace("Json", "JSON")
        .replace("lambdas", "Lambda's")
        .replace("callers", "caller's")
    )


_SYSTEM_CALLS = """# System calls

Made by `make docs` from `src/lambent/engine/sandbox/syscalls.py`. What a function may ask of the kernel, on x86_64 and
aarch64: an allow list, put up as a seccomp filter. Names are the kernel's; where a machine lacks a call it is not listed
for it (`fork` on aarch64).

A call that is in neither of the two tables, and every call that a later kernel gets, answers ENOSYS, so that a libc which
tries it first falls back to what it knows. Calls with 32-bit and x32 numbers are not there either. Two cannot be shut:
from Linux 6.14 on the kernel lets `uretprobe` and `uprobe` past every filter, and refuses them itself to whoever is not at
a probe that was set in them.
"""
_RULES = """## By argument

| call | rule |
| --- | --- |
| `clone` | EPERM with any flag that makes a namespace |
| `clone3` | ENOSYS: its flags are in memory, out of the filter's sight, and every libc falls back to `clone` |
| `ioctl` | EPERM for TIOCSTI and TIOCLINUX, which put input into a terminal |
| `socket` | AF_UNIX, AF_INET, AF_INET6, and of AF_NETLINK the list of interfaces; EAFNOSUPPORT for others |
| `personality` | may be asked for, and be the usual one; EPERM for others |
"""


def system_calls() -> str:
    """The page about the filter: each group of calls with its reason."""
    from lambent.engine.sandbox import syscalls

    parts = [_SYSTEM_CALLS]
    for title, groups in (("Allowed", syscalls.ALLOWED), ("Refused with EPERM", syscalls.REFUSED)):
        parts.append(f"## {title}\n\n| group | why | calls |\n| --- | --- | --- |")
        parts += [
            f"| {name} | {why} | {' '.join(f'`{call}`' for call in calls)} |" for name, (why, calls) in groups.items()
        ]
        parts.append("")
    return "\n".join([*parts, _RULES])


PAGES = {
    "docs/reference/commands.md": commands,
    "docs/reference/configuration.md": configuration,
    "docs/reference/system-calls.md": system_calls,
}
PAGES |= {f"docs/reference/{name}.md": functools.partial(service, name) for name in SERVICES}
PAGES["docs/reference/runtimes.md"] = runtimes


def main() -> None:
    """Write every page."""
    for path, page in PAGES.items():
        (ROOT / path).write_text(page())
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
