"""The AWS service `iam`."""
