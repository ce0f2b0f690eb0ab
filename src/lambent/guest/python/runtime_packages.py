"""Third-party packages imported ahead of a function: learnt from its first Init, tried, put on a shelf.

A *root* is a third-party module that something else than a third-party module imported. `Recorder` finds them during
an ordinary Init. In a zygote `import_roots` imports them again, in their order, with everything they import; then they
leave `sys.modules` for the shelf. The function's own imports take them from there, each with what its import had
brought, in the order in which it had come: what a function can see is what it would have seen without us.

Third-party is what lies in /opt and /var/runtime, and of /var/task what pip recorded there (`*.dist-info/RECORD`).
"""

import gc
import importlib
import importlib.machinery
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

_RECORDS_BYTES = 8 << 20
_READ_ONLY = ("/usr/", "/bin/", "/lib", "/opt/", "/var/task", "/var/runtime", "/var/lang", "/etc/", "/nix/", "/dev/")
_COMMON_FILES = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/", "/proc/version", "/sys/")
_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
_STARTS = ("subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec")


class Recorder:
    """Notes the order in which modules begin to be imported; finds none itself."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._known = set(sys.modules)

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None) -> None:
        if name not in self._known:
            self._known.add(name)
            self.begun.append(name)


def learn(recorder: Recorder, environment: "dict[str, str]", sys_path: "list[str]") -> "dict[str, Any]":
    """After an Init: its roots, and which variables it changed. No roots where it changed where modules come from."""
    changed = [name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)]
    is_third_party = _third_party(sys_path)
    places = {name: place for place, name in enumerate(sys.modules)}
    roots: list[str] = []
    end = -1
    for name in recorder.begun:
        if places.get(name, -1) > end and is_third_party(name):
            roots.append(name)
            end = places[name]
    return {"roots": roots if sys.path == sys_path else [], "changed": sorted(changed)}


def _third_party(sys_path: "list[str]") -> "Callable[[str], bool]":
    task = sys_path[0]
    vendored = _vendored(task)

    def is_third_party(name: str) -> bool:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        if file.startswith(task + "/"):
            return name.partition(".")[0] in vendored
        return any(file.startswith(folder + "/") for folder in sys_path[1:] if not folder.startswith(sys.base_prefix))

    return is_third_party


def _vendored(task: str) -> "set[str]":
    """The top-level names that pip recorded as installed in that folder."""
    names: set[str] = set()
    left = _RECORDS_BYTES
    for folder in os.scandir(task):
        if not folder.name.endswith(".dist-info"):
            continue
        try:
            with open(f"{folder.path}/RECORD", encoding="utf-8", errors="replace") as file:
                text = file.read(left)
        except OSError:
            continue
        left -= len(text)
        names.update(line.partition(",")[0].partition("/")[0].partition(".")[0] for line in text.splitlines())
    return names - {""}


class Node:
    """A module that was imported here: what it is, and what its import brought, in the order of completion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module: Any = None
        self.brought: list[Node] = []


class Shelf:
    """Modules that have been imported and are in `sys.modules` no more: a finder that gives them back."""

    def __init__(self, roots: "list[Node]") -> None:
        self._nodes: dict[str, Node] = {}
        self._roots = roots
        self._touched: Any = None
        for root in roots:
            self._take(root)

    def install(self) -> None:
        """From now on imports find them."""
        if self._nodes:
            sys.meta_path.insert(0, self)

    def touch(self) -> None:
        """Makes copies of the pages now that imports will write to, for modules count who refers to them."""
        for node in list(self._nodes.values()):
            self._touched = (node.brought, node.module)

    def get(self, name: str) -> Any:
        node = self._nodes.get(name)
        return node.module if node else None

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "importlib.machinery.ModuleSpec | None":
        return importlib.machinery.ModuleSpec(name, self) if name in self._nodes else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, blank: ModuleType) -> None:
        """Puts the module where its import put it, behind what that had brought."""
        node = self._nodes[blank.__name__]
        if node in self._roots:  # what came before it, it may use without importing it
            for root in self._roots[: self._roots.index(node)]:
                self._put_back(root)
        self._put_back(node)
        if not self._nodes:
            sys.meta_path.remove(self)

    def _put_back(self, node: Node) -> None:
        for brought in node.brought:
            self._put_back(brought)
        if self._nodes.pop(node.name, None):
            sys.modules.pop(node.name, None)
            sys.modules[node.name] = node.module

    def _take(self, node: Node) -> None:
        for brought in node.brought:
            self._take(brought)
        node.module = sys.modules.pop(node.name, None)
        if node.module is not None:
            self._nodes[node.name] = node


def import_roots(roots: "list[str]") -> Shelf:
    """Imports them. What an import raises is raised."""
    recorder = Recorder()
    known = set(sys.modules)
    sys.meta_path.insert(0, recorder)
    top: list[Node] = []
    try:
        for name in roots:
            importlib.import_module(name)
            top += _tree(recorder.begun, known)
            recorder.begun = []
            known = set(sys.modules)
    finally:
        sys.meta_path.remove(recorder)
    return Shelf(top)


def _tree(begun: "list[str]", known: "set[str]") -> "list[Node]":
    """What one import brought. An import lies within another when it began later and was complete sooner."""
    places = {name: place for place, name in enumerate(sys.modules) if name not in known}
    top: list[Node] = []
    stack: list[Node] = []
    nodes = {name: Node(name) for name in begun if name in places}
    for name, node in nodes.items():
        while stack and places[stack[-1].name] < places[name]:
            stack.pop()
        (stack[-1].brought if stack else top).append(node)
        stack.append(node)
    # Some put modules there without an import of that name: `six.moves`, for one. They go with what came next.
    strays: list[Node] = []
    for name in places:
        if name in nodes:
            nodes[name].brought += strays
            strays = []
        else:
            strays.append(Node(name))
    return top + strays


class Trial:
    """Watches what imports do, in a process that serves nobody afterwards.

    `variables` are the names of environment variables that the function has and this process has not.
    """

    def __init__(self, variables: "list[str]") -> None:
        self._variables = frozenset(variables)
        self._findings: list[str] = []
        self._is_watching = False
        self._environ = os.environ
        sys.addaudithook(self._on_event)

    def run(self, roots: "list[str]") -> "tuple[str, str] | None":
        """The first root that cannot be imported ahead, and why."""
        self._variables_read()
        output = os.memfd_create("output")
        for fd in (1, 2):
            os.dup2(output, fd)
        before = _descriptors()
        for root in roots:
            self._is_watching = True
            try:
                importlib.import_module(root)
            except BaseException as error:
                self._findings.append(f"its import raises {type(error).__name__}")
            self._is_watching = False
            if _descriptors() - before:
                self._findings.append("it leaves files or sockets open")
            if os.fstat(output).st_size:
                self._findings.append("it writes to standard output or error")
            if has_threads():
                self._findings.append("it starts threads")
            self._findings += [f"its library reads {name}" for name in self._named_in_libraries()]
            if self._findings:
                return root, self._findings[0]
        return None

    def _on_event(self, event: str, arguments: "tuple[Any, ...]") -> None:
        if not self._is_watching:
            return
        if event == "open":
            self._on_open(arguments[0], arguments[2] if len(arguments) > 2 else 0)
        elif event in _CONNECTS:
            self._findings.append("it uses the network")
        elif event in _STARTS:
            self._findings.append("it starts processes")

    def _on_open(self, path: object, flags: object) -> None:
        if not isinstance(path, str | bytes):
            return
        name = os.path.abspath(os.fsdecode(path))
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not name.startswith("/dev/"):
            if not name.endswith(".pyc") and "__pycache__" not in name:
                self._findings.append(f"it writes to {name}")
        elif not name.startswith((*_READ_ONLY, *_COMMON_FILES, sys.base_prefix, *sys.path)):
            self._findings.append(f"it reads {name}")

    def _variables_read(self) -> None:
        """From now on `os.environ` tells what is asked of it."""
        tell = self._on_variable

        class Watched(type(os.environ)):  # type: ignore[misc]
            def __getitem__(self, key: Any) -> Any:
                tell(key)
                return super().__getitem__(key)

            def __iter__(self) -> "Iterator[Any]":
                tell(None)
                return iter(super().__iter__())

        self._environ.__class__ = Watched  # whoever holds it already, holds this

    def _on_variable(self, name: "str | None") -> None:
        if not self._is_watching:
            return
        if name is None:
            self._findings.append("it reads all environment variables")
        elif name in self._variables:
            self._findings.append(f"it reads {name}")

    def _named_in_libraries(self) -> "list[str]":
        """Variables whose names are in the native libraries that were loaded: those ask the C library for them."""
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            files = {line.rstrip("\n").partition("/")[2] for line in file if "/" in line}
        found: set[str] = set()
        for path in files:
            if path.startswith(("opt/", "var/task/")) and ".so" in path and path not in self._searched:
                self._searched.add(path)
                with open(f"/{path}", "rb") as library:
                    data = library.read()
                found.update(name for name in self._variables if f"{name}\0".encode() in data)
        return sorted(found)

    _searched: "set[str]" = set()  # noqa: RUF012 (there is one trial in a process)


def _descriptors() -> "set[str]":
    with os.scandir("/proc/self/fd") as entries:
        found = {entry.name for entry in entries}
    return {name for name in found if os.path.exists(f"/proc/self/fd/{name}")}


def has_threads() -> bool:
    """Whether threads are left here after a fork. Some libraries end theirs before one, and begin anew when needed."""
    if threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1:
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1


def rest() -> None:
    """Before children are born: what is here now is not looked at by their collectors, which would copy it."""
    gc.collect()
    gc.freeze()


def refresh(find: "Callable[[str], Any]") -> None:
    """In a child: what the zygote seeded is seeded again. `random` and OpenSSL see to that themselves."""
    numpy_random = find("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
