"""The same functions in each language: what they do has one name in all of them.

`echo` answers its event, `context` what its runtime says of the invocation, `variables` what its environment has.
`fails` raises, `broken` cannot be loaded, `exits` ends its process, `sleeps` never answers. `logs` writes two lines,
`large` answers as many characters as asked for, `background` leaves work behind, `streams` answers in parts, and fails
after the first if asked to. Go and Rust have them in main.go and main.rs, one program for all. `awslambdaric` is AWS's
own client for Python, as it comes from PyPI, in the package of a custom runtime.
"""

import functools
import importlib.metadata
import os
import sys
from pathlib import Path

from compiled import program
from packages import bash

from lambent.engine.interpreters import SUPPORTED, candidates

ALL = ("python3.11", "nodejs20.x", "nodejs22.x", "nodejs24.x", "awslambdaric", "bash", "go", "rust")
"""The languages by their runtime, or by their name where the runtime is the function's own."""


def more():
    """Runtimes beyond those: Node.js that is fetched for them, and each further Python of this machine."""
    found = {path.name for path in candidates(os.environ, Path.home(), ())}
    pythons = {"python{}.{}".format(*version) for version in SUPPORTED}
    return sorted({"nodejs26.x", *(found & pythons)} - {*ALL})


PYTHON = {
    "echo": "def handler(event, context): return event",
    "context": """
def handler(event, context):
    return {"id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
            "version": context.function_version, "memory": context.memory_limit_in_mb,
            "remaining": context.get_remaining_time_in_millis()}
""",
    "variables": "import os\ndef handler(event, context): return {**os.environ, 'cwd': os.getcwd()}",
    "fails": """
class Mistake(Exception): pass
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event == "fail": raise Mistake("it went wrong")
    return calls
""",
    "broken": "raise ValueError('not today')",
    "exits": """
import os
def handler(event, context):
    if event == "exit": os._exit(3)
    return "fresh"
""",
    "sleeps": "import time\ndef handler(event, context): time.sleep(30)",
    "logs": "import sys\ndef handler(event, context): print('to stdout'); print('to stderr', file=sys.stderr)",
    "large": "def handler(event, context): return 'x' * event",
    "background": """
import threading, time
done = None
def work():
    global done
    time.sleep(0.6)  # until Python 3.11 the time in which it is frozen does not count
    done = time.time()
thread = threading.Thread(target=work)
def handler(event, context):
    began = time.time()
    if event == "begin": thread.start()
    else: thread.join(5)
    return {"began": began, "done": done}
""",
    "streams": """
class Mistake(Exception): pass
def handler(event, context):
    yield "one "
    if event == "fail": raise Mistake("it went wrong")
    yield "two"
""",
}

NODEJS = {
    "echo": "exports.handler = async (event) => event;",
    "context": """
exports.handler = async (event, context) => ({
  id: context.awsRequestId, arn: context.invokedFunctionArn, name: context.functionName,
  version: context.functionVersion, memory: context.memoryLimitInMB, remaining: context.getRemainingTimeInMillis(),
});
""",
    "variables": "exports.handler = async () => ({ ...process.env, cwd: process.cwd() });",
    "fails": """
class Mistake extends Error { constructor(text) { super(text); this.name = 'Mistake'; } }
let calls = 0;
exports.handler = async (event) => {
  calls += 1;
  if (event === 'fail') throw new Mistake('it went wrong');
  return calls;
};
""",
    "broken": "class ValueError extends Error { name = 'ValueError' }\nthrow new ValueError('not today');",
    "exits": "exports.handler = async (event) => { if (event === 'exit') process.exit(3); return 'fresh'; };",
    "sleeps": "exports.handler = () => new Promise((resolve) => setTimeout(resolve, 30000));",
    "logs": "exports.handler = async () => { console.log('to stdout'); process.stderr.write('to stderr\\n'); };",
    "large": "exports.handler = async (event) => 'x'.repeat(event);",
    "background": """
let done = null;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.handler = async (event) => {
  const began = Date.now() / 1000;
  if (event === 'begin') pause(600).then(() => { done = Date.now() / 1000; });
  else await pause(100);
  return { began, done };
};
""",
    "streams": """
class Mistake extends Error { constructor(text) { super(text); this.name = 'Mistake'; } }
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('one ');
  await new Promise((resolve) => setTimeout(resolve, 20));
  if (event === 'fail') throw new Mistake('it went wrong');
  stream.write('two');
  stream.end();
});
""",
}

BASH = {
    "echo": "cat",
    "context": """
cat > /dev/null
printf '{"id": "%s", "arn": "%s", "name": "%s", "version": "%s", "memory": "%s", "remaining": %d}' \
  "$request_id" "$function_arn" "$AWS_LAMBDA_FUNCTION_NAME" "$AWS_LAMBDA_FUNCTION_VERSION" \
  "$AWS_LAMBDA_FUNCTION_MEMORY_SIZE" $((deadline_ms - $(date +%s%3N)))
""",
    "variables": r"""
cat > /dev/null
printf '{"cwd": "%s"' "$PWD"
for name in $(compgen -e); do
  case ${!name} in *[\"$'\n'\\]*) ;; *) printf ', "%s": "%s"' "$name" "${!name}" ;; esac
done
printf '}'
""",
    "fails": """
calls=0
---
calls=$((calls + 1))
if [ "$(cat)" = '"fail"' ]; then
  printf '{"errorType": "Mistake", "errorMessage": "it went wrong"}'
  return 1
fi
printf $calls
""",
    "broken": """
printf '{"errorType": "ValueError", "errorMessage": "not today"}' > /tmp/error
request POST init/error /tmp/error
exit 1
---
cat
""",
    "exits": """if [ "$(cat)" = '"exit"' ]; then exit 3; fi; printf '"fresh"'""",
    "sleeps": "sleep 30",
    "logs": "cat > /dev/null; echo to stdout >&2; echo to stderr >&2; echo null",
    "large": """printf '"'; head -c "$(cat)" /dev/zero | tr '\\0' x; printf '"'""",
    "background": """
began=$(date +%s.%N)
if [ "$(cat)" = '"begin"' ]; then { sleep 0.6; date +%s.%N > /tmp/done; } > /dev/null & else sleep 0.1; fi
printf '{"began": %s, "done": %s}' "$began" "$(cat /tmp/done 2>/dev/null || echo null)"
""",
    "streams": """
event=$(cat)
begin_stream
chunk "one "
sleep 0.02
if [ "$event" = '"fail"' ]; then
  end_stream Mistake '{"errorType": "Mistake", "errorMessage": "it went wrong"}'
else
  chunk two
  end_stream
fi
""",
}


RIC = f'#!/bin/sh\nexec {sys.base_prefix}/bin/python{sys.version_info.major} -m awslambdaric "$_HANDLER"\n'


@functools.cache
def _ric():
    """The files of awslambdaric and of what it needs, as pip installed them."""
    found = {}
    for name in ("awslambdaric", "simplejson", "snapshot-restore-py"):
        for file in importlib.metadata.files(name):
            if ".." not in file.parts and file.suffix in (".py", ".so"):
                found[str(file)] = file.locate().read_bytes()
    return found


def runtime_of(language):
    """What its functions have for Runtime."""
    return language if language[-1].isdigit() or language.endswith(".x") else "provided.al2023"


def files(language, behaviour):
    """The package of a function that behaves so."""
    if language.startswith("python"):
        return {"index.py": PYTHON[behaviour]}
    if language.startswith("nodejs"):
        return {"index.js": NODEJS[behaviour]}
    if language == "awslambdaric":
        return {"index.py": PYTHON[behaviour], "bootstrap": RIC, **_ric()}
    if language == "bash":
        return {"bootstrap": bash(BASH[behaviour])}
    return {"bootstrap": program(language), "behaviour": behaviour}
