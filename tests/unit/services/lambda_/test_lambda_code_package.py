import contextlib
import io
import os
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.services.lambda_.code_package import Limits, unpack

COULD_NOT = "Could not unzip uploaded file. Please check your file, then try to upload again."


def entry(name, mode=stat.S_IFREG | 0o644, *, system=3, compression=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name, (2026, 3, 4, 5, 6, 8))
    info.create_system = system
    info.external_attr = mode << 16
    info.compress_type = compression
    return info


def archive(*entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        for info, content in entries:
            if isinstance(info, str):
                info = entry(info)
            writer.writestr(info, content)
    return buffer.getvalue()


def link(name, goal):
    return entry(name, stat.S_IFLNK | 0o777), goal


def refusal(data, folder, limits=None):
    with pytest.raises(ApiError) as raised:
        unpack(data, folder / "code", limits)
    assert raised.value.code == "InvalidParameterValueException"
    return raised.value.message


def everything(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_package_is_unpacked_with_its_permissions_and_times(tmp_path):
    previous = os.umask(0o077)
    try:
        data = archive(("app.py", "x = 1"), (entry("bin/tool", stat.S_IFREG | 0o755), "#!"), (entry("e/", 0o40755), ""))
        size = unpack(data, tmp_path / "code")
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "code").rglob("*")}
    assert modes == {"app.py": 0o644, "bin": 0o755, "tool": 0o755, "e": 0o755}
    assert stat.S_IMODE((tmp_path / "code").stat().st_mode) == 0o755
    assert size == len("x = 1#!")
    assert (tmp_path / "code/app.py").read_text() == "x = 1"
    assert (tmp_path / "code/app.py").stat().st_mtime == 1772600768  # 2026-03-04T05:06:08Z


def test_setuid_setgid_and_sticky_are_dropped_and_files_can_be_read(tmp_path):
    unpack(
        archive((entry("a", stat.S_IFREG | 0o7711), "x"), (entry("b", stat.S_IFREG | 0o600), "x")), tmp_path / "code"
    )
    assert stat.S_IMODE((tmp_path / "code/a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "code/b").stat().st_mode) == 0o644


def test_a_zip_made_on_windows_has_ordinary_permissions(tmp_path):
    unpack(archive((entry("a.py", system=0), "x")), tmp_path / "code")
    assert stat.S_IMODE((tmp_path / "code/a.py").stat().st_mode) == 0o644


def test_links_within_the_package_are_kept(tmp_path):
    unpack(
        archive(("lib/libz.so.1", "elf"), link("lib/libz.so", "libz.so.1"), link("l", "lib/../lib")), tmp_path / "code"
    )
    assert (tmp_path / "code/lib/libz.so").read_text() == "elf"
    assert os.readlink(tmp_path / "code/lib/libz.so") == "libz.so.1"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a" * 256, "/".join(["a" * 200] * 11), "//x"]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    assert refusal(archive(("good.py", ""), (name, "evil")), tmp_path) == COULD_NOT
    assert everything(tmp_path) <= {"code", "code/good.py"}


@pytest.mark.parametrize("goal", ["/etc/passwd", "..", "../x", "a/../../x", "", "x\0y", "a" * 2049])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path, goal):
    assert refusal(archive(("good.py", ""), link("evil", goal)), tmp_path) == COULD_NOT


def test_a_chain_of_links_that_leaves_the_folder_is_refused(tmp_path):
    # Read as text, a/b/up/../x stays inside; followed, it does not: up leads to the root of the package.
    data = archive(("a/b/c.py", ""), link("a/b/up", "../.."), link("evil", "a/b/up/../x"))
    assert refusal(data, tmp_path) == COULD_NOT


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    data = archive(link("out", "../outside"), ("out/evil.py", "x"))
    assert refusal(data, tmp_path) == COULD_NOT
    assert everything(tmp_path / "outside") == set()


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_and_pipes_are_refused(tmp_path, kind):
    assert refusal(archive((entry("dev", kind | 0o666), "")), tmp_path) == COULD_NOT


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("a/", "a")])
def test_a_name_used_twice_is_refused(tmp_path, names):
    assert refusal(archive(*((name, "x" if not name.endswith("/") else "") for name in names)), tmp_path) == COULD_NOT


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_deflate_is_understood(tmp_path, compression):
    assert refusal(archive((entry("a", compression=compression), "x")), tmp_path) == COULD_NOT


def test_an_encrypted_entry_is_refused(tmp_path):
    data = bytearray(archive(("a.py", "x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert refusal(bytes(data), tmp_path) == COULD_NOT


def test_a_wrong_checksum_is_refused(tmp_path):
    data = archive((entry("a.py", compression=zipfile.ZIP_STORED), "spam"))
    assert refusal(data.replace(b"spam", b"eggs"), tmp_path) == COULD_NOT


def test_an_empty_archive_is_refused(tmp_path):
    assert refusal(archive(), tmp_path) == "Uploaded file must be a non-empty zip"


def test_the_zipped_size_is_limited(tmp_path):
    data = archive((entry("a", compression=zipfile.ZIP_STORED), b"x" * 1000))
    unpack(data, tmp_path / "fits", Limits(zipped_bytes=len(data)))
    with pytest.raises(ApiError, match=f"Zipped size must be smaller than {len(data) - 1} bytes") as raised:
        unpack(data, tmp_path / "code", Limits(zipped_bytes=len(data) - 1))
    assert raised.value.code == "RequestEntityTooLargeException"
    assert Limits().zipped_bytes == quotas.UNZIPPED_BYTES


def test_the_unzipped_size_is_limited(tmp_path):
    data = archive(("a", b"x" * 600), ("b", b"x" * 400))
    assert unpack(data, tmp_path / "fits", Limits(unzipped_bytes=1000)) == 1000
    assert refusal(data, tmp_path, Limits(unzipped_bytes=999)) == "Unzipped size must be smaller than 999 bytes"
    assert Limits().unzipped_bytes == 250 * quotas.MIB


def test_the_bytes_are_counted_not_believed(tmp_path):
    bomb = bytearray(archive(("bomb", bytes(10_000_000))))
    directory = bomb.index(b"PK\x01\x02")
    for position in (22, directory + 24):  # both headers claim ten bytes
        struct.pack_into("<L", bomb, position, 10)
    assert refusal(bytes(bomb), tmp_path, Limits(unzipped_bytes=1000)) == COULD_NOT
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 1000


def test_a_bomb_stops_at_the_limit(tmp_path):
    data = archive(*((f"{n}", bytes(1_000_000)) for n in range(5)))
    assert refusal(data, tmp_path, Limits(unzipped_bytes=2_500_000)).startswith("Unzipped size must be smaller")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 2_500_000


def test_the_number_of_entries_is_limited(tmp_path):
    data = archive(*((f"{n}", "") for n in range(20)))
    assert unpack(data, tmp_path / "fits", Limits(entries=20)) == 0
    assert refusal(data, tmp_path, Limits(entries=19)) == COULD_NOT


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c" * 256, "\0", "é"]), min_size=1, max_size=4).map("/".join)
GOALS = st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=5).map("/".join) | st.text(max_size=5)
KINDS = st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR])
HOSTILE = st.lists(st.tuples(NAMES, KINDS, st.integers(0, 0o7777), GOALS, st.integers(0, 3)), min_size=1, max_size=6)


def check_it_stays_inside(data, folder):
    folder.mkdir()
    with contextlib.suppress(ApiError):
        unpack(data, folder / "code", Limits(unzipped_bytes=10_000, zipped_bytes=100_000))
    assert {path.name for path in folder.iterdir()} <= {"code"}
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        assert stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)
        assert not kind & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300)
@given(entries=HOSTILE, flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_no_hostile_archive_writes_outside_or_raises_anything_else(tmp_path_factory, entries, flips):
    data = bytearray(
        archive(*((entry(name, kind | mode, system=system), goal) for name, kind, mode, goal, system in entries))
    )
    for position, value in flips:
        data[position % len(data)] = value
    check_it_stays_inside(bytes(data), tmp_path_factory.mktemp("zip") / "in")


@given(data=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"PK\x05\x06" + tail))
def test_arbitrary_bytes_are_refused_with_the_one_message(tmp_path_factory, data):
    check_it_stays_inside(data, tmp_path_factory.mktemp("zip") / "in")
