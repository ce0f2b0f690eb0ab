"""What a client is told when the platform itself fails, or its store is too far behind."""

import asyncio
import json

import pytest

from lambent.aws.caller import Caller
from lambent.dispatch import Dispatch
from lambent.gateway.authenticate import Authenticator
from lambent.gateway.front import Front
from lambent.observe.log import Log
from lambent.protocol.http import HttpRequest
from lambent.protocol.validate import validate
from lambent.store.database import DatabaseBusyError

OPERATIONS = ["ListFunctions", "GetAccountSettings", "ListLayers"]
PATHS = {
    "ListFunctions": "/2015-03-31/functions/",
    "GetAccountSettings": "/2016-08-19/account-settings/",
    "ListLayers": "/2018-10-31/layers",
}


def ask(operation, failure):
    """Status, headers and body, of an operation that raises."""

    async def handler(caller: Caller, params):
        raise failure

    async def nothing():
        return b"", False

    async def main():
        dispatch = Dispatch(operations={"lambda": {operation: handler}}, validate=validate)
        authenticator = Authenticator("us-east-1", lambda *_key: None)
        front = Front(dispatch, authenticator, log=Log("off"), pages={}, url_page=None)
        signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
        headers = {"host": "localhost", "authorization": signed}
        return await front(HttpRequest("GET", PATHS[operation], "", headers, b""), nothing)

    response = asyncio.run(main())
    return response.status, {name.lower(): value for name, value in response.headers}, json.loads(response.body)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failure_of_ours_is_a_service_exception_and_says_nothing_of_its_cause(operation):
    status, headers, body = ask(operation, RuntimeError("a secret of ours"))
    assert (status, headers["x-amzn-errortype"]) == (500, "ServiceException")
    assert "The service encountered an internal error." in body.values()
    assert "secret" not in json.dumps(body)
    assert len(headers["x-amzn-requestid"]) == 36


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_too_far_behind_is_a_503(operation):
    status, headers, _body = ask(operation, DatabaseBusyError("20000 changes wait"))
    assert (status, headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
