"""Deployment packages for every runtime, from files given as text, and a small runtime in bash."""

import base64
import io
import json
import uuid
import zipfile

ROLE = "arn:aws:iam::000000000000:role/lambda"
SOON = {"Delay": 0.02, "MaxAttempts": 500}

# The Runtime API over bash's own /dev/tcp: no program is needed but head. `handle` reads the event from its input.
BASH = """#!/bin/bash
set -euo pipefail
export LC_ALL=C
request() {  # METHOD PATH BODY-FILE
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  { printf '%s /2018-06-01/runtime/%s HTTP/1.1\\r\\nHost: lambda\\r\\n' "$1" "$2"
    printf 'Content-Length: %s\\r\\n\\r\\n' "$(wc -c < "$3")"
    cat "$3"; } >&3
  local line length=0
  read -r line <&3; status=$line
  while read -r line <&3 && line=${line%$'\\r'} && [ -n "$line" ]; do
    case ${line,,} in
      content-length:*) length=${line#*: } ;;
      lambda-runtime-aws-request-id:*) request_id=${line#*: } ;;
      lambda-runtime-deadline-ms:*) deadline_ms=${line#*: } ;;
      lambda-runtime-invoked-function-arn:*) function_arn=${line#*: } ;;
    esac
  done
  head -c "$length" <&3
  exec 3>&-
}
begin_stream() {
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  { printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: lambda\\r\\n' "$request_id"
    printf 'Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\n'
    printf 'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n'; } >&3
}
chunk() { printf '%x\\r\\n%s\\r\\n' "${#1}" "$1" >&3; }
end_stream() {  # [ERROR-TYPE ERROR-DOCUMENT]
  printf '0\\r\\n' >&3
  if [ $# = 2 ]; then
    printf 'Lambda-Runtime-Function-Error-Type: %s\\r\\n' "$1" >&3
    printf 'Lambda-Runtime-Function-Error-Body: %s\\r\\n' "$(printf '%s' "$2" | base64 -w0)" >&3
  fi
  printf '\\r\\n' >&3
  read -r status <&3
  exec 3>&-
  has_answered=yes
}
SOURCE
while true; do
  request GET invocation/next /dev/null > /tmp/event
  has_answered=
  if handle < /tmp/event > /tmp/answer; then verb=response; else verb=error; fi
  if [ -z "$has_answered" ]; then request POST "invocation/$request_id/$verb" /tmp/answer > /dev/null; fi
done
"""


def bash(handle):
    """A `bootstrap` whose shell function `handle` has this body; what comes before it is done once."""
    before, _line, body = handle.rpartition("---\n")
    return BASH.replace("SOURCE", f"{before}\nhandle() {{\n{body}\n}}")


def packed(files, modes=None):
    """The bytes of a zip of {path: text or bytes}; each file may be executed, unless `modes` says otherwise."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (modes or {}).get(name, 0o100755) << 16
            archive.writestr(entry, text)
    return content.getvalue()


def create(client, runtime, files, *, modes=None, **members):
    """The name of a new function, once it is Active."""
    name = f"fn-{uuid.uuid4().hex[:8]}"
    given = {"Runtime": runtime, "Handler": "index.handler", "Role": ROLE, "Timeout": 20, "MemorySize": 256}
    client.create_function(FunctionName=name, Code={"ZipFile": packed(files, modes)}, **{**given, **members})
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=SOON)
    return name


class Answer:
    """What an invocation gave: `content`, `error` (the kind of function error) and the end of its log."""

    def __init__(self, response):
        self.raw = response["Payload"].read()
        self.content = json.loads(self.raw)
        self.error = response.get("FunctionError")
        self.log = base64.b64decode(response.get("LogResult", "")).decode()
        self.request_id = response["ResponseMetadata"]["RequestId"]


def invoke(client, name, event=None):
    return Answer(client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail"))


def streamed(client, name, event=None):
    """The body of a streamed answer, and what its last event said."""
    response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event))
    parts, complete = [], {}
    for one in response["EventStream"]:
        if "PayloadChunk" in one:
            parts.append(one["PayloadChunk"]["Payload"])
        else:
            complete = one["InvokeComplete"]
    return b"".join(parts), complete
