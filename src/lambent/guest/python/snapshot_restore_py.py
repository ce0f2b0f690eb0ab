"""Hooks around a snapshot, as functions import them on AWS: `from snapshot_restore_py import register_before_snapshot`.

Source: AWS Lambda Developer Guide, "Lambda SnapStart runtime hooks for Python".
"""

from collections.abc import Callable
from typing import Any

_Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_before_snapshot_registry: "list[_Hook]" = []
_after_restore_registry: "list[_Hook]" = []


def register_before_snapshot(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Has `func` called before a snapshot is taken; those registered last come first. A decorator too."""
    _before_snapshot_registry.append((func, args, kwargs))
    return func


def register_after_restore(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Has `func` called after each restore, in the order of registration. A decorator too."""
    _after_restore_registry.append((func, args, kwargs))
    return func


def get_before_snapshot() -> "list[_Hook]":
    """What is registered, as `(func, args, kwargs)`."""
    return _before_snapshot_registry


def get_after_restore() -> "list[_Hook]":
    """What is registered, as `(func, args, kwargs)`."""
    return _after_restore_registry
