"""The AWS wire protocols, compiled from botocore's models. Pure."""
