"""The AWS service `sns`: topics, and what is published to them on its way to every subscription."""
