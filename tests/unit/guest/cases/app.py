"""Handlers whose answers, errors and log must be the same under our bootstrap and under AWS's runtime client."""

import atexit
import collections
import datetime
import decimal
import enum
import json
import logging
import os
import sys
import threading
import typing
import warnings

# Said when the coroutine is thrown away: sometimes before the log is looked at, sometimes after.
warnings.filterwarnings("ignore", message="coroutine .* was never awaited")


class Point(typing.NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 1


class Named(str, enum.Enum):  # noqa: UP042 (python3.10 has no StrEnum)
    A = "a"


class AsDict:
    def _asdict(self):
        return {"k": decimal.Decimal("1.50")}


class Odd(float):
    def __repr__(self):
        return "odd"


class LoudError(Exception):
    def __str__(self):
        return "loud\nand long"


class SilentError(Exception):
    pass


def _circle():
    ring = {}
    ring["ring"] = [ring]
    return ring


def _deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


VALUES = {
    "none": lambda: None,
    "true": lambda: True,
    "int": lambda: 10**400,
    "digits": lambda: 10**5000,
    "floats": lambda: [1.0, 1e22, 1e16, -0.0, 5e-324, 0.1],
    "infinite": lambda: [float("nan"), float("inf"), float("-inf")],
    "decimals": lambda: [decimal.Decimal(t) for t in ("1.10", "1E+5", "-0", "NaN", "Infinity", "-Infinity")],
    "a decimal": lambda: decimal.Decimal("3.140"),
    "decimal key": lambda: {decimal.Decimal(1): 1},
    "keys": lambda: {0: 1, None: 2, True: 3, 1.5: 4, Colour.RED: 5, Named.A: 6},
    "nan key": lambda: {float("nan"): 1, float("inf"): 2},
    "tuple key": lambda: {(1, 2): 3},
    "bytes key": lambda: {b"k": 1},
    "bytes inside": lambda: {"b": b"text"},
    "bad bytes inside": lambda: [b"\xff"],
    "bytes": lambda: b"\x00raw",
    "empty bytes": lambda: b"",
    "bytearray": lambda: bytearray(b"x"),
    "named tuple": lambda: Point(1, 2),
    "named tuples": lambda: {"points": [Point(1, 2), (3, 4)]},
    "int enum": lambda: [Colour.RED, Named.A],
    "asdict": lambda: [AsDict()],
    "odd float": lambda: [Odd(1.5)],
    "ordered": lambda: collections.OrderedDict(b=1, a=2),
    "default": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("aab"),
    "chain": lambda: collections.ChainMap({"a": 1}),
    "deque": lambda: collections.deque([1]),
    "set": lambda: {1},
    "generator": lambda: (x for x in [1]),
    "range": lambda: range(3),
    "date": lambda: {"at": datetime.date(2020, 1, 1)},
    "object": lambda: {"o": object},
    "function": lambda: [len],
    "complex": lambda: 1j,
    "exception": lambda: ValueError("x"),
    "circle": _circle,
    "deep": lambda: _deep(200),
    "deeper": lambda: _deep(100_000),
    "text": lambda: 'naïve \u2028 \U0001f600 \x7f \x00 \\ " / </script>',
    "surrogate pair": lambda: "\ud83d\ude00",
    "duplicate keys": lambda: {1: "a", "1": "b"},
    "large": lambda: "x" * 1_000_000,
    "empty": dict,
    "nested json": lambda: json.dumps({"a": 1}),
}


def _raise(error):
    raise error


def _chain():
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("outer") from error


def _group():
    raise ExceptionGroup("many", [ValueError("a"), TypeError("b")])


def _noted():
    error = ValueError("noted")
    error.add_note("a note")
    raise error


def _nested(levels):
    if levels:
        _nested(levels - 1)
    raise ValueError("bottom")


ERRORS = {
    "plain": lambda: _raise(ValueError("bad value")),
    "without text": lambda: _raise(SilentError()),
    "lines": lambda: _raise(LoudError()),
    "two arguments": lambda: _raise(ValueError("a", 2)),
    "unicode": lambda: _raise(ValueError("größer \U0001f600 \x00")),
    "chain": _chain,
    "group": _group,
    "noted": _noted,
    "nested": lambda: _nested(30),
    "key": lambda: {}["k"],
    "stop": lambda: next(iter([])),
    "json": lambda: json.loads("{"),
    "from library": lambda: int("x"),
    "eval": lambda: eval("1/0"),
    "assertion": lambda: _raise(AssertionError()),
    "os": lambda: os.stat("/no/such/file"),
    "timeout": lambda: _raise(TimeoutError("slow")),
    "memory": lambda: _raise(MemoryError()),
    "cancelled": lambda: _raise(__import__("concurrent.futures").futures.CancelledError()),
}


def _print_much():
    print("one")
    print("two", "words", sep="\n")
    print("no end", end="")
    print()
    print("to stderr", file=sys.stderr)
    print()
    print("ümläut \U0001f600")
    print("tab\tand\rreturn")
    sys.stdout.write("written\n")
    sys.stdout.writelines(["a\n", "b\n"])
    print(flush=True)
    os.write(1, b"raw \xff bytes\n")


def _log_much():
    log = logging.getLogger("my.logger")
    log.setLevel(logging.DEBUG)
    log.debug("debug %s", 1)
    log.info("info\nwith two lines")
    log.warning("warning %(a)s", {"a": 1})
    logging.error("root error")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("with a traceback")
        logging.critical("critical", exc_info=True)
    log.info({"a": "dict", "n": 1})
    log.info("extra", extra={"order": 7, "when": datetime.date(2020, 1, 1)})
    log.log(25, "between")
    log.warning("stack", stack_info=False)
    log.warning("")
    print("partial", end="")
    log.warning("meanwhile")
    print(" line")
    warnings.warn("a warning", stacklevel=1)


def _thread():
    def body():
        logging.getLogger().warning("from a thread")
        raise ValueError("in a thread")

    thread = threading.Thread(target=body, name="worker")
    thread.start()
    thread.join()


LOGS = {
    "print": _print_much,
    "log": _log_much,
    "thread": _thread,
    "silent": lambda: None,
    "unfinished": lambda: print("no line end", end=""),
    "surrogate": lambda: print("\ud800"),
}


def values(event, context):
    return VALUES[event]()


def errors(event, context):
    return ERRORS[event]()


def logs(event, context):
    return LOGS[event]()


def echo(event, context):
    return {"event": event, "kind": type(event).__name__, "repr": ascii(event)[:200]}


def show_context(event, context):
    left_ms = context.get_remaining_time_in_millis()
    context.log("through the context\n")
    context.log({"any": "object"})
    names = sorted(n for n in dir(context) if not n.startswith("_"))
    client = context.client_context
    return {
        "names": names,
        "repr": repr(context).replace(context.log_stream_name, "STREAM"),
        "left": 0 < left_ms <= 30_000,
        "kind": type(left_ms).__name__,
        "identity": [context.identity.cognito_identity_id, repr(context.identity)],
        "client": client and [repr(client), client.custom, client.env, client.client and client.client.app_title],
        "w3c": context.w3c(),
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
    }


def show_process(event, context):
    variables = {
        k: v for k, v in os.environ.items() if not k.startswith(("_LAMBDA", "AWS_LAMBDA_EXEC", "AWS_LAMBDA_METADATA"))
    }
    for name in ("AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "PWD", "OLDPWD", "_", "SHLVL"):
        variables.pop(name, None)
    return {
        "variables": sorted(variables.items()),
        "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"],
        "first path": sys.path[0] == os.environ["LAMBDA_TASK_ROOT"],
        "encodings": [sys.stdout.encoding, sys.stdout.errors, sys.stderr.encoding, sys.stderr.errors],
        "exit": callable(exit),
        "threads": threading.active_count(),
        "main": threading.current_thread() is threading.main_thread(),
        "handlers": [type(h).__name__[:19] for h in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "stdin": sys.stdin.read(),
    }


def _at_exit():
    atexit.register(print, "at exit")
    sys.exit(5)


ENDS = {
    "exit": lambda: sys.exit(),
    "exit 3": lambda: sys.exit(3),
    "exit text": lambda: sys.exit("goodbye"),
    "os exit": lambda: os._exit(4),
    "kill": lambda: os.kill(os.getpid(), 9),
    "abort": os.abort,
    "base exception": lambda: _raise(BaseException("not an Exception")),
    "generator exit": lambda: _raise(GeneratorExit()),
    "surrogate error": lambda: _raise(ValueError("\ud800")),
    "at exit": _at_exit,
}


def leave(event, context):
    print("leaving")
    ENDS[event]()


async def coroutine(event, context):
    return 1


def generator(event, context):
    yield 1


class Callable:
    def __call__(self, event, context):
        return "called"


called = Callable()
not_callable = 7


def one_argument(event):
    return event
