"""The one error of what is not a policy document."""

from typing import Final

SYNTAX: Final = "Syntax errors in policy."


class MalformedPolicyError(Exception):
    """It is not a policy document; the message is AWS's."""

    def __init__(self, message: str = SYNTAX) -> None:
        super().__init__(message)
        self.message = message
