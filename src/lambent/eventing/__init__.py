"""How events move from where they wait to what they are for: sources, filters, batches, pollers."""
