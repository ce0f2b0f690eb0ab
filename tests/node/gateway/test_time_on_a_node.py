"""Time that is advanced on a real node, over its page, by the command and by the fixture."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

import pytest

COUNT = """
import time

count = 0

def handler(event, context):
    global count
    count += 1
    return {"count": count, "now": time.time(), "left_ms": context.get_remaining_time_in_millis()}
"""


@pytest.fixture
def moving(lambent):
    """The session's node; afterwards its time is the machine's again."""
    yield lambent
    lambent.reset()


def time_of(node):
    with urllib.request.urlopen(f"{node.endpoint}/_lambent/time") as response:
        return json.load(response)


def command(node, *arguments):
    line = [sys.executable, "-m", "lambent", "time", *arguments, "--endpoint", node.endpoint]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def invoke(node, name):
    return json.load(node.client("lambda").invoke(FunctionName=name)["Payload"])


def test_time_goes_on_by_itself_and_can_be_advanced(lambent):
    before = lambent.now()
    assert before == pytest.approx(time.time() + time_of(lambent)["ahead_s"], abs=5)
    lambent.advance("6h")
    assert before + 21_600 <= lambent.now() < before + 21_600 + 30
    lambent.advance(0.5)
    lambent.reset()
    assert time_of(lambent)["ahead_s"] == 0.0
    assert lambent.now() == pytest.approx(time.time(), abs=5)


def test_environments_nobody_needs_go_and_functions_keep_the_machines_time(moving, make_function):
    name = make_function(COUNT, Timeout=30)
    assert [invoke(moving, name)["count"] for _turn in range(2)] == [1, 2]
    moving.advance("9m")
    assert invoke(moving, name)["count"] == 3
    moving.advance("11m")
    after = invoke(moving, name)
    assert after["count"] == 1
    assert after["now"] == pytest.approx(time.time(), abs=5)
    assert 20_000 < after["left_ms"] <= 30_000


def test_what_is_stored_has_the_platforms_time(moving, make_function):
    moving.advance("2d")
    name = make_function(COUNT)
    modified = moving.client("lambda").get_function(FunctionName=name)["Configuration"]["LastModified"]
    assert datetime.fromisoformat(modified).timestamp() == pytest.approx(moving.now(), abs=30)
    invoke(moving, name)
    events = moving.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    assert all(event["timestamp"] / 1000 == pytest.approx(moving.now(), abs=30) for event in events)


def test_retention_and_links_to_code_follow_the_time(moving, make_function):
    logs = moving.client("logs")
    logs.create_log_group(logGroupName="kept-a-day")
    logs.create_log_stream(logGroupName="kept-a-day", logStreamName="s")
    logs.put_retention_policy(logGroupName="kept-a-day", retentionInDays=1)
    sent = {"timestamp": int(moving.now() * 1000), "message": "m"}
    logs.put_log_events(logGroupName="kept-a-day", logStreamName="s", logEvents=[sent])
    name = make_function(COUNT)
    location = moving.client("lambda").get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.urlopen(location) as response:
        assert response.status == 200
    moving.advance("23h")
    assert len(logs.get_log_events(logGroupName="kept-a-day", logStreamName="s")["events"]) == 1
    moving.advance("2h")
    assert logs.get_log_events(logGroupName="kept-a-day", logStreamName="s")["events"] == []
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(location)


def test_the_command(moving):
    shown = command(moving)
    assert (shown.returncode, shown.stderr) == (0, "")
    moved = command(moving, "advance", "1h30m", "--json")
    content = json.loads(moved.stdout)
    assert content["ahead_s"] == pytest.approx(5_400, abs=5)  # what it took is not skipped
    assert content["now"] > shown.stdout.strip()
    assert re.fullmatch(r"5(400|39\d) s ahead of the machine's time\n", command(moving).stderr)


def test_the_command_says_what_is_wrong(moving):
    wrong = command(moving, "advance", "soon")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: 'soon' is not a length of time; write 90s, 15m, 6h, 2d or 1h30m.\n"
    missing = command(moving, "advance")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (2, "error: by how much?")
    with pytest.raises(ValueError, match="'soon' is not a length of time"):
        moving.advance("soon")


def test_a_node_that_keeps_data_refuses(own_node, tmp_path):
    with own_node("--data-dir", str(tmp_path), ephemeral=False) as node:
        refused = command(node, "advance", "6h")
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: This node keeps its data, so its time cannot be advanced")
        assert time_of(node)["ahead_s"] == 0.0
