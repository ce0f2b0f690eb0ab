"""Which functions may be served by a Node.js that was started before anything of them was known. Pure.

Such an environment waits with its program already up; code, variables, limits and all else come with the function. That
is right only where the program could not have told the difference, so it was started with exactly the command line that
the function would have given it, and with every variable that is read at a start. What says more than that at a start
(a file to load, a library's path, a wrapper, an extension) is started plainly.

Source: Node.js documentation, "Command-line API", environment variables; man 8 ld.so, man 7 environ.
"""

from collections.abc import Mapping
from typing import Any, Final

from lambent.engine.extension_phases import external_extensions
from lambent.engine.runtimes import Program
from lambent.engine.spec import FunctionSpec
from lambent.engine.variables import EXEC_WRAPPER, Place, defaults, variables

_READ_AT_START: Final = frozenset({"HOME", "TZ", "TZDIR", "LANG", "LANGUAGE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
_READ_PREFIXES: Final = ("NODE_", "LD_", "LC_", "GLIBC_", "MALLOC_", "OPENSSL_", "SSL_", "UV_", "ICU_", "V8_")
_NOT_READ: Final = frozenset({"NODE_ENV"})  # by libraries only

_API: Final = "AWS_LAMBDA_RUNTIME_API"  # our runtime connects to it ahead

_HARMLESS: Final = frozenset(
    {"TZ", "LANG", "LC_ALL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "UV_THREADPOOL_SIZE", "NODE_NO_WARNINGS"}
    | {"NODE_USE_ENV_PROXY", "NODE_TLS_REJECT_UNAUTHORIZED", "NODE_OPTIONS"}
)
"""What a function may set of these: names no file that would have to be there at the start."""

_HARMLESS_OPTIONS: Final = frozenset(
    {"--enable-source-maps", "--no-warnings", "--no-deprecation", "--trace-warnings", "--trace-deprecation"}
    | {"--experimental-require-module", "--experimental-detect-module", "--dns-result-order=ipv4first"}
)


HeadStart = Mapping[str, Any]
"""`{"command": [...], "environment": {...}}`: functions with the same may take one another's environments, as long as
nobody has claimed them."""


def head_start(spec: FunctionSpec, program: Program | None, place: Place) -> HeadStart | None:
    """What a program would have to be started with to serve that function later; None where it starts plainly."""
    if program is None or program.node is None or not place.has_walls:
        return None
    if EXEC_WRAPPER in spec.environment or spec.file_systems or external_extensions(spec.layer_dirs):
        return None
    if not all(_is_harmless(name, value) for name, value in spec.environment.items()):
        return None
    everything = variables(spec, "", {}, place)
    # The defaults too, which come first in every environment: what is there already and the same is not set again.
    environment = {**defaults(spec, place), _API: everything[_API]}
    environment |= {name: value for name, value in everything.items() if _is_read_at_start(name)}
    return {"command": program.arguments(spec), "environment": environment}


def _is_read_at_start(name: str) -> bool:
    upper = name.upper()
    return upper not in _NOT_READ and (upper in _READ_AT_START or upper.startswith(_READ_PREFIXES))


def _is_harmless(name: str, value: str) -> bool:
    if not _is_read_at_start(name):
        return True
    if name == "NODE_OPTIONS":
        return _HARMLESS_OPTIONS.issuperset(value.split())
    if name == "TZ":
        return not value.lstrip(":").startswith("/")  # a file, perhaps the function's own
    return name.upper() in _HARMLESS
