"""The walls around an execution environment."""
