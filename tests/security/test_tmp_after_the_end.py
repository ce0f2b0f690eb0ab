"""The /tmp of an environment that was reset: for the one that takes its place, and for no other."""

import os
from collections.abc import Callable

from attacks import Ended, House, Inside, Refused

from lambent.engine.sandbox.launch import Launcher


def leave_files(megabytes):
    import os

    os.mkdir("/tmp/folder", 0o700)
    with open("/tmp/folder/secret", "wb") as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
        file.write(b"secret")
    return os.getuid()


def read_and_write():
    import os

    with open("/tmp/folder/secret", "rb") as file:
        file.seek(-6, 2)
        text = file.read().decode()
    open("/tmp/folder/mine", "x").close()
    mine, theirs = os.stat("/tmp/folder/mine"), os.stat("/tmp/folder/secret")
    os.rename("/tmp/folder/mine", "/tmp/mine")
    return text, mine.st_uid == theirs.st_uid == os.getuid(), sorted(os.listdir("/tmp"))


def names_in_tmp():
    import os

    return sorted(os.listdir("/tmp"))


def mounts_on_tmp():
    return [line.split()[4] for line in open("/proc/self/mountinfo") if line.split()[4].startswith("/tmp")]


def room_in_tmp():
    import os

    room = os.statvfs("/tmp")
    return room.f_blocks * room.f_frsize >> 20


def stop(environment: Inside) -> None:
    environment._house.wait(environment.sandbox.stop())


def close(environment: Inside) -> None:
    environment.sandbox.control.close()
    environment.sandbox.runtime_api.close()
    os.close(environment.sandbox.output)


def test_only_the_one_that_takes_its_place_has_it(
    house: House, launcher: Launcher, fresh: Callable[..., Inside]
) -> None:
    for megabytes in (0, 40):  # a large /tmp is let go in a process of its own
        first = house.claim(launcher, ephemeral_mb=600)
        first.run(leave_files, megabytes)
        stop(first)
        neighbours = [fresh() for _ in range(4)]
        assert [each.run(names_in_tmp) for each in neighbours] == [[]] * 4
        heir = house.claim(launcher, ephemeral_mb=600, heir_of=first.sandbox.id)
        assert heir.run(read_and_write) == ["secret", True, ["folder", "mine"]]
        assert heir.run(mounts_on_tmp) == ["/tmp"]
        assert heir.run(room_in_tmp) == 600
        assert [each.run(names_in_tmp) for each in neighbours] == [[]] * 4
        second = fresh(heir_of=first.sandbox.id)  # it has been inherited
        assert second.run(names_in_tmp) == []
        close(first)
        heir.close()


def test_it_passes_from_one_to_the_next(house: House, launcher: Launcher) -> None:
    def leave(status):
        import os

        open(f"/tmp/{status}", "x").close()
        os._exit(status)

    environment = house.claim(launcher)
    for status in range(5):
        try:
            environment.run(leave, status)
        except Ended:
            environment.exit()
        close(environment)
        environment = house.claim(launcher, heir_of=environment.sandbox.id)
    assert environment.run(names_in_tmp) == ["0", "1", "2", "3", "4"]
    environment.close()


def test_what_nobody_wants_is_gone(house: House, launcher: Launcher, fresh: Callable[..., Inside]) -> None:
    for megabytes in (0, 40):
        killed, stopped = house.claim(launcher), house.claim(launcher)
        for environment in (killed, stopped):
            environment.run(leave_files, megabytes)
        stop(stopped)
        for environment in (killed, stopped):
            environment.close()
        for environment in (killed, stopped):
            heir = fresh(heir_of=environment.sandbox.id)
            assert heir.run(names_in_tmp) == []
            assert heir.run(read_and_write) == Refused("ENOENT")


def test_the_living_leave_nothing(launcher: Launcher, fresh: Callable[..., Inside]) -> None:
    living = fresh()
    living.run(leave_files, 0)
    assert fresh(heir_of=living.sandbox.id).run(names_in_tmp) == []
