"""The composition root: reads a `Config`, builds everything, runs it in task groups. Nothing else wires."""

from lambent.node.node import Node
from lambent.node.platform import operations_there
from lambent.node.serving import serve
from lambent.node.start import StartRefused

__all__ = ["Node", "StartRefused", "operations_there", "serve"]
