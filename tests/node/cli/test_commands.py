"""The commands as a user types them: answers on stdout, all else on stderr, exit codes 0, 1 and 2."""

import json
import os
import re
import subprocess
import sys
import threading

import pytest

from lambent import __version__

GREET = """
import json, sys

def lambda_handler(event, context):
    print("greeting", event.get("name"))
    if event.get("fail"):
        raise ValueError("no such greeting")
    return {"greeting": "Hello " + event.get("name", "nobody")}
"""


@pytest.fixture
def run(lambent):
    """Runs one command against the session's node."""

    def run(*arguments, stdin=None, endpoint=lambent.endpoint):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["LAMBENT_ENDPOINT"] = endpoint
        command = [sys.executable, "-m", "lambent", *arguments]
        return subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, timeout=110, check=False
        )

    return run


@pytest.fixture
def greet(tmp_path, run, lambent):
    """A deployed folder named greet."""
    folder = tmp_path / "greet"
    folder.mkdir()
    (folder / "app.py").write_text(GREET)
    done = run("deploy", str(folder), "--memory", "256", "--env", "STAGE=test")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "arn:aws:lambda:us-east-1:000000000000:function:greet\n"
    yield folder
    if lambent.client("lambda").list_functions()["Functions"]:
        lambent.client("lambda").delete_function(FunctionName="greet")
    lambent.reset()


def test_a_folder_is_deployed_and_invoked(run, greet, lambent):
    done = run("invoke", "greet", "--payload", '{"name": "Ada"}')
    assert (done.returncode, json.loads(done.stdout)) == (0, {"greeting": "Hello Ada"})
    assert re.search(r"^cold \d+ ms \(init \d+ ms\), billed \d+ ms, \d+ of 256 MB$", done.stderr, re.MULTILINE)
    done = run("invoke", "greet", "--payload", "-", stdin='{"name": "Bob"}')
    assert json.loads(done.stdout) == {"greeting": "Hello Bob"}
    assert re.search(r"^warm \d+ ms, billed", done.stderr, re.MULTILINE)
    configuration = lambent.client("lambda").get_function_configuration(FunctionName="greet")
    assert (configuration["Handler"], configuration["MemorySize"]) == ("app.lambda_handler", 256)
    assert configuration["Environment"]["Variables"] == {"STAGE": "test"}


def test_deploying_again_updates_the_code(run, greet):
    (greet / "app.py").write_text("def lambda_handler(event, context): return 'changed'")
    assert run("deploy", str(greet)).returncode == 0
    assert run("invoke", "greet").stdout == '"changed"\n'


def test_a_deployed_url_answers_anybody(run, greet):
    (greet / "app.py").write_text("def lambda_handler(event, context): return event['rawPath']")
    done = run("deploy", str(greet), "--url")
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert re.fullmatch(r"http://[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:\d+/", url)
    asked = subprocess.run(["curl", "-sS", f"{url}some/path"], capture_output=True, text=True, check=True)
    assert asked.stdout == "/some/path"
    again = run("deploy", str(greet), "--url", "--json")
    assert json.loads(again.stdout)["FunctionUrl"] == url


def test_an_event_may_be_a_file(run, greet, tmp_path):
    (tmp_path / "event.json").write_text('{"name": "Cleo"}')
    done = run("invoke", "greet", "--payload", f"@{tmp_path / 'event.json'}", "--json")
    answer = json.loads(done.stdout)
    assert (answer["StatusCode"], answer["Payload"]) == (200, {"greeting": "Hello Cleo"})
    assert "REPORT RequestId" in answer["LogResult"]
    assert run("invoke", "greet", "--payload", "@nowhere.json").returncode == 2


def test_a_failing_function_is_a_failed_command(run, greet):
    done = run("invoke", "greet", "--payload", '{"name": "Ada", "fail": true}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ValueError"
    assert "error: the function failed with ValueError: no such greeting" in done.stderr


def test_an_unknown_function_is_told(run):
    done = run("invoke", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ResourceNotFoundException: Function not found: arn:aws:lambda:")


def test_logs_are_shown_and_filtered(run, greet):
    run("invoke", "greet", "--payload", '{"name": "Ada"}')
    done = run("logs", "greet")
    assert done.returncode == 0
    lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    assert [line.split()[0] for line in lines] == ["INIT_START", "START", "greeting", "END", "REPORT"]
    done = run("logs", "greet", "--filter", "greeting", "--since", "10m", "--json")
    assert [json.loads(line)["message"].strip() for line in done.stdout.splitlines()] == ["greeting Ada"]
    assert run("logs", "greet", "--since", "yesterday").returncode == 2


def test_logs_are_followed(greet, lambent, run):
    environment = {**os.environ, "LAMBENT_ENDPOINT": lambent.endpoint}
    command = [sys.executable, "-u", "-m", "lambent", "logs", "greet", "--follow"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as follower:
        watchdog = threading.Timer(60, follower.kill)
        watchdog.start()
        try:
            run("invoke", "greet", "--payload", '{"name": "Ada"}')
            seen = [follower.stdout.readline() for _ in range(5)]
            run("invoke", "greet", "--payload", '{"name": "Bob"}')
            seen += [follower.stdout.readline() for _ in range(4)]
        finally:
            watchdog.cancel()
            follower.kill()
    greetings = [line.split(" ", 1)[1].strip() for line in seen if "greeting" in line]
    assert greetings == ["greeting Ada", "greeting Bob"]


def test_functions_are_listed_and_removed(run, greet):
    rows = run("ls").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["greet"]
    assert [one["FunctionName"] for one in json.loads(run("ls", "--json").stdout)["Functions"]] == ["greet"]
    assert run("rm", "greet").returncode == 0
    assert run("ls").stdout == ""


def test_an_event_can_be_queued(run, greet):
    done = run("invoke", "greet", "--async", "--payload", '{"name": "Queue"}')
    assert (done.returncode, done.stdout) == (0, "")
    assert "queued" in done.stderr


def test_a_folder_without_a_handler_is_told(run, tmp_path):
    done = run("deploy", str(tmp_path))
    assert done.returncode == 1
    assert "no handler found" in done.stderr
    assert "--handler" in done.stderr
    assert run("deploy", str(tmp_path / "nowhere")).returncode == 2


def test_aws_words_are_shown_for_what_aws_refuses(run, tmp_path):
    (tmp_path / "app.py").write_text(GREET)
    done = run("deploy", str(tmp_path), "--name", "big", "--timeout", "1200")
    assert done.returncode == 1
    assert "Value '1200' at 'timeout' failed to satisfy constraint" in done.stderr


def test_nothing_listening_is_told_with_the_next_step(run):
    for command in (["ls"], ["invoke", "x"], ["logs", "x"], ["metrics", "x"], ["rm", "x"]):
        done = run(*command, endpoint="http://127.0.0.1:9")
        assert (done.returncode, done.stdout) == (1, "")
        assert "error: nothing answers at http://127.0.0.1:9." in done.stderr
        assert "lambent up" in done.stderr


def test_coverage_is_what_the_node_answers(run, lambent):
    done = run("coverage", "--json")
    found = {one["service"]: one for one in json.loads(done.stdout)}
    assert set(found) == {"cloudwatch", "iam", "lambda", "logs", "s3", "sns", "sqs", "sts"}
    assert {"Invoke", "CreateFunction"} <= set(found["lambda"]["there"])
    one = json.loads(run("coverage", "sts", "--json").stdout)
    assert one == found["sts"]
    assert {"AssumeRole", "GetCallerIdentity"} <= set(one["there"])
    assert json.loads(run("coverage", "kinesis", "--json").stdout)["there"] == []
    assert run("coverage", "lamda").returncode == 2


def test_doctor_says_what_there_is(run, lambent):
    report = json.loads(run("doctor", "--json").stdout)
    assert report["isolation"] in ("namespaces", "process")
    assert {"name", "ok", "detail", "remedy"} == set(report["findings"][0])
    names = [one["runtime"] for one in report["runtimes"]]
    assert names[:6] == [f"python3.{minor}" for minor in range(10, 16)]
    assert names[6:] == [*(f"nodejs{major}.x" for major in (20, 22, 24, 26)), "provided.al2", "provided.al2023"]
    assert names == [one["runtime"] for one in json.loads(run("runtime", "ls", "--json").stdout)["Runtimes"]]
    assert "isolation:" in run("doctor").stdout


def test_doctor_says_what_does_not_run_where_the_nearest_is_not_wanted(run, monkeypatch):
    monkeypatch.setenv("LAMBENT_RUNTIMES_STRICT", "true")
    runtimes = run("doctor").stdout.split("runtimes:\n")[1]
    report = json.loads(run("doctor", "--json").stdout)
    missing = [one for one in report["runtimes"] if one["interpreter"] is None]
    assert all(one["exact"] for one in report["runtimes"] if one not in missing)
    assert runtimes.count("does not run here") == len(missing) == runtimes.count("lambent runtime install")
    assert "nearest" not in runtimes


def test_version(run):
    assert run("version").stdout == f"{__version__}\n"
    assert json.loads(run("version", "--json").stdout)["version"] == __version__


@pytest.mark.parametrize(
    "command", ["up", "deploy", "invoke", "logs", "metrics", "ls", "rm", "doctor", "coverage", "version"]
)
def test_help_teaches(run, command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert command == "version" or f"lambent {command}" in done.stdout.split("Examples:")[1]
    assert "─" not in done.stdout


def test_wrong_usage_is_2(run):
    assert run("fly").returncode == 2
    assert run("invoke").returncode == 2
    assert run("up", "--nonsense").returncode == 2


def test_what_cannot_be_installed_is_told_with_what_can(run):
    refused = run("runtime", "install", "provided.al2023")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the function brings its own" in refused.stderr
    assert "nodejs20.x to 26.x" in run("runtime", "install", "cobol85").stderr


def test_a_folder_that_cannot_be_made_is_told_with_the_setting(run, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMBENT_RUNTIMES_DIR", str(tmp_path / "file/runtimes"))
    refused = run("runtime", "install", "nodejs22.x")
    assert refused.returncode == 1
    assert "LAMBENT_RUNTIMES_DIR" in refused.stderr


def test_a_folder_in_javascript_is_deployed_with_its_modules(run, tmp_path):
    folder = tmp_path / "hello"
    (folder / "node_modules/word").mkdir(parents=True)
    (folder / "node_modules/word/index.js").write_text("module.exports = 'hello'")
    (folder / "index.js").write_text("exports.handler = async (event) => `${require('word')} ${event.name}`")
    deployed = run("deploy", str(folder))
    assert deployed.returncode == 0, deployed.stderr
    assert json.loads(run("invoke", "hello", "--payload", '{"name": "Ada"}').stdout) == "hello Ada"
