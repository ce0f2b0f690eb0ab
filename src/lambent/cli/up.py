"""`lambent up`: start the platform and serve until told to stop.

Imports nothing that the running node does not need; the options as typer shows them are in `up_options`.
"""

import gc
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from lambent.cli.terminal import CommandError, answer
from lambent.config import ConfigError, read
from lambent.engine.sandbox.probe import probe

# Option, setting, and whether a value follows. up_options has the same ones with their help; a test compares.
FLAGS: Final[dict[str, tuple[str, bool]]] = {
    "--host": ("host", True),
    "--port": ("port", True),
    "--data-dir": ("data_dir", True),
    "--ephemeral": ("ephemeral", False),
    "--isolation": ("isolation", True),
    "--egress": ("egress", True),
    "--config": ("config", True),
    "--insecure": ("insecure", False),
    "--log-level": ("log_level", True),
    "--control-fd": ("control_fd", True),
}


def plain_flags(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The flags of a well-formed `up ...`; None for anything else (other commands, --help, mistakes)."""
    if not arguments or arguments[0] != "up":
        return None
    flags: dict[str, Any] = {}
    rest = list(arguments[1:])
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        name, takes_value = FLAGS.get(option, ("", False))
        if not name or (equals and not takes_value) or (takes_value and not equals and not rest):
            return None
        flags[name] = (value if equals else rest.pop(0)) if takes_value else True
    return flags


def start(flags: dict[str, Any]) -> None:
    """Run a node with these flags until it is told to stop.

    Raises:
        CommandError: a setting is wrong, the port or the data folder is in use, or a wall cannot be put up.
    """
    file = flags.pop("config", None)
    control_fd = flags.pop("control_fd", None)
    try:
        config = read(flags, os.environ, Path(file) if file else None)
    except ConfigError as error:
        raise CommandError(str(error), status=2) from error
    # Imports make tens of thousands of objects and hardly any garbage; looking for it takes a tenth of the start.
    gc.disable()
    # The walls are tried in a process of their own, on the other core, while this one imports the node.
    with ThreadPoolExecutor(1) as beside:
        probing = beside.submit(probe)
        from lambent import node

        gc.freeze()
        gc.enable()
        fd = None if control_fd is None else int(control_fd)
        try:
            node.serve(config, announce=answer, control_fd=fd, probe=probing.result)
        except node.StartRefused as error:
            raise CommandError(error.what, error.next_step) from error
