"""The operations of CloudWatch, by what they are about. Source: CloudWatch API Reference."""
