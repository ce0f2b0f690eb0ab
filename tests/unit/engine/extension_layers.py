"""Layers with extensions made of a few lines of Python."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

P = ParamSpec("P")
PRELUDE = """#!{python} -IS
import http.client, json, os, signal, socket, sys, threading, time
NAME = os.path.basename(sys.argv[0])
API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
ID = None


def ask(method, path, body=None, **headers):
    API.request(method, path, body, {{name.replace("_", "-"): value for name, value in headers.items()}})
    answer = API.getresponse()
    return answer, answer.read()


def register(*events, name=NAME, **headers):
    global ID
    body = json.dumps({{"events": events}})
    answer, data = ask("POST", "/2020-01-01/extension/register", body, Lambda_Extension_Name=name, **headers)
    ID = answer.headers.get("Lambda-Extension-Identifier")
    return answer.status, json.loads(data)


def next_event():
    answer, data = ask("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=ID)
    return json.loads(data)


def fail(what, kind):
    path = f"/2020-01-01/extension/{{what}}/error"
    headers = dict(Lambda_Extension_Identifier=ID, Lambda_Extension_Function_Error_Type=kind)
    return ask("POST", path, b"{{}}", **headers)[0].status


def say(*words):
    print(NAME, *words, flush=True)


"""


def layer(folder: Path, **extensions: str) -> Path:
    """A layer whose extensions have these sources, behind a few functions that speak the API."""
    (folder / "extensions").mkdir(parents=True)
    for name, source in extensions.items():
        file = folder / "extensions" / name
        file.write_text(PRELUDE.format(python=sys.executable) + source)
        file.chmod(0o755)
    return folder


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run
