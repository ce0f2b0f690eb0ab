"""The AWS service `cloudwatch`: metrics."""
