"""Amazon Resource Names, and the many ways in which a Lambda function may be named.

Parsing is cached: an invocation names its function the same way each time.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, Self

_CACHED_NAMES: Final = 16_384  # a few MB at most; beyond it the least used are parsed again


class Arn(NamedTuple):
    """`arn:partition:service:region:account:resource`; `resource` keeps its own colons and slashes."""

    service: str
    region: str
    account: str
    resource: str
    partition: str = "aws"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The parts of an ARN.

        Raises:
            ValueError: it has fewer than six parts, or does not begin with `arn`.
        """
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            raise ValueError(f"not an ARN: {text!r}")
        _, partition, service, region, account, resource = parts
        return cls(service, region, account, resource, partition)

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"


class FunctionReference(NamedTuple):
    """What a FunctionName parameter says: None where it leaves a part to the caller's own."""

    name: str
    account: str | None = None
    region: str | None = None
    qualifier: str | None = None


# The forms FN, FN:QUAL, ACCT:function:FN[:QUAL] and the full ARN, as one expression with groups.
# Source: the service model's NamespacedFunctionName, whose groups these are.
_FUNCTION: Final = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?"
    r"(?:((?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(\d{12}):)?"
    r"(?:function:)?"
    r"([a-zA-Z0-9-_.]+)"
    r"(?::(\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
    re.ASCII,
)


@lru_cache(maxsize=_CACHED_NAMES)
def parse_function(text: str) -> FunctionReference:
    """The function that a FunctionName parameter (name, partial ARN or ARN, with or without qualifier) means.

    Raises:
        ValueError: it is none of these forms.

    Source: AWS Lambda API Reference, Invoke, "FunctionName".
    """
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise ValueError(f"not the name of a function: {text!r}")
    region, account, name, qualifier = match.groups()
    return FunctionReference(name, account, region, qualifier)


def function_arn(account: str, region: str, name: str, qualifier: str | None = None) -> str:
    """The function's ARN, with its qualifier if one is given."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn
