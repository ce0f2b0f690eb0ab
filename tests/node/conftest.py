"""What tests of a real node share: a node of the test's own, and small functions to run on it."""

import io
import json
import time
import urllib.request
import uuid
import zipfile
from urllib.parse import urlencode

import pytest

from lambent.pytest_plugin import running_node

_DECIDED_WITHIN_S = 60.0


@pytest.fixture
def own_node():
    """Starts nodes that only this test uses: `with own_node("--port", "0") as node`."""
    return running_node


@pytest.fixture
def zipped():
    """A deployment package from {file name: text or bytes}; without a suffix it is a module."""

    def zipped(**files):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name if "." in name else f"{name}.py"), text)
        return content.getvalue()

    return zipped


@pytest.fixture
def make_function(lambent, zipped):
    """Creates a function from its source and waits until it is Active; its name."""
    made = []

    def make(source, name=None, files=None, **settings):
        client = lambent.client("lambda")
        name = name or f"function-{uuid.uuid4().hex[:8]}"  # log groups stay: none may hold what another test wrote
        given = {"Runtime": "python3.11", "Handler": "app.handler", "Role": "arn:aws:iam::000000000000:role/r"}
        code = {"ZipFile": zipped(app=source, **(files or {}))}
        client.create_function(FunctionName=name, Code=code, **{**given, **settings})
        made.append(name)
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
        )
        return name

    yield make
    for name in made:
        lambent.client("lambda").delete_function(FunctionName=name)


@pytest.fixture
def decided(lambent):
    """Waits until it is decided how a function's versions start; what `lambent doctor` would show of the first."""

    def starts(name, node):
        with urllib.request.urlopen(f"{node.endpoint}/_lambent/starts?{urlencode({'function': name})}") as answer:
            return json.load(answer)["versions"]

    def wait(name, node=lambent):
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        while (found := starts(name, node)) and found[0]["state"] in ("learning", "trying", "being taken"):
            assert time.monotonic() < deadline, found
        return found[0]

    return wait
