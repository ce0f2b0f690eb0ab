"""The operations of IAM, by what they are about. Source: IAM API Reference."""
