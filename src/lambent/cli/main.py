"""The `lambent` command. Each command is a module of its own, imported when it is asked for.

`up` in its plain form starts without typer, so that a running node holds neither it nor its start-up time.
"""

import sys

from lambent.cli import up
from lambent.cli.terminal import CommandError, complain


def main() -> None:
    """Run the command line; ends the process with 0, 1 (failed) or 2 (wrong usage)."""
    try:
        flags = up.plain_flags(sys.argv[1:])
        if flags is not None:
            up.start(flags)
        else:
            _application()
    except CommandError as error:
        complain(error)
        sys.exit(error.status)
    except BrokenPipeError:  # the reader of our answer has seen enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _application() -> None:
    from lambent.cli.application import application

    application()
