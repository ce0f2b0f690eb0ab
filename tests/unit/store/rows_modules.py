"""Every rows.py, and its functions called with made-up arguments, so that each of its statements is executed."""

import ast
import dataclasses
import enum
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import IntegrityError

import lambent

_PACKAGE = Path(lambent.__file__).parent
NAMES = sorted(
    ".".join(("lambent", *path.relative_to(_PACKAGE).with_suffix("").parts)) for path in _PACKAGE.rglob("rows.py")
)
MODULES = [importlib.import_module(name) for name in NAMES]
_EXECUTES = {"execute", "scalar", "scalars"}
# What functions take as **keywords, which no signature tells.
_KEYWORDS = {
    ("lambent.services.logs.rows", "groups"): {"pattern": str | None, "log_class": str | None, "names": list[str]},
    ("lambent.services.logs.rows", "update_group"): {"retention_days": int | None, "is_protected": bool},
}


def places(module):
    """(first line, last line) of each call that executes a statement."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _EXECUTES:
            yield node.lineno, node.end_lineno


def frame_in(module):
    """The innermost frame of the module that is being executed now, if any."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != module.__file__:
        frame = frame.f_back
    return frame


def functions(module):
    """Those that are given a transaction."""
    functions = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
    return [one for one in functions if next(iter(inspect.signature(one).parameters), "") == "tx"]


def call(function, tx, rng):
    hints = typing.get_type_hints(function)
    arguments, keywords = [], {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            known = _KEYWORDS[function.__module__, function.__name__]
            keywords |= {name: _made_up(kind, rng) for name, kind in known.items()}
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = _made_up(hints[parameter.name], rng)
        else:
            arguments.append(_made_up(hints[parameter.name], rng))
    savepoint = tx.begin_nested()
    try:
        result = function(tx, *arguments, **keywords)
        if isinstance(result, Iterator):
            list(result)
    except IntegrityError:
        savepoint.rollback()
    else:
        savepoint.commit()


_SIMPLE = {
    str: lambda rng: rng.choice(["1", "2"]),  # some columns hold numbers
    int: lambda rng: rng.randrange(4),
    float: lambda rng: rng.random(),
    bool: lambda rng: rng.random() < 0.5,
    bytes: lambda rng: rng.randbytes(2),
    types.NoneType: lambda rng: None,
    typing.Any: lambda rng: rng.randrange(4),
}


def _made_up(kind, rng):
    """A value of a type: from so few that rows are found, and found to be there already."""
    if kind in _SIMPLE:
        return _SIMPLE[kind](rng)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return rng.choice(list(kind))
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _made_up(rng.choice(of), rng)
    if origin is type:
        return _concrete(getattr(of[0], "__bound__", of[0]))
    if origin is typing.Literal:
        return rng.choice(of)
    if origin is tuple and of[-1] is not Ellipsis:
        return tuple(_made_up(one, rng) for one in of)
    if origin in (list, tuple, set, frozenset, Sequence):
        made = [_made_up(of[0], rng) for _ in range(rng.randrange(1, 4))]
        return made if origin is Sequence else origin(made)
    if origin in (dict, Mapping):
        return {_made_up(of[0], rng): _made_up(of[1], rng) for _ in range(rng.randrange(3))}
    return _made_up_record(_concrete(kind), rng)


def _concrete(kind):
    """A record's own class, or a kind of it where there are several."""
    kinds = [one for one in kind.__subclasses__() if getattr(sys.modules[one.__module__], one.__name__, None) is one]
    return kinds[0] if kinds else kind


def _made_up_record(kind, rng):
    if dataclasses.is_dataclass(kind):
        names = [one.name for one in dataclasses.fields(kind)]
    else:
        names = getattr(kind, "_fields", None) or getattr(kind, "__struct_fields__", None)
    assert names, f"say how to make a {kind}"
    hints = typing.get_type_hints(kind)
    return kind(**{name: _made_up(hints[name], rng) for name in names})
