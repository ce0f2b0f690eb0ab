"""`lambent version`: what is installed."""

import platform
import sys

from lambent import __version__
from lambent.cli.client import AsJson
from lambent.cli.terminal import answer, answer_json


def version(as_json: AsJson = False) -> None:
    """Print the version."""
    if as_json:
        answer_json({"version": __version__, "python": platform.python_version(), "executable": sys.executable})
    else:
        answer(__version__)
