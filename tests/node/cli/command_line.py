"""What tests of commands ask again and again."""


def lines(run, name, wanted):
    """What a function logged, as soon as `wanted` is in it."""
    for _ in range(200):  # each look is a process of its own
        said = run("logs", name).stdout
        if wanted in said:
            return said
    raise AssertionError(said)
