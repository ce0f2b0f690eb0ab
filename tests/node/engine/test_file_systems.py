"""FileSystemConfigs: a folder of the host where a function has it mounted.

Source: AWS Lambda Developer Guide, "Configuring file system access".
"""

import json
import os

import pytest
from botocore.exceptions import ClientError

ACCESS_POINT = "fsap-0123456789abcdef0"
CODE = """
import os

def handler(event, context):
    with open("/mnt/shared/names", "a") as names:
        names.write(event)
    return [open("/mnt/shared/names").read(), sorted(os.listdir("/mnt/shared")), os.listdir("/mnt")]
"""


def create(node, zipped, name, access_point=ACCESS_POINT):
    client = node.client("lambda")
    client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": zipped(app=CODE)},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        FileSystemConfigs=[
            {
                "Arn": f"arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/{access_point}",
                "LocalMountPath": "/mnt/shared",
            }
        ],
    )
    state = {"State": "Pending"}
    while state["State"] == "Pending":
        state = client.get_function_configuration(FunctionName=name)
    return client, state


def test_functions_share_a_folder_and_what_they_write_is_there_afterwards(own_node, zipped, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "names").write_text("host ")
    if os.getuid() == 0:
        for path in (folder, folder / "names"):
            os.chown(path, 4711, 4711)
            path.chmod(0o777)  # for a file system whose owners cannot be mapped
    (tmp_path / "lambent.toml").write_text(f'file_systems = ["{ACCESS_POINT}={folder}"]\n')
    with own_node("--config", str(tmp_path / "lambent.toml")) as node:
        for name in ("one ", "two "):
            client, state = create(node, zipped, name.strip())
            assert state["State"] == "Active"
            answer = client.invoke(FunctionName=name.strip(), Payload=json.dumps(name))
            text, names, mounted = json.loads(answer["Payload"].read())
            assert (names, mounted) == (["names"], ["shared"])
        assert text == "host one two "
        assert (folder / "names").read_text() == text


def test_an_access_point_without_a_folder_fails_and_names_the_setting(lambent, zipped):
    client, state = create(lambent, zipped, "without-a-folder")
    assert (state["State"], state["StateReasonCode"]) == ("Failed", "EFSMountFailure")
    assert f'file_systems = ["{ACCESS_POINT}=/a/folder"]' in state["StateReason"]
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="without-a-folder")
    assert ACCESS_POINT in caught.value.response["Error"]["Message"]
    client.delete_function(FunctionName="without-a-folder")
