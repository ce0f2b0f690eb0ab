"""The Python runtime's side of an execution environment."""
