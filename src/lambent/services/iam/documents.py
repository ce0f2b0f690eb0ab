"""Policy documents: what IAM checks before it stores one. Pure; the language itself is `aws.policy`.

Source: IAM User Guide, "Grammar of the IAM JSON policy language" and "IAM and AWS STS quotas".
"""

import re
from typing import Final, Literal
from urllib.parse import quote

from lambent.aws import policy
from lambent.aws.errors import ApiError

Kind = Literal["identity", "trust"]

MAX_TRUST: Final = 2048
MAX_INLINE_OF_ROLE: Final = 10_240
MAX_MANAGED: Final = 6144

_SPACE: Final = re.compile(r"\s+")


def check(document: str, kind: Kind) -> None:
    """Refuses what is not a policy document.

    `identity` says what its bearer may do (no principal), `trust` who may assume a role (no resource).

    Raises:
        ApiError: MalformedPolicyDocument, in AWS's words.
    """
    try:
        policy.decode(document, kind)
    except policy.MalformedPolicyError as error:
        raise ApiError("MalformedPolicyDocument", error.message) from error


def length(document: str) -> int:
    """The characters that count against a quota: all but white space."""
    return len(_SPACE.sub("", document))


def encoded(document: str) -> str:
    """A document as IAM's answers hold it: percent-encoded as RFC 3986 says."""
    return quote(document, safe="-_.~")
