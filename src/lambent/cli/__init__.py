"""The lambent command."""
