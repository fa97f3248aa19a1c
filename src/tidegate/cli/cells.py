"""The cells of a system's processes, as its configuration says: `[topology.cell]`, `[topology.cells.NAME]` and
`[strategies.NAME.cell]`. A key not said in the narrowest table is looked for in the wider one."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.config_live import ROLES, slots_in
from tidegate.errors import UserError, nearest
from tidegate.ops.cell import UNLIMITED, Limits, share, size
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import read_health
from tidegate.ops.loads import Meter, read_loads
from tidegate.ops.packing import pack
from tidegate.ops.topology import Process
from tidegate.risk.scopes import NEXT

if TYPE_CHECKING:
    from tidegate.config import Config
    from tidegate.config_live import CellSection
    from tidegate.model.clock import SystemClock
    from tidegate.ops.cell_guard import Place
    from tidegate.ops.supervisor import Supervisor
    from tidegate.world import World

MEASURE_S = 10.0
HUNG_AFTER, DEATHS, DEATHS_WITHIN = "2s", 5, "1m"
"""Of a process that runs strategies and nothing else."""


class Cell(NamedTuple):
    """What a process may use, and when it counts as hung (s) or as beyond help: so many ends within so many seconds."""

    limits: Limits
    hung_after: float
    deaths: int
    deaths_within: float


def celled(process: Process, roles: Sequence[str], config: Config, where: str) -> Process:
    """The process with its cell. One of strategies alone always has one; another where the configuration says so."""
    kinds = {role.partition(":")[0] for role in roles}
    if kinds == {"strategy"}:
        names = [role.partition(":")[2] for role in roles]
        hosted = list(config.strategies) if "" in names else names
        cell = _together(_of_strategy(name, config, where) for name in hosted)
        return dataclasses.replace(
            process, cell=cell.limits, hung_after=cell.hung_after, deaths=cell.deaths,
            deaths_within=cell.deaths_within, strategies=tuple(hosted),
        )  # fmt: skip
    tables = [(f"topology.cells.{key}", config.topology.cells[key])
              for key in (process.name, *kinds) if key in config.topology.cells]  # fmt: skip
    if not tables:
        return process
    none = Limits(None, None, None, None, None)
    cell = _cell(tables[:1], where, none, f"{process.hung_after:g}s", process.deaths)
    return dataclasses.replace(
        process, cell=cell.limits, hung_after=cell.hung_after, deaths=cell.deaths, deaths_within=cell.deaths_within
    )  # fmt: skip


def check_cells(config: Config, names: Iterable[str], where: str) -> None:
    """Refuse cells of processes that there are not."""
    known = {*names, *ROLES} - {"strategy"}
    for name in config.topology.cells:
        if name not in known:
            raise UserError(f"{where}: topology.cells.{name}: no such process or role{nearest(name, known)}")


def _of_strategy(name: str, config: Config, where: str) -> Cell:
    base = name.removesuffix(NEXT)
    tables = [("topology.cell", config.topology.cell)]
    if base in config.strategies:
        tables.insert(0, (f"strategies.{base}.cell", config.strategies[base].cell))
    return _cell(tables, where, Limits(), HUNG_AFTER, DEATHS)


def _together(cells: Iterable[Cell]) -> Cell:
    """Of several strategies in one process: memory and processes add up, of the rest the widest holds."""
    found = list(cells)
    limits = [cell.limits for cell in found]

    def each(field: str, join: Any) -> Any:
        values = [getattr(limit, field) for limit in limits]
        return None if None in values else join(values)

    joined = Limits(
        each("memory", sum), each("cpu", max), each("processes", sum), each("files", sum), each("file_size", max)
    )  # fmt: skip
    hung = [cell.hung_after for cell in found]
    return Cell(
        joined, 0.0 if 0.0 in hung else max(hung), max(cell.deaths for cell in found),
        min(cell.deaths_within for cell in found),
    )  # fmt: skip


def _cell(
    tables: list[tuple[str, CellSection]], where: str, default: Limits, hung_after: str, deaths: int
) -> Cell:
    def said(key: str, other: Any) -> tuple[Any, str]:
        for at, table in tables:
            if (value := getattr(table, key)) is not None:
                return value, f"{where}: {at}.{key}"
        return other, ""

    def of(key: str, read: Any) -> Any:
        value, at = said(key, None)
        return getattr(default, key) if value is None else read(value, at)

    limits = Limits(
        of("memory", size), of("cpu", share), of("processes", _count), of("files", _count), of("file_size", size)
    )  # fmt: skip
    count, at = said("deaths", deaths)
    if count < 0:
        raise UserError(f"{at} is {count}, must be 0 (always started again) or more")
    return Cell(
        limits, _seconds(*said("hung_after", hung_after)), count, _seconds(*said("deaths_within", DEATHS_WITHIN))
    )  # fmt: skip


def _count(value: int | str, at: str) -> int | None:
    if value == UNLIMITED:
        return None
    if isinstance(value, str) or value < 1:
        raise UserError(f"{at}: {value!r} is no count; write a number of 1 or more, or unlimited")
    return value


def _seconds(text: str, at: str) -> float:
    from tidegate.model.time import duration

    try:
        return duration(text) / 1e9
    except ValueError as error:
        raise UserError(f"{at}: {error}") from None


def hosts_of(config: Config, data: Path) -> list[list[str]]:
    """The strategies that share a process, by what they used when they last ran; each alone where there is room, and
    always where new versions may be tried beside it."""
    names = list(config.strategies)
    if config.topology.processes or config.topology.strategies == "each":
        return [[name] for name in names]
    known, slots = read_loads(data), slots_in(config.strategies)
    loads = {name: load for name, load in known.loads.items() if name not in slots}
    return pack(names, loads, known.hosts, os.cpu_count() or 1)


class Keeper:
    """What runs beside the supervisor for its cells: the guard of strategies' orders, and the meter of their loads."""

    def __init__(self, world: World, data: Path, clock: SystemClock) -> None:
        from tidegate.ops.cell_guard import Guard
        from tidegate.roles.place import open_log

        self._folder = DataFolder(data)
        self._meter = Meter(data)
        self._tasks: list[asyncio.Task[None]] = []
        self.guard = Guard(places(world), clock, lambda: open_log(world, data, "up", clock))

    def begin(self, supervisor: Supervisor) -> None:
        """The system is up."""
        self._tasks = [
            asyncio.create_task(self.guard.run(supervisor)), asyncio.create_task(self._measure(supervisor))
        ]  # fmt: skip

    async def close(self) -> None:
        """The supervisor has stopped its processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.guard.close()
        self._meter.keep()

    async def _measure(self, supervisor: Supervisor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for child in supervisor.children.values():
                if child.pid and child.process.strategies:
                    said = read_health(self._folder.health(child.process.name))
                    if said.get("pid") == child.pid:
                        self._meter.look(child.process.name, child.pid, said, loop.time())
            await asyncio.sleep(MEASURE_S)


def places(world: World) -> Mapping[str, Place]:
    """Each strategy's number, lane and pace, slots of versions among them."""
    from tidegate.ops.cell_guard import Place
    from tidegate.risk.pace import pace_in
    from tidegate.risk.tables import Tables

    scopes, accounts = world.scopes, {name: number for number, name in enumerate(world.accounts)}
    tables = Tables(world.universe, scopes, world.limits)
    return {
        strategy.name: Place(
            number, world.lane_of(accounts[strategy.accounts[0]]), pace_in(tables.general[scopes.strategy_scope(number)])
        )
        for number, strategy in enumerate(scopes.strategies)
    }  # fmt: skip
