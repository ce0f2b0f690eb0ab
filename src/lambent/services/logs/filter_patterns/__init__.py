"""Filter patterns: which log events a FilterLogEvents call shows. Pure.

Three forms: terms, `{ JSON conditions }` and `[space-delimited fields]`, each with `%regular expressions%`.

Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, and Live Tail".
"""

from lambent.services.logs.filter_patterns.pattern import FilterPattern, parse

__all__ = ["FilterPattern", "parse"]
