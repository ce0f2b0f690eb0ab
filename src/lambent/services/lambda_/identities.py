"""Who signed a request to a function URL, and with which permissions.

The Lambda service knows neither keys nor roles: it is handed what asks STS and IAM for them.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from lambent.aws import sigv4
from lambent.aws.caller import DEFAULT_ACCOUNT
from lambent.aws.errors import ApiError
from lambent.aws.policy import Permissions, Principal

_ACCOUNT: Final = re.compile(r"[0-9]{12}")


class Issued(Protocol):
    """What STS says of a key that it issued."""

    @property
    def account(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def expires_at(self) -> int: ...


def _not_issued(_access_key: str, _session_token: str | None) -> Issued | None:
    return None


def _no_secret(_access_key: str) -> str:
    raise KeyError(_access_key)


async def _no_permissions(_principal: Principal) -> Permissions:
    return Permissions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """What is known of keys and roles. `issued` and `secret_key` are `Sts`'s, `permissions` is `Iam`'s."""

    issued: Callable[[str, str | None], Issued | None] = _not_issued
    """Whom this platform issued an access key and a session token to; None when it did not."""
    secret_key: Callable[[str], str] = _no_secret
    """The secret of an access key that was issued here."""
    permissions: Callable[[Principal], Awaitable[Permissions]] = _no_permissions
    """The policies of a principal."""
    are_enforced: bool = False
    """Whether roles are held to their policies: not in open mode."""

    def of(self, request: sigv4.Signed, *, region: str, now: datetime, ahead: timedelta = timedelta(0)) -> Principal:
        """Who signed the request, for the service `lambda` in this region.

        A signature must be there, well-formed and of this time. Where the key was issued here, it must be right,
        too. Any other key counts as its account's root user: in open mode nobody's keys are known but ours. `ahead`
        is how far our time was moved: whoever signs goes by a clock that was not.

        Raises:
            ApiError: what is wrong with the signature; 403 to a function URL's client, whatever its code.
        """
        signature = sigv4.read(request)
        sigv4.check(signature, region=region, service="lambda", now=now - ahead)
        issued = self.issued(signature.access_key, signature.session_token)
        if issued is None:
            key = signature.access_key
            account = key if _ACCOUNT.fullmatch(key) else DEFAULT_ACCOUNT
            return Principal.of_arn(f"arn:aws:iam::{account}:root")
        sigv4.verify(request, signature, self.secret_key(signature.access_key))
        if issued.expires_at <= now.timestamp():
            raise ApiError("ExpiredTokenException", "The security token included in the request is expired")
        return Principal.of_arn(issued.principal)
