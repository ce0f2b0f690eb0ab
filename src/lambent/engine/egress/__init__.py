"""The way out of an environment: an HTTP proxy in a process of its own that reaches the internet and nothing else.

It listens inside each environment's network namespace, on sockets that the launcher made there, and connects from the
host. `process` is the node's side of it, `serve` its process, `proxy` what it does; `heads` reads requests and
`addresses` decides where they may go.
"""
