"""Node.js that was started before its function was known does what a plainly started one does: every case is run on a
node of each kind, and the answers are compared.
"""

import itertools
import json
import re
import time
import urllib.request

import pytest
from packages import create, invoke, packed

from lambent.pytest_plugin import running_node

RUNTIMES = ["nodejs20.x", "nodejs24.x"]
MEMORY_MB = 2001  # from here on each function has its own amount, so that what waits for it can be told

SEES = r"""
const fs = require('fs'), os = require('os'), v8 = require('v8'), cp = require('child_process');
const read = (path) => fs.readFileSync(path, 'utf8');
const atInit = { cwd: process.cwd(), main: require.main.filename, task: process.env.LAMBDA_TASK_ROOT };
exports.handler = async (event, context) => ({
  atInit, argv: process.argv, argv0: process.argv0, execArgv: process.execArgv, execPath: process.execPath,
  title: process.title, pid: process.pid, ppid: process.ppid, cwd: process.cwd(), umask: process.umask(),
  variables: Object.entries(process.env),
  environ: read('/proc/self/environ').replace(/\0+$/, '').split('\0'),
  cmdline: read('/proc/self/cmdline'), comm: read('/proc/self/comm'), limits: read('/proc/self/limits'),
  status: read('/proc/self/status').match(/^(Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp|Sig\w+|Umask):.*$/gm),
  mounts: read('/proc/self/mounts').split('\n').map((line) => line.split(' ').slice(1, 4).join(' ')).sort(),
  open: fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd); }
    catch { return null; } }).filter(Boolean).map((name) => name.replace(/\d+/g, 'N')).sort(),
  child: cp.execFileSync('env', { encoding: 'utf8' }).split('\n'),
  childDescriptors: cp.execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }),
  heap: v8.getHeapStatistics().heap_size_limit, tmp: fs.statfsSync('/tmp').blocks,
  time: [new Date(0).toString(), new Date(0).toLocaleString(), Intl.DateTimeFormat().resolvedOptions()],
  paths: [module.paths, require('module').globalPaths, require.resolve.paths('x')],
  globals: Object.getOwnPropertyNames(globalThis), process: Object.getOwnPropertyNames(process).sort(),
  listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
  directories: [os.homedir(), os.tmpdir(), os.hostname(), os.userInfo().username],
  sourceMaps: process.sourceMapsEnabled, warnings: process.noDeprecation, versions: process.versions,
  stack: new Error('where').stack, isTTY: [process.stdin.isTTY, process.stdout.isTTY],
  agent: require('http').globalAgent.constructor.name, threads: process.env.UV_THREADPOOL_SIZE,
});
"""

ESM = """
import { layer } from '/opt/nodejs/of-a-layer.mjs';
import fs from 'node:fs';
const top = await Promise.resolve(process.env.MINE);
export const handler = async () => ({ top, layer, url: import.meta.url, files: fs.readdirSync('/var/task').sort(),
  found: (await import('node:module')).createRequire('/var/task/x.js').resolve('in-layer') });
"""
LAYER = {
    "nodejs/of-a-layer.mjs": "export const layer = process.env.MINE + ' in a layer';",
    "nodejs/node_modules/in-layer/index.js": "module.exports = 1;",
}
TYPED = """
interface Answer { hello: string }
export const handler = async (event: { name: string }): Promise<Answer> => ({ hello: event.name as string });
"""
MAPPED = """
exports.handler = async () => { try { fail(); } catch (error) { return error.stack; } };
function fail() { throw new Error('mapped'); }
//# sourceMappingURL=index.js.map
"""
MAP = {
    "version": 3,
    "sources": ["written.ts"],
    "names": [],
    "mappings": ";AAEA;AAGA",
    "sourcesContent": ["1\n2\n3\n4\n"],
}
WORKER = """
const { Worker } = require('worker_threads');
const code = `require('worker_threads').parentPort.postMessage(
  { variables: Object.keys(process.env), argv: process.argv, execArgv: process.execArgv, cwd: process.cwd() })`;
exports.handler = () => new Promise((resolve, reject) => {
  new Worker(code, { eval: true }).on('message', resolve).on('error', reject);
});
"""
CONSOLE = """
console.log('at init %d', 1);
exports.handler = async () => { console.error('an error', { a: 1 }); process.stdout.write('raw\\n'); return null; };
"""

CASES = {
    "what it sees": ({"index.js": SEES}, {}),
    "its own variables": ({"index.js": SEES}, {"MINE": "ü=1", "NODE_ENV": "production", "PATH": "/opt/bin:/usr/bin"}),
    "a time zone": ({"index.js": SEES}, {"TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8"}),
    "options": ({"index.js": SEES}, {"NODE_OPTIONS": "--enable-source-maps --no-warnings", "UV_THREADPOOL_SIZE": "2"}),
    "many variables": ({"index.js": SEES}, {f"V{n}": "x" * 90 for n in range(40)}),
    "a proxy of its own": ({"index.js": SEES}, {"HTTPS_PROXY": "http://10.0.0.1:8080", "NODE_USE_ENV_PROXY": "1"}),
    "TypeScript": ({"index.ts": TYPED}, {}),
    "an ES module with layers": ({"index.mjs": ESM}, {"MINE": "1"}),
    "source maps": ({"index.js": MAPPED, "index.js.map": json.dumps(MAP)}, {"NODE_OPTIONS": "--enable-source-maps"}),
    "a worker": ({"index.js": WORKER}, {"MINE": "1"}),
    "the console": ({"index.js": CONSOLE}, {}),
    "a failing init": ({"index.js": "throw new TypeError('not today');"}, {}),
    "a failing import": ({"index.js": "require('nowhere');"}, {}),
    "a syntax error": ({"index.js": "const const = 1;"}, {}),
    "a missing handler": ({"index.js": "exports.other = 1;"}, {}),
    "a failure": ({"index.js": "exports.handler = async () => { throw new RangeError('far'); };"}, {}),
    "an early end": ({"index.js": "exports.handler = async () => process.exit(7);"}, {}),
    "an uncaught error": (
        {"index.js": "exports.handler = () => setTimeout(() => { throw new Error('late'); }, 5);"},
        {},
    ),
    "a signal": ({"index.js": "exports.handler = () => process.kill(process.pid, 'SIGKILL');"}, {}),
    "too much memory": (
        {"index.js": "exports.handler = () => { const a = []; for (;;) a.push(Buffer.alloc(1e6, 1)); };"},
        {},
    ),
}

STARTED = """
const began = performance.timeOrigin;
exports.handler = async () => ({ began, now: performance.timeOrigin + performance.now(), uptime: process.uptime() });
"""


@pytest.fixture(scope="module")
def plain_client(tmp_path_factory):
    config = tmp_path_factory.mktemp("plain") / "lambent.toml"
    config.write_text("head_starts = 0\n")
    with running_node("--config", str(config)) as node:
        yield node.client("lambda")


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


@pytest.fixture(scope="module")
def amounts():
    return itertools.count(MEMORY_MB)


def wait_for_one(node, memory_mb):
    """Returns when Node.js waits for a function with that memory."""
    flag = f"--max-old-space-size={memory_mb - memory_mb // 10}"
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{node.endpoint}/_lambent/health") as response:
            waiting = json.load(response)["head_starts"]
        if any(flag in command.split() for command in waiting):
            return
        assert time.monotonic() < deadline


def comparable(answer):
    """An answer and its log without what differs between any two environments."""
    content = answer.content if isinstance(answer.content, dict) else {"content": answer.content}
    text = json.dumps({**content, "error": answer.error, "log": answer.log})
    return json.loads(re.sub("|".join(DIFFERS), "-", text))


DIFFERS = (
    r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}",
    r"fn-[0-9a-f]{8}", r"Root=1-[0-9a-f-]+;Parent=[0-9a-f]+|Lineage=[0-9a-f]+", r"[\d.]+ ms", r"Max Memory Used: \d+",
    r"uid=\d+,gid=\d+", r"127\.0\.0\.1:\d+",
    r"(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|METADATA_TOKEN)[=\", \\]+[^\s\"]+",
)  # fmt: skip


def made(client, runtime, case, memory_mb):
    files, variables = CASES[case]
    layers = []
    if case == "an ES module with layers":
        layer = client.publish_layer_version(LayerName="of-node", Content={"ZipFile": packed(LAYER)})
        layers = [layer["LayerVersionArn"]]
    settings = {"MemorySize": memory_mb, "EphemeralStorage": {"Size": 600}, "Environment": {"Variables": variables}}
    return create(client, runtime, files, Layers=layers, **settings)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_function_cannot_tell_when_nodejs_was_started(lambent, client, plain_client, amounts, runtime, case):
    memory_mb = next(amounts)
    early, plain = (made(one, runtime, case, memory_mb) for one in (client, plain_client))
    wait_for_one(lambent, memory_mb)
    first, second = comparable(invoke(client, early)), comparable(invoke(plain_client, plain))
    assert {key: (first.get(key), second.get(key)) for key in first | second if first.get(key) != second.get(key)} == {}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nodejs_was_up_before_and_its_clock_starts_with_the_function(lambent, client, amounts, runtime):
    memory_mb = next(amounts)
    name = create(client, runtime, {"index.js": STARTED}, MemorySize=memory_mb)
    wait_for_one(lambent, memory_mb)
    invoked = time.time() * 1000
    told = invoke(client, name).content
    until = time.time() * 1000
    assert told["began"] < invoked <= told["now"] <= until
    assert 0 <= told["uptime"] * 1000 <= until - invoked


@pytest.mark.parametrize(
    "variables",
    [
        {"NODE_OPTIONS": "--require ./before.js"},
        {"NODE_EXTRA_CA_CERTS": "/var/task/before.js"},
        {"LD_LIBRARY_PATH": "/var/task"},
        {"HOME": "/tmp"},
        {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"},
    ],
)
def test_what_must_be_there_at_the_start_is_started_plainly(lambent, client, amounts, variables):
    memory_mb, files = next(amounts), {"index.js": STARTED, "before.js": "", "wrapper": '#!/bin/bash\nexec "$@"\n'}
    create(client, "nodejs24.x", files, MemorySize=memory_mb)
    wait_for_one(lambent, memory_mb)
    name = create(client, "nodejs24.x", files, MemorySize=memory_mb, Environment={"Variables": variables})
    invoked = time.time() * 1000
    assert invoke(client, name).content["began"] > invoked


RANDOM = """
const crypto = require('crypto');
exports.handler = async () => [Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString('hex'),
  crypto.webcrypto.getRandomValues(new Uint32Array(2)).join(), crypto.generateKeyPairSync('ed25519')
  .publicKey.export({ format: 'jwk' }).x];
"""


def test_no_two_of_them_have_the_same_random_numbers(lambent, client, amounts):
    memory_mb, seen = next(amounts), set()
    for _one in range(4):
        name = create(client, "nodejs24.x", {"index.js": RANDOM}, MemorySize=memory_mb)
        wait_for_one(lambent, memory_mb)
        seen.update(invoke(client, name).content)
    assert len(seen) == 4 * 5


def test_nothing_of_one_function_is_seen_by_the_next(lambent, client, amounts):
    memory_mb = next(amounts)
    leaves = "const fs = require('fs'); globalThis.left = 1; fs.writeFileSync('/tmp/left', 'x');"
    looks = (
        "exports.handler = async () => [typeof left, require('fs').readdirSync('/tmp'), process.env.SECRET ?? null];"
    )
    for source, variables in ((leaves + looks, {"SECRET": "mine"}), (looks, {})):
        settings = {"MemorySize": memory_mb, "Environment": {"Variables": variables}}
        name = create(client, "nodejs24.x", {"index.js": source}, **settings)
        wait_for_one(lambent, memory_mb)
        seen = invoke(client, name).content
    assert seen == ["undefined", [], None]
