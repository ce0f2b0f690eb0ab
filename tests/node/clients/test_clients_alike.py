"""What works with one AWS client works with all: one list of scenarios, three clients."""

import base64
import hashlib
import json

import pytest
from lambda_clients import Boto3, Cli, JavaScript, Refused

ROLE = "arn:aws:iam::000000000000:role/r"
ARN = "arn:aws:lambda:us-east-1:000000000000:function"
ECHO = """
def handler(event, context):
    print("asked for", event)
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("no such thing")
    custom = context.client_context.custom if context.client_context else None
    return {"event": event, "version": context.function_version, "custom": custom}
"""


@pytest.fixture(params=["boto3", "cli", "javascript"], scope="module")
def client(request, lambent, tmp_path_factory):
    kinds = {
        "boto3": lambda: Boto3(lambent),
        "cli": lambda: Cli(lambent, tmp_path_factory.mktemp("cli")),
        "javascript": lambda: JavaScript(lambent),
    }
    one = kinds[request.param]()
    one.kind = request.param
    lambent.reset()
    yield one
    one.close()


def create(client, code, name="echo", **params):
    given = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": code}} | params
    return client("CreateFunction", FunctionName=name, **given)


def refusal(client, operation, **params):
    with pytest.raises(Refused) as raised:
        client(operation, **params)
    return raised.value.code, raised.value.message


@pytest.fixture(scope="module")
def code(module_zip):
    return module_zip(app=ECHO)


@pytest.fixture(scope="module")
def module_zip():
    import io
    import zipfile

    def zipped(**files):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.py"), text)
        return content.getvalue()

    return zipped


@pytest.fixture(scope="module")
def echo(client, code):
    """A function that this client has created and waited for."""
    made = create(client, code, Description="zwölf", Environment={"Variables": {"STAGE": "test"}}, Tags={"team": "a/b"})
    assert made["FunctionArn"] == f"{ARN}:echo"
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert (made["State"], made["Description"]) == ("Pending", "zwölf")
    client.wait("FunctionActiveV2", FunctionName="echo")
    return "echo"


def test_what_was_created_is_read(client, echo):
    function = client("GetFunction", FunctionName=echo)
    configuration = function["Configuration"]
    assert (configuration["State"], configuration["Timeout"], configuration["MemorySize"]) == ("Active", 3, 128)
    assert configuration["Environment"] == {"Variables": {"STAGE": "test"}}
    assert function["Tags"] == {"team": "a/b"}
    assert client("ListTags", Resource=f"{ARN}:echo") == {"Tags": {"team": "a/b"}}


def test_an_invocation(client, echo):
    sent = {"text": "größer 🙂", "number": 1.5, "none": None}
    answer = client("Invoke", FunctionName=echo, Payload=json.dumps(sent).encode(), LogType="Tail")
    assert json.loads(answer["Payload"]) == {"event": sent, "version": "$LATEST", "custom": None}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "asked for" in base64.b64decode(answer["LogResult"]).decode()
    assert "FunctionError" not in answer


def test_an_invocation_with_client_context(client, echo):
    context = base64.b64encode(json.dumps({"custom": {"a": "b"}}).encode()).decode()
    answer = client("Invoke", FunctionName=echo, Payload=b"{}", ClientContext=context)
    assert json.loads(answer["Payload"])["custom"] == {"a": "b"}


def test_a_function_that_fails(client, echo):
    answer = client("Invoke", FunctionName=echo, Payload=b'{"fail": true}')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    failure = json.loads(answer["Payload"])
    assert (failure["errorType"], failure["errorMessage"]) == ("ValueError", "no such thing")


@pytest.mark.parametrize(("kind", "status"), [("Event", 202), ("DryRun", 204)])
def test_other_ways_to_invoke(client, echo, kind, status):
    answer = client("Invoke", FunctionName=echo, InvocationType=kind, Payload=b"{}")
    assert (answer["StatusCode"], answer["Payload"]) == (status, b"")


def test_a_streamed_invocation(client, echo):
    if client.kind == "cli":  # it has no such command, as its event streams go both ways or not at all
        return
    answer = client("InvokeWithResponseStream", FunctionName=echo, Payload=b'{"a": 1}')
    chunks = [event["PayloadChunk"]["Payload"] for event in answer["EventStream"] if "PayloadChunk" in event]
    assert json.loads(b"".join(chunks))["event"] == {"a": 1}
    assert "InvokeComplete" in answer["EventStream"][-1]


def test_an_update_a_version_and_an_alias(client, echo, module_zip):
    client("UpdateFunctionConfiguration", FunctionName=echo, Timeout=9, MemorySize=256)
    client.wait("FunctionUpdatedV2", FunctionName=echo)
    client("UpdateFunctionCode", FunctionName=echo, ZipFile=module_zip(app=ECHO, more="x = 1"))
    client.wait("FunctionUpdatedV2", FunctionName=echo)
    version = client("PublishVersion", FunctionName=echo, Description="first")
    assert (version["Version"], version["Timeout"], version["FunctionArn"]) == ("1", 9, f"{ARN}:echo:1")
    routing = {"AdditionalVersionWeights": {}}
    alias = client("CreateAlias", FunctionName=echo, Name="live", FunctionVersion="1", RoutingConfig=routing)
    assert alias["AliasArn"] == f"{ARN}:echo:live"
    answer = client("Invoke", FunctionName=echo, Qualifier="live", Payload=b"{}")
    assert answer["ExecutedVersion"] == "1"
    versions = client("ListVersionsByFunction", FunctionName=echo)["Versions"]
    assert [each["Version"] for each in versions] == ["$LATEST", "1"]
    assert client("GetAlias", FunctionName=echo, Name="live") == alias
    client("DeleteAlias", FunctionName=echo, Name="live")


def test_pages_of_a_list(client, echo, code):
    for name in ("other-1", "other-2"):
        create(client, code, name)
    first = client("ListFunctions", MaxItems=2)
    rest = client("ListFunctions", MaxItems=2, Marker=first["NextMarker"])
    names = [each["FunctionName"] for page in (first, rest) for each in page["Functions"]]
    assert names == ["echo", "other-1", "other-2"]
    assert "NextMarker" not in rest


def test_settings_beside_the_function(client, echo):
    put = client("PutFunctionConcurrency", FunctionName=echo, ReservedConcurrentExecutions=0)
    assert put == {"ReservedConcurrentExecutions": 0}
    code, message = refusal(client, "Invoke", FunctionName=echo, Payload=b"{}")
    assert (code, message) == ("TooManyRequestsException", "Rate Exceeded.")
    client("DeleteFunctionConcurrency", FunctionName=echo)
    assert client("GetFunctionConcurrency", FunctionName=echo) == {}
    allowed = client(
        "AddPermission",
        FunctionName=echo,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::photos",
    )
    assert json.loads(allowed["Statement"])["Principal"] == {"Service": "s3.amazonaws.com"}
    policy = json.loads(client("GetPolicy", FunctionName=echo)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["s3"]
    client("RemovePermission", FunctionName=echo, StatementId="s3")
    kept = client("PutFunctionEventInvokeConfig", FunctionName=echo, MaximumRetryAttempts=0)
    assert kept["MaximumRetryAttempts"] == 0


def test_a_layer(client, echo, module_zip):
    layer = client("PublishLayerVersion", LayerName="shared", Content={"ZipFile": module_zip(shared="x = 1")})
    assert layer["LayerVersionArn"] == "arn:aws:lambda:us-east-1:000000000000:layer:shared:1"
    shown = client("GetLayerVersion", LayerName="shared", VersionNumber=1)
    assert shown["Content"]["CodeSha256"] == layer["Content"]["CodeSha256"]
    client("DeleteLayerVersion", LayerName="shared", VersionNumber=1)


def test_refusals_have_their_code_and_message(client, echo, code):
    assert refusal(client, "GetFunction", FunctionName="nobody") == (
        "ResourceNotFoundException",
        f"Function not found: {ARN}:nobody",
    )
    with pytest.raises(Refused) as again:
        create(client, code)
    assert (again.value.code, again.value.message) == ("ResourceConflictException", "Function already exist: echo")
    wrong, message = refusal(client, "UpdateFunctionConfiguration", FunctionName=echo, Timeout=901)
    assert wrong in ("InvalidParameterValueException", "ValidationException")
    assert "Member must have value less than or equal to 900" in message
    bad, message = refusal(client, "Invoke", FunctionName=echo, Payload=b"{not json")
    assert bad == "InvalidRequestContentException"
    assert message.startswith("Could not parse request body into json")


def test_what_is_deleted_is_gone(client, echo):
    client("DeleteFunction", FunctionName="other-1")
    code, message = refusal(client, "Invoke", FunctionName="other-1", Payload=b"{}")
    assert (code, message) == ("ResourceNotFoundException", f"Function not found: {ARN}:other-1")
