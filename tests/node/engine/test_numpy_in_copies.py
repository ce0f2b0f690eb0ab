"""numpy in environments that are copies of a process: its global generator is one of each environment's own."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CODE = """
import os, random, secrets, ssl, time, uuid
import numpy

random.random(), ssl.RAND_bytes(1), numpy.random.random()

def handler(event, context):
    time.sleep(0.3)
    drawn = [numpy.random.random(), random.random(), secrets.token_hex(8), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()]
    return {"stream": context.log_stream_name, "drawn": drawn}
"""


@pytest.fixture(scope="module")
def numpy_files(tmp_path_factory):
    """numpy for python3.12, as pip leaves it in a function's folder."""
    folder = tmp_path_factory.mktemp("numpy")
    wheel = ["--python-version", "3.12", "--only-binary", ":all:", "--no-compile", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wheel, "numpy>=2"], check=True)
    files = (path for path in folder.rglob("*") if path.is_file() and "tests" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def make(make_function, numpy_files):
    def make(**settings):
        return make_function(CODE, files=numpy_files, Runtime="python3.12", MemorySize=512, Timeout=30, **settings)

    return make


@pytest.fixture
def drawn(lambent):
    """{log stream: what it drew} of at least so many environments: asked at once, until there are so many."""
    client = lambent.client("lambda")

    def call(name, qualifier, count):
        def once(_number):
            return json.load(client.invoke(FunctionName=name, Qualifier=qualifier)["Payload"])

        found = {}
        with ThreadPoolExecutor(2 * count) as callers:
            while len(found) < count:
                found |= {answer["stream"]: answer["drawn"] for answer in callers.map(once, range(2 * count))}
        return found

    return call


def all_differ(drawn):
    assert len(drawn) >= 2
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == len(drawn)


def test_numpy_draws_something_else_after_every_restore(make, drawn, decided, lambent):
    name = make(SnapStart={"ApplyOn": "PublishedVersions"})
    client = lambent.client("lambda")
    client.publish_version(FunctionName=name)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    assert decided(name)["state"] == "ready"
    all_differ(drawn(name, "1", 3).values())


def test_numpy_draws_something_else_in_every_copy_of_a_package_zygote(make, drawn, decided):
    name = make()
    first = drawn(name, "$LATEST", 1)  # plain ones
    assert "numpy" in decided(name)["imported_ahead"]
    all_differ([numbers for stream, numbers in drawn(name, "$LATEST", len(first) + 2).items() if stream not in first])
