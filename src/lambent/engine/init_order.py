"""What an environment's first process is told before it becomes the function's runtime. Pure."""

from collections.abc import Mapping
from typing import Any

from lambent.engine.extension_phases import extension_paths
from lambent.engine.runtimes import Program
from lambent.engine.spec import FunctionSpec
from lambent.engine.variables import EXEC_WRAPPER, Place, sys_path


def init_order(
    spec: FunctionSpec, place: Place, program: Program | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The INIT frame: what to load as a handler, or which program to execute."""
    wrapper = spec.environment.get(EXEC_WRAPPER)
    extensions = extension_paths(spec.layer_dirs, place.layer_roots)
    if program is None:
        return {
            "handler": spec.handler,
            "environment": environment,
            "sys_path": sys_path(spec, place),
            "via_http": wrapper is not None or bool(extensions),
            "wrapper": wrapper,
            "extensions": extensions,
        }
    command = program.arguments(spec)
    if not place.has_walls:
        command = [program.outside(word) for word in command]
    return {
        "environment": environment,
        "via_http": True,
        "command": command,
        "bootstraps": [f"{root}/bootstrap" for root in (place.task_root, *reversed(place.layer_roots))],
        "wrapper": wrapper if command else None,  # not for custom runtimes, says the guide
        "extensions": extensions,
    }
