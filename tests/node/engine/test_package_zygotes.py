"""Package zygotes on a node: what they change is the time that a start takes, and nothing that a function can see."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

_RECORD = "{0}/__init__.py,,\n{0}/part.py,,\n"

# A package as pip leaves it in a function's folder, which counts how often it is executed by when that was.
GENTLE = {
    "gentle/__init__.py": "import time, colorsys\nMOMENT = time.time_ns()\nfrom gentle import part\n",
    "gentle/part.py": "import sys\nORDER = [name for name in sys.modules if name.startswith(('app', 'gentle'))]\n",
    "gentle-1.0.dist-info/RECORD": _RECORD.format("gentle"),
}
SEEN = """
import sys
import %s as package
import json, os, random, secrets, ssl, uuid

ORDER = [name for name in sys.modules if name.startswith(("app", package.__name__, "colorsys"))]
MODULES = sorted(name for name in sys.modules)

def handler(event, context):
    if event == "hold":
        import time
        time.sleep(0.3)
    return {
        "moment": getattr(package, "MOMENT", 0),
        "order": ORDER,
        "modules": MODULES,
        "environ": sorted(os.environ),
        "argv": sys.argv,
        "path": sys.path,
        "finders": [str(finder) for finder in sys.meta_path],
        "spec": [package.__spec__.name, package.__spec__.origin, type(package.__loader__).__name__],
        "file": package.__file__,
        "descriptors": sorted(os.listdir("/proc/self/fd"))[:5],
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "user": os.getuid(),
        "cwd": os.getcwd(),
        "tmp": os.listdir("/tmp"),
        "threads": len(os.listdir("/proc/self/task")),
        "command": open("/proc/self/cmdline").read(),
        "cgroup": open("/proc/self/cgroup").read(),
        "mounts": sorted(line.split()[4] for line in open("/proc/self/mountinfo")),
        "groups": os.getgroups(),
        "limits": open("/proc/self/limits").read(),
        "random": [random.random(), secrets.token_hex(8), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()],
        "stream": context.log_stream_name,
    }
"""
DIFFERS = ("moment", "random", "stream")


@pytest.fixture
def invoke(lambent):
    client = lambent.client("lambda")

    def call(name, event=None):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    return call


def several(invoke, name):
    """An answer of each of at least three environments: asked at once, until there are so many."""
    found = {}
    with ThreadPoolExecutor(6) as callers:
        while len(found) < 3:
            for answer in callers.map(lambda _: invoke(name, "hold"), range(6)):
                found.setdefault(answer["stream"], answer)
    return list(found.values())


def without(answer):
    return {key: value for key, value in answer.items() if key not in DIFFERS}


def test_a_vendored_package_is_executed_once_for_all_environments(make_function, invoke, decided):
    name = make_function(SEEN % "gentle", files=GENTLE)
    first = invoke(name)
    assert decided(name)["imported_ahead"] == ["gentle"]
    born = [answer for answer in several(invoke, name) if answer["stream"] != first["stream"]]
    assert born
    assert {answer["moment"] for answer in born} != {first["moment"]}
    assert len({answer["moment"] for answer in born}) == 1


def test_a_function_sees_no_difference(make_function, invoke, decided):
    """The same function before there is a zygote, and in its children: modules and their order, variables, mounts."""
    name = make_function(SEEN % "gentle", files=GENTLE)
    first = invoke(name)
    assert decided(name)["state"] == "ready"
    born = [answer for answer in several(invoke, name) if answer["stream"] != first["stream"]]
    for answer in born:
        assert without(answer) == without(first)


def test_randomness_differs_between_environments(make_function, invoke, decided):
    name = make_function(SEEN % "gentle", files=GENTLE)
    invoke(name)
    decided(name)
    drawn = [answer["random"] for answer in several(invoke, name)]
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == len(drawn)


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "it starts threads"),
        ("import socket; KEPT = socket.socket()", "it leaves files or sockets open"),
        ("KEPT = open('/etc/passwd')", "it leaves files or sockets open"),
        ("open('/tmp/cache', 'w').close()", "it writes to /tmp/cache"),
        ("import os; os.path.exists('x'); open('/proc/self/status').close()", "it reads /proc/self/status"),
        ("print('hello')", "it writes to standard output or error"),
        ("import os; OWN = os.environ.get('OWN')", "it reads OWN"),
        ("import os; ALL = dict(os.environ)", "it reads all environment variables"),
        ("import os; NAME = os.environ['AWS_LAMBDA_FUNCTION_NAME']", "it reads AWS_LAMBDA_FUNCTION_NAME"),
        ("import subprocess; subprocess.run(['true'])", "it starts processes"),
    ],
)
def test_what_cannot_be_done_ahead_is_left_out(make_function, invoke, decided, does, reason):
    files = {"rough/__init__.py": f"{does}\n", "rough-1.0.dist-info/RECORD": _RECORD.format("rough")}
    name = make_function(SEEN % "rough", files=files, Environment={"Variables": {"OWN": "mine"}})
    first = invoke(name)
    assert first["user"] == 993
    decision = decided(name)
    assert decision["left_out"] == {"rough": reason}
    assert decision["state"] == "none"
    assert all(without(answer)["modules"] == first["modules"] for answer in several(invoke, name))


def test_modules_of_the_functions_own_are_not_imported_ahead(make_function, invoke, decided):
    files = {name: text for name, text in GENTLE.items() if "dist-info" not in name}
    name = make_function(SEEN % "gentle", files=files)
    invoke(name)
    decision = decided(name)
    assert (decision["state"], decision["imported_ahead"]) == ("none", [])
    assert "no third-party packages" in decision["reason"]


def test_a_variable_changed_before_an_import_counts(make_function, invoke, decided):
    """The function sets what its package reads: importing it ahead would be too early."""
    files = {"late/__init__.py": "import os\nMODE = os.environ.get('MODE')\n"}
    files["late-1.0.dist-info/RECORD"] = _RECORD.format("late")
    code = "import os\nos.environ['MODE'] = 'fast'\nimport late\ndef handler(event, context): return late.MODE\n"
    name = make_function(code, files=files)
    assert invoke(name) == "fast"
    assert decided(name)["left_out"] == {"late": "it reads MODE"}
    assert invoke(name) == "fast"


def test_a_changed_function_gets_another_zygote(make_function, invoke, decided, lambent):
    name = make_function(SEEN % "gentle", files=GENTLE)
    invoke(name)
    assert decided(name)["state"] == "ready"
    lambda_ = lambent.client("lambda")
    lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"NEW": "1"}})
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert "NEW" in invoke(name)["environ"]
    assert decided(name)["state"] == "ready"
    assert all("NEW" in answer["environ"] for answer in several(invoke, name))
