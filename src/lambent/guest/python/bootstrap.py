"""The Python runtime: loads the handler, then runs one invocation after the other.

A launcher imports this module once, clones itself, and its child calls `main` as its last act. The platform talks
with it over `control`: frames with a 5-byte header (length, type). Run as a script (behind AWS_LAMBDA_EXEC_WRAPPER)
it speaks the HTTP Runtime API instead. Loading and its errors, error documents, logging and JSON are those of the
managed runtimes; `tests/unit/guest` runs the same functions through AWS's own runtime client and compares.

Nothing here is a barrier: whatever a function does to this process, the platform's side has to stand.

Source: AWS Lambda Developer Guide, "Building Lambda functions with Python"; awslambdaric 4.x, `bootstrap`.
"""

import atexit
import importlib
import importlib.machinery
import importlib.util
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any, NoReturn, Protocol

INIT, INVOKE = 1, 2
READY, RESPONSE, ERROR, INIT_ERROR = 16, 17, 18, 19
STREAM, CHUNK, STREAM_END, STREAM_ERROR, LEARNT = 20, 21, 22, 23, 24
_HEAD = struct.Struct("!IB")
_CHUNK_BYTES = 1_048_576
_STDLIB = os.path.dirname(os.__file__)

Handler = Callable[[Any, Any], Any]


def _sibling(name: str, folder: str = os.path.dirname(__file__)) -> ModuleType:
    """A module of this folder, kept out of `sys.modules`, where a function may have one of the same name."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, name + ".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if name in _LATER:
        exec(_LATER[name], module.__dict__)  # noqa: S102
    else:
        spec.loader.exec_module(module)
    return module


def _code(name: str) -> Any:
    path = os.path.join(os.path.dirname(__file__), name + ".py")
    return importlib.machinery.SourceFileLoader(name, path).get_code(name)


# Not every environment needs them. Its clones find the code in memory, where it need not be read or even compiled.
_NEEDED_LATER = ("runtime_extensions", "runtime_http", "runtime_packages", "runtime_snapshots")
_LATER = {} if __name__ == "__main__" else {name: _code(name) for name in _NEEDED_LATER}


runtime_context = _sibling("runtime_context")
runtime_json = _sibling("runtime_json")
runtime_logs = _sibling("runtime_logs")
runtime_stream = _sibling("runtime_stream")


class Fault(Exception):
    """An error of the runtime's own: its AWS type, its text, and what to show as the stack."""

    def __init__(self, kind: str, text: str, trace: "list[str] | None" = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.trace = trace


class Platform(Protocol):
    """Who hands out invocations and takes their results."""

    def ready(self) -> None: ...
    def next(self) -> "tuple[dict[str, Any], bytes]": ...
    def response(self, payload: bytes) -> None: ...
    def error(self, payload: bytes) -> None: ...
    def init_error(self, payload: bytes) -> None: ...
    def stream(self, content_type: str) -> None: ...
    def chunk(self, data: bytes) -> None: ...
    def stream_end(self) -> None: ...
    def stream_error(self, payload: bytes) -> None: ...


class FramePlatform:
    """The platform at the other end of a socketpair."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(True)
        self._control = control

    def receive(self) -> "tuple[int, bytes]":
        """One frame. There is never a second one behind it: each side waits for the other."""
        data = self._control.recv(65536)
        while data and len(data) < _HEAD.size:
            data += self._control.recv(65536)
        if not data:
            os._exit(0)  # the platform is gone
        length, kind = _HEAD.unpack_from(data)
        end = _HEAD.size + length
        if len(data) >= end:
            return kind, data[_HEAD.size :]
        whole = bytearray(end)
        whole[: len(data)] = data
        rest = memoryview(whole)[len(data) :]
        while rest:
            count = self._control.recv_into(rest)
            if not count:
                os._exit(0)
            rest = rest[count:]
        return kind, bytes(memoryview(whole)[_HEAD.size :])

    def send(self, kind: int, payload: bytes = b"") -> None:
        self._control.sendall(_HEAD.pack(len(payload), kind) + payload)

    def order(self) -> "dict[str, Any]":
        """The INIT frame, which is the first one of an environment."""
        order: dict[str, Any] = json.loads(self.receive()[1])
        return order

    def learnt(self, findings: "dict[str, Any]") -> None:
        self.send(LEARNT, json.dumps(findings).encode())

    def ready(self) -> None:
        self.send(READY)

    def next(self) -> "tuple[dict[str, Any], bytes]":
        _kind, data = self.receive()
        end = 4 + int.from_bytes(data[:4], "big")
        return json.loads(data[4:end]), data[end:]

    def response(self, payload: bytes) -> None:
        self.send(RESPONSE, payload)

    def error(self, payload: bytes) -> None:
        self.send(ERROR, payload)

    def init_error(self, payload: bytes) -> None:
        self.send(INIT_ERROR, payload)

    def stream(self, content_type: str) -> None:
        self.send(STREAM, content_type.encode())

    def chunk(self, data: bytes) -> None:
        """Waits while whoever reads the answer is slower than the function."""
        for start in range(0, len(data), _CHUNK_BYTES):
            self.send(CHUNK, data[start : start + _CHUNK_BYTES])

    def stream_end(self) -> None:
        self.send(STREAM_END)

    def stream_error(self, payload: bytes) -> None:
        self.send(STREAM_ERROR, payload)


def main(control: socket.socket, multiply: "Callable[[], None] | None" = None) -> NoReturn:
    """Serves until the process ends: waits for the INIT frame, loads the handler, runs invocations.

    In a zygote, `multiply` has children, for ever, and returns in each of them.
    """
    try:
        platform = FramePlatform(control)
        order = platform.order()
        _settle(order)
        talk: Platform = platform
        if order.get("extensions"):
            # Loaded behind the walls, where the launcher's own folder is not to be seen.
            folder = _runtime_folder()
            _sibling("runtime_extensions", folder).stand_between(order["extensions"], control)
            talk = _sibling("runtime_http", folder).HttpPlatform(os.environ["AWS_LAMBDA_RUNTIME_API"])
        if order.get("wrapper"):
            _exec_wrapper(order["wrapper"])
        serve(order["handler"], talk, log_fd=1, start=Start(order, platform, multiply))
    except BaseException as error:
        _leave(error)
    _leave(None)


def _put_on(order: "dict[str, Any]") -> None:
    """The environment variables."""
    os.environ.clear()
    os.environ.update(order["environment"])
    runtime_context.forget_names()
    time.tzset()


def prepare() -> "Callable[[], None]":
    """Does what does not depend on a function, in the process that environments are copies of.

    What is given back is for a copy to do while it waits.
    """
    rehearse: Callable[[], None] = _sibling("runtime_rehearsal").prepare(sys.modules[__name__])
    return rehearse


def _settle(order: "dict[str, Any]") -> None:
    """Makes this copy the process that its function expects."""
    _put_on(order)
    sys.path[:] = _whole_path(order["sys_path"])


def _whole_path(own: "list[str]") -> "list[str]":
    return [*own, *(path for path in sys.path if _is_stdlib(path) and path not in own)]


def _is_stdlib(path: str) -> bool:
    # Not the host's own packages: a function sees its own and the managed runtime's.
    return path.startswith((_STDLIB, sys.base_prefix)) and "-packages" not in path


def _runtime_folder() -> str:
    folder = os.environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    return folder if os.path.exists(os.path.join(folder, "bootstrap.py")) else os.path.dirname(__file__)


def _unseen(name: str) -> ModuleType:
    """A module of the runtime's own, with what it imports: a function sees that these are imported when it does it."""
    known = set(sys.modules)
    module = _sibling(name, _runtime_folder())
    for new in set(sys.modules) - known:
        del sys.modules[new]
    return module


def _exec_wrapper(wrapper: str) -> NoReturn:
    """Hands the process to the wrapper script, with the runtime's usual command as its arguments."""
    script = os.path.join(_runtime_folder(), "bootstrap.py")
    # AWS's runtime client frames its records when it is told where; the script's children inherit the pipe.
    log_fd = os.dup(1)
    os.set_inheritable(log_fd, True)
    os.environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(log_fd)
    try:
        os.execv(wrapper, [wrapper, sys.executable, script])
    except OSError as error:
        sys.stderr.write(f"{script}: {wrapper}: {error.strerror}\n")
        os._exit(126 if isinstance(error, PermissionError) else 127)


class Start:
    """What precedes the loading of a handler, and what follows it, where the platform wants more than that."""

    def __init__(self, order: "dict[str, Any]", platform: FramePlatform, multiply: "Callable[[], None] | None") -> None:
        self._order = order
        self._platform = platform
        self._multiply = multiply
        self._packages: Any = None
        self._recorder: Any = None

    def before_load(self) -> str:
        """The handler to load. In a zygote of packages: imports them, has children, and returns in these."""
        if "roots" in self._order:
            self._import_ahead()
        elif self._order.get("learn"):
            self._recorder = self._load_packages().Recorder()
            sys.meta_path.insert(0, self._recorder)
        handler: str = self._order["handler"]
        return handler

    def after_load(self, fail: "Callable[[BaseException, str], NoReturn]") -> None:
        """Tells what was learnt, or has the snapshot taken and goes on restored. `fail` tells of a hook's error."""
        if self._recorder:
            sys.meta_path.remove(self._recorder)
            order = self._order
            findings = self._packages.learn(self._recorder, order["environment"], _whole_path(order["sys_path"]))
            self._platform.learnt(findings)
        if self._order.get("snap_start"):
            self._pass_snapshot(fail)

    def _pass_snapshot(self, fail: "Callable[[BaseException, str], NoReturn]") -> None:
        snapshots = _unseen("runtime_snapshots")
        try:
            snapshots.before_snapshot()
        except BaseException as error:
            fail(error, "Runtime.BeforeSnapshotError")
        if self._multiply:
            self._be_copied(snapshots, self._multiply)
        try:
            snapshots.after_restore()
        except BaseException as error:
            fail(error, "Runtime.AfterRestoreError")

    def _be_copied(self, snapshots: Any, multiply: "Callable[[], None]") -> None:
        """Has copies, and returns in each. One that cannot be made says why, and ends."""
        packages = self._load_packages()
        obstacle = "it has threads" if packages.has_threads() else snapshots.obstacle()
        if obstacle:
            self._platform.learnt({"obstacle": obstacle})
        files = snapshots.descriptors()
        packages.rest()
        self._platform.ready()
        if obstacle:
            self._platform.receive()  # until the platform ends this process
        multiply()
        packages.refresh(sys.modules.get)
        snapshots.renew_descriptors(files)
        self._order = self._platform.order()
        _put_on(self._order)

    def _load_packages(self) -> Any:
        self._packages = _unseen("runtime_packages")
        return self._packages

    def _import_ahead(self) -> None:
        packages, roots = self._load_packages(), self._order["roots"]
        if self._order["is_trial"]:
            self._platform.learnt({"left_out": packages.Trial(self._order["variables"]).run(roots)})
            os._exit(0)
        assert self._multiply is not None
        shelf = packages.import_roots(roots)
        if packages.has_threads():
            os._exit(1)  # a copy would have one of them
        packages.rest()
        self._platform.ready()
        self._multiply()
        packages.refresh(shelf.get)
        shelf.touch()
        self._order = self._platform.order()
        _put_on(self._order)
        sys.path[:] = _whole_path(self._order["sys_path"])
        shelf.install()


def serve(handler_name: str, platform: Platform, *, log_fd: int, start: "Start | None" = None) -> NoReturn:
    """Loads the handler, then runs invocations without end."""
    logs = runtime_logs.Logs(log_fd)
    encoder = runtime_json.Encoder(os.environ.get("AWS_EXECUTION_ENV"))
    if start:
        handler_name = start.before_load()
    reply = Reply(platform, logs, encoder)
    handler = _load_or_report(handler_name, reply)
    if start:
        start.after_load(lambda error, kind: _fail_hook(error, kind, reply))
    platform.ready()
    while True:
        header, payload = platform.next()
        logs.current.request_id = header["request_id"]
        logs.current.tenant_id = header.get("tenant_id")
        _set_trace(header.get("trace"))
        _run(handler, header, payload, Reply(platform, logs, encoder))


class Reply:
    """How the result of an invocation leaves."""

    def __init__(self, platform: Platform, logs: Any, encoder: Any) -> None:
        self.platform = platform
        self.logs = logs
        self.encoder = encoder

    def report(self, text: str, kind: str, trace: "list[str] | None", request_id: str) -> bytes:
        """Logs an error and gives its document."""
        document = {"errorMessage": text or "", "errorType": kind or "", "requestId": request_id}
        report = {**document, "stackTrace": trace or []}
        self.logs.error(report, self.encoder.encode)
        encoded: str = self.encoder.encode(report)
        return encoded.encode()


def _run(handler: Handler, header: "dict[str, Any]", payload: bytes, reply: Reply) -> None:
    """One invocation. What the handler returned lives until the answer is out, as in the managed runtime."""
    parts = None
    try:
        context = _context(header)
        answer = handler(_event(payload), context)
        if header.get("stream") and isinstance(answer, Iterator):
            parts = runtime_stream.Parts(answer, reply.encoder.encode)
            encoded = parts.next()
        else:
            encoded = _encoded(answer, reply.encoder)
    except Exception as error:
        report = _report_of(error)
    else:
        if parts is None:
            reply.platform.response(encoded)
        else:
            _stream(parts, encoded, header["request_id"], reply)
        return
    reply.platform.error(reply.report(*report, header["request_id"]))


def _stream(parts: Any, first: "bytes | None", request_id: str, reply: Reply) -> None:
    """Passes on what a handler yields, as it yields it, from the first of it on."""
    data = first
    reply.platform.stream(parts.content_type)
    while data is not None:
        reply.platform.chunk(data)
        try:
            data = parts.next()
        except Exception as error:
            reply.platform.stream_error(reply.report(*_report_of(error), request_id))
            return
    reply.platform.stream_end()


def _report_of(error: Exception) -> "tuple[str, str, list[str] | None]":
    """An error's text, type and stack, as its document shows them."""
    if isinstance(error, Fault):
        return error.text, error.kind, error.trace
    if isinstance(error, runtime_stream.UnfitItemError):
        return f"Unable to marshal response: {error}", "Runtime.MarshalError", None
    return str(error), type(error).__name__, _user_trace(error.__traceback__)


def _load_or_report(handler_name: str, reply: Reply) -> Handler:
    try:
        if os.environ.get("AWS_EXECUTION_ENV") in _PREVIEWS and not os.environ.get("LAMBDA_DISABLE_PREVIEW_WARN"):
            logging.warning(_PREVIEW_WARNING)
        return load(handler_name)
    except Exception as error:
        report = _report_of(error)
    logging.warning(_UNHANDLED_WARNING)
    reply.platform.init_error(reply.report(*report, ""))
    sys.exit(1)


def _fail_hook(error: BaseException, kind: str, reply: Reply) -> NoReturn:
    """A hook of a snapshot failed: its error under the runtime's own type, as the managed runtime exits."""
    trace = _user_trace(error.__traceback__)
    reply.platform.init_error(reply.report(str(error), kind, trace, ""))
    sys.exit(64 if kind == "Runtime.BeforeSnapshotError" else 65)


def load(handler: str) -> Handler:
    """The handler that `module.function` names (`package/module.function` too).

    Raises:
        Fault: Runtime.MalformedHandlerName, .BuiltInModuleConflict, .ImportModuleError, .UserCodeSyntaxError or
            .HandlerNotFound. Any other exception is one of the module's own.
    """
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        text = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", text)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        text = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", text) from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [place]
        ) from None
    try:
        function: Handler = getattr(module, function_name)
    except AttributeError:
        text = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", text) from None
    return function


def _context(header: "dict[str, Any]") -> Any:
    parsed = {}
    for name, shown in (("client_context", "Client Context"), ("cognito_identity", "Cognito Identity")):
        try:
            parsed[name] = runtime_json.header_object(header.get(name))
        except Exception as error:
            text = f"Unable to parse {shown} JSON: {error}"
            raise Fault("Runtime.LambdaContextUnmarshalError", text) from None
    return runtime_context.LambdaContext(header, parsed["client_context"], parsed["cognito_identity"])


def _event(payload: bytes) -> Any:
    try:
        return runtime_json.decode(payload)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def _encoded(answer: Any, encoder: Any) -> bytes:
    if isinstance(answer, bytes):
        return answer
    try:
        text: str = encoder.encode(answer)
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # A lone surrogate ends the managed runtime: it fails behind its own error handling.
        _leave(error)


def _user_trace(trace: "TracebackType | None") -> "list[str]":
    """The stack from the first frame that is not this runtime's."""
    frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(trace)]
    ours = ("/bootstrap.py", "/runtime_stream.py")
    own = next((index for index, frame in enumerate(frames) if not frame[0].endswith(ours)), 0)
    return traceback.format_list(frames[own:])  # type: ignore[arg-type]


def _set_trace(header: "str | None") -> None:
    if header is None:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    else:
        os.environ["_X_AMZN_TRACE_ID"] = header


def _leave(error: "BaseException | None") -> NoReturn:
    """Ends this clone as the interpreter would end: threads joined, exit functions run, streams flushed."""
    status = 0
    try:
        if isinstance(error, SystemExit):
            status = _exit_status(error.code)
        elif error is not None:
            sys.excepthook(type(error), error, error.__traceback__)
            status = 130 if isinstance(error, KeyboardInterrupt) else 1
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _exit_status(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


_PREVIEWS = ("AWS_Lambda_python3.15",)
_PREVIEW_WARNING = (
    "LAMBDA_WARNING: This is a preview runtime version and should not be used for production workloads. For further "
    "information and to provide feedback, see https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html\r"
)
_UNHANDLED_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. However, in rare "
    "cases, a Lambda runtime update can cause unexpected function behavior. For functions using managed runtimes, "
    "runtime updates can be triggered by a function change, or can be applied automatically. To determine if the "
    "runtime has been updated, check the runtime version in the INIT_START log entry. If this error correlates with a "
    "change in the runtime version, you may be able to mitigate this error by temporarily rolling back to the previous "
    "runtime version. For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)


def _script() -> NoReturn:
    """What a wrapper starts: the handler from _HANDLER, the platform at AWS_LAMBDA_RUNTIME_API."""
    log_fd = int(os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", "1"))
    own = os.path.dirname(os.path.abspath(__file__))
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    sys.path[:] = [task_root, *(path for path in sys.path if path not in (own, task_root)), own]
    runtime_logs.open_streams()
    http = _sibling("runtime_http")
    serve(os.environ["_HANDLER"], http.HttpPlatform(os.environ["AWS_LAMBDA_RUNTIME_API"]), log_fd=log_fd)


if __name__ == "__main__":
    _script()
