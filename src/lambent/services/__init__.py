"""One folder per AWS service, named as its botocore model."""
