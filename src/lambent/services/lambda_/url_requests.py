"""One HTTP request to a function URL, from the address to the answer.

Who may, what the function is told, how it is run, what its answer means: each is elsewhere (`policies`,
`aws.http_events`, `run`, `url_cors`), and here is their order.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from lambent.aws import http_events, quotas, sigv4
from lambent.aws.errors import ApiError
from lambent.aws.http_events import PRELUDE_TYPE, Headers, MalformedAnswerError
from lambent.aws.policy import ANONYMOUS, Principal
from lambent.aws.trace import new_trace, part
from lambent.engine.metrics import Resource
from lambent.protocol.http import CutOffError, HttpRequest, HttpResponse, UrlTarget
from lambent.services.lambda_ import policies, run, url_cors
from lambent.services.lambda_.api import urls
from lambent.services.lambda_.attached import FunctionUrl
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import LATEST
from lambent.services.lambda_.policies import UrlAccess

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

# How a refusal of an invocation looks from outside. What is missing here is our failure, or the function's.
_STATUS: Final = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InvalidRequestContentException": 400,
    "InvalidSignatureException": 403,
    "RecursiveInvocationException": 400,
    "RequestTooLargeException": 413,
    "ResourceConflictException": 409,
    "ResourceNotFoundException": 404,
    "TooManyRequestsException": 429,
}
_FORBIDDEN: Final = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


_BY_ONE: Final = "AWS would refuse this: its policy allows lambda:InvokeFunctionUrl, but not lambda:InvokeFunction"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """A request to a URL that exists."""

    service: "Lambda"
    url: FunctionUrl
    path: str
    request: HttpRequest
    request_id: str
    trace: str
    started: float
    warning: str = ""

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> HttpResponse:
        """The response, with what every one of this URL has."""
        headers = [*headers, ("x-amzn-trace-id", self.trace)]
        if self.warning:
            headers.append(("x-lambent-warning", self.warning))
        if self.url.cors is not None:
            headers = url_cors.answered(self.url.cors, self.request.headers.get("origin"), headers)
        return HttpResponse(status, headers, body)

    def refusal(self, error: ApiError) -> HttpResponse:
        status = _STATUS.get(error.code)
        if status is None:
            return self.failure()
        answer = http_events.refusal(status, error)
        return self.answer(answer.status, answer.headers, answer.body)

    def failure(self) -> HttpResponse:
        """What a client sees of any function that failed, and of any answer that is none."""
        return self.answer(502, [("content-type", "application/json")], b"Internal Server Error")

    def malformed(self, error: MalformedAnswerError) -> HttpResponse:
        """The same; what was wrong is in our log, since the function's own says that it did well."""
        self.service.log.info("lambda.url_answer_malformed", function=self.url.arn, reason=str(error))
        return self.failure()

    def count(self, status: int, executed_version: str | None) -> None:
        """Source: AWS Lambda Developer Guide, "Monitoring Lambda function URLs"."""
        key = self.url.key
        of = Resource(key.name, self.url.qualifier or LATEST, executed_version)
        add, scope = self.service.metrics.add, key.scope
        add(scope, "UrlRequestCount", 1, of=of)
        if status >= 400:
            add(scope, "Url4xxError" if status < 500 else "Url5xxError", 1, of=of)
        milliseconds = (time.perf_counter() - self.started) * 1000
        add(scope, "UrlRequestLatency", milliseconds, of=of, unit="Milliseconds")


async def page(service: "Lambda", target: UrlTarget, request: HttpRequest, request_id: str) -> HttpResponse:
    """The answer to a request for a function URL. `request` is as it came; the path of the URL is `target`'s."""
    url = service.catalogue.url(target.url_id)
    if url is None or target.region not in (None, url.key.region):
        return _no_such_url(target)
    exchange = _Exchange(
        service=service,
        url=url,
        path=target.path,
        request=request,
        request_id=request_id,
        trace=request.headers.get("x-amzn-trace-id") or new_trace(service.clock.now()),
        started=time.perf_counter(),
    )
    if url.cors is not None and url_cors.is_preflight(request.method, request.headers):
        exchange.count(200, None)
        return HttpResponse(200, url_cors.preflight_headers(url.cors, request.headers), b"")
    try:
        return await _answered(exchange)
    except ApiError as error:
        response = exchange.refusal(error)
        exchange.count(response.status, None)
        return response


async def _answered(exchange: _Exchange) -> HttpResponse:
    service, url = exchange.service, exchange.url
    access, authorizer = await _access(exchange)
    if access is UrlAccess.BY_ONE:
        exchange = replace(exchange, warning=_BY_ONE)
    asked = _asked(exchange, authorizer)
    version = run.choose(service, asked.key, asked.qualifier)
    alias = service.catalogue.get(url.key).aliases.get(url.qualifier)
    executed_version = version.version if alias and alias.additional_version else None
    if url.invoke_mode == "RESPONSE_STREAM":
        return await _streamed(exchange, await run.run_streaming(service, asked, version), executed_version)
    response = _buffered(exchange, await run.run(service, asked, version))
    exchange.count(response.status, executed_version)
    return response


def _no_such_url(target: UrlTarget) -> HttpResponse:
    where = f" in {target.region}" if target.region else ""
    error = ApiError("ResourceNotFoundException", f"There is no function URL with the id {target.url_id}{where}.")
    answer = http_events.refusal(404, error)
    return HttpResponse(answer.status, answer.headers, answer.body)


# Who may


async def _access(exchange: _Exchange) -> tuple[UrlAccess, dict[str, Any] | None]:
    """What policies say, and `requestContext.authorizer.iam`: who signed the request; None where nobody needs to.

    Raises:
        ApiError: AccessDeniedException, when no policy allows it; what is wrong with the signature.
    """
    service, url, request = exchange.service, exchange.url, exchange.request
    entry = service.catalogue.get(url.key)
    principal, authorizer = ANONYMOUS, None
    if url.auth_type == "AWS_IAM":
        principal = await _signer(service, entry, request)
        signature = sigv4.read(request)
        issued = service.identities.issued(signature.access_key, signature.session_token)
        authorizer = _iam(principal, signature.access_key, issued.user_id if issued else principal.account)
    context = {"aws:SourceIp": request.client}
    access = await policies.may_call_url(service, entry, url.qualifier, url.auth_type, principal, context=context)
    if access is UrlAccess.NO:
        raise ApiError("AccessDeniedException", _FORBIDDEN)
    return access, authorizer


async def _signer(service: "Lambda", entry: Entry, request: HttpRequest) -> Principal:
    try:
        return await policies.url_identity(service, entry, request)
    except ApiError as error:
        if error.code == "MissingAuthenticationTokenException":
            raise ApiError("AccessDeniedException", _FORBIDDEN) from error
        raise


def _iam(principal: Principal, access_key: str, user_id: str | None) -> dict[str, Any]:
    return {
        "accessKey": access_key,
        "accountId": principal.account,
        "callerId": user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": principal.name,
        "userId": user_id,
    }


# What the function is told


def _asked(exchange: _Exchange, authorizer: dict[str, Any] | None) -> run.Asked:
    """Raises ApiError RequestTooLargeException, when the event is larger than an invocation's may be."""
    payload = _event(exchange, authorizer)
    if len(payload) > quotas.REQUEST_BYTES:
        raise ApiError(
            "RequestTooLargeException",
            f"Request must be smaller than {quotas.REQUEST_BYTES} bytes for the InvokeFunction operation",
        )
    return run.Asked(
        key=exchange.url.key,
        qualifier=exchange.url.qualifier or None,
        payload=payload,
        request_id=exchange.request_id,
        trace_header=exchange.trace,
    )


def _event(exchange: _Exchange, authorizer: dict[str, Any] | None) -> bytes:
    request, url = exchange.request, exchange.url
    host, _, port = request.headers.get("host", "").rpartition(":")
    if not port.isdecimal():
        host, port = request.headers.get("host", ""), "80"
    forwarded = request.headers.get("x-forwarded-for")
    headers = {
        **request.headers,
        "x-amzn-trace-id": f"Root={part(exchange.trace, 'Root') or exchange.trace}",
        "x-forwarded-for": f"{forwarded}, {request.client}" if forwarded else request.client,
        "x-forwarded-port": port,
        "x-forwarded-proto": "http",
    }
    arrived = http_events.Arrived(
        method=request.method,
        path=exchange.path,
        query=request.query,
        headers=headers,
        body=request.body,
        protocol=f"HTTP/{request.version}",
        source_ip=request.client,
    )
    context = http_events.Context(
        account_id=authorizer["accountId"] if authorizer else "anonymous",
        api_id=url.url_id,
        domain_name=host if host.startswith(f"{url.url_id}.") else urls.host_name(url),
        request_id=exchange.request_id,
        time_ms=exchange.service.clock.now_ms(),
        authorizer={"iam": authorizer} if authorizer else None,
    )
    return http_events.event(arrived, context)


# What its answer means


def _buffered(exchange: _Exchange, answer: run.Answer) -> HttpResponse:
    if answer.result.function_error is not None:
        return exchange.failure()
    try:
        meant = http_events.answer(answer.result.payload)
    except MalformedAnswerError as error:
        return exchange.malformed(error)
    return exchange.answer(meant.status, meant.headers, meant.body)


async def _streamed(exchange: _Exchange, streamed: run.Streamed, executed_version: str | None) -> HttpResponse:
    """The answer's head, once it has come, and its body as it comes."""
    body = _Body(exchange, streamed, executed_version)
    response = exchange.answer(200, [("content-type", streamed.content_type)])
    if streamed.content_type.startswith(PRELUDE_TYPE):
        try:
            meant = http_events.prelude(await body.take_prelude())
            response = exchange.answer(meant.status, meant.headers)
        except MalformedAnswerError as error:
            response = exchange.malformed(error)
    elif not await body.take_first() and (await streamed.result).function_error is not None:
        response = exchange.failure()
    body.status = response.status
    if response.body:
        await body.aclose()
        return response
    return HttpResponse(response.status, response.headers, b"", body)


class _Body:
    """What a function writes after its answer's head. Counts the request when it ends, or when it is closed."""

    def __init__(self, exchange: _Exchange, streamed: run.Streamed, executed_version: str | None) -> None:
        self.status = 200
        self._exchange = exchange
        self._streamed = streamed
        self._executed_version = executed_version
        self._first = b""
        self._is_counted = False

    async def take_first(self) -> bytes:
        """The first bytes, which the iterator gives again; nothing at its end."""
        self._first = await anext(self._streamed.chunks, b"")
        return self._first

    async def take_prelude(self) -> bytes:
        """What comes before the body, which is not given again.

        Raises:
            MalformedAnswerError: it has no end, or is too long.
        """
        reader = http_events.PreludeReader()
        async for chunk in self._streamed.chunks:
            if found := reader.feed(chunk):
                document, self._first = found
                return document
        raise MalformedAnswerError("the prelude has no end")

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        async for chunk in self._streamed.chunks:
            return chunk
        failed = (await self._streamed.result).function_error is not None
        self._count(502 if failed else self.status)
        if failed:
            raise CutOffError
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nobody reads on: the function runs to its end."""
        self._count(self.status)
        await self._streamed.chunks.aclose()

    def _count(self, status: int) -> None:
        if not self._is_counted:
            self._is_counted = True
            self._exchange.count(status, self._executed_version)
