"""Health: each process writes one small JSON file a second; the supervisor, `ps` and the view read it.

A service's `health()` is a dict of its own; these keys are known and all may be missing:

| key | of | meaning |
|---|---|---|
| `ok`, `why` | all | False: it runs, but not as it should, and why |
| `starting` | gateway | True: not as it should, because it has just been started |
| `counters` | all | dict of counts by name |
| `lanes` | oms | by number: `owner`, `epoch`, `seq`, `orders`, `open`, `unknown` |
| `gateways` | gateway | by `VENUE.account`: `connected`, `state`, `holds`, `reconciled` (ns), `mismatches` |
| `strategies` | strategy | by name: `positions`, `pnl`, `orders`, `fills` |
| `feeds` | feed | by venue: `events`, `gaps`, `quarantined`, `connected` |
| `latency` | oms, gateway | by hop (`tick_to_order` …): `p50`, `p99`, `p999` (ns), `count` |
| `alerts` | all | the latest: `ts`, `severity`, `text` |
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from tidegate.model.clock import Clock
from tidegate.ops.folder import DataFolder, replace
from tidegate.ops.proc import started

EVERY_S = 1.0
BEAT_S = 0.25
"""Between two beats of a process that must be missed soon: its health file's time is set anew, which costs 2 µs."""


class Condition(StrEnum):
    """What a process says of itself."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STOPPING = "stopping"


Service = Callable[[], dict[str, Any]]


class HealthFile:
    """Writes a process's health. `services` are their `health` methods by role; more may join later.

    With the first `running()` it is healthy or degraded by its services' `ok`; until then it is starting, and on while
    those that are not ok say that they are. `beats`: signs of life between two writings.
    """

    def __init__(
        self,
        folder: DataFolder,
        name: str,
        roles: tuple[str, ...] | list[str],
        services: Mapping[str, Service],
        clock: Clock,
        beats: bool = False,
    ) -> None:
        self.path = folder.health(name)
        self._beats = beats
        self.services = dict(services)
        self.counters = {"health_unwritten": 0, "health_raised": 0}
        self._head = {
            "name": name, "roles": list(roles), "pid": os.getpid(), "started": started(os.getpid()),
        }  # fmt: skip
        self._clock = clock
        self._condition = Condition.STARTING
        self._written = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write, every second."""
        self.write()
        self._task = asyncio.create_task(self._run())

    def running(self) -> None:
        """The services have started."""
        self._condition = Condition.HEALTHY
        self.write()

    def stopping(self) -> None:
        """The services are being stopped."""
        self._condition = Condition.STOPPING
        self.write()

    async def stop(self) -> None:
        """Write no more; the file goes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def write(self) -> None:
        """Write it now. A full disk is counted, never raised."""
        said = {role: self._ask(health) for role, health in self.services.items()}
        condition, why = self._condition, ""
        if condition is Condition.HEALTHY:
            bad = {role: h for role, h in said.items() if not h.get("ok", True)}
            if bad:
                starting = all(h.get("starting") for h in bad.values())
                condition = Condition.STARTING if starting else Condition.DEGRADED
                why = "; ".join(f"{role}: {h.get('why') or 'not ok'}" for role, h in bad.items())
        self._written += 1
        body = {
            **self._head, "n": self._written, "ts": self._clock.now(), "condition": condition, "why": why,
            "services": said, "counters": self.counters,
        }  # fmt: skip
        try:
            replace(self.path, msgspec.json.encode(body, enc_hook=str))
        except OSError:
            self.counters["health_unwritten"] += 1

    def _ask(self, health: Service) -> dict[str, Any]:
        try:
            return health()
        except Exception as error:  # a service that cannot say how it is must not take the others down
            self.counters["health_raised"] += 1
            return {"ok": False, "why": f"health() raised {type(error).__name__}: {error}"}

    async def _run(self) -> None:
        while True:
            for _ in range(round(EVERY_S / BEAT_S) - 1 if self._beats else 0):
                await asyncio.sleep(BEAT_S)
                with contextlib.suppress(OSError):
                    os.utime(self.path)
            await asyncio.sleep(BEAT_S if self._beats else EVERY_S)
            self.write()


def last_beat(path: Path) -> int:
    """When a process last gave a sign of life: its file's time, ns; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def read_health(path: Path) -> dict[str, Any]:
    """What a process wrote last; empty where there is nothing that can be read."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
