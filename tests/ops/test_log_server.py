"""`tidegate up` with the log's own server: first to start, alive on one port through every kill, last to stop."""

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

import pytest
from ops.children import Told, good
from rich.console import Console

from tidegate import config as configuration
from tidegate.access import local
from tidegate.access.audit import AuditTrail
from tidegate.access.audit_chain import read as read_audit
from tidegate.access.identity import Role
from tidegate.cli import live
from tidegate.cli.sign import signed
from tidegate.errors import UserError
from tidegate.log import embedded
from tidegate.log.opening import log_of
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.ops.folder import DataFolder
from tidegate.ops.lock import holder
from tidegate.ops.log_reader import Wanted, read
from tidegate.ops.log_server import LogServer
from tidegate.ops.orders import order
from tidegate.ops.proc import lives
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process, Topology
from tidegate.risk.limits import Limits
from tidegate.world import World

DEMO = Path(__file__).parents[2] / "examples" / "demo.toml"
ASKS = "import sys; from tidegate.log.embedded import find; print(find(__import__('pathlib').Path(sys.argv[1])).url)"


def test_the_server_is_found_and_keeps_its_port_through_a_kill(tmp_path):
    async def scenario():
        data = tmp_path / "data"
        server, told = LogServer(data, "process"), Told()
        asking = Process("asks", [sys.executable, "-c", ASKS, str(data)], health=False, restart=False)
        supervisor = Supervisor(Topology([server.process(), asking]), DataFolder(data), SystemClock(), told)
        await supervisor.start()
        await told.until("asks", "done")
        before, first = embedded.find(data), supervisor.child("log").pid
        os.kill(first, signal.SIGKILL)
        await told.until("log", "healthy", 2)
        after, second = embedded.find(data), supervisor.child("log").pid
        await supervisor.stop()
        await server.close()
        return (
            before,
            after,
            first,
            second,
            DataFolder(data).out("asks").read_text().strip(),
            embedded.find(data),
        )

    before, after, first, second, asked, gone = asyncio.run(scenario())
    assert asked == before.url == after.url
    assert (before.user, before.password) == (after.user, after.password)
    assert first != second
    assert not lives(first)
    assert not lives(second)
    assert gone is None


def test_up_from_start_to_end_on_a_pipe(tmp_path):
    async def scenario():
        data = tmp_path / "data"
        server = LogServer(data, "process")
        topology = Topology([server.process(), good(tmp_path, "oms-1", order_of_stop=20)])
        up = asyncio.Event()

        class Out(io.StringIO):
            def write(self, text):
                if "running" in text:
                    up.set()
                return super().write(text)

        console, folder = Console(file=(out := Out())), DataFolder(data)
        world = World.load(DEMO)
        world.__dict__ |= {"universe": Universe([]), "limits": Limits()}  # no lake has to be there
        local.add(data, world.config.access, "olga", Role.OPERATOR, "olga")
        running = asyncio.create_task(live._up(topology, data, world, console, server))
        async with asyncio.timeout(20):
            await up.wait()
        found = holder(folder)
        await order(folder.socket, signed("stop", "system", "the test is over", data))
        dead, _ = await running
        return dead, out.getvalue(), found, folder

    dead, out, found, folder = asyncio.run(scenario())
    assert dead == []
    assert found.pid == os.getpid()
    words = [line.split()[1:3] for line in out.splitlines() if line.split()[1] != "2"]
    assert [words[0], *words[-5:]] == [
        ["up", "starting"], ["oms-1", "stopping"], ["oms-1", "stopped"], ["log", "stopping"], ["log", "stopped"],
        ["up", "stopped"],
    ]  # fmt: skip
    logged = [(line["process"], line["event"]) for line in read(folder, Wanted(names=("up",)))]
    assert ("oms-1", "process.healthy") in logged
    assert logged[-1] == ("up", "process.stopped")
    assert asyncio.run(noted(folder.path)) == [("up", "system", "done"), ("stop", "system", "done")]


async def noted(data):
    """What was asked of a supervisor, by the audit trail; what was too late for the log is sent by the next process."""
    async with log_of(data, "test", SystemClock()) as log:
        trail = AuditTrail(log, SystemClock(), "test", data)
        assert await trail.drained(10)
        trail.close()
        records = [read_audit(entry.data).record async for batch in log.read("AUDIT") for entry in batch]
    return [(record.do, record.scope, record.outcome) for record in records]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="cannot write to data folder"):
        asyncio.run(
            live._up(Topology([]), tmp_path / "data", World.load(DEMO), Console(file=io.StringIO()), None)
        )


def test_the_processes_of_the_demo_in_their_order(tmp_path):
    topology = live.topology_of(configuration.load(DEMO), DEMO, tmp_path, LogServer(tmp_path, "process"))
    names = [process.name for process in topology.processes]
    assert names[0] == "log"
    assert names[-3:] == ["strategy-maker", "strategy-basis", "strategy-trend"]
    assert {"feed-1", "oms-1", "gateway-1", "recorder-1"} <= set(names)
    stops = [[process.name for process in group] for group in topology.stops()]
    assert stops[0] == ["strategy-maker", "strategy-basis", "strategy-trend"]
    assert stops[1:5] == [["oms-1"], ["gateway-1"], ["risk-1"], ["feed-1"]]
    assert stops[-1] == ["log"]
