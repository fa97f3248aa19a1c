"""A drill kills the busiest process of ours, and notes how it comes back."""

from __future__ import annotations

import asyncio
import sys

from tidegate.model.clock import SystemClock
from tidegate.ops.drill import Drill
from tidegate.ops.folder import DataFolder
from tidegate.ops.snapshot import Looker
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process, Topology

BUSY = "while True: pass"
IDLE = "import time\nwhile True: time.sleep(1)"


def process(name: str, code: str) -> Process:
    return Process(name, [sys.executable, "-c", code], health=False)


def test_the_busiest_is_killed_once_and_comes_back(tmp_path):
    notes: list[tuple[str, str]] = []

    async def main() -> tuple[Drill, Supervisor]:
        folder, clock = DataFolder(tmp_path), SystemClock()
        topology = Topology([process("venue-1", BUSY), process("busy", BUSY), process("idle", IDLE)])
        supervisor = Supervisor(topology, folder, clock)
        drill = Drill(
            supervisor, Looker(folder, clock), clock, 4.0, 2.0, note=lambda *note: notes.append(note)
        )
        await supervisor.start()
        running = asyncio.create_task(drill.run())
        await supervisor.wait()
        await running
        await supervisor.stop()
        return drill, supervisor

    drill, supervisor = asyncio.run(main())
    (kill,) = drill.killed
    assert kill.name == "busy", "the venue is not ours"
    assert kill.healthy > kill.at
    assert notes == [("busy", "the drill's: the busiest after 2 s")]
    assert supervisor.child("busy").restarts == 1
    figures = drill.figures()
    assert figures["kills"][0]["name"] == "busy"
    cpu = {row["name"]: row["cpu"] for row in figures["processes"]}
    assert cpu["busy"] > cpu["idle"]
