"""X-Amzn-Trace-Id, the tracing header that follows a request from service to service. Pure but for its noise.

Source: AWS X-Ray Developer Guide, "Tracing header".
"""

from urllib.parse import unquote

from lambent.aws.request_id import bits


def new_trace(now_s: float) -> str:
    """A header of one's own, whose root says when it was made. Whether it is sampled is not decided yet."""
    return f"Root=1-{int(now_s):08x}-{bits(96):024x};Parent={bits(64):016x}"


def part(header: str, name: str) -> str | None:
    """The value of `name=...` in a header, if it is there."""
    if name not in header:
        return None
    for field in header.split(";"):
        key, equals, value = field.partition("=")
        if equals and key.strip() == name:
            # botocore quotes the bars of a lineage on its way out of a function.
            return unquote(value) if "%" in value else value
    return None


def with_part(header: str, name: str, value: str) -> str:
    """The header with `name=value` at its end, in the place of what it said before."""
    if header and name not in header and not header.endswith(";"):
        return f"{header};{name}={value}"
    kept = [field for field in header.split(";") if field and field.partition("=")[0].strip() != name]
    return ";".join([*kept, f"{name}={value}"])


def shown(header: str) -> str:
    """What a response says of the trace: its root, and whether it is sampled."""
    root, _semicolon, rest = header.partition(";")
    if root.startswith("Root="):  # as headers usually begin
        return f"{root};Sampled={'1' if 'Sampled=1' in rest else '0'}"
    is_sampled = part(header, "Sampled") == "1"
    return f"Root={part(header, 'Root') or ''};Sampled={int(is_sampled)}"
