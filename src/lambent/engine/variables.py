"""The environment variables that a function finds. Pure.

Source: AWS Lambda Developer Guide, "Using Lambda environment variables: defined runtime environment variables".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lambent.engine.spec import ON_DEMAND, FunctionSpec

EXEC_WRAPPER: Final = "AWS_LAMBDA_EXEC_WRAPPER"
RUNTIME_DIR: Final = "/var/runtime"
RUNTIME_API: Final = "169.254.100.1:9001"

PROXY_URL: Final = "http://169.254.100.1:80"
# Not all clients know ranges, so the addresses in use are named too.
_NOT_PROXIED: Final = "127.0.0.1,localhost,::1,169.254.100.1,169.254.79.129,169.254.0.0/16"

_PATH: Final = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
_LIBRARIES: Final = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things are inside an environment. The defaults are AWS's; without walls they are the host's own paths."""

    has_walls: bool = True
    task_root: str = "/var/task"
    runtime_dir: str = RUNTIME_DIR
    node_modules: str = f"{RUNTIME_DIR}/node_modules"
    tmp: str = ""  # a folder of its own, where that is not /tmp
    layer_roots: tuple[str, ...] = ("/opt",)
    extra_paths: tuple[str, ...] = ()  # more folders of the managed runtime's packages
    runtime_api: str = RUNTIME_API
    endpoint_url: str = ""  # where the platform's own API answers from inside
    proxy_url: str = ""  # of the way to the internet; "" is none, or one that needs no proxy


def variables(
    spec: FunctionSpec,
    stream: str,
    credentials: Mapping[str, str],
    place: Place,
    initialization_type: str = ON_DEMAND,
) -> dict[str, str]:
    """Defaults, over them the function's own variables, over them the reserved ones."""
    reserved = {
        "_HANDLER": spec.handler,
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_RUNTIME_API": place.runtime_api,
        "LAMBDA_TASK_ROOT": place.task_root,
        "LAMBDA_RUNTIME_DIR": place.runtime_dir,
        **credentials,
    }
    if not spec.runtime.startswith("provided"):
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{spec.runtime}"
    if spec.log_format.upper() == "JSON":
        reserved["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        reserved["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level or "INFO"
    return {**defaults(spec, place), **spec.environment, **reserved}


def defaults(spec: FunctionSpec, place: Place) -> dict[str, str]:
    """What a function may set otherwise: the same for all functions of a runtime, but for the way to the internet."""
    result = {
        "LANG": "en_US.UTF-8",
        **_of_language(spec.runtime, place),
        "TZ": ":UTC",
        "PWD": place.task_root,
        "SHLVL": "0",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if place.tmp:
        result["TMPDIR"] = place.tmp
    if place.endpoint_url:
        # Not reserved: a function may point its clients elsewhere, as it may on AWS.
        result["AWS_ENDPOINT_URL"] = place.endpoint_url
    if place.proxy_url and not spec.in_vpc:
        result |= _proxied(place.proxy_url, spec)
    return result


def _proxied(url: str, spec: FunctionSpec) -> dict[str, str]:
    """What makes HTTP clients use the proxy, in both spellings. A function that sets one of them has set both."""
    wanted = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": _NOT_PROXIED}
    theirs = {name.upper() for name in spec.environment}
    left = {name: value for name, value in wanted.items() if name not in theirs}
    # Node.js looks at the others only then, and takes some 40 ms longer to start.
    node = {"NODE_USE_ENV_PROXY": "1"} if spec.runtime.startswith("nodejs") else {}
    return {**node, **left, **{name.lower(): value for name, value in left.items()}}


def _of_language(runtime: str, place: Place) -> dict[str, str]:
    """Where programs, libraries and modules are looked for."""
    if runtime.startswith("provided"):
        return {"PATH": _PATH, "LD_LIBRARY_PATH": _LIBRARIES}
    own = {"PATH": f"/var/lang/bin:{_PATH}", "LD_LIBRARY_PATH": f"/var/lang/lib:{_LIBRARIES}"}
    if runtime.startswith("nodejs"):
        major = runtime.removeprefix("nodejs").removesuffix(".x")
        layers = [
            folder
            for root in place.layer_roots
            for folder in (f"{root}/nodejs/node{major}/node_modules", f"{root}/nodejs/node_modules")
        ]
        folders = [*layers, place.node_modules, place.runtime_dir, place.task_root]
        return {**own, "NODE_PATH": ":".join(folders)}
    return {**own, "PYTHONPATH": place.runtime_dir}


def sys_path(spec: FunctionSpec, place: Place) -> list[str]:
    """What a Python runtime puts before its standard library: code, layers, the managed runtime's packages."""
    version = spec.runtime.removeprefix("python")
    layers = [
        folder
        for root in place.layer_roots
        for folder in (f"{root}/python/lib/python{version}/site-packages", f"{root}/python")
    ]
    return [place.task_root, *layers, place.runtime_dir, *place.extra_paths]
