"""Our bootstrap and AWS's own runtime client (awslambdaric) run the same functions and must agree.

Both run under the same engine: ours over frames, AWS's over the HTTP Runtime API, started by an exec wrapper. A
third leg runs our bootstrap behind a wrapper, over HTTP.

Where we differ, and why:
- Stack frames of the runtime itself are other files; in a stack that ends with an error of the interpreter (a
  KeyboardInterrupt, a RecursionError) their number shows. They are left out of the comparison.
- An event that is not JSON is refused before it reaches a runtime, so the texts of the standard library's decoder
  stand where AWS's client has simplejson's.
- An unhandled KeyboardInterrupt ends our process with status 130, as it ends the first process of a namespace; AWS's
  client, which is no first process here, dies of the signal.
- Classes have their own modules: `type(context).__module__` is not `awslambdaric.lambda_context`.
"""

import asyncio
import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lambent.engine.spec import FunctionSpec, InvocationResult
from lambent.testing.plain_engine import PlainEngine, function, plain_engine

CASES = Path(__file__).parent / "cases"
sys.path.insert(0, str(CASES))
import app  # noqa: E402  (the table of cases is the handlers' own)

REFERENCE = f'#!/bin/sh\nexec "{sys.executable}" -m awslambdaric "$_HANDLER"\n'
OURS_OVER_HTTP = '#!/bin/sh\nexec "$@"\n'

Outcome = tuple[bytes, str | None, list[str]]


@pytest.fixture(scope="module")
def wrappers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("wrappers")
    paths = {}
    for name, text in {"reference": REFERENCE, "http": OURS_OVER_HTTP}.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        paths[name] = str(path)
    return paths


def compare(spec: FunctionSpec, events: list[Any], wrappers: dict[str, str], **fields: Any) -> None:
    """Runs the events one after the other on each leg; each must give the reference's answer and log."""
    expected = asyncio.run(outcomes(wrapped(spec, wrappers["reference"]), events, fields))
    for name, leg in (("frames", spec), ("http", wrapped(spec, wrappers["http"]))):
        found = asyncio.run(outcomes(leg, events, fields))
        for event, ours, theirs in zip(events, found, expected, strict=True):
            assert ours == theirs, f"{name}: {event!r}"


def wrapped(spec: FunctionSpec, wrapper: str) -> FunctionSpec:
    return dataclasses.replace(
        spec, environment={**spec.environment, "AWS_LAMBDA_EXEC_WRAPPER": wrapper}, digest=spec.digest + wrapper
    )


async def outcomes(spec: FunctionSpec, events: list[Any], fields: dict[str, Any]) -> list[Outcome]:
    async with plain_engine() as plain:
        found = []
        for number, event in enumerate(events):
            plain.events.clear()
            result = await plain.invoke(spec, event, request_id=f"request-{number}", **fields)
            found.append(outcome(result, plain))
        return found


PLATFORM = ("INIT_START", "START ", "END ", "REPORT", '{"time":')


def outcome(result: InvocationResult, plain: PlainEngine) -> Outcome:
    lines = [normalised(m) for m in plain.messages if not m.startswith(PLATFORM)]
    payload = result.payload
    if result.function_error:
        document = json.loads(payload)
        document["stackTrace"] = [e for e in document.get("stackTrace", ()) if not re.search(RUNTIME_FILE, e)]
        # How the sentence goes on depends on where the interpreter's stack ended.
        text = re.sub(r"(maximum recursion depth exceeded).*", r"\1", document["errorMessage"])
        payload = json.dumps({**document, "errorMessage": text}).encode()
    return payload, result.function_error, without_runtime_frames(lines)


RUNTIME_FILE = r'File "[^"]*(awslambdaric/|guest/python/|runpy)'
FRAME = re.compile(r'[ \u00a0]+File "')


def without_runtime_frames(messages: list[str]) -> list[str]:
    """The log without the stack frames of the runtime itself: a client of AWS's has others than ours."""
    kept, is_inside = [], False
    for message in messages:
        lines = []
        for line in message.splitlines(keepends=True):
            if FRAME.match(line):
                is_inside = bool(re.search(RUNTIME_FILE, line))
            elif not line.startswith(("   ", "\u00a0\u00a0\u00a0")):
                is_inside = False
            if not is_inside:
                lines.append(line)
        if lines:
            kept.append("".join(lines).rstrip("\n"))
    return [re.sub(r'"stackTrace": \[.*\]', '"stackTrace": N', m) if RUNTIME.search(m) else m for m in kept]


RUNTIME = re.compile(r"awslambdaric/|guest/python/")


def normalised(text: str) -> str:
    """Without what differs by nature: times and addresses."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text)
    text = re.sub(r"Init Duration: [\d.]+ ms", "Init Duration: N ms", text)
    text = re.sub(r"(maximum recursion depth exceeded)[^\n\"]*", r"\1", text)
    return re.sub(r"0x[0-9a-f]{6,}", "0x0", text)


@pytest.mark.parametrize("runtime", ["python3.11", "python3.13"])  # text goes out escaped, or as UTF-8
def test_answers_are_written_alike(runtime: str, wrappers: dict[str, str]) -> None:
    compare(function(CASES, "app.values", runtime=runtime), list(app.VALUES), wrappers)


@pytest.mark.parametrize("runtime", ["python3.11", "python3.13"])
@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_errors_are_reported_alike(runtime: str, log_format: str, wrappers: dict[str, str]) -> None:
    compare(function(CASES, "app.errors", runtime=runtime, log_format=log_format), list(app.ERRORS), wrappers)


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_logs_are_alike(log_format: str, wrappers: dict[str, str]) -> None:
    level = "DEBUG" if log_format == "JSON" else None
    spec = function(CASES, "app.logs", log_format=log_format, application_log_level=level)
    compare(spec, list(app.LOGS), wrappers)


EVENTS: list[Any] = [
    {},
    None,
    [1, 2.5, -0.0, 1e5, 10**30],
    "text \u2028 \U0001f600",
    b'{"a": 1, "a": 2}',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b"1E400",
    b"-0",
    b' {"padded" : true} \n',
    b"\xef\xbb\xbf1",
    "[" * 100 + "]" * 100,
    ("[" * 700 + "]" * 700).encode(),  # beyond 1,000 the platform refuses it
    b"9" * 4000,
    b"1.0000000000000000000000000000001",
    b'{"": {"\\u0000": null}}',
]


def test_events_are_read_alike(wrappers: dict[str, str]) -> None:
    compare(function(CASES, "app.echo"), EVENTS, wrappers)


CLIENT_CONTEXTS = [
    None,
    json.dumps({"custom": {"k": "v"}, "env": {"e": 1}, "client": {"app_title": "t", "installation_id": "i"}}),
    json.dumps({"custom": {}, "w3c": {"traceparent": "00-1", "baggage": 7, "other": "x"}}),
    json.dumps({}),
    json.dumps({"client": None}),
    "[1]",
    "{broken",
    '"text"',
]


@pytest.mark.parametrize("client_context", CLIENT_CONTEXTS)
def test_the_context_is_alike(client_context: str | None, wrappers: dict[str, str]) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    compare(function(CASES, "app.show_context"), [1], wrappers, client_context=client_context, trace_header=trace)


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_the_process_is_alike(log_format: str, wrappers: dict[str, str]) -> None:
    spec = function(CASES, "app.show_process", environment={"MINE": "ä=1", "LANG": "C.UTF-8"}, log_format=log_format)
    compare(spec, [1], wrappers, trace_header="Root=1")


def test_the_end_of_the_process_is_alike(wrappers: dict[str, str]) -> None:
    # python3.13 writes errors as UTF-8, which a lone surrogate cannot become: the runtime itself fails.
    compare(function(CASES, "app.leave", runtime="python3.13"), list(app.ENDS), wrappers)


@pytest.mark.parametrize(
    "handler",
    [
        "app.missing",
        "app",
        "",
        "nothing.handler",
        "no/such/path.handler",
        "sys.exit",
        "time.sleep",
        "app.not_callable",
        "app.called",
        "app.coroutine",
        "app.generator",
        "app.one_argument",
        "app.VALUES.handler",
        "deep/pkg/mod.handler",
        "deep.pkg.mod.handler",
        "syntax.handler",
        "indent.handler",
        "missing_import.handler",
        "raises.handler",
        "exits.handler",
        "chain.handler",
        "logs_at_import.handler",
        "bootstrap.handler",
        "runtime_json.handler",
        "raises_base.handler",
    ],
)
def test_handlers_are_found_alike(handler: str, tmp_path: Path, wrappers: dict[str, str]) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "app.py").write_text((CASES / "app.py").read_text())
    (tmp_path / "deep/pkg").mkdir(parents=True)
    (tmp_path / "deep/pkg/mod.py").write_text("def handler(event, context):\n    return __name__\n")
    compare(function(tmp_path, handler), [1], wrappers)


MODULES = {
    "syntax.py": "x = 1\ndef handler(event, context)\n    return 1\n",
    "indent.py": "def handler(event, context):\nreturn 1\n",
    "missing_import.py": "import no_such_module\n",
    "raises.py": "import logging\nlogging.warning('before')\nraise ValueError('while importing')\n",
    "exits.py": "import sys\nprint('bye')\nsys.exit(7)\n",
    "chain.py": "import raises\n",
    "logs_at_import.py": "print('printed')\nimport logging\nlogging.error('logged')\nhandler = lambda e, c: 'ok'\n",
    "bootstrap.py": "handler = lambda e, c: __file__[-12:]\n",
    "runtime_json.py": "handler = lambda e, c: __file__[-15:]\n",
    "raises_base.py": "raise BaseException('not an Exception')\n",
}
