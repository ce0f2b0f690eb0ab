"""The AWS service `lambda`."""
