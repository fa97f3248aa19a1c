"""What each strategy used while a system ran, kept in its data folder for the next start (`packing`).

A process's CPU time is shared out among its strategies by the time each one's handlers took; its memory beyond what
any process needs in equal parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tidegate.ops.folder import replace
from tidegate.ops.packing import Load
from tidegate.ops.proc import Figures, figures

FILE = "loads.json"
NEEDED = 160 << 20
"""Bytes of a process before its first strategy."""
LONG_ENOUGH = 30.0
"""Seconds that a process must have run for its figures to count."""
WEIGHT = 0.5
"""Of the newest figures, where there are older ones."""


class Known(msgspec.Struct, frozen=True):
    """The loads by strategy, and which strategies shared a process."""

    loads: dict[str, Load] = {}
    hosts: list[list[str]] = []


def read_loads(data: Path) -> Known:
    """What was kept; nothing where there is no such file or it cannot be read."""
    try:
        return msgspec.json.decode((data / FILE).read_bytes(), type=Known)
    except (OSError, ValueError):
        return Known()


class Meter:
    """Looks at processes of strategies while they run; `keep` writes what it has seen."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._first: dict[int, tuple[float, Figures, dict[str, int]]] = {}
        self._loads: dict[str, Load] = {}
        self._hosts: dict[str, list[str]] = {}

    def look(self, process: str, pid: int, health: dict[str, Any], now: float) -> None:
        """A process by its id and its health file; `now` in seconds."""
        found = figures(pid)
        if found is None:
            return
        busy = _busy(health)
        if pid not in self._first:
            self._first[pid] = (now, found, busy)
            return
        began, before, earlier = self._first[pid]
        if now - began < LONG_ENOUGH or not busy:
            return
        spent = {name: max(0, ns - earlier.get(name, 0)) for name, ns in busy.items()}
        whole = sum(spent.values())
        cpu = (found.cpu_s - before.cpu_s) / (now - began)
        memory = max(0, found.rss - NEEDED) // len(busy)
        self._hosts[process] = list(busy)
        for name, ns in spent.items():
            self._loads[name] = Load(cpu * (ns / whole if whole else 1 / len(busy)), memory)

    def keep(self) -> None:
        """Write the figures, weighed with those of earlier runs. A folder that takes nothing is passed over."""
        if not self._loads:
            return
        before = read_loads(self._data)
        loads = dict(before.loads)
        for name, new in self._loads.items():
            old = before.loads.get(name, new)
            cpu = WEIGHT * new.cpu + (1 - WEIGHT) * old.cpu
            loads[name] = Load(cpu, int(WEIGHT * new.memory + (1 - WEIGHT) * old.memory))
        try:
            replace(self._data / FILE, msgspec.json.encode(Known(loads, list(self._hosts.values()))))
        except OSError:
            return


def _busy(health: dict[str, Any]) -> dict[str, int]:
    """Ns that each strategy of a process was at work, as its health says."""
    found: dict[str, int] = {}
    for service in (health.get("services") or {}).values():
        for name, said in (service.get("strategies") or {}).items():
            if isinstance(said, dict) and isinstance(said.get("busy"), int):
                found[name] = said["busy"]
    return found
