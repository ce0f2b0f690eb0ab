"""Layers below /opt, variables that no file of a node shows, functions that are deleted while they run."""

import io
import json
import threading
import zipfile

import pytest
from botocore.exceptions import ClientError
from functions_on_a_node import SOON, call, create, make_zip, unused_name

READ_OPT = """
import os

def handler(event, context):
    return {name: open(f"/opt/{name}").read() for name in sorted(os.listdir("/opt")) if os.path.isfile(f"/opt/{name}")}
"""
IMPORT = """
import shared

def handler(event, context):
    return [shared.VALUE, shared.__file__]
"""


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


def layer_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def publish(client, files, *, name=None, **members):
    content = {"ZipFile": layer_zip(files)}
    return client.publish_layer_version(LayerName=name or f"layer-{unused_name()}", Content=content, **members)


def test_a_module_of_a_layer_is_imported_and_stays_when_the_layer_version_is_deleted(client):
    layer = publish(client, {"python/shared.py": "VALUE = 'of the layer'"})
    name = create(client, IMPORT, Layers=[layer["LayerVersionArn"]])
    assert call(client, name) == ["of the layer", "/opt/python/shared.py"]
    shown = client.get_function(FunctionName=name)["Configuration"]["Layers"]
    assert shown == [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]}]
    client.delete_layer_version(LayerName=layer["LayerArn"], VersionNumber=layer["Version"])
    client.update_function_configuration(FunctionName=name, Timeout=9)  # new environments
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)
    assert call(client, name) == ["of the layer", "/opt/python/shared.py"]


def test_five_layers_lie_over_each_other_in_order(client):
    arns = []
    for number in range(5):
        files = {"all": str(number), f"only-{number}": "x", f"pair-{number // 2}": str(number)}
        arns.append(publish(client, files)["LayerVersionArn"])
    name = create(client, READ_OPT, Layers=arns)
    only = {f"only-{number}": "x" for number in range(5)}
    assert call(client, name) == {"all": "4", **only, "pair-0": "1", "pair-1": "3", "pair-2": "4"}
    client.update_function_configuration(FunctionName=name, Layers=arns[1::-1])
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)
    assert call(client, name) == {"all": "0", "only-0": "x", "only-1": "x", "pair-0": "0"}
    client.update_function_configuration(FunctionName=name, Layers=[])
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)
    assert call(client, name) == {}
    assert "Layers" not in client.get_function_configuration(FunctionName=name)


def test_a_published_version_keeps_its_layers(client):
    old = publish(client, {"python/shared.py": "VALUE = 1"}, name="kept")
    new = publish(client, {"python/shared.py": "VALUE = 2"}, name="kept")
    name = create(client, IMPORT, Layers=[old["LayerVersionArn"]], Publish=True)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig=SOON)
    client.update_function_configuration(FunctionName=name, Layers=[new["LayerVersionArn"]])
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    assert [call(client, name, Qualifier=qualifier)[0] for qualifier in ("1", "2", "$LATEST")] == [1, 2, 2]


@pytest.mark.parametrize("isolation", ["namespaces", "process"])
def test_several_layers_are_importable_at_either_level(own_node, isolation):
    with own_node("--isolation", isolation) as node:
        client = node.client("lambda")
        first = publish(client, {"python/shared.py": "VALUE = 1", "python/lib/python3.11/site-packages/deep.py": "A=1"})
        second = publish(client, {"python/other.py": "VALUE = 2"})
        source = "import deep, other, shared\ndef handler(event, context): return [deep.A, shared.VALUE, other.VALUE]"
        name = create(client, source, Layers=[first["LayerVersionArn"], second["LayerVersionArn"]])
        assert call(client, name) == [1, 1, 2]


def test_a_wrapper_script_of_a_layer_starts_the_runtime(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        script = zipfile.ZipInfo("wrapper", (2026, 1, 1, 0, 0, 0))
        script.external_attr = 0o755 << 16
        archive.writestr(script, '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n')
    content = {"ZipFile": buffer.getvalue()}
    layer = client.publish_layer_version(LayerName=unused_name(), Content=content)["LayerVersionArn"]
    source = "import os\ndef handler(event, context): return os.environ['WRAPPED']"
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}}
    assert call(client, create(client, source, Layers=[layer], Environment=variables)) == "yes"


def test_layers_are_published_listed_found_and_deleted(client):
    members = {"Description": "d", "LicenseInfo": "MIT", "CompatibleRuntimes": ["python3.11"]}
    name = f"listed-{unused_name()}"
    first = publish(client, {"a": "1"}, name=name, CompatibleArchitectures=["arm64"], **members)
    second = publish(client, {"a": "2"}, name=name)
    assert (first["Version"], second["Version"], first["ResponseMetadata"]["HTTPStatusCode"]) == (1, 2, 201)
    found = client.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
    for member in ("LayerArn", "LayerVersionArn", "Version", "CreatedDate", "CompatibleArchitectures", *members):
        assert found[member] == first[member]
    listed = {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in client.list_layers()["Layers"]}
    assert listed[name] == 2
    fitting = client.list_layers(CompatibleRuntime="python3.11", CompatibleArchitecture="arm64")["Layers"]
    assert {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in fitting}[name] == 1
    client.delete_layer_version(LayerName=name, VersionNumber=2)
    with pytest.raises(ClientError) as raised:
        client.get_layer_version(LayerName=name, VersionNumber=2)
    error = raised.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )
    assert publish(client, {"a": "3"}, name=name)["Version"] == 3


def test_no_file_of_the_node_shows_a_variable(own_node, tmp_path):
    secret = "a-value-that-is-nowhere-else-49871"
    with own_node("--data-dir", str(tmp_path / "data"), ephemeral=False) as node:
        client = node.client("lambda")
        source = "import os\ndef handler(event, context): return os.environ['TOKEN']"
        name = create(client, source, Environment={"Variables": {"TOKEN": secret}}, Publish=True)
        assert call(client, name) == secret
        assert client.get_function_configuration(FunctionName=name)["Environment"] == {"Variables": {"TOKEN": secret}}
        while_it_runs = files_with(tmp_path, secret)
    assert (while_it_runs, files_with(tmp_path, secret)) == ([], [])
    with own_node("--data-dir", str(tmp_path / "data"), ephemeral=False) as node:
        assert call(node.client("lambda"), name) == secret


def files_with(folder, text):
    """Of the data folder, write-ahead logs too. Those of the sandboxes come and go."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "run" not in path.relative_to(folder).parts:
            found += [path.name] if text.encode() in path.read_bytes() else []
    assert (folder / "data" / "main.db").exists()
    return found


RUN_UNTIL_DELETED = """
import boto3

def handler(event, context):
    client = boto3.client("lambda")
    client.tag_resource(Resource=context.invoked_function_arn, Tags={"started": "yes"})
    try:
        while True:
            client.get_function(FunctionName=context.function_name)
    except client.exceptions.ResourceNotFoundException:
        return "to the end"
"""


def test_a_function_that_is_deleted_while_it_runs_ends_its_invocation(client):
    name = create(client, RUN_UNTIL_DELETED, Timeout=60, MemorySize=512)
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call(client, name)))
    thread.start()
    while "started" not in client.list_tags(Resource=arn)["Tags"]:
        assert thread.is_alive()
    client.delete_function(FunctionName=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName=name)
    thread.join(60)
    assert answers == ["to the end"]


def test_an_image_is_kept_and_fails_with_the_reason(client):
    uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1.0"
    name = unused_name()
    role = "arn:aws:iam::000000000000:role/lambda"
    created = client.create_function(
        FunctionName=name, Role=role, PackageType="Image", Code={"ImageUri": uri}, ImageConfig={"Command": ["app.main"]}
    )
    assert (created["PackageType"], created["State"], created["CodeSize"]) == ("Image", "Pending", 0)
    assert "Runtime" not in created
    with pytest.raises(Exception, match="Failed"):
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=SOON)
    found = client.get_function(FunctionName=name)
    assert found["Code"] == {"RepositoryType": "ECR", "ImageUri": uri}
    assert found["Configuration"]["StateReasonCode"] == "InvalidImage"
    assert found["Configuration"]["StateReason"].startswith("Lambent does not run container images yet")
    assert found["Configuration"]["ImageConfigResponse"] == {"ImageConfig": {"Command": ["app.main"]}}
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.invoke(FunctionName=name, Payload=json.dumps(1))


def test_a_role_that_lambda_may_not_assume_is_refused(lambent, client):
    iam = lambent.client("iam")
    role_name = f"role-{unused_name()}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName=role_name, Path="/a/b/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    with pytest.raises(ClientError) as raised:
        create(client, READ_OPT, Role=role)
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert raised.value.response["Error"]["Message"] == (
        "The role defined for the function cannot be assumed by Lambda."
    )
    trust["Statement"][0]["Principal"] = {"Service": ["lambda.amazonaws.com"]}
    iam.update_assume_role_policy(RoleName=role_name, PolicyDocument=json.dumps(trust))
    assert call(client, create(client, READ_OPT, Role=role)) == {}
    assert make_zip(app=READ_OPT)
