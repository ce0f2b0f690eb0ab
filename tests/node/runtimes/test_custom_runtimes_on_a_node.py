"""provided.al2 and provided.al2023: the function's own bootstrap, and what cannot be executed."""

import pytest
from packages import bash, create, invoke, packed

ENVIRONMENT = bash('cat > /dev/null; printf "[\\"$(env | cut -d= -f1 | sort | tr "\\n" " ")\\", \\"$PWD\\"]"')


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_a_bootstrap_in_bash_serves(client, runtime):
    name = create(client, runtime, {"bootstrap": bash("cat; echo one line >&2")})
    for event in ({"a": [1, "ü"]}, "two", None):
        answer = invoke(client, name, event)
        assert (answer.content, answer.error) == (event, None)
        assert "one line\n" in answer.log


def test_a_bootstrap_gets_the_functions_variables_and_no_others(client):
    name = create(client, "provided.al2023", {"bootstrap": ENVIRONMENT}, Environment={"Variables": {"MINE": "1"}})
    found, folder = invoke(client, name).content
    theirs = set(found.split()) - {"_", "LC_ALL", "OLDPWD"}  # bash's own, and the script's
    # Where a proxy is the way out, its address is there as well.
    theirs = {
        one for one in theirs if one.upper() not in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY")
    }
    assert theirs == {
        *("AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE"),
        *("AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION"),
        *("AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN"),
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS"),
        *("LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "LD_LIBRARY_PATH", "MINE", "PATH", "PWD", "SHLVL", "TZ"),
        *("_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT", "_HANDLER", "_X_AMZN_TRACE_ID"),
    }
    assert folder == "/var/task"


SEEN = """
ls /proc/1/fd > /tmp/open
---
cat > /dev/null
names() { ls "$1" | tr '\\n' ' '; }
value() { grep "^$1:" /proc/1/status | cut -f2; }
refused() { : 2>/dev/null >> "$1" && printf no || printf yes; }
printf '{"open": "%s", "processes": "%s"' "$(tr '\\n' ' ' < /tmp/open)" "$(ls -d /proc/[0-9]*/exe | wc -l)"
printf ', "lang": "%s", "runtime": "%s"' "$(names /var/lang/bin)" "$(names /var/runtime)"
printf ', "capabilities": "%s", "seccomp": "%s"' "$(value CapEff)$(value CapBnd)" "$(value Seccomp)"
printf ', "privileges": "%s", "user": "%s"' "$(value NoNewPrivs)" "$(id -u)"
printf ', "read only": "%s%s%s"}' "$(refused /var/task/x)" "$(refused /var/lang/bin/node)" "$(refused /var/runtime/x)"
"""


@pytest.mark.parametrize("language", ["bash", "node"])
def test_what_is_executed_stands_behind_the_same_walls(client, language):
    if language == "bash":
        name = create(client, "provided.al2023", {"bootstrap": bash(SEEN)})
    else:
        source = "exports.handler = async () => JSON.parse(run('bash', ['script'], { input: '' }))"
        content = {
            "index.js": f"const run = require('child_process').execFileSync;\n{source}",
            "script": SEEN.replace("---\n", ""),
        }
        name = create(client, "nodejs24.x", content)
    seen = invoke(client, name).content
    open_, processes = seen.pop("open").split(), int(seen.pop("processes"))
    runtime = seen.pop("runtime").split()
    if language == "bash":
        assert (open_, runtime) == (["0", "1", "2", "255"], [])  # the last is the script, held by bash
    else:
        assert "bootstrap.cjs" in runtime
    assert processes <= 8
    assert seen == {
        "lang": "node ", "capabilities": "0" * 32, "seccomp": "2", "privileges": "1", "user": "993",
        "read only": "yesyesyes",
    }  # fmt: skip


def test_a_bootstrap_may_come_from_a_layer(client):
    layer = client.publish_layer_version(
        LayerName="in-bash", Content={"ZipFile": packed({"bootstrap": bash('cat > /dev/null; echo \\"layer\\"')})}
    )
    name = create(client, "provided.al2023", {"data.txt": "x"}, Layers=[layer["LayerVersionArn"]])
    assert invoke(client, name).content == "layer"


@pytest.mark.parametrize(
    ("files", "modes", "reason"),
    [
        ({"other": "x"}, {}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap/x": "x"}, {}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": bash("cat")}, {"bootstrap": 0o100644}, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": "#!/no/such\n"}, {}, "fork/exec /var/task/bootstrap: no such file or directory"),
        ({"bootstrap": "neither"}, {}, "fork/exec /var/task/bootstrap: exec format error"),
    ],
)
def test_what_cannot_be_executed_is_said_as_aws_says_it(client, files, modes, reason):
    answer = invoke(client, create(client, "provided.al2023", files, modes=modes))
    assert answer.error == "Unhandled"
    assert answer.content == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {answer.request_id} Error: {reason}",
    }
    assert "Status: error\tError Type: Runtime.InvalidEntrypoint" in answer.log


def test_a_bootstrap_in_process_mode_finds_its_code_and_the_runtime_api(own_node):
    with own_node("--isolation", "process") as node:
        client = node.client("lambda")
        name = create(client, "provided.al2023", {"bootstrap": bash("cat"), "data.txt": "x"})
        assert invoke(client, name, [1]).content == [1]
        name = create(client, "nodejs24.x", {"index.js": "exports.handler = async () => process.execPath"})
        assert invoke(client, name).content.endswith("/node")
        missing = invoke(client, create(client, "provided.al2", {"data.txt": "x"}))
        assert "Couldn't find valid bootstrap(s)" in missing.content["errorMessage"]


ENDS_AFTER_EACH = """
cat > /dev/null
printf $$ > /tmp/own
request POST "invocation/$request_id/response" /tmp/own > /dev/null
sleep 0.3
exit 1
"""


def test_an_invocation_that_its_runtime_never_saw_is_served_by_the_next_one(client):
    # As aws-lambda-go does after an answer that was too large: it ends, with the next invocation in sight.
    name = create(client, "provided.al2023", {"bootstrap": bash(ENDS_AFTER_EACH)})
    for _time in range(3):
        answer = client.invoke(FunctionName=name)
        assert "FunctionError" not in answer
        assert answer["Payload"].read().isdigit()
