"""A function's code as a zip archive: measured, checked and unpacked. Nothing in it is trusted.

An archive is read entry by entry with every byte counted, so what its headers claim does not matter. Nothing is
ever written outside the target folder: names and links are checked before, and links again once they are all there.
Source of what AWS refuses: AWS Lambda Developer Guide, "Lambda quotas"; "Working with .zip file archives".
"""

import calendar
import errno
import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from lambent.aws import quotas
from lambent.aws.errors import ApiError

_CHUNK: Final = 1 << 20
_NAME_BYTES: Final = 255  # of one component; Linux NAME_MAX
_PATH_BYTES: Final = 2_048  # of an entry or a link's target; the folder it goes to comes before it, PATH_MAX is 4,096
_OUT_OF_OUR_HANDS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EROFS)
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNIX: Final = 3
_ENCRYPTED: Final = 0x1 | 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a package may measure: as uploaded, unpacked, and in files and folders."""

    zipped_bytes: int = quotas.UNZIPPED_BYTES  # of one that comes from a bucket; `code_source` bounds the others
    unzipped_bytes: int = quotas.UNZIPPED_BYTES
    entries: int = quotas.ENTRIES


@dataclass(frozen=True, slots=True)
class _Entry:
    info: zipfile.ZipInfo
    path: PurePosixPath
    kind: int  # S_IFDIR, S_IFREG or S_IFLNK
    mode: int


class _Refused(Exception):
    """The archive cannot be unpacked; the text says why, for a reader of our tests: AWS has one message for all."""


def unpack(data: bytes, target: Path, limits: Limits | None = None) -> int:
    """Unpacks an archive into `target`, a new folder, and says how many bytes that made.

    On any error `target` may hold a part of it: throw it away. Blocking: call it in a thread.

    Raises:
        ApiError: RequestEntityTooLargeException over the zipped size; InvalidParameterValueException for one that is
            too large unpacked, or broken, encrypted, or not confined to its folder.
    """
    limits = limits or Limits()
    if len(data) > limits.zipped_bytes:
        raise ApiError(
            "RequestEntityTooLargeException", f"Zipped size must be smaller than {limits.zipped_bytes} bytes"
        )
    try:
        return _unpack(data, target, limits)
    except OSError as error:
        if error.errno in _OUT_OF_OUR_HANDS:
            raise
        raise _could_not_unzip() from error
    except (_Refused, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, struct.error) as error:
        raise _could_not_unzip() from error
    except (RuntimeError, OverflowError) as error:  # zipfile: a password is needed; a number does not fit
        raise _could_not_unzip() from error


def _could_not_unzip() -> ApiError:
    return ApiError(
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )


def _unpack(data: bytes, target: Path, limits: Limits) -> int:
    # zipfile makes an object of each entry of the central directory, whose size and place it finds in several ways:
    # 50 MB of directory would be a million objects. An upper bound that no header can lie about is cheap.
    if data.count(_DIRECTORY_ENTRY) > limits.entries:
        raise _Refused(f"more than {limits.entries} entries")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = [_checked(info) for info in archive.infolist()]
        if not entries:
            raise ApiError("InvalidParameterValueException", "Uploaded file must be a non-empty zip")
        folders = _check_tree(entries)
        for folder in sorted(folders):
            (target / folder).mkdir(mode=0o700)
        total = 0
        for entry in entries:
            if entry.kind == stat.S_IFREG:
                total += _write_file(archive, entry, target, limits.unzipped_bytes - total, limits)
        _make_links(archive, [entry for entry in entries if entry.kind == stat.S_IFLNK], target)
    for folder, mode in folders.items():
        (target / folder).chmod(mode)  # whatever the umask: environments run as other users
    return total


def _checked(info: zipfile.ZipInfo) -> _Entry:
    """An entry whose name and kind are harmless."""
    if info.flag_bits & _ENCRYPTED:
        raise _Refused(f"{info.filename!r} is encrypted")
    if info.compress_type not in _COMPRESSIONS:
        raise _Refused(f"{info.filename!r}: compression {info.compress_type}")
    name = info.filename
    if not name or name.startswith("/") or len(name.encode()) > _PATH_BYTES:
        raise _Refused(f"{name!r} is empty, absolute or too long")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or any(len(part.encode()) > _NAME_BYTES or "\0" in part for part in parts):
        raise _Refused(f"{name!r} leaves its folder")
    kind, mode = _kind_and_mode(info)
    if not parts and kind != stat.S_IFDIR:
        raise _Refused(f"{name!r} names nothing")
    return _Entry(info, PurePosixPath(*parts), kind, mode)


def _kind_and_mode(info: zipfile.ZipInfo) -> tuple[int, int]:
    """Folder, file or link, and its permissions: never setuid, setgid or sticky, always readable.

    AWS keeps a file that only its owner may read unreadable, as the function then runs into (Developer Guide,
    "permission denied" under deployment issues). Python's `writestr` makes such files, so we let them be read.
    """
    unix_mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    kind = stat.S_IFMT(unix_mode)
    if info.is_dir():
        if kind not in (0, stat.S_IFDIR):
            raise _Refused(f"{info.filename!r} is not what its name says")
        return stat.S_IFDIR, (unix_mode & 0o777 or 0o755) | 0o555
    if kind == stat.S_IFLNK:
        return stat.S_IFLNK, 0o777
    if kind not in (0, stat.S_IFREG):
        raise _Refused(f"{info.filename!r} is neither file, folder nor link")
    return stat.S_IFREG, (unix_mode & 0o777 or 0o644) | 0o444


def _check_tree(entries: list[_Entry]) -> dict[PurePosixPath, int]:
    """The folders, also those that no entry names, with their permissions.

    Raises:
        _Refused: two entries share a name, or one lies below what is not a folder.
    """
    folders = {folder: 0o755 for entry in entries for folder in entry.path.parents}
    folders[PurePosixPath()] = 0o755
    folders |= {entry.path: entry.mode | 0o700 for entry in entries if entry.kind == stat.S_IFDIR}
    others = [entry.path for entry in entries if entry.kind != stat.S_IFDIR]
    if len(set(others)) != len(others) or not folders.keys().isdisjoint(others):
        raise _Refused("a name is used twice, or something lies below a file or a link")
    return folders


def _write_file(archive: zipfile.ZipFile, entry: _Entry, target: Path, room: int, limits: Limits) -> int:
    """Writes one file and says how many bytes it really had, never more than `room`."""
    path = target / entry.path
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    written = 0
    with archive.open(entry.info) as source, os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > room:
                raise ApiError(
                    "InvalidParameterValueException",
                    f"Unzipped size must be smaller than {limits.unzipped_bytes} bytes",
                )
            file.write(chunk)
        os.fchmod(file.fileno(), entry.mode)
    modified = _modified(entry.info)
    os.utime(path, (modified, modified))
    return written


def _modified(info: zipfile.ZipInfo) -> int:
    """The entry's time, read as UTC (that is what AWS's hosts have), so that shipped .pyc files stay valid."""
    try:
        return max(0, calendar.timegm((*info.date_time, 0, 0, 0)))
    except (ValueError, OverflowError):
        return 0


def _make_links(archive: zipfile.ZipFile, links: list[_Entry], target: Path) -> None:
    """Makes the symbolic links, after all files, and checks where each one really leads.

    Each must be relative. Where a chain of links ends is the file system's business: once all are there, it is asked.
    """
    for entry in links:
        with archive.open(entry.info) as source:
            content = source.read(_PATH_BYTES + 1)
        goal = os.fsdecode(content)
        if not goal or goal.startswith("/") or "\0" in goal or len(content) > _PATH_BYTES:
            raise _Refused(f"{entry.path} leads to {goal!r}")
        (target / entry.path).symlink_to(goal)
    root = os.path.realpath(target)
    for entry in links:
        leads_to = os.path.realpath(target / entry.path)
        if leads_to != root and not leads_to.startswith(root + os.sep):
            raise _Refused(f"{entry.path} leaves its folder")
