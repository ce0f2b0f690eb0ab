"""How quick the sandbox is by itself: parking, claiming, bursts, memory. `python bench/sandbox.py [claims]`."""

import asyncio
import os
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

from lambent.engine.sandbox.launch import Launcher, LaunchSettings, Order, Sandbox
from lambent.engine.sandbox.probe import probe

_BOOTSTRAP = """
def main(control):
    while data := control.recv(4096):
        control.sendall(data)
"""


def row(name: str, times: list[float]) -> None:
    times = sorted(times)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{name:44} {times[0] * 1e3:7.2f} {statistics.median(times) * 1e3:7.2f} {p99 * 1e3:7.2f}  n={len(times)}")


async def echo(sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sandbox.control, struct.pack("!IB", 0, 1))
    await loop.sock_recv(sandbox.control, 16)


async def give_back(sandboxes: list[Sandbox]) -> None:
    for sandbox in sandboxes:
        await sandbox.kill()
        sandbox.control.close()
        sandbox.runtime_api.close()
        os.close(sandbox.output)


def pss_kib(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return found["Pss"], found["Private_Dirty"]


async def main(count: int) -> None:
    walls, _ = await asyncio.to_thread(probe)
    print(f"{walls}, {os.cpu_count()} cores\n{'milliseconds':44}     min     p50     p99")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "bootstrap.py").write_text(_BOOTSTRAP)
        code = scratch / "code"
        code.mkdir()
        settings = LaunchSettings(bootstrap=scratch / "bootstrap.py", scratch=scratch, gateway_port=4566, parked=12)
        began = time.perf_counter()
        async with Launcher.open(Path(sys.executable), walls, settings) as launcher:
            row("launcher ready", [time.perf_counter() - began])
            await sequential(launcher, code, count)
            await burst(launcher, code, 100)
        for target in (100, 500):
            await parking(scratch, walls, code, target)


async def sequential(launcher: Launcher, code: Path, count: int) -> None:
    await asyncio.sleep(1)
    claims, echoes, kills = [], [], []
    for i in range(count):
        began = time.perf_counter()
        sandbox = await launcher.claim(Order(environment_id=f"s{i}", code_dir=code))
        claimed = time.perf_counter()
        await echo(sandbox)
        answered = time.perf_counter()
        await give_back([sandbox])
        claims.append(claimed - began)
        echoes.append(answered - began)
        kills.append(time.perf_counter() - answered)
        await asyncio.sleep(0.02)
    row("claim, one by one", claims)
    row("claim and first answer", echoes)
    row("kill until gone", kills)


async def burst(launcher: Launcher, code: Path, count: int) -> None:
    await asyncio.sleep(1)
    times: list[float] = []
    began = time.perf_counter()

    async def one(i: int) -> Sandbox:
        sandbox = await launcher.claim(Order(environment_id=f"b{i}", code_dir=code))
        await echo(sandbox)
        times.append(time.perf_counter() - began)
        return sandbox

    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(one(i)) for i in range(count)]
    row(f"{count} claims at once, 12 parked: answered after", times)
    sizes = [pss_kib(sandbox.pid) for sandbox in (task.result() for task in made)]
    print(f"memory of each: PSS {statistics.median(s[0] for s in sizes)} KiB, "
          f"private dirty {statistics.median(s[1] for s in sizes)} KiB")  # fmt: skip
    began = time.perf_counter()
    await give_back([task.result() for task in made])
    print(f"all gone after {(time.perf_counter() - began) * 1e3:.0f} ms")


async def parking(scratch: Path, walls, code: Path, target: int) -> None:
    """Time until `target` environments could be claimed, when all are asked for at once: made on demand."""
    settings = LaunchSettings(bootstrap=scratch / "bootstrap.py", scratch=scratch, gateway_port=4566, parked=target)
    async with Launcher.open(Path(sys.executable), walls, settings) as launcher:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            made = [
                tasks.create_task(launcher.claim(Order(environment_id=f"p{i}", code_dir=code))) for i in range(target)
            ]
        taken = time.perf_counter() - began
        print(f"{target} made on demand in {taken * 1e3:.0f} ms: {target / taken:.0f}/s")
        await give_back([task.result() for task in made])


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
