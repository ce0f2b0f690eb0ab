import re
from pathlib import Path

from lambent.engine.variables import Place, sys_path, variables
from lambent.testing.plain_engine import function

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}


def test_what_a_function_finds() -> None:
    spec = function(
        Path("/code"), name="f", memory_mb=256, version="7", runtime="python3.13", environment={"MINE": "1"}
    )
    found = variables(spec, "2026/01/01/[7]abc", CREDENTIALS, Place(endpoint_url="http://127.0.0.1:4566"))
    expected = {
        "_HANDLER": "app.handler",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "7",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[7]abc",
        "AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001",
        "AWS_REGION": "us-east-1",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LANG": "en_US.UTF-8",
        "MINE": "1",
        "PYTHONPATH": "/var/runtime",
        "TZ": ":UTC",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert CREDENTIALS.items() <= found.items()
    assert "AWS_LAMBDA_LOG_FORMAT" not in found
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in found)


def test_a_function_may_replace_defaults_but_not_reserved_names() -> None:
    spec = function(Path("/code"), environment={"LANG": "C", "AWS_ENDPOINT_URL": "http://x", "AWS_REGION": "mars"})
    found = variables(spec, "s", CREDENTIALS, Place(endpoint_url="http://127.0.0.1:4566"))
    assert (found["LANG"], found["AWS_ENDPOINT_URL"], found["AWS_REGION"]) == ("C", "http://x", "us-east-1")


def test_json_logs_have_a_level() -> None:
    spec = function(Path("/code"), log_format="JSON")
    found = variables(spec, "s", CREDENTIALS, Place())
    assert (found["AWS_LAMBDA_LOG_FORMAT"], found["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "INFO")


def test_code_comes_before_layers_before_the_managed_packages() -> None:
    spec = function(Path("/code"), runtime="python3.12")
    assert sys_path(spec, Place()) == [
        "/var/task",
        "/opt/python/lib/python3.12/site-packages",
        "/opt/python",
        "/var/runtime",
    ]


def test_the_way_out_is_named_in_both_spellings_unless_the_function_names_its_own() -> None:
    place = Place(proxy_url="http://proxy:80")
    names = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
    found = variables(function(Path("/code")), "s", CREDENTIALS, place)
    assert {found[name] for name in names} == {"http://proxy:80", found["NO_PROXY"]}
    own = variables(function(Path("/code"), environment={"http_proxy": "http://x"}), "s", CREDENTIALS, place)
    assert {name: own[name] for name in names if name in own} == {
        "HTTPS_PROXY": "http://proxy:80",
        "https_proxy": "http://proxy:80",
        "http_proxy": "http://x",
        "NO_PROXY": found["NO_PROXY"],
        "no_proxy": found["NO_PROXY"],
    }
    for there_is_none in (function(Path("/code"), in_vpc=True), function(Path("/code"))):
        without = variables(there_is_none, "s", CREDENTIALS, place if there_is_none.in_vpc else Place())
        assert names & without.keys() == set()
