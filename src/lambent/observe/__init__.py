"""How the platform shows what it does: log entries with fields, and counters."""
