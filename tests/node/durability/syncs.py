"""What strace saw of a node's files and sockets, and which syncs are missing in it.

A request carries a marker, a text that nothing else contains: it is read from a socket, appears in a page of the
database, and the first thing written to that socket afterwards is the acknowledgement.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
from dataclasses import dataclass

from lambent.pytest_plugin import LambentNode

_CALLS = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync,rename,openat,mkdir"
_STRACE = ["strace", "--follow-forks", "--decode-fds", "--string-limit=8192", f"--trace={_CALLS}"]
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_FILE = re.compile(r"\d+<([^>]*)>")
_BLOB = re.compile(r".*/\.new-[^/]*/.*/[0-9a-f]{64}")

_READS = {"read", "readv", "recvfrom", "recvmsg"}
_WRITES = {"write", "writev", "sendto", "sendmsg"}
_SYNCS = {"fsync", "fdatasync"}


@dataclass(slots=True)
class Call:
    """A system call: when it began and was done (line numbers), and its arguments and result as strace prints them."""

    name: str
    text: str
    begun: int
    done: int = -1

    @property
    def file(self):
        """The descriptor's path or socket."""
        match = _FILE.match(self.text)
        return match[1] if match else ""

    @property
    def paths(self):
        return re.findall(r'"([^"]*)"', self.text)

    @property
    def succeeded(self):
        return not self.text.rpartition(" = ")[2].startswith("-")


@contextlib.contextmanager
def traced_node(file, *arguments):
    """A node whose calls are written to a file, whole when the block has ended. `arguments` are those of `lambent up`.

    It is strace's child: that may be traced where attaching to a process is the administrator's alone.
    """
    ours, theirs = socket.socketpair()
    node = [sys.executable, "-m", "lambent", "up", "--port", "0", "--control-fd", str(theirs.fileno()), *arguments]
    command = [*_STRACE, f"--output={file}", *node]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL) as strace:
        theirs.close()
        try:
            ours.settimeout(60)
            with ours.makefile() as lines:
                ready = json.loads(lines.readline())
            yield LambentNode(ready["endpoint"], strace.pid)
        finally:
            ours.close()  # the node's sign to stop
            assert strace.wait(60) == 0


def trace_of(command, file):
    """The calls of a command that runs to its end."""
    subprocess.run([*_STRACE, f"--output={file}", *command], check=True)
    return calls(file.read_text(errors="replace").splitlines())


def calls(lines):
    """The calls in the order of their beginnings. One that another thread interrupted is on two lines."""
    found, unfinished = [], {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match is None:
            continue
        pid, resumed, name, text = match.groups()
        if resumed:
            call = unfinished.pop(pid, None)
            if call is None:
                continue  # begun before we watched
            call.text += text
        else:
            call = Call(name, text, number)
            found.append(call)
        if call.text.endswith("<unfinished ...>"):
            call.text = call.text.removesuffix("<unfinished ...>")
            unfinished[pid] = call
        else:
            call.done = number
    return [call for call in found if call.done >= 0 and call.succeeded]


def missing_syncs(found, markers):
    """What could be lost in a power cut although it was acknowledged: one sentence for each."""
    return [fault for marker in markers if (fault := _acknowledged_too_early(found, marker))]


def _acknowledged_too_early(found, marker):
    request = _first(found, lambda call: call.name in _READS and marker in call.text)
    if request is None:
        return f"{marker}: no request seen"
    answer = _first(
        found, lambda call: call.name in _WRITES and call.file == request.file and call.begun > request.done
    )
    if answer is None:
        return f"{marker}: no answer seen"
    page = _first(found, lambda call: _is_page(call) and marker in call.text)
    if page is None or page.done > answer.begun:
        return f"{marker}: answered before it was written"
    if not _synced(found, page.file, page.done, answer.begun):
        return f"{marker}: answered before it was synced"
    return None


def unsafe_blobs(found):
    """Blobs that a row may name although a power cut takes them: one sentence for each."""
    faults = []
    for renamed in _named_blobs(found):
        before, (folder, _, digest) = renamed.paths[0], renamed.paths[1].rpartition("/")
        written = [call for call in found if call.name == "write" and call.file == before]
        if not written or not _synced(found, before, written[-1].done, renamed.begun):
            faults.append(f"{digest}: named before its bytes were synced")
        row = _first(found, lambda call, digest=digest: _is_page(call) and digest in call.text)
        if row is None or not _synced(found, folder, renamed.done, row.begun):
            faults.append(f"{digest}: a row names it before its folder was synced")
    return faults


def blobs(found):
    """The digests of the blobs that were made."""
    return [renamed.paths[1].rpartition("/")[2] for renamed in _named_blobs(found)]


def _named_blobs(found):
    """The calls that gave a file its digest as its name. Unpacked packages are folders, and made again at need."""
    return [call for call in found if call.name == "rename" and _BLOB.fullmatch("/".join(call.paths))]


def unsynced_names(found, below):
    """Files and folders made below a folder whose own folder was not synced afterwards."""
    made = []
    for call in found:
        is_made = call.name == "mkdir" or (call.name == "openat" and "O_CREAT" in call.text)
        if call.name == "rename" or is_made:
            made.append((call.paths[-1], call.done))
    first = {path: done for path, done in reversed(made) if path.startswith(f"{below}/")}
    gone = {call.paths[0] for call in found if call.name == "rename"}
    return sorted(
        path for path, done in first.items() if path not in gone and not _synced(found, path.rpartition("/")[0], done)
    )


def _is_page(call):
    return call.name == "pwrite64" and call.file.endswith("/main.db-wal")


def _synced(found, file, after, before=None):
    """Whether a sync of the file began after one moment and was done before the other."""
    return any(
        call.name in _SYNCS and call.file == file and call.begun > after and (before is None or call.done < before)
        for call in found
    )


def _first(found, wanted):
    return next(filter(wanted, found), None)
