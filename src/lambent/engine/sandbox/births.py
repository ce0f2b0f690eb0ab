"""How a zygote that must not be trusted has an environment, step by step, in a process of the launcher's for each.

A zygote has run packages, or all of a function's own Init, behind the walls. It has no privileges, so it cannot make
walls; but nobody else can make a copy of it. So it makes the call for us, one clone into new namespaces, and the child
is stopped before it executes an instruction. What the new user namespace would allow it, it is made to give up, by
system calls that are made in it from here: it never runs with a capability. What has to be mounted is mounted by a
process of ours that enters its namespaces. If anything is not as it was asked for, zygote and child are killed.

The zygote's filter leaves clone with new namespaces, and unshare, to its tracer: it has one only in here.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import struct

from lambent.engine.sandbox import heirlooms, kernel, landlock, namespaces, puppets, rootfs, wire

FLAGS = namespaces.FLAGS | kernel.CLONE_NEWNET | kernel.CLONE_PARENT
"""The child is the launcher's, which learns of its end; the zygote may end before it."""

_LIMIT_S = 10  # a zygote that does not do as it is asked
_INSIDE = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
_MACHINE = 1 if kernel.AARCH64 else 0
_OPENAT, _CLOSE, _PRCTL, _CAPSET, _SECCOMP = ((257, 56), (3, 57), (157, 167), (126, 91), (317, 277))
_SETRESUID, _SETRESGID, _UNSHARE = ((117, 147), (119, 149), (272, 97))
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAP_VERSION_3 = 0x20080522


class Wanted:
    """What the child is to have.

    `user` is its host uid as the zygote's user namespace names it, `tasks` the files of its cgroup that take processes,
    open. Its network is furnished by the launcher, when it is there.
    """

    def __init__(self, root: rootfs.RootFS, user: int, tasks: list[int]) -> None:
        self.root = root
        self.user = user
        self.tasks = tasks
        self.filter = b""
        self.landlock = 0
        self.packed = -1  # what it finds in /tmp


def give_birth(
    zygote: int, pidfd: int, orders: socket.socket, ends: namespaces.Ends, wanted: Wanted
) -> tuple[int, int]:
    """The pid and pidfd of a child behind its walls, which waits on its control socket.

    To be called in a process of its own: it cannot leave the namespaces that it enters.
    """
    signal.alarm(_LIMIT_S)
    kernel.setns(pidfd, kernel.CLONE_NEWUSER)
    puppets.seize(zygote)
    orders.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ends))])
    pid = puppets.birth(zygote, kernel.CLONE, kernel.as_cloned(FLAGS))
    puppets.detach(zygote)
    child = os.pidfd_open(pid)
    for tasks in wanted.tasks:
        os.write(tasks, b"%d" % pid)
    namespaces.map_user(pid, wanted.user)
    puppet = puppets.Puppet(pid)
    puppet.call(_UNSHARE[_MACHINE], kernel.CLONE_NEWCGROUP)
    _furnish(child, wanted)
    _shut_in(puppet, wanted)
    puppet.restore()
    puppets.detach(pid)
    return pid, child


def _furnish(child: int, wanted: Wanted) -> None:
    """Mount in its namespaces, in a process that is of its process namespace too."""
    ours, theirs = socket.socketpair()
    kernel.setns(child, kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_LIMIT_S)
            _enter_and_furnish(child, wanted, theirs)
        except BaseException as error:
            wire.send(theirs, {"error": str(error) or repr(error)})
        finally:
            os._exit(0)
    theirs.close()
    messages = wire.Reader(ours).receive() or [{"error": "whoever mounts for it was killed"}]
    os.waitpid(pid, 0)
    if "error" in messages[0]:
        raise OSError(messages[0]["error"])


def _enter_and_furnish(child: int, wanted: Wanted, answer: socket.socket) -> None:
    kernel.setns(child, kernel.CLONE_NEWUSER)
    kernel.setns(child, _INSIDE)
    namespaces.become_user()
    namespaces.mount_own(wanted.root)
    if wanted.packed >= 0:
        heirlooms.unpack(wanted.packed)
    wire.send(answer, {})


def _shut_in(puppet: puppets.Puppet, wanted: Wanted) -> None:
    """`namespaces.shut_in`, done to it. Its limits it has from the zygote."""
    user = rootfs.USER_ID
    puppet.call(_SETRESGID[_MACHINE], user, user, user)
    puppet.call(_SETRESUID[_MACHINE], user, user, user)
    for capability in range(kernel.LAST_CAPABILITY + 1):
        try:
            puppet.call(_PRCTL[_MACHINE], kernel.PR_CAPBSET_DROP, capability)
        except puppets.Strayed:
            raise
        except OSError:
            break  # one past the kernel's last
    puppet.call(_CAPSET[_MACHINE], puppet.put(struct.pack("Ii", _CAP_VERSION_3, 0)), puppet.put(bytes(24)))
    puppet.call(_PRCTL[_MACHINE], kernel.PR_SET_DUMPABLE, 1)
    puppet.call(_PRCTL[_MACHINE], kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if wanted.landlock:
        _restrict(puppet, wanted.landlock)
    code = puppet.put(wanted.filter)
    program = puppet.put(struct.pack("HxxxxxxQ", len(wanted.filter) // 8, code))
    puppet.call(_SECCOMP[_MACHINE], kernel.SECCOMP_SET_MODE_FILTER, 0, program)


def _restrict(puppet: puppets.Puppet, version: int) -> None:
    """`landlock.restrict`, done to it: the zygote's own rules are wide, since they hold for its children too."""
    record = landlock.ruleset(version)
    ruleset = puppet.call(_CREATE_RULESET, puppet.put(record), len(record), 0)
    rights = landlock.handled(version)
    for path, allowed in landlock.rules(()):
        name = puppet.put(path.encode() + b"\0")
        place = puppet.call(_OPENAT[_MACHINE], -100, name, os.O_PATH | os.O_CLOEXEC)
        rule = puppet.put(struct.pack("=Qi", allowed & rights, place))
        puppet.call(_ADD_RULE, ruleset, landlock.PATH_BENEATH, rule, 0)
        puppet.call(_CLOSE[_MACHINE], place)
    puppet.call(_RESTRICT_SELF, ruleset, 0)
    puppet.call(_CLOSE[_MACHINE], ruleset)


def verify(pid: int, zygote: int, host_id: int) -> None:
    """Ask the kernel, from outside, whether everything is as it should be.

    Raises:
        OSError: it is not; the text says what.
    """
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        rows = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    expected = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), f"{0:016x}")
    expected |= {name: "\t".join([str(host_id)] * 4) for name in ("Uid", "Gid")}
    expected |= {"NoNewPrivs": "1", "Seccomp": "2", "Threads": "1", "TracerPid": "0"}
    for name, value in expected.items():
        if rows.get(name, value).strip() != value.strip():
            raise OSError(f"{name} of a new environment is {rows[name]} instead of {value}")
    for name in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
        if os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{zygote}/ns/{name}"):
            raise OSError(f"a new environment has its zygote's {name} namespace")


def wait_for_orders(orders: socket.socket) -> None:
    """In a zygote: have one child for each order. Returns in the children only, as the environment."""
    orders.setblocking(True)
    while True:
        _data, ancillary, _, _ = orders.recvmsg(1, socket.CMSG_SPACE(3 * 4), socket.MSG_CMSG_CLOEXEC)
        if not ancillary:
            os._exit(0)  # the launcher is gone
        ends = array.array("i")
        ends.frombytes(ancillary[0][2])
        try:
            pid = kernel.clone(FLAGS)
        except OSError:
            pid = -1  # whoever ordered it knows
        if pid == 0:
            orders.detach()
            namespaces.take_descriptors((ends[0], ends[1], ends[2]))
            os.close(namespaces.SYNC_FD)
            os.setsid()
            return
        for fd in ends:
            os.close(fd)
