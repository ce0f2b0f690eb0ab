"""The AWS service `sts`."""
