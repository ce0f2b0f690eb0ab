"""What this machine allows: the walls that the tests attack."""

from lambent.engine.sandbox.probe import probe

BEST, _ = probe()
MODES = ("root", "plain") if BEST.root else ("plain",)
