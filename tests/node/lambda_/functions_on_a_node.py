"""Functions made of a few lines of source, on a real node."""

import io
import json
import uuid
import zipfile

ROLE = "arn:aws:iam::000000000000:role/lambda"
SOON = {"Delay": 0.02, "MaxAttempts": 500}


def make_zip(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.py", (2026, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def unused_name():
    return f"fn-{uuid.uuid4().hex[:8]}"


def create(client, source, *, name=None, wait=True, **members):
    """The name of a new function whose module `app` has this source."""
    name = name or unused_name()
    members = {
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": make_zip(app=source)},
    } | members
    client.create_function(FunctionName=name, **members)
    if wait:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=SOON)
    return name


def call(client, name, event=None, **members):
    """What a function answered, as Python."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **members)
    return json.loads(answer["Payload"].read())
