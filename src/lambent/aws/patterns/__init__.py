"""Event patterns: which events a filter lets through. Pure.

The grammar is one for the filters of event source mappings, EventBridge's rules, Pipes and SNS's filters of bodies:
`compile(text)` reads a pattern once, `pattern.matches(event)` asks it of a decoded event.

Source: Amazon EventBridge User Guide, "Creating event patterns"; the public matcher event-ruler, for what the guide
leaves open; facts sheet D2.
"""

from lambent.aws.patterns.compiling import Pattern, compile
from lambent.aws.patterns.values import PatternError

__all__ = ["Pattern", "PatternError", "compile"]
