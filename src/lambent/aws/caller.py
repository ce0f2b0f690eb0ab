"""Who asks: the account, region and principal of a request."""

from typing import NamedTuple

import msgspec

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"


class Scope(NamedTuple):
    """Where a resource lives: every table is keyed by it."""

    account: str
    region: str


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The identity behind one request, as the gateway or an inner call gives it to `dispatch`.

    `base_url` is the address that the client used (`http://127.0.0.1:4566`, no slash at the end): URLs in
    answers are built from it, and `client` the address it asked from. `principal` is an ARN; its last part is what
    GetCallerIdentity shows.
    """

    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    principal: str = f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"
    user_id: str = DEFAULT_ACCOUNT
    access_key: str = ""
    base_url: str = ""
    client: str = ""
    request_id: str = ""
    trace_header: str | None = None  # X-Amzn-Trace-Id, handed on to the function that is invoked
    is_inside: bool = False  # asked from an execution environment

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)
