"""The HTTP front of the platform."""
