"""STS: who a caller is, and credentials for sessions."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from lambent.aws.caller import Caller
from lambent.clock import Clock
from lambent.dispatch import Handler, Shape
from lambent.services.sts import api, credentials, model
from lambent.services.sts.credentials import Credentials, Identity


class Call(Protocol):
    """`Dispatch.call`."""

    def __call__(self, service: str, operation: str, params: Shape, *, caller: Caller) -> Awaitable[Shape]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sts:
    """Issues and recognises temporary credentials. Keeps nothing: see `credentials`."""

    secret: bytes = field(repr=False)
    """The installation's key, from its data folder."""
    clock: Clock
    call: Call
    """`Dispatch.call`: how AssumeRole asks IAM about a role."""

    def operations(self) -> dict[str, Handler]:
        return {
            "AssumeRole": partial(api.assume_role, self),
            "GetAccessKeyInfo": partial(api.get_access_key_info, self),
            "GetCallerIdentity": partial(api.get_caller_identity, self),
            "GetSessionToken": partial(api.get_session_token, self),
        }

    def identity(self, access_key: str, session_token: str | None) -> Identity | None:
        """Whom this installation issued the pair to, expired or not (`expires_at` says); None when it did not."""
        return credentials.identity(access_key, session_token, self.secret)

    def role_credentials(self, role_arn: str, session_name: str, seconds: int) -> Credentials:
        """What an execution environment signs with: a session of its execution role, named after the function.

        Raises:
            ApiError: ValidationError, when the ARN is not a role's.
        """
        session = model.role_of(role_arn).session(session_name, self.expiry(seconds))
        return credentials.issue(session, self.secret)

    def secret_key(self, access_key: str) -> str:
        """The secret access key that belongs to an access key issued here: to verify a signature with."""
        return credentials.secret_key(access_key, self.secret)

    def expiry(self, seconds: int) -> int:
        """The moment `seconds` from now, in whole seconds since the epoch."""
        return int(self.clock.now()) + seconds
