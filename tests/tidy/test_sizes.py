"""Sizes: a module, a function, its parameters and its nesting."""

import ast

import source

MODULE_LINES = 600
FUNCTION_LINES = 70
PARAMETERS = 6
NESTING = 3

_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def test_no_module_is_longer_than_600_lines():
    long = {
        str(path): lines
        for path in source.modules("src", "tests")
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_70_lines():
    long = [
        f"{source.named(path, node)} {node.name}"
        for path in source.modules("src")
        for node in source.functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_no_function_takes_more_than_6_parameters():
    many = [
        f"{source.named(path, node)} {node.name}"
        for path in source.modules("src")
        for node in source.functions(path)
        if _parameters(node) > PARAMETERS
    ]
    assert many == []


def test_nothing_is_nested_deeper_than_3():
    deep = [
        f"{source.named(path, node)} {node.name}"
        for path in source.modules("src")
        for node in source.functions(path)
        if _depth(node.body) > NESTING
    ]
    assert deep == []


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without self and cls; the options of a command (`Annotated[...]`) are not parameters that anyone passes."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    counted = [
        argument
        for argument in given
        if argument.arg not in ("self", "cls")
        and not (argument.annotation and ast.unparse(argument.annotation).startswith("Annotated["))
        and not (argument.annotation and ast.unparse(argument.annotation) in ("Endpoint", "AsJson"))
    ]
    return len(counted)


def _depth(body: list[ast.stmt]) -> int:
    return max((_depth_of(statement) for statement in body), default=0)


def _depth_of(statement: ast.stmt) -> int:
    if isinstance(statement, _SCOPES) or not isinstance(statement, _BLOCKS):
        return 0
    if isinstance(statement, ast.If):  # elif is no deeper than if
        chain = len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If)
        other = _depth_of(statement.orelse[0]) if chain else 1 + _depth(statement.orelse)
        return max(1 + _depth(statement.body), other)
    inner: list[ast.stmt] = []
    for name in ("body", "orelse", "finalbody"):
        inner += getattr(statement, name, [])
    for part in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
        inner += part.body
    return 1 + _depth(inner)
