"""The bootstrap behaves the same on every CPython that this machine has."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from lambent.engine.interpreters import SUPPORTED, Interpreters
from lambent.testing.plain_engine import function, plain_engine

CASES = Path(__file__).parent / "cases"
sys.path.insert(0, str(CASES))
import app  # noqa: E402  (the table of cases is the handlers' own)

VERSIONS_DIFFER = {"group", "noted", "digits", "deeper", "eval", "json"}  # texts of the interpreters themselves
EVENTS = [
    *(("app.values", name) for name in app.VALUES if name not in VERSIONS_DIFFER),
    *(("app.errors", name) for name in app.ERRORS if name not in VERSIONS_DIFFER),
    *(("app.logs", name) for name in ("print", "unfinished")),
    ("app.show_context", 1),
]


async def answers(interpreter: Path) -> dict[tuple[str, Any], Any]:
    async with plain_engine(interpreter) as plain:
        specs = {handler: function(CASES, handler, runtime="python3.12") for handler, _event in EVENTS}
        found = {}
        for handler, event in EVENTS:
            plain.events.clear()
            result = await plain.invoke(specs[handler], event, request_id="R", trace_header="Root=1")
            payload: Any = result.payload
            if result.function_error:
                payload = {k: v for k, v in json.loads(payload).items() if k != "stackTrace"}
            lines = [m for m in plain.messages if handler == "app.logs" and not m.startswith(("REPORT", "INIT"))]
            found[handler, event] = (result.function_error, payload, lines)
        return found


def test_every_interpreter_gives_the_same_answers() -> None:
    others = asyncio.run(Interpreters(environ=dict(os.environ)).found())
    expected = asyncio.run(answers(Path(sys.executable)))
    newest = {one.minor: one for one in others if one.minor in SUPPORTED}
    for one in newest.values():
        if one.minor != sys.version_info[:2]:
            assert asyncio.run(answers(one.path)) == expected, one
