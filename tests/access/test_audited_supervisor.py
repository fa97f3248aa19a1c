"""Who stops, kills or restarts a process of a running system is on the audit trail."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys

from tidegate.access.audit_chain import STREAM, read, verify
from tidegate.log.base import LogDown
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.ops.audited import Audited
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process, Topology

SLEEPS = Process(
    "sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], health=False, stop_timeout=5.0
)


def test_acts_on_processes_are_noted_with_who_asked(tmp_path):
    async def body() -> None:
        server, clock = MemoryServer(1, log=declared(1)), SystemClock()

        async def client():
            return server.client(f"up-{clock.now()}")

        audited = Audited(tmp_path, clock, client)
        supervisor = Supervisor(Topology([SLEEPS]), DataFolder(tmp_path), clock, note=audited.note)
        running = asyncio.create_task(supervisor.run())
        async with asyncio.timeout(30):
            while not supervisor.folder.socket.exists():
                await asyncio.sleep(0.01)
            for request in (
                {"do": "ps"},
                {"do": "restart", "name": "sleeper"},
                {"do": "kill", "name": "nobody"},
            ):
                await ask(supervisor.folder.socket, request)
            log = server.client("reader")
            lines: list[bytes] = []
            while len(lines) < 2:
                await asyncio.sleep(0.01)
                lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
            await ask(supervisor.folder.socket, {"do": "stop"})
            await running
            await audited.close()
        records = [read(line).record for line in lines]
        assert verify(lines).bad is None
        assert [(r.do, r.scope) for r in records] == [
            ("restart", "process:sleeper"),
            ("kill", "process:nobody"),
        ]
        assert records[0].outcome == "done"
        assert records[1].outcome.startswith("failed: ")
        if sys.platform.startswith("linux"):
            assert {r.who for r in records} == {f"user:{getpass.getuser()} (process {os.getpid()})"}

    asyncio.run(body())


def test_an_act_with_the_log_away_is_on_the_disk(tmp_path):
    async def nowhere():
        raise LogDown("away")

    async def body() -> None:
        audited = Audited(tmp_path, SystemClock(), nowhere)
        audited.note("user:me", "stop", "system", "done")
        (left,) = (tmp_path / "run").glob("audit-up.*.jsonl")
        assert b"user:me" in left.read_bytes()
        while not audited.counters["log not reached"]:
            await asyncio.sleep(0)
        await audited.close()

    asyncio.run(body())
