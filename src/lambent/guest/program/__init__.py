"""The start of an environment that executes a program: Node.js, or a bootstrap of the function's own."""
