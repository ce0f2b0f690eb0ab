"""The AWS service `logs`."""
