"""The IAM policy language: documents, and what they decide about a request. Pure.

`evaluate` answers whether a request is allowed; `check` refuses what is not a document before it is stored.
"""

from lambent.aws.policy.conditions import Value
from lambent.aws.policy.document import Document, Kind, check, decode
from lambent.aws.policy.evaluate import Decision, Permissions, Request, denial, evaluate
from lambent.aws.policy.malformed import MalformedPolicyError
from lambent.aws.policy.principals import ANONYMOUS, Principal

__all__ = [
    "ANONYMOUS",
    "Decision",
    "Document",
    "Kind",
    "MalformedPolicyError",
    "Permissions",
    "Principal",
    "Request",
    "Value",
    "check",
    "decode",
    "denial",
    "evaluate",
]
