"""Event source mappings: what feeds functions from queues."""
