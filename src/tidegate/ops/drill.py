"""A drill: a running system's busiest process is killed, and how it comes back is noted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tidegate.model.clock import Clock
from tidegate.ops.child import State
from tidegate.ops.snapshot import Looker, Snapshot
from tidegate.ops.supervisor import Supervisor

SPARED = ("venue",)
"""Not killed: an exchange is not ours."""
_LOOK = 1.0


@dataclass
class Killed:
    """One kill: of what, when, and when it was healthy again (ns; 0: not within the run)."""

    name: str
    pid: int
    at: int
    healthy: int = 0


@dataclass
class Drill:
    """Lets a system run for `length` seconds and kills its busiest process after `kill` of them (0: none)."""

    supervisor: Supervisor
    looker: Looker
    clock: Clock
    length: float
    kill: float = 0.0
    note: Callable[[str, str], None] = lambda process, detail: None
    """Writes a kill on the audit trail."""
    killed: list[Killed] = field(default_factory=list)
    last: Snapshot | None = None
    """The system shortly before it was stopped."""
    _busy: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """From when the system is up until it has been asked to stop."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (passed := loop.time() - began) < self.length:
            await asyncio.sleep(min(_LOOK, self.length - passed))
            self.last = self.looker.look(self.supervisor.rows())
            for row in self.last.processes:
                if isinstance(row["cpu"], float):
                    self._busy[row["name"]] = self._busy.get(row["name"], 0.0) + row["cpu"]
            if self.kill and not self.killed and loop.time() - began >= self.kill:
                await self._kill()
        self.supervisor.ask_stop()

    async def _kill(self) -> None:
        able = {name: busy for name, busy in self._busy.items() if not name.startswith(SPARED)}
        child = self.supervisor.child(max(able, key=lambda name: able[name]))
        note = Killed(child.process.name, child.pid, self.clock.now())
        self.killed.append(note)
        before = child.restarts
        child.signal(signal.SIGKILL)
        self.note(note.name, f"the drill's: the busiest after {self.kill:g} s")
        while child.restarts == before or child.state is not State.HEALTHY:
            await asyncio.sleep(0.02)
        note.healthy = self.clock.now()

    def figures(self) -> dict[str, Any]:
        """For the report: processes, hops and kills."""
        shot = self.last
        rows = shot.processes if shot else []
        return {
            "processes": [
                {k: row.get(k) for k in ("name", "state", "restarts", "memory")}
                | {"cpu": self._busy.get(row["name"], 0.0)}
                for row in rows
            ],
            "hops": dict(shot.latency) if shot else {},
            "gateways": list(shot.gateways) if shot else [],
            "kills": [{"name": k.name, "at": k.at, "healthy": k.healthy} for k in self.killed],
        }
