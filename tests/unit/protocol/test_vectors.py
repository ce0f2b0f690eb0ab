"""The protocol test vectors of botocore, read the other way round: we are the server.

An input case's request must be routed and parsed into its parameters. An output case's values must be serialized so
that botocore's own parser reads from our reply what it reads from the vector's.
"""

import base64
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore import model as botocore_model
from botocore.awsrequest import HeadersDict
from botocore.parsers import ResponseParserError, create_parser

from lambent.aws.errors import ApiError
from lambent.protocol.http import HttpRequest, HttpResponse
from lambent.protocol.models import CBOR, REST_JSON, REST_XML, ServiceModel, Shape
from lambent.protocol.parse import compile_parse
from lambent.protocol.paths import Paths
from lambent.protocol.serialize import compile_serialize
from lambent.protocol.serialize_errors import error_response
from lambent.testing.wire import read_response

VECTORS = Path(__file__).parent / "vectors"

FILLED_IN = "the client fills in an idempotency token that the parameters do not have"
NO_BODY = "the vector has no body, only the encoding that a client would say"
NOT_SENT = "what is empty is not sent at all, so the server cannot know of it"
EVERY_ONE = "for a server, the map holds every query parameter, those with members of their own too"

# Why a case says nothing about a server. Anything else that is left out would be a bug of ours.
LEFT_OUT_INPUT = {
    "RestJsonHostWithPath": "the client's endpoint has a path of its own",
    "QueryProtocolIdempotencyTokenAutoFill": FILLED_IN,
    "RestJsonQueryIdempotencyTokenAutoFill": FILLED_IN,
    "QueryIdempotencyTokenAutoFill": FILLED_IN,
    "SDKAppliedContentEncoding_awsJson1_0": NO_BODY,
    "SDKAppliedContentEncoding_awsJson1_1": NO_BODY,
    "SDKAppliedContentEncoding_awsQuery": NO_BODY,
    "SDKAppliedContentEncoding_restJson1": NO_BODY,
    "SDKAppliedContentEncoding_restXml": NO_BODY,
    "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0": NO_BODY,
    "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1": NO_BODY,
    "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery": NO_BODY,
    "SDKAppendedGzipAfterProvidedEncoding_restJson1": NO_BODY,
    "SDKAppendedGzipAfterProvidedEncoding_restXml": NO_BODY,
    "QueryEmptyQueryMaps": NOT_SENT,
    "RestJsonHttpPrefixHeadersAreNotPresent": NOT_SENT,
    "HttpPrefixHeadersAreNotPresent": NOT_SENT,
    "RestJsonOmitsEmptyListQueryValues": NOT_SENT,
    "RestJsonHttpWithEmptyStructurePayload": "the client sends {} for a payload that was not given",
    "RestJsonHttpWithHeadersButNoPayload": "the client sends {} for a payload that was not given",
    "RestJsonQueryParamsStringListMap": EVERY_ONE,
    "RestJsonQueryPrecedence": EVERY_ONE,
    "AllQueryStringTypes": EVERY_ONE,
    "RestXmlQueryStringEscaping": EVERY_ONE,
    "RestXmlSupportsNaNFloatQueryValues": EVERY_ONE,
    "RestXmlSupportsInfinityFloatQueryValues": EVERY_ONE,
    "RestXmlSupportsNegativeInfinityFloatQueryValues": EVERY_ONE,
    "RestXmlZeroAndFalseQueryValues": EVERY_ONE,
    "RestXmlQueryParamsStringListMap": EVERY_ONE,
    "RestXmlQueryPrecedence": EVERY_ONE,
}
UNREADABLE = "botocore cannot read the vector's own reply: a union without a member"
MODELS_STATUS = "recorded answers of SQS have the model's status in the json protocol too (403 PurgeQueueInProgress)"
LEFT_OUT_OUTPUT = {
    "RestJsonHttpPayloadWithUnsetUnion": UNREADABLE,
    "RestXmlHttpPayloadWithUnsetUnion": UNREADABLE,
    "QueryCompatibleAwsJson10CustomCodeError": MODELS_STATUS,
    "QueryCompatibleRpcV2CborCustomCodeError": MODELS_STATUS,
    "XmlLists": "botocore reads a flattened list by the name of its items, the vector has its own name",
}


def cases(folder: str) -> list[Any]:
    found = []
    for file in sorted((VECTORS / folder).glob("*.json")):
        for suite in json.loads(file.read_text()):
            for case in suite["cases"]:
                found.append(pytest.param(file.stem, suite, case, id=f"{file.stem}-{case['id']}"))
    return found


def model_of(suite: dict[str, Any], case: dict[str, Any]) -> ServiceModel:
    metadata = {"endpointPrefix": "vectors", **suite["metadata"]}
    given = case["given"]
    description = {"metadata": metadata, "operations": {given["name"]: given}, "shapes": suite["shapes"]}
    return ServiceModel.from_json("vectors", json.dumps(description).encode())


def value_of(model: ServiceModel, shape: Shape, given: Any) -> Any:
    """A vector's value as Python has it: bytes, aware datetimes, infinities."""
    if given is None:
        return None
    if shape.type == "structure" and not shape.document:
        members = model.members(shape)
        return {name: value_of(model, members[name], one) for name, one in given.items()}
    if shape.type == "list":
        return [value_of(model, model.item(shape), one) for one in given]
    if shape.type == "map":
        return {key: value_of(model, model.key_and_value(shape)[1], one) for key, one in given.items()}
    if shape.jsonvalue and shape.location == "header":
        return json.loads(given)
    if shape.type == "blob" and isinstance(given, str):
        return given.encode()
    if shape.type == "timestamp":
        return datetime.fromtimestamp(given, UTC)
    if shape.type in ("float", "double"):
        return float(given)
    return given


def comparable(value: Any) -> Any:
    """NaN equals itself; a datetime is its moment; what is None is not there."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, datetime):
        return value.timestamp()
    return value


def request_of(protocol: str, serialized: dict[str, Any]) -> HttpRequest:
    path, _, query = serialized["uri"].partition("?")
    body = serialized.get("body", "")
    headers = {name.lower(): value for name, value in serialized.get("headers", {}).items()}
    return HttpRequest(
        method=serialized.get("method", "POST"),
        path=path,
        query=query,
        headers=headers,
        body=base64.b64decode(body) if protocol == CBOR else body.encode(),
    )


@pytest.mark.parametrize(("stem", "suite", "case"), cases("input"))
def test_a_request_is_read_as_its_parameters(stem: str, suite: dict[str, Any], case: dict[str, Any]) -> None:
    if case["id"] in LEFT_OUT_INPUT:
        return
    model = model_of(suite, case)
    protocol = model.metadata.protocol
    operation = case["given"]["name"]
    request = request_of(protocol, case["serialized"])
    labels: dict[str, str] = {}
    if protocol in (REST_JSON, REST_XML):
        found = Paths(model).match(request)
        assert found is not None
        assert found[0] == operation
        labels = found[1]
    params = compile_parse(model, operation, protocol)(labels, request)
    shape = model.input(operation)
    expected = value_of(model, shape, case["params"]) if shape else {}
    assert comparable(params) == comparable(expected)


def botocore_operation(suite: dict[str, Any], case: dict[str, Any]) -> botocore_model.OperationModel:
    given = case["given"]
    metadata = {"endpointPrefix": "vectors", **suite["metadata"]}
    description = {"metadata": metadata, "operations": {given["name"]: given}, "shapes": suite["shapes"]}
    return botocore_model.ServiceModel(description, "vectors").operation_model(given["name"])


@pytest.mark.parametrize(("stem", "suite", "case"), cases("output"))
def test_a_reply_is_read_by_botocore_as_its_values(stem: str, suite: dict[str, Any], case: dict[str, Any]) -> None:
    if case["id"] in LEFT_OUT_OUTPUT:
        return
    model, operation = model_of(suite, case), botocore_operation(suite, case)
    protocol = model.metadata.protocol
    body = case["response"].get("body", "")
    theirs = HttpResponse(
        case["response"].get("status_code", 200),
        list(case["response"].get("headers", {}).items()),
        base64.b64decode(body) if protocol == CBOR else body.encode(),
    )
    if "errorCode" in case:
        ours = our_error(model, protocol, case)
        assert ours.status == theirs.status
        assert read_error(operation, ours, protocol, case) == expected_error(model, case)
        return
    shape = model.output(operation.name)
    result = value_of(model, shape, case["result"]) if shape else {}
    ours = without_id(compile_serialize(model, operation.name, protocol)(result, "an-id"))
    assert ours.status == theirs.status
    try:
        expected = read(operation, theirs, protocol)
    except (ResponseParserError, TypeError):  # some of the vectors are beyond botocore itself
        expected = comparable(result)
    assert read(operation, ours, protocol) == expected


def without_id(response: HttpResponse) -> HttpResponse:
    """Some outputs have a map of all headers."""
    headers = [(name, value) for name, value in response.headers if name != "x-amzn-RequestId"]
    return HttpResponse(response.status, headers, response.body)


def test_few_vectors_are_left_out() -> None:
    assert {case.values[2]["id"] for case in cases("input")} >= LEFT_OUT_INPUT.keys()
    assert {case.values[2]["id"] for case in cases("output")} >= LEFT_OUT_OUTPUT.keys()
    assert (len(cases("input")), len(LEFT_OUT_INPUT)) == (338, 30)
    assert (len(cases("output")), len(LEFT_OUT_OUTPUT)) == (336, 5)


def our_error(model: ServiceModel, protocol: str, case: dict[str, Any]) -> HttpResponse:
    members = dict(case.get("error", {}))
    code = case["errorCode"]
    shape = model.error(code)
    if shape is not None:
        members = value_of(model, shape, members)
    for key in ("message", "Message"):
        members.pop(key, None)
    return error_response(model, protocol, ApiError(code, case.get("errorMessage", ""), **members), "an-id")


def read(operation: botocore_model.OperationModel, response: HttpResponse, protocol: str) -> Any:
    parsed = read_response(operation, response, protocol)
    parsed.pop("ResponseMetadata", None)
    return comparable(parsed)


def expected_error(model: ServiceModel, case: dict[str, Any]) -> Any:
    shape = model.error(case["errorCode"])
    members = value_of(model, shape, case.get("error", {})) if shape else {}
    return case["errorCode"], case.get("errorMessage", ""), comparable(members)


def read_error(
    operation: botocore_model.OperationModel, response: HttpResponse, protocol: str, case: dict[str, Any]
) -> Any:
    parsed = read_response(operation, response, protocol)["Error"]
    shape = operation.service_model.shape_for_error_code(parsed["Code"])
    if shape is None:
        return parsed["Code"], parsed["Message"] or "", {}
    headers = {name.lower(): value for name, value in response.headers}
    given = {"status_code": response.status, "headers": HeadersDict(headers), "body": response.body}
    message = parsed["Message"] or ""
    return parsed["Code"], message, comparable(create_parser(protocol).parse(given, shape))
