"""`lambent metrics`, as a user types it."""

import json
import re
import subprocess
import sys

import pytest
from tests.node.lambda_.functions_on_a_node import create

SOURCE = """
def handler(event, context):
    if event:
        raise ValueError
"""


@pytest.fixture
def shown(lambent):
    def shown(*arguments):
        command = [sys.executable, "-m", "lambent", "metrics", *arguments, "--endpoint", lambent.endpoint]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return shown


@pytest.fixture
def name(lambent):
    name = create(lambent.client("lambda"), SOURCE)
    for payload in (b"0", b"0", b"1"):
        lambent.client("lambda").invoke(FunctionName=name, Payload=payload)
    return name


def test_a_functions_invocations_in_plain_columns(shown, name):
    done = shown(name)
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(re.split(r"  +", line) for line in done.stdout.splitlines())
    assert list(rows) == ["invocations", "errors", "throttles", "duration, average", "duration, p99"]
    assert (rows["invocations"], rows["errors"], rows["throttles"]) == ("3", "1", "0")
    assert re.fullmatch(r"\d+\.\d\d ms", rows["duration, p99"])


def test_json_is_the_answer_of_the_api(shown, name):
    results = json.loads(shown(name, "--since", "7d", "--json").stdout)["MetricDataResults"]
    values = {result["Id"]: result["Values"] for result in results}
    assert (values["invocations"], values["errors"], values["throttles"]) == ([3.0], [1.0], [0.0])


def test_a_qualifier_has_metrics_of_its_own(shown, name, lambent):
    done = shown(f"{name}:$LATEST")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing in the last 1h" in done.stderr
    lambent.client("lambda").invoke(FunctionName=name, Qualifier="$LATEST", Payload=b"0")
    assert shown(f"{name}:$LATEST").stdout.split()[:2] == ["invocations", "1"]


def test_a_wrong_length_is_wrong_usage(shown):
    assert shown("f", "--since", "yesterday").returncode == 2
