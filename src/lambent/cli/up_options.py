"""The options of `lambent up`, as typer shows them."""

from pathlib import Path
from typing import Annotated

import typer

from lambent.cli.up import start


def up(  # noqa: PLR0913  each is an option of the command
    host: Annotated[str | None, typer.Option(help="The address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one [default: 4566].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept [default: .lambent].")] = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep nothing.")] = False,
    isolation: Annotated[str | None, typer.Option(help="auto, namespaces or process [default: auto].")] = None,
    egress: Annotated[str | None, typer.Option(help="auto, veth, pasta, proxy or none [default: auto].")] = None,
    config: Annotated[Path | None, typer.Option(help="A file with settings [default: lambent.toml].")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without a login.")] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error or off.")] = None,
    control_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the platform. Ctrl-C stops it.

    Each option can also be set as LAMBENT_NAME in the environment or as name in lambent.toml.

    \b
    Examples:
      lambent up
      lambent up --port 0 --ephemeral
      lambent up --data-dir /var/lib/lambent --log-level info
    """
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "ephemeral": ephemeral or None,
        "isolation": isolation,
        "egress": egress,
        "config": config,
        "insecure": insecure or None,
        "log_level": log_level,
        "control_fd": control_fd,
    }
    start({key: value for key, value in flags.items() if value is not None})
