"""The model's constraints on an operation's parameters, with AWS's own messages."""

from typing import Any


def validate(service: str, operation: str, params: dict[str, Any]) -> None:
    """Not there yet."""
