"""Resource policies of functions and of layer versions, statement by statement. Pure.

Source: AWS Lambda API Reference, AddPermission, AddLayerVersionPermission.
"""

from typing import Any, Final

import msgspec

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.aws.policy import Document

NEW: Final[Document] = {"Version": "2012-10-17", "Id": "default"}


def with_statement(document: Document | None, statement: dict[str, Any]) -> Document:
    """The policy with one more statement; a new policy where there was none.

    Raises:
        ApiError: ResourceConflictException, when its id is taken; PolicyLengthExceededException.
    """
    statements = _statements(document)
    if any(each.get("Sid") == statement["Sid"] for each in statements):
        raise ApiError(
            "ResourceConflictException",
            f"The statement id ({statement['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement.",
        )
    changed = {**(document or NEW), "Statement": [*statements, statement]}
    size = len(text_of(changed).encode())
    if size > quotas.POLICY_BYTES:
        raise ApiError(
            "PolicyLengthExceededException",
            f"The final policy size ({size}) is bigger than the limit ({quotas.POLICY_BYTES}).",
        )
    return changed


def without_statement(document: Document, sid: str) -> Document | None:
    """The policy without a statement; None when that was its last.

    Raises:
        ApiError: ResourceNotFoundException.
    """
    statements = _statements(document)
    left = [each for each in statements if each.get("Sid") != sid]
    if len(left) == len(statements):
        raise ApiError("ResourceNotFoundException", f"Statement {sid} is not found in resource policy.")
    return {**document, "Statement": left} if left else None


def _statements(document: Document | None) -> list[dict[str, Any]]:
    """PutResourcePolicy takes a single statement without its list, as the policy language does."""
    found = (document or {}).get("Statement", [])
    return found if isinstance(found, list) else [found]


def text_of(document: Document) -> str:
    """A policy as answers hold it."""
    return msgspec.json.encode(document).decode()
