"""What of the host's files a function can read, write or find."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from attacks import House, Inside, Outside, Refused
from machine import BEST

import lambent
from lambent.engine.sandbox import landlock


def read(path):
    with open(path, "rb") as file:
        return file.read(64).decode(errors="replace")


def write(path):
    with open(path, "a") as file:
        file.write("mine")
    return "written"


def find(name):
    import os

    return [
        os.path.join(folder, name)
        for top in os.listdir("/")
        if top not in ("proc", "usr", "sys")
        for folder, _, names in os.walk("/" + top)
        if name in names
    ]


def test_the_platforms_data_folder_is_out_of_reach(house: House, inside: Inside, outside: Outside) -> None:
    database = house.folder / "data" / "main.db"
    database.parent.mkdir(exist_ok=True)
    database.write_text("every account's secrets")
    assert outside.run(read, str(database)) == "every account's secrets"
    assert inside.run(read, str(database)) == Refused("ENOENT")
    assert inside.run(find, "main.db") == []


def test_a_data_folder_inside_the_system_is_shown_empty(house: House, inside: Inside) -> None:
    """As when a node is run in /usr/src/app. The folder here only stands for one."""

    def names():
        import os

        return os.listdir("/usr/share")

    assert inside.run(names) != []
    launcher = house.launcher(BEST, Path(sys.executable), parked=1, hidden=(Path("/usr/share"),))
    environment = house.claim(launcher)
    assert environment.run(names) == []
    environment.close()


def test_the_platforms_own_code_is_out_of_reach(inside: Inside, outside: Outside) -> None:
    node = str(Path(lambent.__file__).with_name("dispatch.py"))
    assert "door" in outside.run(read, node)
    assert inside.run(read, node) == Refused("ENOENT")


def test_another_functions_code_is_out_of_reach(
    house: House, inside: Inside, fresh: Callable[..., Inside], outside: Outside
) -> None:
    theirs = house.folder / "their-code"
    theirs.mkdir(exist_ok=True)
    (theirs / "their_handler.py").write_text("PASSWORD = 'tiger'")
    other = fresh(code=theirs)
    assert other.run(read, "/var/task/their_handler.py") == "PASSWORD = 'tiger'"
    assert "tiger" in outside.run(read, str(theirs / "their_handler.py"))
    assert inside.run(read, str(theirs / "their_handler.py")) == Refused("ENOENT")
    assert inside.run(find, "their_handler.py") == []


def test_a_link_out_of_a_package_or_a_layer_ends_at_the_environments_own_root(
    house: House, mode: str, fresh: Callable[..., Inside], outside: Outside
) -> None:
    """No package comes out of the archive with such a link; this is for the day one does."""
    secret = house.folder / "data" / "main.db"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("every account's secrets")
    folders = [house.folder / f"links-{mode}-{name}" for name in ("code", "below", "above")]
    for folder in folders:
        folder.mkdir()
        (folder / "absolute").symlink_to(secret)
        (folder / "relative").symlink_to(os.path.relpath(secret, folder))
        (folder / "upwards").symlink_to("../" * 20 + str(secret).lstrip("/"))
        (folder / "accounts").symlink_to("/etc/shadow")
    code, *layers = folders
    environment = fresh(code=code, layer_dirs=tuple(layers))
    for name in ("absolute", "relative", "upwards"):
        assert outside.run(read, str(code / name)) == "every account's secrets"
        for place in ("/var/task", "/opt"):
            assert environment.run(read, f"{place}/{name}") == Refused("ENOENT")
    assert environment.run(read, "/opt/accounts") == Refused("ENOENT")


def test_layers_over_each_other_are_read_only_and_hide_nothing_by_their_files_names(
    house: House, mode: str, fresh: Callable[..., Inside], outside: Outside
) -> None:
    """One copy of a layer serves every function that has it."""
    layers = [house.folder / f"layer-{mode}-{name}" for name in ("below", "above")]
    for layer in layers:
        (layer / "folder").mkdir(parents=True)
        (layer / "folder" / f"of-{layer.name}").write_text("whole")
        (layer / f"of-{layer.name}").write_text("whole")
    below, above = layers
    (above / f".wh.of-{below.name}").write_text("")
    (above / "folder" / ".wh..wh..opq").write_text("")
    for path in (*below.rglob("*"), *above.rglob("*")):
        path.chmod(0o777)
    environment = fresh(layer_dirs=(below, above))
    for place in (f"of-{below.name}", f"of-{above.name}", f"folder/of-{below.name}", f"folder/of-{above.name}"):
        assert environment.run(read, f"/opt/{place}") == "whole"
        assert environment.run(write, f"/opt/{place}") == Refused("EROFS")
    assert outside.run(write, str(below / f"of-{below.name}")) == "written"


def test_a_hard_link_takes_no_file_out_of_its_mount(
    house: House, inside: Inside, outside: Outside, tmp_path: Path
) -> None:
    """In /tmp it would be the function's own to change."""

    def take(path, to):
        import os

        os.link(path, to)
        return "taken"

    (tmp_path / "file").write_text("theirs")
    assert outside.run(take, str(tmp_path / "file"), str(tmp_path / "mine")) == "taken"
    for path in ("/var/task/handler.py", "/usr/bin/env", "/etc/passwd"):
        assert inside.run(take, path, "/tmp/mine") == Refused("EXDEV"), path


def test_a_link_in_tmp_leads_nobody_elses_process_anywhere(
    inside: Inside, fresh: Callable[..., Inside], outside: Outside, tmp_path: Path
) -> None:
    def lead(to, name):
        import os

        os.symlink(to, name)
        return "set"

    secret = tmp_path / "secret"
    secret.write_text("theirs")
    assert outside.run(lead, str(secret), str(tmp_path / "link")) == "set"
    assert outside.run(read, str(tmp_path / "link")) == "theirs"
    environment = fresh()
    assert environment.run(lead, str(secret), "/tmp/lambent-link") == "set"
    assert environment.run(read, "/tmp/lambent-link") == Refused("ENOENT")
    assert inside.run(read, "/tmp/lambent-link") == Refused("ENOENT")
    assert not Path("/tmp/lambent-link").is_symlink()


def test_the_hosts_accounts_are_not_shown(inside: Inside, outside: Outside) -> None:
    def users():
        import pwd

        return sorted(entry.pw_name for entry in pwd.getpwall())

    assert len(outside.run(users)) > 2
    assert inside.run(users) == ["root", "sbx_user1051"]
    assert inside.run(read, "/etc/shadow") == Refused("ENOENT")


def test_the_root_holds_nothing_of_the_host(inside: Inside) -> None:
    def entries():
        import os

        return sorted(os.listdir("/")), os.listdir("/root"), os.listdir("/home"), os.listdir("/opt")

    system = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "usr"}
    names, *rest = inside.run(entries)
    assert set(names) - system == {"dev", "etc", "home", "mnt", "opt", "proc", "root", "tmp", "var"}
    assert [name for folder in rest for name in folder if not name.startswith(".pyenv")] == []


def test_the_system_and_the_code_are_read_only(inside: Inside) -> None:
    def writable_mounts():
        import os

        return [path for path in ("/", "/usr", "/var/task") if not os.statvfs(path).f_flag & os.ST_RDONLY]

    assert inside.run(writable_mounts) == []
    for path in ("/usr/new", "/var/task/new", "/var/task/handler.py", "/opt/new", "/new", "/var/runtime/new"):
        assert inside.run(write, path) == Refused("EROFS"), path
    assert inside.run(write, "/tmp/new") == "written"


def test_the_kernels_settings_are_read_only(inside: Inside) -> None:
    def is_read_only():
        import os

        return bool(os.statvfs("/proc/sys").f_flag & os.ST_RDONLY)

    assert inside.run(is_read_only) is True
    assert inside.run(write, "/proc/sys/kernel/hostname") in (Refused("EROFS"), Refused("EACCES"))


def test_a_file_cannot_be_made_writable_by_mounting_again(inside: Inside) -> None:
    def remount():
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(None, b"/var/task", None, 32 | 4096, None) != 0:  # MS_REMOUNT | MS_BIND
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    assert inside.run(remount) == Refused("EPERM")


def test_one_environments_tmp_is_not_anothers(inside: Inside, fresh: Callable[..., Inside]) -> None:
    other = fresh()
    assert other.run(write, "/tmp/theirs") == "written"
    assert other.run(read, "/tmp/theirs") == "mine"
    assert inside.run(read, "/tmp/theirs") == Refused("ENOENT")


def test_one_environments_shared_memory_is_not_anothers(
    inside: Inside, fresh: Callable[..., Inside], outside: Outside
) -> None:
    def share(name):
        from multiprocessing import shared_memory

        block = shared_memory.SharedMemory(name, create=True, size=6)
        block.buf[:6] = b"secret"
        block.close()
        return "shared"

    def look(name):
        with open(f"/dev/shm/{name}", "rb") as file:
            return file.read(6).decode()

    name = f"lambent-attack-{os.getpid()}"
    Path(f"/dev/shm/{name}").write_bytes(b"secret")
    try:
        assert outside.run(look, name) == "secret"
        other = fresh()
        assert other.run(look, name) == Refused("ENOENT")
        assert other.run(share, name) == "shared"
        assert other.run(look, name) == "secret"
        assert inside.run(look, name) == Refused("ENOENT")
    finally:
        Path(f"/dev/shm/{name}").unlink()


def test_device_nodes_cannot_be_made(inside: Inside) -> None:
    def make_disk():
        import os

        os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))

    assert inside.run(make_disk) == Refused("EACCES" if landlock.version() else "EPERM")


def test_no_device_but_the_harmless_ones(inside: Inside) -> None:
    def devices():
        import os

        return sorted(os.listdir("/dev"))

    links = ["fd", "stderr", "stdin", "stdout"]
    assert inside.run(devices) == sorted(["full", "null", "random", "shm", "tty", "urandom", "zero", *links])


def test_the_dangerous_parts_of_proc_are_empty(inside: Inside) -> None:
    def contents():
        import os

        found = {}
        for name in ("kcore", "keys", "kmsg", "kallsyms", "sysrq-trigger", "timer_list", "config.gz"):
            if os.path.exists(f"/proc/{name}"):
                with open(f"/proc/{name}", "rb") as file:
                    found[name] = len(file.read(10))
        for name in ("irq", "bus", "acpi", "fs"):
            if os.path.exists(f"/proc/{name}"):
                found[name] = len(os.listdir(f"/proc/{name}"))
        return found

    assert not any(inside.run(contents).values())


def test_sysrq_cannot_be_pulled(inside: Inside) -> None:
    def device():
        import os

        if not os.path.exists("/proc/sysrq-trigger"):
            return None
        status = os.stat("/proc/sysrq-trigger")
        return os.major(status.st_rdev), os.minor(status.st_rdev)

    assert inside.run(device) in (None, [1, 3])  # what is written there goes to /dev/null


def test_the_hosts_root_is_nowhere_behind_ours(house: House, inside: Inside) -> None:
    def climb():
        import os

        return [os.path.realpath(path) for path in ("/..", "/proc/self/root", "/proc/self/cwd/../..")], os.stat(
            "/"
        ).st_dev

    paths, device = inside.run(climb)
    assert paths == ["/", "/", "/"]
    assert device != os.stat("/").st_dev


def test_proc_of_the_host_does_not_lie_under_ours(inside: Inside) -> None:
    def mounts():
        with open("/proc/self/mountinfo") as file:
            return [line.split()[3:5] for line in file]

    places = [target for _, target in inside.run(mounts)]
    assert not [place for place in places if place.startswith(("/sys", "/run", "/mnt"))]
    assert places.count("/dev/shm") == 1
