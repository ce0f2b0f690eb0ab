"""Compiling each shape once, where a shape may contain itself."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

K = TypeVar("K", bound=Hashable)
F = TypeVar("F", bound=Callable[..., Any])


def once(known: dict[K, F], key: K, compile_it: Callable[[], F]) -> F:
    """What `compile_it` made at the first call with this key.

    Asked for the same key meanwhile, because the shape contains itself, it gives a stand-in for what is being made.
    """
    found = known.get(key)
    if found is None:
        made: list[F] = []
        known[key] = cast("F", lambda *arguments: made[0](*arguments))
        found = compile_it()
        made.append(found)
        known[key] = found
    return found
