"""Where a request arrives: read, identify, route, parse, dispatch, serialize.

The application of `gateway.connection`. The routes are the service models' (`protocol.route`); only `/_lambent/...` is
our own. What an operation raises becomes its AWS error; anything else is our failure: 500 with the request id, and one
log entry.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.aws.http_events import refusal
from lambent.aws.request_id import new_request_id
from lambent.dispatch import Dispatch
from lambent.gateway import bucket_cors, cors, object_storage
from lambent.gateway.authenticate import Authenticator, Identity
from lambent.gateway.body import Disconnected, Read, limit_of, read_body
from lambent.gateway.hosts import function_url, with_url_body
from lambent.observe.log import Log
from lambent.protocol.http import HttpRequest, HttpResponse, UrlTarget
from lambent.protocol.parse import parse
from lambent.protocol.route import Route, route
from lambent.protocol.serialize import serialize, serialize_error

Page = Callable[[HttpRequest], Awaitable[HttpResponse]]
UrlPage = Callable[[UrlTarget, HttpRequest, str], Awaitable[HttpResponse]]
"""Answers a request, with its id, to a function URL."""

OWN_PATHS: Final = "/_lambent/"
# What takes something away for whoever asks: not when nobody is there any more.
_WAITS: Final = frozenset([("sqs", "ReceiveMessage")])
_FAILED: Final = "The service encountered an internal error."


class Front:
    """The application for one door. `pages` are our own, by path prefix, the longest first; `url_page` is the URLs'."""

    def __init__(
        self,
        dispatch: Dispatch,
        authenticator: Authenticator,
        *,
        log: Log,
        pages: Mapping[str, Page],
        url_page: UrlPage,
        is_inside: bool = False,
    ) -> None:
        self.dispatch = dispatch
        self.authenticator = authenticator
        self._log = log
        self._is_inside = is_inside
        self._pages = dict(sorted(pages.items(), key=lambda page: -len(page[0])))
        self._url_page = url_page

    async def __call__(self, request: HttpRequest, read: Read) -> HttpResponse:
        """Answers one HTTP request. A client that goes away meanwhile does not stop what it asked for."""
        request_id = new_request_id()
        target = function_url(request)
        if target is not None:  # it has a CORS configuration of its own
            response = await self._of_url(target, request, read, request_id)
        elif "origin" in request.headers or request.path.startswith(OWN_PATHS):
            response = await self._page(request, read, request_id)
        else:
            response = await self._routed(request, read, request_id)
        if not response.headers or response.headers[0][0] != "x-amzn-RequestId":  # which most begin with
            response.headers.append(("x-amzn-RequestId", request_id))
        return response

    async def _page(self, request: HttpRequest, read: Read, request_id: str) -> HttpResponse:
        """The answer to a page in a browser, which says its origin, or to whoever asks for a page of ours."""
        answer = self._own_page if request.path.startswith(OWN_PATHS) else self._routed
        origin = request.headers.get("origin")
        if origin is None:
            return await answer(request, read, request_id)
        rules = await self._bucket_rules(request) if answer == self._routed else None
        if rules is not None:
            if request.method == "OPTIONS":
                return bucket_cors.preflight(rules, request, request_id)
            allowed = bucket_cors.answer_headers(rules, origin, request.method)
            if allowed is not None:
                response = await answer(request, read, request_id)
                return replace(response, headers=[*response.headers, *allowed])
        if not cors.is_allowed(origin, request.headers.get("host", "")):
            return HttpResponse(403, [("content-type", "text/plain")], b"Pages of other origins may not ask.\n")
        if request.method == "OPTIONS":
            return HttpResponse(204, cors.preflight_headers(origin, request.headers), b"")
        response = await answer(request, read, request_id)
        return replace(response, headers=[*response.headers, *cors.answer_headers(origin)])

    async def _bucket_rules(self, request: HttpRequest) -> list[bucket_cors.Rule] | None:
        try:
            signing_name = self.authenticator.identity(request.headers, request.query).signing_name
        except ApiError:  # which the request itself will be told
            return None
        return await bucket_cors.rules_of(self.dispatch.call, request, signing_name)

    async def _routed(self, request: HttpRequest, read: Read, request_id: str) -> HttpResponse:
        started = time.perf_counter()
        way: Route | None = None
        identity: Identity | None = None
        failure: ApiError | None = None
        try:
            identity = self.authenticator.identity(request.headers, request.query)
            to_bucket = object_storage.of_bucket(request, identity.signing_name)
            if to_bucket is not None:
                way = object_storage.UNKNOWN
                ready = await object_storage.ready(to_bucket, read, self.authenticator.now())
                way = ready.way
                return await self._object_answer(ready, identity, request_id)
            request = await _with_body(request, read)
            way = route(request, identity.signing_name)
            if way[:2] in _WAITS and (task := asyncio.current_task()) is not None:
                request.when_left(task.cancel)
            result = await self.dispatch.call(
                way.service,
                way.operation,
                parse(way, request),
                caller=_caller(identity, request, request_id, is_inside=self._is_inside),
            )
            return serialize(way, result, request_id)
        except ApiError as error:
            failure = error
            response = serialize_error(way or _likely_route(request, identity), error, request_id)
            if response.status == 413:  # whatever else the client is still sending is not wanted
                response.headers.append(("connection", "close"))
            return response
        except Disconnected:
            raise
        except Exception:
            way = way or _likely_route(request, identity)
            failure = _our_failure(way)
            self._log.error("gateway.failed", request_id=request_id, **_named(way))
            return serialize_error(way, failure, request_id)
        finally:
            if self._log.tells_info:
                self._log.info(
                    "gateway.request",
                    request_id=request_id,
                    account=identity.account if identity else None,
                    outcome=failure.code if failure else "ok",
                    duration_ms=round((time.perf_counter() - started) * 1000, 3),
                    **_named(way),
                )

    async def _object_answer(self, ready: object_storage.Ready, identity: Identity, request_id: str) -> HttpResponse:
        way, request, form = ready
        if form is not None:
            identity = self.authenticator.identity({}, form.credential())
        caller = _caller(identity, request, request_id, is_inside=self._is_inside)
        result = await self.dispatch.call("s3", way.operation, object_storage.parsed(ready), caller=caller)
        response = serialize(way, result, request_id)
        return response if form is None else form.response(response, caller.base_url)

    async def _of_url(self, target: UrlTarget, request: HttpRequest, read: Read, request_id: str) -> HttpResponse:
        started = time.perf_counter()
        try:
            response = await self._url_page(target, await with_url_body(request, read), request_id)
        except ApiError as error:  # of reading the body
            answer = refusal(413, error)
            response = HttpResponse(answer.status, [*answer.headers, ("connection", "close")], answer.body)
        except Disconnected:
            raise
        except Exception:
            self._log.error("gateway.failed", request_id=request_id, url_id=target.url_id)
            response = HttpResponse(500, [("content-type", "text/plain")], _FAILED.encode())
        self._log.info(
            "gateway.url_request",
            request_id=request_id,
            url_id=target.url_id,
            status=response.status,
            duration_ms=round((time.perf_counter() - started) * 1000, 3),  # until its head, if it is streamed
        )
        return response

    async def _own_page(self, request: HttpRequest, read: Read, request_id: str) -> HttpResponse:
        for prefix, page in self._pages.items():
            if request.path.startswith(prefix):
                try:
                    return await page(await _with_body(request, read))
                except ApiError as error:  # of the body
                    return HttpResponse(413, [("content-type", "text/plain")], f"{error.message}\n".encode())
                except Disconnected:
                    raise
                except Exception:
                    self._log.error("gateway.failed", request_id=request_id, path=request.path)
                    return HttpResponse(500, [("content-type", "text/plain")], _FAILED.encode())
        known = ", ".join(self._pages)
        return HttpResponse(404, [("content-type", "text/plain")], f"No such page. There are: {known}\n".encode())


async def _with_body(request: HttpRequest, read: Read) -> HttpRequest:
    headers = request.headers
    body = await read_body(
        read,
        limit_of(request.method, request.path),
        length=headers.get("content-length"),
        encoding=headers.get("content-encoding"),
    )
    if not body:
        return request
    return request.with_body(body)


def _caller(identity: Identity, request: HttpRequest, request_id: str, *, is_inside: bool) -> Caller:
    return Caller(
        account=identity.account,
        region=identity.region,
        principal=identity.principal,
        user_id=identity.user_id,
        access_key=identity.access_key,
        base_url=f"http://{request.headers.get('host', 'localhost')}",
        client=request.client,
        request_id=request_id,
        trace_header=request.headers.get("x-amzn-trace-id"),
        is_inside=is_inside,
    )


def _likely_route(request: HttpRequest, identity: Identity | None) -> Route | None:
    """The route of a request that failed before it was routed, so that its error has its service's form."""
    try:
        return route(request, identity.signing_name if identity else None)
    except ApiError:
        return None


def _our_failure(way: Route | None) -> ApiError:
    # Lambda and S3 have their own; the other services' common error is InternalFailure.
    if way is not None and way.service == "s3":
        return ApiError("InternalError", "We encountered an internal error. Please try again.")
    code = "ServiceException" if way is not None and way.service == "lambda" else "InternalFailure"
    return ApiError(code, _FAILED)


def _named(way: Route | None) -> dict[str, Any]:
    return {"service": way.service, "operation": way.operation} if way else {"service": None, "operation": None}
