"""Folders of the host that functions may write to: those, and nothing beside or above them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import NOBODY, House, Inside, Refused


def write(path):
    with open(path, "a") as file:
        file.write("x")
    return "written"


def look_around():
    import os

    return sorted(os.listdir("/mnt")), sorted(os.listdir("/mnt/data/..")), sorted(os.listdir("/mnt/data"))


def follow(path):
    return open(path).read()


def make_a_setuid_program():
    import os

    open("/mnt/data/program", "x").close()
    os.chmod("/mnt/data/program", 0o4755)
    return os.stat("/mnt/data").st_uid == os.getuid(), bool(os.statvfs("/mnt/data").f_flag & os.ST_NOSUID)


@pytest.fixture
def folder(house: House, mode: str, request: pytest.FixtureRequest) -> Path:
    outer = house.folder / f"{request.node.name}"
    data = outer / "data"
    data.mkdir(parents=True)
    (outer / "beside").write_text("beside")
    (data / "link").symlink_to(outer / "beside")
    (data / "up").symlink_to("../beside")
    return data


def test_a_shared_folder_shows_nothing_else_of_the_host(folder: Path, fresh: Callable[..., Inside]) -> None:
    folder.chmod(0o777)
    environment = fresh(file_systems=(("/mnt/data", folder),))
    assert environment.run(look_around) == [["data"], ["data"], ["link", "up"]]
    for path in ("/mnt/data/link", "/mnt/data/up", "/mnt/beside", "/mnt/data/../../mnt/beside"):
        assert environment.run(follow, path) == Refused("ENOENT")
    assert environment.run(write, "/mnt/new") == Refused("EROFS")
    assert environment.run(write, "/mnt/data/new") == "written"
    assert (folder / "new").read_text() == "x"


def test_a_shared_folder_of_root_is_not_given_away(folder: Path, fresh: Callable[..., Inside]) -> None:
    if os.getuid() != 0:
        folder.chmod(0o555)
    environment = fresh(file_systems=(("/mnt/data", folder),))
    assert environment.run(write, "/mnt/data/new") == Refused("EACCES")


def can_map_owners(folder: Path) -> bool:
    """Whether the kernel can show this file system's files with other owners; of a container's overlay it cannot."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {words[words.index("-") + 1] for words in lines if words[2] == number}
    return bool(kinds & {"ext4", "xfs"})


def test_what_is_written_belongs_to_the_owner_of_the_shared_folder(
    folder: Path, fresh: Callable[..., Inside], mode: str
) -> None:
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    is_owner = mode == "plain" or can_map_owners(folder)
    if not is_owner:
        folder.chmod(0o777)
    for name in ("one", "two"):  # environments have different users on the host
        environment = fresh(file_systems=(("/mnt/data", folder),))
        assert environment.run(write, f"/mnt/data/{name}") == "written"
        if is_owner:
            assert environment.run(write, "/mnt/data/one") == "written"
            assert (folder / name).stat().st_uid == folder.stat().st_uid
    assert environment.run(make_a_setuid_program) == [is_owner, True]
    assert (folder / "program").stat().st_uid != 0 or os.getuid() != 0
