"""Blobs: named by what is in them, whole or not there."""

import hashlib
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.store.blobs import Blobs, DamagedBlobError, make_folder


@given(st.binary())
def test_what_is_put_is_read(tmp_path_factory, data):
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.read(digest) == data
    assert list(blobs.digests()) == [digest]


def test_putting_twice_keeps_one(tmp_path):
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"code")
    first = blobs.path(digest).stat()
    assert blobs.put(b"code") == digest
    assert blobs.path(digest).stat().st_ino == first.st_ino
    assert stat.S_IMODE(first.st_mode) == 0o600


def test_a_damaged_blob_is_not_handed_out_and_putting_it_again_repairs_it(tmp_path):
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"code")
    blobs.path(digest).write_bytes(b"c0de")
    with pytest.raises(DamagedBlobError, match="is damaged"):
        blobs.read(digest)
    assert blobs.put(b"code") == digest
    assert blobs.read(digest) == b"code"


def test_what_is_not_kept_is_not_found(tmp_path):
    blobs = Blobs(tmp_path)
    with pytest.raises(FileNotFoundError):
        blobs.read("0" * 64)
    blobs.delete("0" * 64)


@pytest.mark.parametrize("name", ["../secret", "", "0" * 63, "0" * 64 + "\n", "A" * 64])
def test_only_digests_name_blobs(tmp_path, name):
    with pytest.raises(ValueError, match="is not a SHA-256 in hex"):
        Blobs(tmp_path).read(name)


def test_what_a_killed_node_left_half_written_is_not_listed_and_goes_at_the_next_start(tmp_path):
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"code")
    (tmp_path / ".new-abc").write_bytes(b"half")
    assert list(blobs.digests()) == [digest]
    Blobs(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def test_a_failed_put_leaves_nothing(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    blobs.path(hashlib.sha256(b"code").hexdigest()).mkdir()  # in the way of the rename
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        blobs.put(b"code")
    assert [path for path in (tmp_path / "blobs").iterdir() if path.name.startswith(".")] == []


def test_new_folders_are_for_their_owner_alone(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
