"""What walls this machine allows: each is put up for real, in a process made for it, rather than read from settings."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_ENTRY: Final = Path(__file__).with_name("entry.py")
_LIMIT_S: Final = 20.0


Way = Literal["veth", "pasta", "proxy", "none"]
"""How environments reach the internet: by a router with a veth pair to the host or with pasta, by a proxy, or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """The walls in use. `root`: each environment has a host uid of its own. `cgroups`: None means no limits.

    `way` is the best way out there is; the proxy needs nothing of the machine.
    """

    level: Literal["namespaces", "process"]
    root: bool = False
    cgroups: Literal["v1", "v2"] | None = None
    way: Way = "proxy"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: did it work, what was seen, and what would help when it did not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


PROCESS: Final = Walls(level="process")
"""No walls: what `--isolation process` asks for, and what is left where namespaces are refused."""


def probe() -> tuple[Walls, list[Finding]]:
    """The best walls that this machine and user allow, and how each was found. Takes about a tenth of a second."""
    if not sys.platform.startswith("linux"):
        remedy = "Run Lambent on Linux, in a virtual machine if need be, for real isolation."
        return PROCESS, [Finding("namespaces", ok=False, detail=f"{sys.platform} has none", remedy=remedy)]
    command = [os.path.realpath(sys.executable), "-I", "-S", "-E", str(_ENTRY), "probe"]
    try:
        answer = subprocess.run(command, env={}, cwd="/", capture_output=True, check=True, timeout=_LIMIT_S).stdout
    except (subprocess.SubprocessError, OSError) as error:
        return PROCESS, [Finding("probe", ok=False, detail=str(error), remedy="Report this as a bug of Lambent.")]
    found = json.loads(answer)
    findings = [Finding(*row) for row in found["findings"]]
    if not found["namespaces"]:
        return PROCESS, findings
    return Walls(level="namespaces", root=found["root"], cgroups=found["cgroups"], way=found["way"]), findings
