"""A running system at a glance: the supervisor's states, every process's health and the machine's figures, as rows.

Health is what each service says; keys it does not say are None here, and a dash in the view.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tidegate.model.clock import Clock
from tidegate.model.time import SECOND
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import read_health
from tidegate.ops.lock import holder
from tidegate.ops.proc import figures
from tidegate.ops.supervisor import read_states

Row = dict[str, Any]
TICK_TO_ORDER = ("tick_to_order", "gateway.out", "oms.out", "strategy.out")
"""Hops that show how long a tick takes to its order, the furthest first."""
ALERTS = 5


@dataclass
class Snapshot:
    """What `ps` and the view show. Rows are dicts; see `Looker`."""

    ts: int
    pid: int = 0
    """The supervisor's; 0 when none runs."""
    processes: list[Row] = field(default_factory=list)
    lanes: list[Row] = field(default_factory=list)
    gateways: list[Row] = field(default_factory=list)
    strategies: list[Row] = field(default_factory=list)
    feeds: list[Row] = field(default_factory=list)
    latency: dict[str, Row] = field(default_factory=dict)
    alerts: list[Row] = field(default_factory=list)

    @property
    def healthy(self) -> int:
        """How many processes are as they should be."""
        return sum(row["state"] in ("healthy", "done") for row in self.processes)

    @property
    def good(self) -> bool:
        """Whether a supervisor runs and all its processes are as they should be."""
        return bool(self.pid and self.processes) and self.healthy == len(self.processes)

    def tick_to_order(self) -> tuple[str, Row]:
        """The hop that says it best, and its percentiles; empty where none is known."""
        for hop in TICK_TO_ORDER:
            if hop in self.latency:
                return hop, self.latency[hop]
        return "", {}

    def total(self, rows: list[Row], key: str) -> float | None:
        """The sum of what is known."""
        known = [row[key] for row in rows if isinstance(row.get(key), int | float)]
        return sum(known) if known else None


class Looker:
    """Looks again and again; rates are of the time between the looks."""

    def __init__(self, folder: DataFolder, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._cpu: dict[int, tuple[float, float]] = {}
        self._counts: dict[tuple[str, ...], tuple[int, float, float | None]] = {}

    def look(self, states: list[Row] | None = None) -> Snapshot:
        """The system now; `states` as the supervisor gives them, else as it wrote them."""
        found = holder(self._folder)
        shot = Snapshot(self._clock.now(), found.pid if found else 0)
        for row in read_states(self._folder) if states is None else states:
            shot.processes.append(self._process(row, bool(found) or states is not None))
        for row in shot.processes:
            said = row.pop("said")
            for _, service in _named(said.get("services")):
                self._service(shot, row["name"], int(said.get("ts", 0)), service)
        shot.lanes = _newest(shot.lanes)
        shot.alerts = sorted(shot.alerts, key=lambda a: int(a.get("ts", 0)))[-ALERTS:]
        return shot

    def _process(self, row: Row, supervised: bool) -> Row:
        pid, began = int(row.get("pid") or 0), int(row.get("started") or 0)
        now = figures(pid) if pid else None
        if now is not None and began and now.started != began:
            now = None
        state = str(row.get("state", ""))
        if pid and now is None and began:
            state = "gone"
        elif not supervised and state not in ("done", "dead", "stopped"):
            state = "orphan" if now else "gone"
        said = read_health(self._folder.health(str(row.get("name")))) if now else {}
        said = said if said.get("pid") == pid else {}
        return {
            "name": row.get("name", ""), "state": state, "why": row.get("why", ""), "pid": pid,
            "restarts": row.get("restarts", 0), "cpu": self._busy(pid, now.cpu_s) if now else None,
            "memory": now.rss if now else None, "age": _age(now.started) if now else None, "said": said,
            "cell": row.get("cell", "") if now else "",
        }  # fmt: skip

    def _busy(self, pid: int, cpu: float) -> float | None:
        """Share of a core since the last look."""
        at = time.monotonic()
        before = self._cpu.get(pid)
        self._cpu[pid] = (at, cpu)
        return (cpu - before[1]) / (at - before[0]) if before and at > before[0] else None

    def _service(self, shot: Snapshot, process: str, ts: int, said: Row) -> None:
        for name, lane in _named(said.get("lanes")):
            rate = self._rate((process, "lane", name), ts, lane.get("orders"))
            shot.lanes.append({"lane": name, "owner": process, "orders_s": rate, **lane})
        for name, gateway in _named(said.get("gateways")):
            shot.gateways.append({"gateway": name, "process": process, **gateway})
        for name, strategy in _named(said.get("strategies")):
            shot.strategies.append({"strategy": name, "process": process, **strategy})
        for name, feed in _named(said.get("feeds")):
            rate = self._rate((process, "feed", name), ts, feed.get("events"))
            shot.feeds.append({"feed": feed.get("venue", name), "process": process, "events_s": rate, **feed})
        for hop, row in _named(said.get("latency")):
            if row.get("count", 0) >= shot.latency.get(hop, {}).get("count", 0):
                shot.latency[hop] = row
        for _, alert in _named(said.get("alerts")):
            shot.alerts.append({"process": process, **alert})

    def _rate(self, key: tuple[str, ...], ts: int, count: Any) -> float | None:
        if not isinstance(count, int | float):
            return None
        before = self._counts.get(key)
        if before is None or ts < before[0] or count < before[1]:
            rate = None
        elif ts == before[0]:
            return before[2]
        else:
            rate = (count - before[1]) * SECOND / (ts - before[0])
        self._counts[key] = (ts, count, rate)
        return rate


def _named(found: Any) -> Iterator[tuple[str, Row]]:
    """The dicts of a dict by name, or of a list by number; nothing else."""
    pairs = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return ((str(name), item) for name, item in pairs if isinstance(item, dict))


def _newest(lanes: list[Row]) -> list[Row]:
    """Each lane once: of two that think they own it, the one of the later epoch."""
    best: dict[str, Row] = {}
    for row in lanes:
        name = row["lane"]
        if name not in best or row.get("epoch", 0) >= best[name].get("epoch", 0):
            best[name] = row
    return [best[name] for name in sorted(best, key=lambda n: (len(n), n))]


def _age(began: int) -> float | None:
    """Seconds since a process began."""
    try:
        with open("/proc/uptime") as file:
            return float(file.read().split()[0]) - began / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None
