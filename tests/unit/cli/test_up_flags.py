"""The two readings of `lambent up`'s options agree."""

import inspect

import pytest

from lambent.cli import up, up_options


def test_both_know_the_same_options():
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(up_options.up).parameters}
    assert options == set(up.FLAGS)


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("up", {}),
        ("up --port 0 --ephemeral", {"port": "0", "ephemeral": True}),
        ("up --host=::1 --insecure --data-dir x", {"host": "::1", "insecure": True, "data_dir": "x"}),
    ],
)
def test_a_plain_line_is_read_without_typer(line, flags):
    assert up.plain_flags(line.split()) == flags


@pytest.mark.parametrize(
    "line", ["", "ls", "up --help", "up --prot 1", "up --port", "up --ephemeral=yes", "up extra", "--version"]
)
def test_anything_else_is_left_to_typer(line):
    assert up.plain_flags(line.split()) is None


def test_a_wrong_setting_is_wrong_usage(tmp_path):
    from lambent.cli.terminal import CommandError

    with pytest.raises(CommandError, match="port is 'many'") as refused:
        up.start({"port": "many"})
    assert refused.value.status == 2
