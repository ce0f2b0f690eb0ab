"""The settings of a node: one frozen `Config`, read once.

A flag wins over `LAMBENT_*`, which wins over `lambent.toml`, which wins over the default. An unknown key is an
error that names the nearest known one. The reference page is made from the fields and their docstrings.
"""

import difflib
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

Isolation = Literal["auto", "namespaces", "process"]
Egress = Literal["auto", "veth", "pasta", "proxy", "none"]


class ConfigError(Exception):
    """A setting is unknown, or its value cannot be; the text says which, and what would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a node is told at its start."""

    host: str = "127.0.0.1"
    """The address to listen on. Anything but loopback needs `insecure` while `auth` is open."""

    port: int = 4566
    """The port to listen on; 0 takes a free one."""

    data_dir: Path = Path(".lambent")
    """The folder that holds everything the node keeps."""

    ephemeral: bool = False
    """Keep nothing: state lives in a temporary folder that goes with the node. Allows `/_lambent/reset` and
    `/_lambent/time`."""

    isolation: Isolation = "auto"
    """The walls around functions: `namespaces`, `process` (none: only for code you trust), or `auto`, which is
    `namespaces` where the machine allows it and else, on loopback, the best level there is, with a warning."""

    egress: Egress = "auto"
    """How functions reach the internet, and never private addresses: `veth`, by a router that this machine forwards
    for (as root, with nftables and `net.ipv4.ip_forward`, which Lambent does not change); `pasta`, by a router that
    pasta makes connections for (as a plain user); `proxy`, by an HTTP proxy; `none`, not at all; or `auto`, the first
    of these that this machine allows. Without isolation they have this machine's network."""

    insecure: bool = False
    """Listen on an address other than loopback although any credentials are taken."""

    auth: Literal["open"] = "open"
    """`open` takes any credentials; a 12-digit access key is the account."""

    region: str = "us-east-1"
    """The region of requests whose signature names none."""

    log_level: Literal["debug", "info", "warning", "error", "off"] = "warning"
    """The least level of the platform's own log on stderr."""

    stop_grace_s: float = 30.0
    """How long running invocations may go on after Ctrl-C or SIGTERM, in seconds."""

    concurrent_executions: int = 1000
    """The account's limit of concurrent executions, as a quota increase would raise it. Ten times as many synchronous
    requests a second are let in."""

    private_endpoints: Literal["auto", "yes", "no"] = "auto"
    """Whether topics deliver over HTTP to addresses of this machine and of private networks: `auto` is only while the
    node listens on loopback alone. What a function subscribes is on the internet in any case."""

    queue_name_kept_s: int = 0
    """For how long the name of a deleted queue is taken, in seconds: on AWS 60."""

    code_storage_bytes: int = 80_530_636_800
    """What an account's packages and layers may take in a region, zipped; the default is AWS's 75 GB."""

    idle_environment_s: float = 600.0
    """How long a warm environment is kept without an invocation, in seconds."""

    parked_environments: int = 3
    """How many environments wait without a function, ready to be claimed, for each interpreter in use. As many as were
    claimed within one second of the last minute, 64 at most, wait while there is memory for them. 0: none."""

    head_starts: int = 12
    """How many environments, at most, wait with Node.js already up, when functions that need it were created or called
    within the last minute; then one of each kind for an hour. 0: Node.js starts when it is needed."""

    package_zygotes: bool = True
    """Keep the third-party packages of a Python function imported, so that its environments start with them."""

    function_url_permissions: Literal["one", "both"] = "one"
    """What a policy must allow for a function URL to answer: `lambda:InvokeFunctionUrl`, as policies written before
    October 2025 do (`one`; answers then say in `x-lambent-warning` what AWS would miss), or, as on AWS since November
    2026, `lambda:InvokeFunction` too (`both`)."""

    pending_s: float = 0.0
    """How long a new or updated function stays Pending (InProgress) at least, in seconds: for who wants to see it. The
    answer to CreateFunction says Pending in any case."""

    uid_base: int = 200_000
    """The first host uid given to execution environments when the node runs as root."""

    runtimes_strict: bool = False
    """Refuse to run a function whose exact interpreter this machine lacks, instead of taking the nearest one."""

    runtimes_retired: bool = False
    """Accept runtime ids that AWS has retired."""

    file_systems: tuple[str, ...] = ()
    """Folders that stand for access points of FileSystemConfigs, each as `ACCESS_POINT=/absolute/folder`; the access
    point by its id (`fsap-…`) or, in a file, by its ARN. Functions read and write there."""

    python_paths: tuple[str, ...] = ()
    """Python interpreters to use besides those found on PATH, in pyenv and in uv."""

    node_paths: tuple[str, ...] = ()
    """Node.js executables to use besides those found on PATH, in nvm and beside Lambent."""

    runtimes_dir: Path = Path("~/.local/share/lambent/runtimes")
    """Where `lambent runtime install` puts interpreters, and where they are looked for."""


_LISTS: Final = (tuple,)
# Said to the commands that are clients of a node, or by the benchmark to find its processes; not to the node.
_NOT_OURS: Final = ("LAMBENT_ENDPOINT", "LAMBENT_BENCH_TAG")


def read(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> Config:
    """The settings that hold: `flags` (None means not given) over `environ` over the file over the defaults.

    `file` defaults to `lambent.toml` in the working folder, if it is there.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    path = file or Path("lambent.toml")
    values: dict[str, Any] = {}
    if path.exists() or file is not None:
        values |= _from_file(path)
    for name, text in environ.items():
        if name.startswith("LAMBENT_") and name not in _NOT_OURS:
            key = name.removeprefix("LAMBENT_").lower()
            values[_known(key, f"${name}")] = text
    values |= {key: value for key, value in flags.items() if value is not None}
    kinds = typing.get_type_hints(Config)
    config = Config(**{key: _fit(key, value, kinds[key]) for key, value in values.items()})
    shared_folders(config)
    return config


def shared_folders(config: Config) -> dict[str, Path]:
    """What `file_systems` names: folders by access point.

    Raises:
        ConfigError: an entry has another form, or its folder is not absolute.
    """
    found = {}
    for entry in config.file_systems:
        name, _, folder = entry.rpartition("=")
        if not name or not Path(folder).is_absolute():
            raise ConfigError(f"file_systems has {entry!r}; expected ACCESS_POINT=/absolute/folder")
        found[name] = Path(folder)
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):  # [runtimes] strict = true is runtimes_strict
            flat |= {f"{key}_{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[key] = value
    return {_known(key, f"{path}: {key}"): value for key, value in flat.items()}


def _known(key: str, where: str) -> str:
    names = [f.name for f in fields(Config)]
    if key in names:
        return key
    nearest = difflib.get_close_matches(key, names, n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"Known are: {', '.join(names)}."
    raise ConfigError(f"{where}: no such setting. {hint}")


def _fit(key: str, value: Any, kind: Any) -> Any:
    """The value as its field's type, or an error that names both."""
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    try:
        if choices:
            if value not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return value
        if kind is bool:
            return _truth(value)
        if typing.get_origin(kind) in _LISTS:
            return tuple(filter(None, value.split(os.pathsep)) if isinstance(value, str) else map(str, value))
        return Path(value).expanduser() if kind is Path else kind(value)
    except (TypeError, ValueError) as error:
        named = kind.__name__ if isinstance(kind, type) else kind
        raise ConfigError(f"{key} is {value!r}; expected {named}: {error}") from error


def _truth(value: Any) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ValueError("say true or false")
    return words[str(value).lower()]
