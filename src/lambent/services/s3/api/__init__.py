"""The operations of S3, one function each."""
