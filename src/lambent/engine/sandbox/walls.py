"""How a launcher makes one environment, attaches a function to it and cleans up after it, at either level.

`NamespaceWalls` is the real thing. `ProcessWalls` is what is left where the kernel or a container refuses namespaces:
a process group with limits, for code that is trusted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from lambent.engine.sandbox import (
    births,
    cgroups,
    estates,
    file_systems,
    guests,
    heirlooms,
    holders,
    kernel,
    landlock,
    namespaces,
    networks,
    processes,
    rootfs,
    routers,
    seccomp,
    template,
    wire,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CODE_ATTRIBUTES = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
READY, AWAITED, PARKED = namespaces.READY, namespaces.AWAITED, namespaces.PARKED
UIDS = 10_000  # of the host, for each launcher


class Environment:
    """One process tree behind its walls, as the launcher holds it."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.id: str | None = None  # given when it is claimed
        self.pid = 0
        self.pidfd = -1
        self.sync = -1
        self.tmp = -1  # a mount of its /tmp that outlives its processes: see estates.py
        self.order: dict[str, Any] | None = None  # what it was started for; None: for whoever comes
        self.folder = ""  # without walls: what it has instead of a /tmp
        self.leaves_tmp = True
        self.has_program = False  # it executes what its function needs already: see head_starts.py
        self.node_ends: dict[str, int] = {}  # what the node gets when it claims this
        self.network: networks.Network | None = None
        self.listeners: list[socket.socket] = []  # in that network, for the node
        self.cgroup: cgroups.Cgroup | None = None
        self.inherited = 0  # bytes of memory that it shares with its zygote; of a zygote, that it has
        self.packed = -1  # of a zygote: what its children find in /tmp
        self.holder = -1  # of a zygote: the pidfd of the first process of its namespaces
        self.parent: Environment | None = None  # the zygote that it is a child of

    def close_ends(self) -> None:
        for fd in (self.sync, self.pidfd, self.holder, self.packed, *self.node_ends.values()):
            if fd >= 0:
                os.close(fd)
        self.sync = self.pidfd = self.holder = self.packed = -1
        self.node_ends = {}


class ProcessWalls:
    """A process group of its own, limits, and no gaining of privileges. Nothing is isolated."""

    def __init__(self, settings: dict[str, Any], guest: guests.Guest) -> None:
        self._guest = guest
        self._folders: str = settings["mountpoint"]
        self._niceness = namespaces.put_launcher_first()

    def settle(self) -> None:
        """The launcher is as it will stay."""

    def buried(self, pid: int) -> None:
        """A process of ours that is no environment has ended."""

    def start(self, slot: int, word: bytes, order: dict[str, Any] | None = None, tmp: int = -1) -> Environment:
        """A new environment, at work on its walls; its `sync` will say READY or what went wrong."""
        environment = Environment(slot)
        environment.order = order
        ends = _connect(environment)
        environment.pid = os.fork()
        if environment.pid == 0:
            self._become(ends)
        for fd in ends:
            os.close(fd)
        return environment

    def attach(self, environment: Environment, order: dict[str, Any]) -> dict[str, int]:
        """Give it the function's code; the descriptors that the node gets besides."""
        environment.folder = estates.make_folder(self._folders, environment.slot)
        os.write(environment.sync, os.fsencode(order["code_dir"]))
        return {}

    def end_tmp(self, slot: int, tmp: int) -> None:
        """Nobody inherits its folder."""
        estates.remove_folder(self._folders, slot)

    def connect(self, environment: Environment, port: int) -> socket.socket:
        """A connection to a listener on its 127.0.0.1, perhaps still on its way."""
        return networks.connect("127.0.0.1", port)

    def kill(self, environment: Environment) -> None:
        for kill in (os.killpg, os.kill):  # it may not have its own group yet
            with contextlib.suppress(ProcessLookupError):
                kill(environment.pid, signal.SIGKILL)

    def out_of_memory(self, environment: Environment) -> bool:
        return False

    def peak_bytes(self, environment: Environment) -> int:
        return 0

    def recycle(self, environment: Environment) -> bool:
        """Take back what it used, once its first process is gone; False when it has to be tried again later."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(environment.pid, signal.SIGKILL)  # whoever stayed behind in its group
        return True

    def give_program(self, environment: Environment, trees: dict[str, str]) -> None:
        """Nothing can be mounted here: nobody asks for it."""
        raise NotImplementedError

    def needs_preparing(self) -> bool:
        return False

    def prepare_one(self) -> None:
        """Make one thing ahead."""

    def names(self) -> dict[str, int]:
        """Where its environments ask for names: as this machine does."""
        return {}

    def close(self) -> None:
        """Every environment is gone."""

    def _become(self, ends: namespaces.Ends) -> None:
        try:
            namespaces.take_descriptors(ends)
            namespaces.forget_the_launcher(self._niceness)
            namespaces.set_limits()
            if sys.platform == "linux":
                kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
                kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.write(namespaces.SYNC_FD, READY)
            code_dir = os.read(namespaces.SYNC_FD, 8192)
            if not code_dir:
                os._exit(0)
            os.chdir(os.fsdecode(code_dir))
            os.close(namespaces.SYNC_FD)
            guests.run(self._guest.main)
        finally:
            os._exit(1)


class NamespaceWalls:
    """Namespaces, an own root, seccomp; cgroups and Landlock where they are to be had."""

    def __init__(self, settings: dict[str, Any], guest: guests.Guest) -> None:
        self._guest = guest
        self._niceness = namespaces.put_launcher_first()
        self._gateway_port: int = settings["gateway_port"]
        self._with_proxy = settings["way"] == "proxy"
        self._uid_base: int | None = settings["uid_base"] if settings["root"] else None
        self._ahead: int = settings["ahead"]
        way: str = settings["way"]
        pasta = routers.Pasta() if way == "pasta" else None  # it stays outside
        self._become_private()
        self._cgroups = cgroups.open_cgroups(settings["name"]) if settings["cgroups"] else None
        if settings["cgroups"] and self._cgroups is None:
            raise OSError("cgroups: refused, although the probe could make one")
        self._seccomp = seccomp.program(aarch64=kernel.AARCH64)
        self._zygote_seccomp = seccomp.program(aarch64=kernel.AARCH64, for_zygote=True)
        self._landlock = landlock.version()
        contents = rootfs.Contents(
            _interpreter_prefixes(), settings["runtime"], settings["executes"], way in routers.WAYS
        )
        self._root = rootfs.RootFS(settings["mountpoint"], contents, settings["hidden"])
        self._networks: list[networks.Network] = []
        self._spare_cgroups: list[cgroups.Cgroup] = []
        self._router = routers.Router(settings["closed"], pasta) if way in routers.WAYS else None
        self._template: template.Template | None = None

    def settle(self) -> None:
        """The launcher is as it will stay: it is what environments are copies of."""
        walls = (self._root, self._seccomp, self._landlock)
        self._template = template.Template(
            self._root, self._niceness, self._guest, lambda prepared: namespaces.put_up_walls(*walls, prepared)
        )

    def buried(self, pid: int) -> None:
        """A process of ours that is no environment has ended. Raises TemplateEnded when it is that one."""
        if self._template and pid == self._template.pid:
            raise template.TemplateEnded

    def names(self) -> dict[str, int]:
        """Where this launcher's environments ask for names, as descriptors: "udp" and "tcp"; none without a router."""
        if not self._router:
            return {}
        udp, tcp = self._router.names
        return {"udp": udp.fileno(), "tcp": tcp.fileno()}

    def start(self, slot: int, word: bytes, order: dict[str, Any] | None = None, tmp: int = -1) -> Environment:
        """A new environment, at work on its walls; its `sync` will say READY or what went wrong.

        `word` says whether somebody waits for it: AWAITED, or PARKED. For an `order` of its own when that needs mounts
        that must be there before Landlock is: the /tmp that it inherits, and file systems. Landlock knows folders, not
        their names.
        """
        environment = Environment(slot)
        environment.order = order
        environment.network = self._enter_network()
        self._listen_in(environment)
        if self._cgroups:
            environment.cgroup = self._spare_cgroups.pop() if self._spare_cgroups else self._cgroups.create()
        ends = _connect(environment)
        if order and order["is_zygote"]:
            self._clone_zygote(environment, ends)
        else:
            environment.pid = self._copy(environment, ends, _prepared(order, tmp))
        environment.pidfd = os.pidfd_open(environment.pid)
        try:
            self._prepare(environment, tmp)
        except OSError:
            self._abandon(environment, ends)
            raise
        environment.tmp = tmp
        self._let_go_on(environment, ends, word)
        return environment

    def _copy(self, environment: Environment, ends: namespaces.Ends, prepared: tuple[str, ...]) -> int:
        """The pid of its first process, which is in its network and cgroups."""
        assert environment.network
        assert self._template
        doors = environment.cgroup.open_doors() if environment.cgroup else (-1, [])
        try:
            return self._template.copy(environment.network.fd, ends, doors, prepared)
        finally:
            for fd in (*doors[:1], *doors[1]):
                if fd >= 0:
                    os.close(fd)

    def _listen_in(self, environment: Environment) -> None:
        """The ports that the node serves, in the network that the launcher is in now."""
        assert environment.network
        _listen(environment, "runtime_api", "0.0.0.0", networks.RUNTIME_API_PORT)
        if self._gateway_port:
            _listen(environment, "listener", "127.0.0.1", self._gateway_port)
        if environment.network.proxy:
            environment.node_ends["proxy"] = os.dup(environment.network.proxy.fileno())

    def _prepare(self, environment: Environment, tmp: int) -> None:
        """Mount from outside what its walls will go around."""
        folders: list[tuple[str, str]] = environment.order["file_systems"] if environment.order else []
        if tmp < 0 and not folders:
            return
        trees = file_systems.trees(folders, self._host_id(environment))
        try:
            kernel.setns(environment.pidfd, kernel.CLONE_NEWNS)
            try:
                if folders:
                    file_systems.make_places(list(trees))
                for target, tree in trees.items():
                    kernel.move_mount(tree, target)
                if tmp >= 0:
                    kernel.move_mount(tmp, "/tmp")
            finally:
                self._root.leave()
        finally:
            for tree in trees.values():
                os.close(tree)

    def _abandon(self, environment: Environment, ends: namespaces.Ends) -> None:
        """It waits for its walls, and will not get them."""
        for fd in ends:
            os.close(fd)
        self.kill(environment)
        os.waitpid(environment.pid, 0)
        environment.close_ends()
        self.recycle(environment)

    def attach(self, environment: Environment, order: dict[str, Any]) -> dict[str, int]:
        """Mount the function's code from outside and set its limits; the descriptors that the node gets besides."""
        program: dict[str, str] = {} if environment.has_program else order["trees"]
        trees = {} if environment.parent else _trees(order["code_dir"], order["layer_dirs"], program)
        with self._mounted(environment, trees):
            environment.tmp = _tmp(environment.tmp, order["ephemeral_mb"])
        assert environment.network is not None
        if not order["with_egress"]:
            environment.network.shut()
        fds: dict[str, int] = {}
        if environment.cgroup:
            environment.cgroup.limit_memory(order["memory_mb"], order["ephemeral_mb"])
            fds |= environment.cgroup.fds
        return fds

    def connect(self, environment: Environment, port: int) -> socket.socket:
        """A connection to a listener on its 127.0.0.1, perhaps still on its way."""
        kernel.setns(environment.pidfd, kernel.CLONE_NEWNET)
        return networks.connect("127.0.0.1", port)

    def give_program(self, environment: Environment, trees: dict[str, str]) -> None:
        """Mount what it is to execute before its function is known."""
        with self._mounted(environment, _mounts({place: [path] for place, path in trees.items()})):
            pass

    @contextlib.contextmanager
    def _mounted(self, environment: Environment, trees: dict[str, int]) -> Iterator[None]:
        """Attach detached mounts, and stay inside the environment's mount namespace for the block."""
        try:
            kernel.setns(environment.pidfd, kernel.CLONE_NEWNS)
            try:
                for target, tree in trees.items():
                    kernel.move_mount(tree, target)
                yield
            finally:
                self._root.leave()
        finally:
            for tree in trees.values():
                os.close(tree)

    def end_tmp(self, slot: int, tmp: int) -> None:
        """Nobody inherits it."""
        estates.close_tmp(tmp)

    def kill(self, environment: Environment) -> None:
        """End its first process, and with it every process of its namespace."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(environment.pidfd, signal.SIGKILL)
        if environment.cgroup:
            environment.cgroup.thaw()

    def out_of_memory(self, environment: Environment) -> bool:
        return environment.cgroup is not None and environment.cgroup.memory_kills() > 0

    def peak_bytes(self, environment: Environment) -> int:
        return environment.cgroup.peak_bytes() if environment.cgroup else 0

    def recycle(self, environment: Environment) -> bool:
        """Take back what it used, once its first process is gone; False when it has to be tried again later."""
        if environment.cgroup:
            try:
                environment.cgroup.remove()
            except OSError:  # busy: the kernel has not quite finished with its last process
                return False
            environment.cgroup = None
        if environment.network:
            networks.end(environment.listeners)
            environment.network.forget()
            self._networks.append(environment.network)
            environment.network = None
        return True

    def needs_preparing(self) -> bool:
        return len(self._networks) < self._ahead or (
            self._cgroups is not None and len(self._spare_cgroups) < self._ahead
        )

    def prepare_one(self) -> None:
        """Make one network or cgroup ahead: half of what an environment costs."""
        if len(self._networks) < self._ahead:
            self._networks.append(networks.Network(with_proxy=self._with_proxy, router=self._router))
        elif self._cgroups:
            self._spare_cgroups.append(self._cgroups.create())

    def close(self) -> None:
        """Every environment is gone."""
        if self._template:
            self._template.close()
        for cgroup in self._spare_cgroups:
            cgroup.remove()
        if self._cgroups:
            self._cgroups.close()
        if self._router:
            self._router.close()

    def _become_private(self) -> None:
        """A mount namespace of our own, in which nothing we mount reaches the host; as a plain user, by way of an
        own user namespace, where we are 0.
        """
        if self._uid_base is not None:
            os.setgroups([])
            kernel.unshare(kernel.CLONE_NEWNS)
        else:
            namespaces.become_root_of_own_namespace()
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_SLAVE)

    def _clone_zygote(self, environment: Environment, ends: namespaces.Ends) -> None:
        """A zygote, beside a process of ours that is the first of its namespaces.

        So its children do not end with it, and it may have them for the launcher: who is first in a process namespace
        may not.
        """
        ours, theirs = socket.socketpair()
        self._root.enter()
        try:
            holder = kernel.clone(namespaces.FLAGS)
            if holder == 0:
                wall = (self._root, self._seccomp, self._landlock)
                holders.hold(theirs, self._niceness, lambda: namespaces.put_up_walls(*wall))
        finally:
            self._root.leave()
        theirs.close()
        environment.holder = os.pidfd_open(holder)
        others = namespaces.NOBODY if self._uid_base is None else (self._uid_base, self._uid_base + UIDS)
        namespaces.map_user(holder, self._host_id(environment), others)
        if environment.cgroup:
            environment.cgroup.join(holder)
        environment.pid = holders.beside(ours, environment.holder, lambda: self._become_zygote(ends))

    def _become_zygote(self, ends: namespaces.Ends) -> None:
        try:
            namespaces.take_descriptors(ends)
            namespaces.forget_the_launcher(self._niceness)
            if not os.read(namespaces.SYNC_FD, 2):
                os._exit(0)
            namespaces.become_user()
            kernel.unshare(kernel.CLONE_NEWCGROUP)
            namespaces.shut_in(self._zygote_seccomp, self._landlock, landlock.rules_of("/"))
            os.write(namespaces.SYNC_FD, READY)
            guests.run_when_claimed(self._guest, births.wait_for_orders)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(namespaces.SYNC_FD, str(error).encode())
        finally:
            os._exit(1)

    def seal(self, zygote: Environment, *, keeps_tmp: bool) -> None:
        """Take its own places from a zygote that has done its work: its children get theirs instead.

        Raises:
            OSError: what it leaves in /tmp cannot be given to them.
        """
        zygote.packed = heirlooms.pack(zygote.tmp) if keeps_tmp else -1
        zygote.inherited = processes.status_bytes(zygote.pid, "RssAnon")
        kernel.setns(zygote.pidfd, kernel.CLONE_NEWNS)
        try:
            for place in ("/proc", "/tmp", "/dev/shm"):
                kernel.unmount(place)
        finally:
            self._root.leave()

    def start_child(self, slot: int, zygote: Environment) -> tuple[Environment, socket.socket]:
        """A zygote's next child, being born; and where that will be told, to be given to `receive_child`."""
        environment = Environment(slot)
        environment.parent, environment.inherited = zygote, zygote.inherited
        if self._cgroups:
            environment.cgroup = self._spare_cgroups.pop() if self._spare_cgroups else self._cgroups.create()
        ends = _connect(environment)
        host_id = self._host_id(environment)
        if host_id:
            os.fchown(ends[0], host_id, host_id)  # so that it may open /dev/stdout
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            self._deliver(environment, ends, theirs)
        theirs.close()
        for fd in ends:
            os.close(fd)
        return environment, ours

    def receive_child(self, environment: Environment, news: socket.socket) -> None:
        """It is born: make sure of its walls. Raises OSError when it is not, or they do not stand."""
        messages = wire.Reader(news).receive() or [{"error": "whoever had it made was killed"}]
        if "error" in messages[0]:
            raise OSError(messages[0]["error"])
        assert environment.parent
        environment.pid, environment.pidfd = messages[0]["pid"], messages[0]["fds"]["pidfd"]
        births.verify(environment.pid, environment.parent.pid, self._host_id(environment))
        environment.network = networks.Network(with_proxy=self._with_proxy, router=self._router, of=environment.pidfd)
        self._listen_in(environment)

    def _deliver(self, environment: Environment, ends: namespaces.Ends, news: socket.socket) -> None:
        """In a process of its own: have the child made, and end."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            zygote = environment.parent
            assert zygote
            user = self._host_id(environment) or rootfs.USER_ID
            tasks = environment.cgroup.open_tasks() if environment.cgroup else []
            wanted = births.Wanted(self._root, user, tasks)
            wanted.filter, wanted.landlock, wanted.packed = self._seccomp, self._landlock, zygote.packed
            orders = socket.socket(fileno=zygote.sync)
            pid, pidfd = births.give_birth(zygote.pid, zygote.pidfd, orders, ends, wanted)
            wire.send(news, {"pid": pid}, {"pidfd": pidfd})
        except BaseException as error:
            wire.send(news, {"error": str(error) or repr(error)})
        finally:
            os._exit(0)

    def _enter_network(self) -> networks.Network:
        if not self._networks:
            return networks.Network(with_proxy=self._with_proxy, router=self._router)
        network = self._networks.pop()
        network.enter()
        return network

    def _host_id(self, environment: Environment) -> int:
        return 0 if self._uid_base is None else self._uid_base + environment.slot

    def _let_go_on(self, environment: Environment, ends: namespaces.Ends, word: bytes) -> None:
        host_id = self._host_id(environment)
        if host_id:
            os.fchown(ends[0], host_id, host_id)  # so that it may open /dev/stdout
        for fd in ends:
            os.close(fd)
        if environment.holder < 0:
            namespaces.map_user(environment.pid, host_id)
        os.write(environment.sync, word)


def _interpreter_prefixes() -> list[str]:
    return list(dict.fromkeys(os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)))


def _connect(environment: Environment) -> namespaces.Ends:
    """Make its sockets and its output pipe: the launcher's and node's ends are kept, the environment's returned."""
    ours, control = socket.socketpair()
    sync, theirs = socket.socketpair()
    reader, writer = os.pipe()
    environment.node_ends |= {"control": ours.detach(), "output": reader}
    environment.sync = sync.detach()
    return writer, control.detach(), theirs.detach()


def _listen(environment: Environment, name: str, address: str, port: int) -> None:
    """In its network: a listener that the node serves."""
    listener = networks.listen(address, port)
    environment.listeners.append(listener)
    environment.node_ends[name] = os.dup(listener.fileno())


def _trees(code_dir: str, layer_dirs: list[str], more: dict[str, str]) -> dict[str, int]:
    """Detached mounts of the code, of the layers, later layers on top, and of what a program needs."""
    layers = {"/opt": layer_dirs[::-1]} if layer_dirs else {}
    return _mounts({"/var/task": [code_dir], **layers, **{place: [path] for place, path in more.items()}})


def _mounts(places: dict[str, list[str]]) -> dict[str, int]:
    """Detached read-only mounts by place, of one file or folder, or of several folders, the first on top."""
    trees: dict[str, int] = {}
    try:
        for place, paths in places.items():
            trees[place] = kernel.open_tree(paths[0]) if len(paths) == 1 else kernel.overlay(paths)
            kernel.set_mount_attributes(trees[place], "", _CODE_ATTRIBUTES)
    except OSError:
        for tree in trees.values():
            os.close(tree)
        raise
    return trees


def _prepared(order: dict[str, Any] | None, tmp: int) -> tuple[str, ...]:
    """What is mounted for it from outside, before its walls are up."""
    folders = (file_systems.ROOT,) if order and order["file_systems"] else ()
    return (*folders, "/tmp") if tmp >= 0 else folders


def _tmp(inherited: int, size_mb: int) -> int:
    """In the environment's mount namespace: its /tmp as it is to be, and another mount of it, to be kept."""
    if inherited < 0 and size_mb != namespaces.DEFAULT_TMP_MB:
        quiet = kernel.MS_REMOUNT | kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("tmpfs", "/tmp", "tmpfs", quiet, f"size={size_mb}m")
    kept = kernel.open_tree("/tmp")
    if inherited >= 0:
        os.close(inherited)
    return kept
