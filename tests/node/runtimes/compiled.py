"""The list of behaviours in Go and Rust: built once by the machine's own toolchains, from the sources beside this.

Modules and crates come from their registries, at the versions that go.sum and Cargo.lock name. What was built stays
with the tests' own interpreter, so a later session only asks whether anything has changed.
"""

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(sys.prefix) / "compiled"
_ADVICE = {
    "go": "Install Go 1.26 or later (https://go.dev/dl), or golang-go where the system has that.",
    "cargo": "Install Rust 1.84 or later (https://rustup.rs), or cargo where the system has that.",
}


@functools.cache
def program(language):
    """The bytes of the executable that has every behaviour; the file `behaviour` beside it names one."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: sessions may run side by side
        return {"go": _go, "rust": _rust}[language]().read_bytes()


def _go():
    target = CACHE / "go" / "bootstrap"
    # A static executable, as AWS's guide builds it: it runs on whatever C library there is.
    what = ["build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags=-s -w", "-o", str(target), "."]
    _run("go", what, {"CGO_ENABLED": "0"})
    return target


def _rust():
    _run("cargo", ["build", "--locked", "--quiet"], {"CARGO_TARGET_DIR": str(CACHE / "rust")})
    return CACHE / "rust/debug/bootstrap"


def _run(tool, arguments, variables):
    path = shutil.which(tool)
    assert path, f"{tool} is not on PATH, and the behaviours of custom runtimes are shown with it. {_ADVICE[tool]}"
    folder = HERE / {"go": "go", "cargo": "rust"}[tool]
    done = subprocess.run(
        [path, *arguments], cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{tool} could not build {folder.name}:\n{done.stderr}\n{_ADVICE[tool]}"
