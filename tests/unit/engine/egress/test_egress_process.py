"""The proxy's process, as the node holds it."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import lambent
from lambent.engine.egress.process import COMMAND, Egress, ProxyEnded
from lambent.engine.egress.serve import ADOPT


def test_it_ends_with_whoever_held_it():
    """A node that is killed closes the socket between them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with theirs:
            command = [*COMMAND, str(theirs.fileno()), "0"]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={}, cwd="/")
        socket.send_fds(ours, [ADOPT + b"e1"], [listener.fileno()])
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 403")
        ours.close()
        assert process.wait(20) == 0


def test_listeners_given_before_it_runs_and_more_than_fit_at_once_are_served():
    """Orders wait on the node's side while the socket between them is full; none is lost, and the order is kept."""

    async def main():
        egress = Egress(0)
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        first = socket.create_connection(address)  # starts the process
        closers = [egress.adopt(listener.dup(), f"e{number}") for number in range(50)]
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(egress.run())
            await asyncio.sleep(0)
            closers += [egress.adopt(listener.dup(), f"f{number}") for number in range(200)]
            for close in closers[:-1]:
                close()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"CONNECT 10.0.0.1:80 HTTP/1.1\r\n\r\n")
            assert (await reader.readline()).split()[1] == b"403"
            writer.close()
            closers[-1]()
            running.cancel()
        first.close()
        listener.close()

    asyncio.run(main())


_ASK_IT = """
import asyncio, socket
from lambent.engine.egress.process import Egress

async def main():
    egress = Egress(0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        egress.adopt(listener.dup(), "e1")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(egress.run())
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"CONNECT 10.0.0.1:80 HTTP/1.1\\r\\n\\r\\n")
            print((await reader.readline()).decode())
            writer.close()
            running.cancel()

asyncio.run(main())
"""


def test_it_is_of_the_very_lambent_that_starts_it(tmp_path):
    """One on PYTHONPATH, say, as after `pip install --target`: the interpreter knows of none."""
    venv.create(tmp_path)
    command = [str(tmp_path / "bin/python"), "-c", _ASK_IT]
    variables = {"PYTHONPATH": str(Path(lambent.__file__).parents[1])}
    done = subprocess.run(command, env=variables, cwd="/", capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split()[1] == "403"


def test_one_that_stands_still_is_ended():
    """A process that hears nothing any more does not hold up the node's end."""

    async def main():
        command = (
            sys.executable,
            "-I",
            "-c",
            "import os, signal; os.write(1, str(os.getpid()).encode()); signal.pause()",
        )
        reader, writer = os.pipe()
        saved = os.dup(1)
        os.dup2(writer, 1)
        try:
            egress = Egress(0, command, stop_limit_s=0.1)
            listener = socket.create_server(("127.0.0.1", 0))
            close = egress.adopt(listener, "e1")
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(egress.run())
                first = socket.create_connection(listener.getsockname())
                await asyncio.to_thread(select.select, [reader], [], [])
                pid = int(os.read(reader, 20))
                running.cancel()
            first.close()
            close()
        finally:
            os.dup2(saved, 1)
            for fd in (saved, reader, writer):
                os.close(fd)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        raise AssertionError("it still runs")

    asyncio.run(main())


def test_there_is_no_process_until_somebody_connects():
    async def main():
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        egress = Egress(0, [sys.executable, "-c", ""])  # one that ends at once
        closers = [egress.adopt(listeners[0], "e0")]
        running = asyncio.ensure_future(egress.run())
        await asyncio.sleep(0)
        closers += [egress.adopt(listeners[1], "e1"), egress.adopt(listeners[2], "e2")]
        closers.pop(0)()
        await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", ""], check=True
        )  # as long as its start would take
        assert not running.done()
        with socket.create_connection(listeners[2].getsockname()):
            with pytest.raises(ProxyEnded):
                await running
        for close in closers:
            close()

    asyncio.run(main())
