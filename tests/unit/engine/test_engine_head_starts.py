"""Which functions may get a Node.js that was started before they were known."""

from pathlib import Path

import pytest

from lambent.engine.head_starts import head_start
from lambent.engine.javascript import NodeInterpreter
from lambent.engine.runtimes import Program
from lambent.engine.variables import Place, variables
from lambent.testing.plain_engine import function

NODE = NodeInterpreter((24, 1, 0), Path("/nodes/24/bin/node"))
PROGRAM = Program(
    trees={"/var/lang/bin/node": NODE.path}, command=("/var/lang/bin/node", "/var/runtime/bootstrap.cjs"), node=NODE
)


def started(program: Program | None = PROGRAM, place: Place | None = None, **fields):  # type: ignore[no-untyped-def]
    return head_start(function(Path("/code"), runtime="nodejs24.x", **fields), program, place or Place())


def test_the_command_is_the_functions_own_and_only_what_is_read_at_a_start_is_there() -> None:
    spec = function(Path("/code"), runtime="nodejs24.x", environment={"MINE": "1", "NODE_ENV": "test"}, memory_mb=1000)
    start = head_start(spec, PROGRAM, Place())
    assert start is not None
    assert start["command"] == PROGRAM.arguments(spec)
    everything = variables(spec, "stream", {}, Place())
    assert start["environment"].items() <= everything.items()
    assert {"TZ", "LANG", "NODE_PATH", "LD_LIBRARY_PATH"} <= start["environment"].keys()
    assert not {"MINE", "NODE_ENV"} & start["environment"].keys()
    assert not {"AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "_HANDLER"} & start["environment"].keys()


def test_functions_that_differ_in_other_things_only_have_the_same() -> None:
    one = started(name="one", environment={"MINE": "1"}, ephemeral_mb=1024, handler="a.b", timeout_s=9)
    assert one == started(name="two", environment={"NODE_ENV": "test"})
    assert one != started(memory_mb=256)
    assert one != started(environment={"TZ": "Asia/Tokyo"})


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Asia/Tokyo"},
        {"LANG": "C"},
        {"UV_THREADPOOL_SIZE": "8"},
        {"HTTPS_PROXY": "http://10.0.0.1:80", "no_proxy": "*"},
        {"NODE_OPTIONS": "--enable-source-maps  --no-warnings"},
    ],
)
def test_what_names_no_file_is_there_at_the_start(environment: dict[str, str]) -> None:
    start = started(environment=environment)
    assert start is not None
    assert environment.items() <= start["environment"].items()


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"},
        {"NODE_OPTIONS": "--require ./before.js"},
        {"NODE_OPTIONS": "--enable-source-maps --max-old-space-size=9"},
        {"NODE_EXTRA_CA_CERTS": "ca.pem"},
        {"NODE_PATH": "/var/task/lib"},
        {"NODE_NEW_IN_LATER_VERSIONS": "1"},
        {"LD_PRELOAD": "x.so"},
        {"LD_LIBRARY_PATH": "/var/task"},
        {"OPENSSL_CONF": "openssl.cnf"},
        {"HOME": "/tmp"},
        {"TZ": ":/var/task/zone"},
    ],
)
def test_what_may_name_a_file_is_started_plainly(environment: dict[str, str]) -> None:
    assert started(environment=environment) is None


def test_what_is_no_nodejs_or_has_no_walls_is_started_plainly(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions/external").touch()
    assert started(program=None) is None
    assert started(program=Program()) is None
    assert started(place=Place(has_walls=False)) is None
    assert started(layer_dirs=(tmp_path,)) is None
    assert started(file_systems=(("arn", "/mnt/x"),)) is None
