"""Real processes that misbehave inside their cells, and what their supervisor's hook was told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ops.children import Told

from tidegate.model.clock import SystemClock
from tidegate.ops.cell import Limits
from tidegate.ops.ending import End
from tidegate.ops.folder import DataFolder
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process, Topology

ACTS = """
import asyncio, os, signal, sys, threading, time
sys.path[:0] = {path!r}
from pathlib import Path
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import HealthFile

def act():
{act}

async def main():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    health = HealthFile(DataFolder(Path({data!r})), {name!r}, ["test"], {{}}, SystemClock(), beats=True)
    await health.start()
    health.running()
    loop.call_later(0.1, act)
    await stop.wait()

asyncio.run(main())
"""
EATS = "kept = []\nwhile True:\n    kept.append(bytearray(1 << 22))"
FORKS = (
    "for _ in range(200):\n"
    "    try:\n"
    "        pid = os.fork()\n"
    "    except BlockingIOError:\n"
    "        print('no more forks', flush=True)\n"
    "        break\n"
    "    if not pid:\n"
    "        time.sleep(60)"
)
LOOPS = "while True:\n    pass"
SLEEPS = "time.sleep(3600)"


def acting(tmp_path: Path, name: str, act: str, limits: Limits | None = None, **more) -> Process:
    """A process with health and beats that does `act` on its event loop 0.1 s after it is healthy."""
    script = tmp_path / f"{name}.py"
    body = "\n".join("    " + line for line in act.splitlines())
    path = [p for p in sys.path if p]
    script.write_text(ACTS.format(path=path, act=body, data=str(tmp_path / "data"), name=name))
    cell = limits or Limits(memory=256 << 20)
    return Process(name, [sys.executable, str(script)], cell=cell, strategies=(name,), **more)


class Watched:
    """A supervisor that looks often, with what it told and what its hook heard."""

    def __init__(self, tmp_path: Path, processes: list[Process], groups: bool = True) -> None:
        self.told = Told()
        self.ends: list[tuple[str, End]] = []
        self.folder = DataFolder(tmp_path / "data")
        self.supervisor = Supervisor(
            Topology(processes), self.folder, SystemClock(), self.told, period=0.05, on_end=self._end
        )
        if not groups:
            self.supervisor.groups.none("not in this test")

    async def _end(self, process: Process, end: End) -> None:
        self.ends.append((process.name, end))

    def out(self, name: str) -> str:
        """What a process has printed."""
        return self.folder.out(name).read_text()

    async def prints(self, name: str, text: str) -> None:
        """Wait until a process has printed this."""
        async with asyncio.timeout(10):
            while text not in self.out(name):
                await asyncio.sleep(0.01)

    async def __aenter__(self) -> Watched:
        await self.supervisor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.stop()
