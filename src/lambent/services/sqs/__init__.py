"""The AWS service `sqs`: durable queues."""
