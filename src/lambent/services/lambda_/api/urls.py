"""The operations on function URLs: Create-, Get-, Update-, DeleteFunctionUrlConfig and ListFunctionUrlConfigs.

What answers at a URL is `services.lambda_.url_requests`.
"""

import ipaddress
import secrets
import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import rows
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.api.shapes import page
from lambent.services.lambda_.attached import FunctionUrl
from lambent.services.lambda_.model import FunctionKey

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

PATH_PREFIX: Final = "/_lambent/url/"
"""Where a URL answers too, for clients that cannot name a host: `/_lambent/url/ID/the/path`."""

_ID_CHARACTERS: Final = string.ascii_lowercase + string.digits
_ID_LENGTH: Final = 32
_METHODS: Final = frozenset(["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"])


async def create_function_url_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """CreateFunctionUrlConfig, for a function or one of its aliases. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)
    now = _now_us(service)
    url = FunctionUrl(
        key=key,
        qualifier=qualifier,
        url_id="".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH)),
        auth_type=params["AuthType"],
        created_us=now,
        last_modified_us=now,
        invoke_mode=params.get("InvokeMode"),
        cors=_read_cors(params),
    )

    def change(tx: Connection) -> FunctionUrl:
        if rows.function(tx, key) is None or (qualifier and rows.alias(tx, key, qualifier) is None):
            raise ApiError("ResourceNotFoundException", "Function does not exist")
        if rows.attached(tx, key, FunctionUrl, qualifier):
            raise ApiError(
                "ResourceConflictException",
                f"Failed to create function url config for [functionArn = {url.arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function",
            )
        rows.put_attached(tx, url)
        return url

    shape = _write(await service.database.write(change, committed=service.catalogue.put), caller)
    del shape["LastModifiedTime"]
    if url.invoke_mode is None:  # the default shows from GetFunctionUrlConfig on
        del shape["InvokeMode"]
    return shape


async def get_function_url_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionUrlConfig. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)
    entry = service.catalogue.find(key)
    url = entry.its(FunctionUrl, qualifier) if entry else None
    if url is None:
        raise _not_found()
    return _write(url, caller)


async def update_function_url_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateFunctionUrlConfig: what is not named stays; Cors is replaced whole. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)
    changes: dict[str, Any] = {
        field: params[member]
        for member, field in (("AuthType", "auth_type"), ("InvokeMode", "invoke_mode"))
        if member in params
    }
    if "Cors" in params:
        changes["cors"] = _read_cors(params)

    def change(tx: Connection) -> FunctionUrl:
        before = rows.attached(tx, key, FunctionUrl, qualifier)
        if before is None:
            raise _not_found()
        after: FunctionUrl = replace(before, **changes, last_modified_us=_now_us(service))
        rows.put_attached(tx, after)
        return after

    return _write(await service.database.write(change, committed=service.catalogue.put), caller)


async def delete_function_url_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteFunctionUrlConfig. Its address never comes back. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)

    def change(tx: Connection) -> None:
        if rows.attached(tx, key, FunctionUrl, qualifier) is None:
            raise _not_found()
        rows.delete_attached(tx, key, FunctionUrl, qualifier)

    def committed(_none: None) -> None:
        service.catalogue.remove_attached(key, FunctionUrl, qualifier)

    await service.database.write(change, committed=committed)
    return {}


async def list_function_url_configs(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListFunctionUrlConfigs: the function's own first, then its aliases'. Source: AWS Lambda API Reference."""
    key, _qualifier = _locate(caller, params)
    entry = service.catalogue.find(key)
    if entry is None:
        raise ApiError("ResourceNotFoundException", "Function does not exist")
    shown, more = page(entry.all_its(FunctionUrl), params, key=lambda url: (url.qualifier, 0))
    return {"FunctionUrlConfigs": [_write(url, caller) for url in shown], **more}


def address(url: FunctionUrl, base_url: str) -> str:
    """The URL as it works for a client that reached us at `base_url`.

    A client on this machine gets a host name below `localhost`, whose names are this machine's everywhere. Any other
    gets a path below the address that it used, since no name of ours is known to its resolver.
    """
    base = urlsplit(base_url)
    host, port = base.hostname or "localhost", f":{base.port}" if base.port else ""
    if _is_this_machine(host):
        return f"{base.scheme or 'http'}://{host_name(url)}{port}/"
    return f"{base_url}{PATH_PREFIX}{url.url_id}/"


def host_name(url: FunctionUrl) -> str:
    """The host name that answers as this URL, without a port."""
    return f"{url.url_id}.lambda-url.{url.key.region}.localhost"


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _locate(caller: Caller, params: Shape) -> tuple[FunctionKey, str]:
    """The function, and the alias whose URL is meant: the empty text for the function's own."""
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    return key, qualifier or ""


def _read_cors(params: Shape) -> Shape | None:
    """The Cors that is to be kept; an empty one means none.

    Raises:
        ApiError: InvalidParameterValueException, for a method that CORS cannot be configured for. How many members
            and how long is the service model's.
    """
    cors: Shape | None = params.get("Cors")
    for method in (cors or {}).get("AllowMethods", ()):
        if method not in _METHODS:
            raise ApiError(
                "InvalidParameterValueException",
                f"Invalid CORS method: {method}. "
                "You can use GET, PUT, POST, DELETE, HEAD, PATCH, and the wildcard character (*).",
            )
    return cors or None


def _write(url: FunctionUrl, caller: Caller) -> Shape:
    shape: Shape = {"FunctionUrl": address(url, caller.base_url), "FunctionArn": url.arn, "AuthType": url.auth_type}
    if url.cors is not None:
        shape["Cors"] = dict(url.cors)
    return shape | {
        "CreationTime": _moment(url.created_us),
        "LastModifiedTime": _moment(url.last_modified_us),
        "InvokeMode": url.invoke_mode or "BUFFERED",
    }


def _now_us(service: "Lambda") -> int:
    return int(service.clock.now() * 1_000_000)


def _moment(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def _not_found() -> ApiError:
    return ApiError("ResourceNotFoundException", "The resource you requested does not exist.")
