"""Functions in JavaScript, on the Node.js that comes with the development set-up: modules, handlers, errors, logs."""

import json

import pytest
from packages import create, invoke, packed, streamed


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


MODULES = {
    "CommonJS": {"index.js": "exports.handler = async () => 'here'"},
    "a .cjs file": {"index.cjs": "exports.handler = async () => 'here'"},
    "an ES module": {"index.mjs": "export const handler = async () => 'here'"},
    "a package of type module": {
        "package.json": '{"type": "module"}',
        "index.js": "import fs from 'node:fs';\nconst text = await Promise.resolve('here');\n"
        "export const handler = async () => text",
    },
    "TypeScript": {"index.ts": "export const handler = async (event: unknown): Promise<string> => 'here'"},
    "a module of its own": {
        "index.js": "exports.handler = async () => require('own')",
        "node_modules/own/index.js": "module.exports = 'here'",
    },
}


@pytest.mark.parametrize("kind", MODULES)
def test_every_kind_of_module(client, kind):
    assert invoke(client, create(client, "nodejs24.x", MODULES[kind])).content == "here"


def test_a_handler_in_a_folder_and_an_object(client):
    source = "exports.api = { get: async () => __filename }"
    name = create(client, "nodejs24.x", {"src/a#c/users.js": source}, Handler="src/a#c/users.api.get")
    assert invoke(client, name).content == "/var/task/src/a#c/users.js"


def test_modules_of_a_layer_are_found(client):
    content = {
        "nodejs/node_modules/both/index.js": "module.exports = 'any'",
        "nodejs/node22/node_modules/only/index.js": "module.exports = 'one'",
    }
    layer = client.publish_layer_version(LayerName="modules", Content={"ZipFile": packed(content)})
    source = {"index.js": "exports.handler = async () => [require('both'), require('only')]"}
    name = create(client, "nodejs22.x", source, Layers=[layer["LayerVersionArn"]])
    assert invoke(client, name).content == ["any", "one"]


CALLBACKS = {
    "later": ("(event, context, callback) => { setTimeout(() => callback(null, 'late'), 30); }", ["late", "late"]),
    "waits for what is left": (
        "(event, context, callback) => { const n = done; setTimeout(() => { done += 1; }, 50); callback(null, n); }",
        [0, 1],
    ),
    "does not wait": (
        "(event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; const n = done;"
        " setTimeout(() => { done += 1; }, 5000).unref(); callback(null, n); }",
        [0, 0],
    ),
    "neither": ("() => {}", [None, None]),
    "succeed": ("(event, context) => { context.succeed('old'); }", ["old", "old"]),
}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_callbacks_until_nodejs22(client, kind):
    source, expected = CALLBACKS[kind]
    name = create(client, "nodejs22.x", {"index.js": f"let done = 0;\nexports.handler = {source}"})
    assert [invoke(client, name).content for _time in expected] == expected


def test_nodejs24_refuses_callbacks(client):
    answer = invoke(
        client, create(client, "nodejs24.x", {"index.js": "exports.handler = (event, context, cb) => cb()"})
    )
    assert answer.content["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert "callback-based function handlers" in answer.content["errorMessage"]


UNLOADABLE = {
    "no file": ({"other.js": ""}, "index.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'index'"),
    "no export": ({"index.js": ""}, "index.handler", "Runtime.HandlerNotFound", "index.handler is undefined or not "),
    "no function": ({"index.js": "exports.f = 1"}, "index.f", "Runtime.HandlerNotFound", "index.f is not a function"),
    "syntax": ({"index.js": "exports.handler = ("}, "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
    "no dot": ({"index.js": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNLOADABLE)
def test_what_cannot_be_loaded_says_why(client, kind):
    content, handler, error_type, text = UNLOADABLE[kind]
    answer = invoke(client, create(client, "nodejs24.x", content, Handler=handler))
    assert answer.content["errorType"] == error_type
    assert answer.content["errorMessage"].startswith(text)


def test_errors_have_a_trace_and_are_logged(client):
    source = "exports.handler = async () => { throw Object.assign(new TypeError('bad'), { code: 'E1' }); }"
    answer = invoke(client, create(client, "nodejs24.x", {"index.js": source}))
    assert (answer.content["errorType"], answer.content["errorMessage"]) == ("TypeError", "bad")
    assert answer.content["trace"][0] == "TypeError: bad"
    assert "/var/task/index.js:1:" in answer.content["trace"][1]
    line = next(line for line in answer.log.splitlines() if "Invoke Error" in line)
    moment, request_id, level, text, record = line.split("\t")
    assert (len(moment), request_id, level, text) == (24, answer.request_id, "ERROR", "Invoke Error ")
    assert json.loads(record)["code"] == "E1"


FATAL = {
    "Runtime.UnhandledPromiseRejection": "async () => { Promise.reject(new Error('lost')); await pause(5000); }",
    "RangeError": "async () => { setTimeout(() => { throw new RangeError('lost'); }, 5); await pause(5000); }",
}


@pytest.mark.parametrize("kind", FATAL)
def test_what_nobody_catches_ends_the_invocation(client, kind):
    pause = "const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));"
    answer = invoke(client, create(client, "nodejs24.x", {"index.js": f"{pause}\nexports.handler = {FATAL[kind]}"}))
    assert (answer.error, answer.content["errorType"]) == ("Unhandled", kind)
    assert answer.content["errorMessage"] in ("lost", "Error: lost")


def test_what_is_no_json_is_an_error(client):
    source = "exports.handler = async () => { const a = {}; a.a = a; return a; }"
    answer = invoke(client, create(client, "nodejs24.x", {"index.js": source}))
    assert answer.content["errorMessage"] == "Unable to stringify response body"


LOGGING = "exports.handler = async () => { console.debug('d'); console.log('a\\nb', { x: 1 }); console.error('e'); }"


def test_the_console_in_text(client):
    answer = invoke(client, create(client, "nodejs24.x", {"index.js": LOGGING}))
    lines = [line.split("\t")[1:] for line in answer.log.splitlines() if "\t" in line and "Duration" not in line]
    assert lines == [
        [answer.request_id, "DEBUG", "d"],
        [answer.request_id, "INFO", "a"],
        [answer.request_id, "ERROR", "e"],
    ]


def test_the_console_in_json_with_a_level(client):
    logging = {"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}}
    answer = invoke(client, create(client, "nodejs24.x", {"index.js": LOGGING}, **logging))
    records = [json.loads(line) for line in answer.log.splitlines() if '"message"' in line]
    shown = [(one["level"], one["message"], one["requestId"]) for one in records]
    assert shown == [("INFO", "a\nb { x: 1 }", answer.request_id), ("ERROR", "e", answer.request_id)]


def test_an_answer_for_http_begins_with_its_metadata(client):
    source = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      const http = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-a': 'b' } });
      http.write('text');
      http.end();
    });
    """
    body, _complete = streamed(client, create(client, "nodejs24.x", {"index.js": source}))
    head, _zeros, text = body.partition(b"\0" * 8)
    assert (json.loads(head), text) == ({"statusCode": 201, "headers": {"x-a": "b"}}, b"text")


def test_an_error_within_a_stream_ends_it_with_its_type(client):
    source = (
        "exports.handler = awslambda.streamifyResponse(async (e, s) => { s.write('a'); throw new TypeError('mid'); })"
    )
    name = create(client, "nodejs24.x", {"index.js": source})
    for _time in range(2):
        body, complete = streamed(client, name)
        assert (body, complete["ErrorCode"]) == (b"a", "TypeError")
        assert json.loads(complete["ErrorDetails"])["errorMessage"] == "mid"


def test_a_wrapper_script_may_change_what_is_executed(client):
    content = {
        "index.js": "exports.handler = async () => [process.env.ADDED, process.argv[1]]",
        "wrapper": '#!/bin/sh\nexport ADDED="$(basename "$1")"\nexec "$@"\n',
    }
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    name = create(client, "nodejs24.x", content, Environment=variables)
    assert invoke(client, name).content == ["node", "/var/runtime/bootstrap.cjs"]
    missing = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/missing"}}
    answer = invoke(client, create(client, "nodejs24.x", content, Environment=missing))
    assert answer.content["errorMessage"].endswith("Error: Runtime exited with error: exit status 127")


def test_an_error_behind_the_answer_is_the_invocations_own_and_not_the_next_ones(client):
    source = (
        "exports.handler = async (event) => { if (event) setImmediate(() => { throw new Error(event); }); return 1; }"
    )
    name = create(client, "nodejs24.x", {"index.js": source})
    for turn in range(4):
        result = invoke(client, name, f"late {turn}")
        assert (result.content, result.error) == (1, None)
        assert "Error Type: Runtime.ExitError" in result.log
        assert f"late {turn}" in result.log
        result = invoke(client, name)
        assert (result.content, result.error) == (1, None)


CALL = """async (event) => {
  const answer = await new LambdaClient().send(new GetFunctionCommand({ FunctionName: event }));
  return answer.Configuration.FunctionName;
};"""
NAMES = "{ LambdaClient, GetFunctionCommand }"
REQUIRED = f"const {NAMES} = require('@aws-sdk/client-lambda');\nexports.handler = {CALL}"
IMPORTED = f"import {NAMES} from '@aws-sdk/client-lambda';\nexport const handler = {CALL}"
SDK = {
    "CommonJS": ("index.js", REQUIRED),
    "an ES module": ("index.mjs", IMPORTED),
    "TypeScript": ("index.mts", IMPORTED),
}


@pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs22.x", "nodejs24.x"])
@pytest.mark.parametrize("kind", SDK)
def test_the_aws_sdk_is_there_as_on_aws_and_asks_the_platform(client, runtime, kind):
    if (runtime, kind) == ("nodejs20.x", "TypeScript"):
        return  # which Node.js 20 does not strip of its types
    name = create(client, runtime, dict([SDK[kind]]), MemorySize=512)
    assert invoke(client, name, name).content == name


def test_the_packages_own_copy_of_the_aws_sdk_is_the_one_it_gets(client):
    content = {
        "index.mjs": "import own from '@aws-sdk/client-lambda';\nexport const handler = async () => own;",
        "node_modules/@aws-sdk/client-lambda/index.js": "module.exports = 'own'",
    }
    assert invoke(client, create(client, "nodejs24.x", content)).content == "own"


@pytest.mark.parametrize(
    ("file", "text"),
    [("index.js", "require('@aws-sdk/client-none')"), ("index.mjs", "import '@aws-sdk/client-none/deep'")],
)
def test_a_client_of_the_aws_sdk_that_is_not_installed_says_how_to_get_it(client, file, text):
    answer = invoke(client, create(client, "nodejs22.x", {file: text}))
    assert "lambent runtime install @aws-sdk/client-none" in answer.content["errorMessage"]


@pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs22.x", "nodejs24.x"])
def test_es_modules_of_a_layer_are_found_the_versions_own_first(client, runtime):
    major = runtime.removeprefix("nodejs").removesuffix(".x")
    content = {
        "nodejs/node_modules/both/package.json": '{"type": "module", "exports": "./main.js"}',
        "nodejs/node_modules/both/main.js": "import inner from 'inner'; export default `any ${inner}`",
        "nodejs/node_modules/inner/index.mjs": "export default 'inner'",
        "nodejs/node_modules/inner/package.json": '{"main": "index.mjs"}',
        f"nodejs/node{major}/node_modules/one/index.js": "module.exports = 'versioned'",
        "nodejs/node_modules/one/index.js": "module.exports = 'unversioned'",
    }
    layer = client.publish_layer_version(LayerName=f"es-{major}", Content={"ZipFile": packed(content)})
    source = "import both from 'both';\nimport one from 'one';\nexport const handler = async () => [both, one];"
    name = create(client, runtime, {"index.mjs": source}, Layers=[layer["LayerVersionArn"]])
    assert invoke(client, name).content == ["any inner", "versioned"]


def test_without_walls_the_aws_sdk_is_found_as_well(own_node, runtimes_dir, monkeypatch):
    monkeypatch.setenv("LAMBENT_RUNTIMES_DIR", str(runtimes_dir))
    with own_node("--isolation", "process") as node:
        client = node.client("lambda")
        name = create(client, "nodejs24.x", {"index.mjs": IMPORTED}, MemorySize=512)
        assert invoke(client, name, name).content == name
