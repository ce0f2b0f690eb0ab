"""What was learnt of functions' packages, kept over a restart: which can be imported ahead, by `FunctionSpec.digest`.

A file of lines, each a JSON object, written to at its end; what is told last counts. Losing it costs learning again.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

_MOST: Final = 4096  # functions' versions; a line of a version that is gone is dropped with the oldest
_MOST_BYTES: Final = 1 << 24


class PackageMemory:
    """Of a node; without a file it lasts as long as the node."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, tuple[list[str], dict[str, str]]] = {}

    def load(self) -> None:
        """Reads the file, and writes it anew when it has grown too long. What cannot be read was never learnt."""
        try:
            with open(self._path or os.devnull, "rb") as file:
                lines = file.read(_MOST_BYTES).splitlines()
        except OSError:
            return
        for line in lines:
            digest, roots, left_out = _read(line)
            self._known.pop(digest, None)
            if roots:
                self._known[digest] = roots, left_out
        self._known = dict(list(self._known.items())[-_MOST:])
        if len(lines) > 2 * _MOST and self._path:
            written = self._path.with_suffix(".new")
            written.write_bytes(b"".join(_line(digest, *known) for digest, known in self._known.items()))
            written.replace(self._path)

    def get(self, digest: str) -> tuple[list[str], dict[str, str]] | None:
        """Packages that can be imported ahead, and why others cannot."""
        return self._known.get(digest)

    def keep(self, digest: str, roots: list[str], left_out: dict[str, str]) -> None:
        """Writes to the file."""
        self._known[digest] = roots, left_out
        if self._path:
            with open(self._path, "ab") as file:
                file.write(_line(digest, roots, left_out))

    def forget(self, digest: str) -> None:
        """It was wrong."""
        if digest in self._known:
            self.keep(digest, [], {})
            del self._known[digest]


def _line(digest: str, roots: list[str], left_out: dict[str, str]) -> bytes:
    # What a killed node wrote half of ends where the next line begins.
    return b"\n" + json.dumps({"digest": digest, "roots": roots, "left_out": left_out}).encode()


def _read(line: bytes) -> tuple[str, list[str], dict[str, str]]:
    try:
        content: Any = json.loads(line)
        return str(content["digest"]), [str(root) for root in content["roots"]], dict(content["left_out"])
    except (ValueError, KeyError, TypeError):
        return "", [], {}
