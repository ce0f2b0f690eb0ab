"""The fixture as a project of its own uses it."""

import subprocess
import sys

PROJECT = """
import json
import pytest
from lambent.pytest_plugin import FunctionFailed

@pytest.fixture(scope="module")
def greet(lambent, tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions") / "greet"
    folder.mkdir()
    (folder / "app.py").write_text('''
import os
def handler(event, context):
    print("greeting", event["name"])
    return {"greeting": "Hello " + event["name"], "stage": os.environ["STAGE"]}
''')
    return lambent.deploy(folder, memory=256, env={"STAGE": "test"})

def test_it_greets(greet):
    assert greet.name == "greet"
    assert greet.invoke({"name": "Ada"}) == {"greeting": "Hello Ada", "stage": "test"}
    assert any("greeting Ada" in line for line in greet.logs())

def test_it_fails(greet):
    with pytest.raises(FunctionFailed) as failed:
        greet.invoke({})
    assert failed.value.document["errorType"] == "KeyError"

def test_boto3_finds_it_by_the_environment(lambent_environment, greet):
    import boto3
    answer = boto3.client("lambda").invoke(FunctionName="greet", Payload=json.dumps({"name": "Bob"}))
    assert json.load(answer["Payload"])["greeting"] == "Hello Bob"

def test_reset_forgets_it(lambent, greet):
    lambent.reset()
    assert lambent.client("lambda").list_functions()["Functions"] == []
    assert greet.logs() == []
"""


def test_a_project_uses_the_fixture(tmp_path):
    (tmp_path / "test_project.py").write_text(PROJECT)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_whoever_does_not_use_it_does_not_pay_for_it():
    question = (
        "import pytest, sys; before = set(sys.modules); import lambent.pytest_plugin; print(set(sys.modules) - before)"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True).stdout
    assert not any(name in answer for name in ("'boto3'", "'botocore'", "'sqlalchemy'", "'asyncio'", "'lambent.node'"))
