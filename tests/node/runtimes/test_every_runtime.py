"""One list of behaviours, and each runtime has all of them: Python, Node.js, and custom runtimes in bash, Go and Rust.

Go and Rust have AWS's own clients, `aws-lambda-go` and `lambda_runtime`. What a client does its own way is said with
`seen`, and so stands in docs/reference/runtimes.md, whose table is made of these tests.
"""

import functools
import json
import time

import pytest
from languages import ALL, files, more, runtime_of
from packages import create, invoke, streamed

VALUES = [
    *(None, True, 0, -1.5, 1e300, 9007199254740991, "", 'é 🚀 \u0000 \\ "', [], {}),
    {"a": {"b": [1, [2, [3]], {"c": None}]}, "": "empty", "__proto__": 1},
]

MORE = [pytest.param(language, marks=pytest.mark.long) for language in more()]

pytestmark = pytest.mark.parametrize("language", [*ALL, *MORE])


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


@pytest.fixture
def function(client, language, fetched):
    def make(behaviour, **members):
        return create(client, runtime_of(language), files(language, behaviour), **members)

    return make


@pytest.fixture
def seen(record_property):
    """What the table says instead of a plain yes."""
    return functools.partial(record_property, "seen")


def test_json_of_every_kind_comes_and_goes(client, function):
    name = function("echo")
    for value in VALUES:
        answer = invoke(client, name, value)
        assert (answer.content, answer.error) == (value, None)


def test_the_context_says_what_runs(client, function):
    name = function("context", Timeout=9, MemorySize=192)
    answer = invoke(client, name)
    remaining = answer.content.pop("remaining")
    assert 0 < remaining <= 9000
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert answer.content == {
        "id": answer.request_id, "arn": arn, "name": name, "version": "$LATEST", "memory": "192"
    }  # fmt: skip


def test_the_environment_is_lambdas(client, function, language):
    found = invoke(client, function("variables", Environment={"Variables": {"MINE": "a b"}})).content
    expected = {
        "cwd": "/var/task", "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "MINE": "a b",
        "AWS_REGION": "us-east-1", "_HANDLER": "index.handler", "TZ": ":UTC", "LANG": "en_US.UTF-8",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert found.get("AWS_EXECUTION_ENV") == (
        None if runtime_of(language) == "provided.al2023" else f"AWS_Lambda_{language}"
    )


def test_an_error_is_the_callers_and_the_environment_serves_on(client, function):
    name = function("fails")
    assert invoke(client, name).content == 1
    failed = invoke(client, name, "fail")
    assert failed.error == "Unhandled"
    assert failed.content["errorType"] == "Mistake"
    assert failed.content["errorMessage"] == "it went wrong"
    assert invoke(client, name).content == 3


def test_what_cannot_be_loaded_says_why_each_time(client, function, language, seen):
    name = function("broken")
    for _time in range(2):
        answer = invoke(client, name)
        assert answer.error == "Unhandled"
        if language in ("go", "rust"):
            seen("yes: the program ends: its client reports no error before it runs")
            assert answer.content["errorType"] == "Runtime.ExitError"
            assert answer.content["errorMessage"].endswith("Error: Runtime exited with error: exit status 1")
            assert "not today" in answer.log
        else:
            assert answer.content["errorType"] == "ValueError"
            assert answer.content["errorMessage"] == "not today"


def test_an_exit_is_an_error_and_the_next_one_starts_afresh(client, function):
    name = function("exits")
    assert invoke(client, name).content == "fresh"
    ended = invoke(client, name, "exit")
    reason = f"RequestId: {ended.request_id} Error: Runtime exited with error: exit status 3"
    assert ended.content == {"errorType": "Runtime.ExitError", "errorMessage": reason}
    assert invoke(client, name).content == "fresh"


def test_a_timeout_ends_it(client, function):
    answer = invoke(client, function("sleeps", Timeout=1))
    text = f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds"
    assert answer.content == {"errorType": "Sandbox.Timedout", "errorMessage": text}
    assert "Status: timeout" in answer.log


def test_what_it_writes_is_in_its_log(client, function, language):
    answer = invoke(client, function("logs"))
    assert answer.content is None
    lines = answer.log.splitlines()
    assert [line.rpartition("\t")[2] for line in lines if "to std" in line] == ["to stdout", "to stderr"]
    assert language in ALL or "is not on this machine" not in answer.log
    assert lines[0].startswith("START") or "INIT_START" in lines[0] or "LAMBENT_WARNING" in lines[0]


def test_six_megabytes_come_and_go_and_no_more(client, function):
    name = function("echo", MemorySize=512)
    text = "x" * 6_000_000
    answer = client.invoke(FunctionName=name, Payload=json.dumps(text))
    assert json.loads(answer["Payload"].read()) == text
    name = function("large", MemorySize=512)
    assert len(invoke(client, name, 6_000_000).content) == 6_000_000
    answer = invoke(client, name, 6_300_000)
    assert answer.content["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(invoke(client, name, 10).content) == 10


def test_work_left_behind_stands_still_until_the_next_invocation(client, function):
    name = function("background")
    assert invoke(client, name, "begin").content["done"] is None
    frozen_until = time.time() + 1.0
    while time.time() < frozen_until:
        client.get_function_configuration(FunctionName=name)
    after = invoke(client, name, "look").content
    assert after["done"] is not None
    assert after["done"] > frozen_until


def test_an_answer_streams(client, function, language, seen):
    name = function("streams")
    if language == "awslambdaric":
        seen("no: it does not stream")
        assert streamed(client, name)[1]["ErrorCode"] == "Unhandled"
        return
    for _time in range(2):
        body, complete = streamed(client, name)
        assert (_without_prelude(body), complete.get("ErrorCode")) == (b"one two", None)
    if language.startswith("python"):
        seen("yes: our addition: a generator streams, where AWS's Python does not; it has no answer to a plain Invoke")
        return
    answer = client.invoke(FunctionName=name, Payload="null")
    assert (_without_prelude(answer["Payload"].read()), answer.get("FunctionError")) == (b"one two", None)


def test_an_error_within_a_stream_ends_it_with_its_type(client, function, language, seen):
    name = function("streams")
    body, complete = streamed(client, name, "fail")
    if language == "awslambdaric":
        seen("no: it does not stream")
        assert complete["ErrorCode"] == "Unhandled"
        return
    if language == "rust":
        seen("no: its client writes the trailers of an error into the body")
        assert b"Lambda-Runtime-Function-Error-Type: Runtime.StreamError" in body
    else:
        assert (body, complete.get("ErrorCode")) == (b"one ", "Mistake")
        assert json.loads(complete["ErrorDetails"])["errorMessage"] == "it went wrong"
    assert _without_prelude(streamed(client, name)[0]) == b"one two"


def _without_prelude(body):
    """Rust's client begins each stream with the metadata of an answer for HTTP."""
    return body.partition(b"\0" * 8)[2] or body
