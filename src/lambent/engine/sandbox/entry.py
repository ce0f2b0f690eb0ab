"""Starts a launcher or a probe under a bare interpreter: `python -I -S -E entry.py launch FD`.

That interpreter may be any that functions use, without Lambent installed. So the modules beside this file are found
under their own names through empty stand-ins for the packages above them, and nothing else of Lambent is in reach.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _find_sandbox_modules() -> None:
    for name in ("lambent", "lambent.engine", "lambent.engine.sandbox"):
        package = type(sys)(name)
        package.__path__ = [_FOLDER] if name == "lambent.engine.sandbox" else []
        sys.modules[name] = package
    sys.modules["lambent.engine"].sandbox = sys.modules["lambent.engine.sandbox"]  # type: ignore[attr-defined]


if __name__ == "__main__":
    _find_sandbox_modules()
    if sys.argv[1] == "launch":
        from lambent.engine.sandbox import zygotes

        zygotes.main(int(sys.argv[2]))
    else:
        from lambent.engine.sandbox import trials

        trials.main()
