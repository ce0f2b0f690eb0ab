"""How environments end: on order, by themselves, and with whoever held them."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import Ended, House, Inside, Outside
from machine import BEST

from lambent.engine.sandbox import cgroups
from lambent.engine.sandbox.launch import EnvironmentRefused, Exit, Launcher, LauncherFailed, Order
from lambent.engine.sandbox.sweep import sweep

_NODE = """
import asyncio, sys
from pathlib import Path
from lambent.engine.sandbox.launch import Launcher, LaunchSettings, Order
from lambent.engine.sandbox.probe import probe

async def main(folder):
    settings = LaunchSettings(bootstrap=folder / "bootstrap.py", scratch=folder, parked=2, ahead=2)
    async with Launcher.open(Path(sys.executable), probe()[0], settings) as launcher:
        sandboxes = [await launcher.claim(Order(environment_id=str(i), code_dir=folder)) for i in range(3)]
        print(*[sandbox.pid for sandbox in sandboxes], flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def wait_until_gone(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 20)[0], f"process {pid} lives on"
    finally:
        os.close(fd)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def template_of(launcher_pid: int) -> int:
    """Whose copies have process namespaces of their own, and itself has not."""
    children = Path(f"/proc/{launcher_pid}/task/{launcher_pid}/children").read_text().split()
    own = os.stat(f"/proc/{launcher_pid}/ns/pid")
    (template,) = [int(pid) for pid in children if os.path.samestat(os.stat(f"/proc/{pid}/ns/pid"), own)]
    return template


def test_killed_it_is_gone_with_all_its_processes(fresh: Callable[..., Inside]) -> None:
    def leave_a_child():
        import os
        import signal

        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pause()
            os._exit(0)

    environment = fresh()
    environment.run(leave_a_child)
    environment.kill()
    assert environment.exit() == Exit(-signal.SIGKILL, out_of_memory=False)
    with pytest.raises(ProcessLookupError):
        os.kill(environment.sandbox.pid, 0)


def test_killed_while_frozen_it_is_gone(fresh: Callable[..., Inside]) -> None:
    environment = fresh()
    environment.call(environment.sandbox.freeze)
    environment.kill()
    assert environment.exit().status == -signal.SIGKILL


def test_its_own_end_is_reported_with_the_status(fresh: Callable[..., Inside]) -> None:
    def leave(status):
        import os

        os._exit(status)

    def leave_by_exception():
        raise SystemExit(5)

    for attack, arguments, status in ((leave, (3,), 3), (leave_by_exception, (), 5)):
        environment = fresh()
        with pytest.raises(Ended):
            environment.run(attack, *arguments)
        assert environment.exit() == Exit(status, out_of_memory=False)


def test_more_claims_than_are_parked_are_all_served(house: House, launcher: Launcher) -> None:
    def process_id():
        import os

        return os.getpid()

    async def claim_all() -> list[Inside]:
        async with asyncio.TaskGroup() as tasks:
            orders = [Order(environment_id=f"many-{i}", code_dir=house.folder) for i in range(20)]
            claims = [tasks.create_task(launcher.claim(order)) for order in orders]
        return [Inside(house, claim.result()) for claim in claims]

    environments = house.wait(claim_all())
    assert {environment.run(process_id) for environment in environments} == {1}
    for environment in environments:
        environment.close()


def test_a_claim_that_cannot_be_met_fails_alone(house: House, launcher: Launcher, fresh: Callable[..., Inside]) -> None:
    with pytest.raises(EnvironmentRefused, match="No such file or directory"):
        house.claim(launcher, code=house.folder / "nowhere")
    assert fresh().run(lambda_handler) == "served"


def lambda_handler():
    return "served"


def test_a_parked_environment_that_was_killed_is_not_handed_out(house: House) -> None:
    launcher = house.launcher(BEST, Path(sys.executable), parked=3)
    first = house.claim(launcher)
    launcher_pid = parent_of(first.sandbox.pid)
    children = Path(f"/proc/{launcher_pid}/task/{launcher_pid}/children")
    waiting = [
        int(pid)
        for pid in children.read_text().split()
        if int(pid) not in (first.sandbox.pid, template_of(launcher_pid))
    ]
    for pid in waiting[:2]:  # the third one in a row would be refused
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    others = [house.claim(launcher) for _ in range(4)]
    assert [environment.run(lambda_handler) for environment in (first, *others)] == ["served"] * 5
    for environment in (first, *others):
        environment.close()


def test_a_cancelled_claim_leaves_nothing(house: House, launcher: Launcher, fresh: Callable[..., Inside]) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await launcher.claim(Order(environment_id="cancelled", code_dir=house.folder))

    house.wait(give_up())
    assert fresh().run(lambda_handler) == "served"


def test_a_load_without_a_pause_is_cleaned_up_after(house: House) -> None:
    """What the dead leave is taken away while others are born, not only when it is quiet."""
    launcher = house.launcher(BEST, Path(sys.executable), parked=2)
    code = house.folder / "load"
    code.mkdir()
    numbers = iter(range(600))

    async def work() -> int:
        held = 0
        for number in numbers:
            sandbox = await launcher.claim(Order(environment_id=f"load-{number}", code_dir=code))
            held = len(os.listdir(f"/proc/{parent_of(sandbox.pid)}/fd"))
            await sandbox.kill()
            sandbox.control.close()
            sandbox.runtime_api.close()
            os.close(sandbox.output)
        return held

    async def descriptors_at_the_end() -> int:
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(work()) for _ in range(8)]
        return max(worker.result() for worker in workers)

    assert house.wait(descriptors_at_the_end()) < 2000  # ten each of those alive, parked by demand or just dead


def test_layers_lie_at_opt_with_the_later_on_top(house: House, fresh: Callable[..., Inside], mode: str) -> None:
    def read_layers():
        import os

        return {name: open(f"/opt/{name}").read() for name in sorted(os.listdir("/opt"))}

    layers = []
    for number, files in enumerate(({"a": "1", "b": "1"}, {"b": "2", "c": "2"}, {"c": "3"})):
        # As long as the folders of real layers: a data folder, the boot's id, the package's digest.
        layers.append(house.folder / f"layers-{mode}" / ("b" * 100) / f"{number:064}")
        layers[-1].mkdir(parents=True)
        for name, text in files.items():
            (layers[-1] / name).write_text(text)
    assert fresh(layer_dirs=(layers[0],)).run(read_layers) == {"a": "1", "b": "1"}
    assert fresh(layer_dirs=tuple(layers)).run(read_layers) == {"a": "1", "b": "2", "c": "3"}


def test_when_the_node_is_killed_nothing_is_left(house: House) -> None:
    command = [sys.executable, "-c", _NODE, str(house.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        pids = [int(word) for word in node.stdout.readline().split()]
        launcher_pid = parent_of(pids[0])
        folder = cgroups.launcher_folder(launcher_pid)
        node.kill()
    for pid in (*pids, launcher_pid):
        wait_until_gone(pid)
    assert len(pids) == 3
    assert folder not in {Path(path).name for path in cgroups.launcher_folders()}


def test_when_the_launcher_is_killed_its_environments_go_and_the_sweep_takes_the_rest(house: House) -> None:
    launcher = house.launcher(BEST, Path(sys.executable))
    environment = house.claim(launcher)
    launcher_pid = parent_of(environment.sandbox.pid)
    folder = cgroups.launcher_folder(launcher_pid)
    os.kill(launcher_pid, signal.SIGKILL)
    assert environment.exit().status == -signal.SIGKILL
    with pytest.raises(LauncherFailed):
        house.claim(launcher)
    wait_until_gone(launcher_pid)
    sweep(house.folder)
    wait_until_gone(environment.sandbox.pid)
    assert folder not in {Path(path).name for path in cgroups.launcher_folders()}
    environment.sandbox.control.close()
    environment.sandbox.runtime_api.close()
    os.close(environment.sandbox.output)


def test_without_its_template_a_launcher_ends(house: House) -> None:
    launcher = house.launcher(BEST, Path(sys.executable))
    environment = house.claim(launcher)
    launcher_pid = parent_of(environment.sandbox.pid)
    os.kill(template_of(launcher_pid), signal.SIGKILL)
    wait_until_gone(launcher_pid)
    assert environment.exit().status == -signal.SIGKILL
    with pytest.raises(LauncherFailed):
        house.claim(launcher)
    environment.sandbox.control.close()
    environment.sandbox.runtime_api.close()
    os.close(environment.sandbox.output)


def test_the_sweep_leaves_the_living_alone(house: House, fresh: Callable[..., Inside]) -> None:
    environment = fresh()
    sweep(house.folder)
    assert environment.run(lambda_handler) == "served"


def test_without_walls_it_serves_all_the_same(without_walls: Inside, outside: Outside) -> None:
    def place():
        import os

        return os.getcwd(), os.getpid() != 1, sorted(os.listdir("."))

    folder, is_on_the_host, names = without_walls.run(place)
    assert (is_on_the_host, names) == (True, ["handler.py"])
    assert outside.run(lambda_handler) == "served"
    assert Path(folder).parent.name.startswith("lambent-security-")


def test_without_walls_it_can_be_killed_frozen_and_measured(house: House, without_walls: Inside) -> None:
    without_walls.call(without_walls.sandbox.freeze)
    without_walls.call(without_walls.sandbox.thaw)
    assert without_walls.run(lambda_handler) == "served"
    assert without_walls.sandbox.max_memory_bytes() > 1 << 20


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
def test_each_interpreter_that_is_here_can_be_launched(house: House, version: str) -> None:
    def own_version():
        import sys

        return "{}.{}".format(*sys.version_info)

    found = [path for path in _interpreters(version) if path.exists()]
    for interpreter in found[:1]:
        environment = house.claim(house.launcher(BEST, interpreter, parked=1))
        assert environment.run(own_version) == version
        environment.close()


def _interpreters(version: str) -> list[Path]:
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    pyenv = Path.home() / ".pyenv" / "versions"
    return [*pyenv.glob(f"{version}.*/bin/python{version}"), *(folder / f"python{version}" for folder in folders)]
