"""The operations of SQS, by what they are about. Source: Amazon SQS API Reference."""
