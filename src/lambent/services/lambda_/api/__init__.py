"""Lambda's operations, one function each: read the shape, decide, write, answer."""
