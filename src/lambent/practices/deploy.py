"""A folder becomes a function, or its next code, through any Lambda endpoint."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from lambent.practices import package

Clients = Callable[[str], Any]
"""A boto3 client by service name."""

Progress = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""Shows that something goes on, for as long as its block lasts; what it gives says what just now."""

_RUNTIME: Final = re.compile(r"python(3\.\d+)")
_OLDEST, _NEWEST = 10, 14
_NEWEST_NODE: Final = "nodejs24.x"
_CUSTOM: Final = "provided.al2023"
# The waiters' own delay is a second or five; here a function is there within a tenth. 30 s in all.
_WAIT: Final = {"Delay": 0.05, "MaxAttempts": 600}

_PUBLIC: Final[list[dict[str, Any]]] = [
    {
        "StatementId": "FunctionURLAllowPublicAccess",
        "Action": "lambda:InvokeFunctionUrl",
        "FunctionUrlAuthType": "NONE",
    },
    {
        "StatementId": "FunctionURLAllowInvokeAction",
        "Action": "lambda:InvokeFunction",
        "InvokedViaFunctionUrl": True,
    },
]


@contextlib.contextmanager
def quietly(_what: str) -> Iterator[Callable[[str], None]]:
    """No progress is shown."""
    yield lambda _text: None


def deploy_folder(
    clients: Clients, folder: Path, settings: dict[str, Any], *, name: str | None = None, progress: Progress = quietly
) -> dict[str, Any]:
    """The configuration of the function, once it is Active.

    `settings` are CreateFunction's members; the handler is found when they do not name it, the runtime is that of the
    folder's files (of Python, this one), and the name is the folder's. Requirements are installed into the package.

    Raises:
        PackageError: the folder has no handler, or its requirements cannot be installed.
        botocore.exceptions.ClientError: what the service refuses.
    """
    functions, name = clients("lambda"), name or folder.resolve().name
    existing = _existing(functions, name)
    runtime = settings.get("Runtime") or _kept_runtime(existing, folder) or default_runtime(folder)
    handler = settings.get("Handler") or package.find_handler(folder, _language(runtime))
    settings = {"Handler": handler, "Runtime": runtime, **settings}
    code = _package(folder, runtime, progress)
    if existing is None:
        role = settings.get("Role") or _default_role(clients)
        functions.create_function(FunctionName=name, Code={"ZipFile": code}, **{**settings, "Role": role})
    else:
        functions.update_function_code(FunctionName=name, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
        functions.update_function_configuration(FunctionName=name, **settings)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
    configuration: dict[str, Any] = functions.get_function_configuration(FunctionName=name)
    del configuration["ResponseMetadata"]
    return configuration


def public_url(functions: Any, name: str) -> str:
    """The function's URL, which anybody may call. One that exists stays as it is: with AWS_IAM, say.

    `functions` is a boto3 client. The statements have the names that the Lambda console gives them.

    Raises:
        botocore.exceptions.ClientError: what the service refuses.
    """
    try:
        config = functions.get_function_url_config(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        config = functions.create_function_url_config(FunctionName=name, AuthType="NONE")
    if config["AuthType"] == "NONE":
        for statement in _PUBLIC:
            with contextlib.suppress(functions.exceptions.ResourceConflictException):  # it is there already
                functions.add_permission(FunctionName=name, Principal="*", **statement)
    url: str = config["FunctionUrl"]
    return url


def default_runtime(folder: Path) -> str:
    """The runtime of the folder's language: of Python, that of the one that runs this, or the nearest of Lambda's."""
    language = package.language(folder)
    if language in (package.NODEJS, package.PROVIDED):
        return _NEWEST_NODE if language == package.NODEJS else _CUSTOM
    return f"python3.{min(max(sys.version_info.minor, _OLDEST), _NEWEST)}"


def _kept_runtime(existing: dict[str, Any] | None, folder: Path) -> str | None:
    """The function's own, unless the files are of another language now."""
    runtime: str = (existing or {}).get("Runtime", "")
    return runtime if package.language(folder) in (None, _language(runtime)) else None


def _language(runtime: str) -> str:
    return next((one for one in (package.NODEJS, package.PROVIDED) if runtime.startswith(one)), package.PYTHON)


def _package(folder: Path, runtime: str, progress: Progress) -> bytes:
    found = _RUNTIME.fullmatch(runtime)
    file = package.requirements(folder)
    if file is None or found is None:
        return package.build(folder, with_node_modules=found is None)
    with progress(f"installing {file.name} for Python {found[1]}") as say:
        installed = package.install(file, found[1], say)
    return package.build(folder, installed)


def _existing(functions: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = functions.get_function_configuration(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        return None
    return found


def _default_role(clients: Clients) -> str:
    return f"arn:aws:iam::{clients('sts').get_caller_identity()['Account']}:role/lambent-deploy"
