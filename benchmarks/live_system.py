"""A whole live system for `bench_live.py`: its configuration, its processes under the supervisor, and what they say."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from environments import ROOT
from sample_lake import sample_lake

from tidegate.config_live import processes_of
from tidegate.marketdata.binance_instruments import Directory
from tidegate.model.clock import SystemClock
from tidegate.ops.child import State
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import read_health
from tidegate.ops.log_server import LogServer
from tidegate.ops.proc import Figures, figures
from tidegate.ops.supervisor import Event, Supervisor
from tidegate.ops.topology import Process, Topology, process_names, role_process
from tidegate.roles.place import simulated
from tidegate.venue.sim.capture_files import load_capture
from tidegate.world import World

OUT = ROOT / "bench-out" / "live"
CAPTURES = {
    "BTCUSDT.BINANCE": "spot_btcusdt_20240808.gz",
    "BTCUSDT.BINANCE_USDM": "usdm_btcusdt_20240808.gz",
    "BTCUSD_PERP.BINANCE_COINM": "cm_btcusd_perp_20240808.gz",
}
APART: tuple[tuple[str, ...], ...] = ()
TOGETHER = (("venue",), ("feed", "strategy", "oms", "gateway"), ("recorder",))
READY_S = 60.0
_WIDE = """
trade = ["*"]
sides = ["buy", "sell"]
order_types = ["limit", "market"]
time_in_force = ["gtc", "ioc"]
order_qty = "2000"
order_value = "1e9"
parent_value = "1e9"
price_collar = "50%"
dynamic_collar = "unlimited"
period_drift = "unlimited"
max_age = "60s"
duplicate_orders = 1000000
self_match = true
position = "20000"
open_orders = 1000000
open_value = "1e12"
orders_per_second = 1000000
cancels_per_second = 1000000
gross = "1e12"
net = "1e12"
margin_buffer = "unlimited"
loss = "1e9"
drawdown = "1e9"
traded_value = "1e12"
"""
"""Every control is on and passes."""


class Load(NamedTuple):
    """What a system is to be: its topology (empty: a process each), what an append survives, the sample's speed."""

    processes: tuple[tuple[str, ...], ...] = APART
    durability: str = "machine"
    speed: float = 4.0


def configuration(folder: Path, load: Load) -> Path:
    """Write the configuration of a load."""
    sample = ROOT / "data" / "sample"
    text = f"""
[run]
name = "bench-live"
base_currency = "USDT"
[data]
lake = "{sample_lake(OUT / "lake")}"
instruments = {json.dumps(list(CAPTURES))}
[rates]
BTC = "BTCUSDT.BINANCE"
[log]
durability = "{load.durability}"
[topology]
processes = {json.dumps([list(roles) for roles in load.processes])}
[simulated]
speed = {load.speed:.4f}
loop = true
limits = "roomy"
[simulated.captures]
{chr(10).join(f'"{name}" = "{sample / file}"' for name, file in CAPTURES.items())}
[accounts.bench]
capital = "5000000"
[strategies.ticker]
type = "{ROOT / "benchmarks" / "ticker_strategy.py"}:Ticker"
account = "bench"
[strategies.ticker.params]
market = "BTCUSDT.BINANCE_USDM"
size = 2
notes = "{folder / "notes"}"
[risk.firm]{_WIDE}[risk.accounts."*"]{_WIDE}[risk.strategies."*"]{_WIDE}"""
    path = folder / "live.toml"
    path.write_text(text)
    return path


def lanes_configuration(folder: Path, lanes: int, durability: str) -> Path:
    """The configuration of so many lanes, each with one account and one strategy that are never started."""
    kind = f"{ROOT / 'benchmarks' / 'ticker_strategy.py'}:Ticker"
    text = f"""
[run]
name = "bench-lanes"
base_currency = "USDT"
[data]
lake = "{sample_lake(OUT / "lake")}"
instruments = {json.dumps(list(CAPTURES))}
[rates]
BTC = "BTCUSDT.BINANCE"
[log]
durability = "{durability}"
lanes = {lanes}
[topology]
ack_timeout = "60s"
[risk.firm]{_WIDE}[risk.accounts."*"]{_WIDE}[risk.strategies."*"]{_WIDE}"""
    for n in range(lanes):
        text += f"""
[accounts.a{n}]
capital = "1e12"
lane = {n}
[strategies.s{n}]
type = "{kind}"
account = "a{n}"
params = {{ market = "BTCUSDT.BINANCE_USDM", size = 2, notes = "" }}
"""
    path = folder / "lanes.toml"
    path.write_text(text)
    return path


def configuration_of(folder: Path) -> Path:
    """The configuration of a folder that holds one, else the plain one."""
    path = folder / "live.toml"
    return path if path.exists() else configuration(folder, Load())


def speed_for(ticks: float, warm: float, seconds: float) -> float:
    """The speed at which the sample brings so many frames a second between `warm` and `warm + seconds`."""
    universe = World.load(configuration_of(OUT)).universe
    frames = load_capture(
        [ROOT / "data" / "sample" / name for name in CAPTURES.values()], Directory(universe.instruments)
    ).frames
    due = np.array([frame.due for frame in frames])
    due -= due[0]

    def rate(speed: float) -> float:
        begin, end = np.searchsorted(due, [warm * speed * 1e9, (warm + seconds) * speed * 1e9])
        return float(end - begin) / seconds

    low, high = 0.1, due[-1] / 1e9 / (warm + seconds)
    if rate(high) < ticks:
        return ticks / (len(due) / (due[-1] / 1e9))  # longer than the sample: its average
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(middle) < ticks else (low, middle)
    return high


class System:
    """`async with System(folder, load) as system:` it runs, and its market does not yet."""

    def __init__(self, folder: Path, load: Load, hops: bool = True) -> None:
        self.folder, self.load, self._hops = folder, load, hops
        folder.mkdir(parents=True)
        self.config = configuration(folder, load)
        self.data = DataFolder(folder / "data")
        world = World.load(self.config)
        found = processes_of(world.config.topology, dict(world.config.strategies), True)
        self._server = LogServer(self.data.path, load.durability)
        self.names = process_names(found)
        processes = [self._server.process(), *map(self._process, self.names, found)]
        self.supervisor = Supervisor(Topology(processes), self.data, SystemClock(), self._event)
        self.troubles: list[str] = []

    def _process(self, name: str, roles: Sequence[str]) -> Process:
        more = ("--hops", str(self.folder / f"{name}.hops")) if self._hops else ()
        return role_process(name, roles, str(self.config), str(self.data.path), *more)

    def _event(self, event: Event) -> None:
        if event.state in (State.RESTARTING, State.DEAD):
            self.troubles.append(f"{event.name} {event.state}: {event.text}")

    async def __aenter__(self) -> System:
        self.data.make()
        World.load(self.config).hand_over(self.data.instruments)
        await self.supervisor.start()
        end = time.monotonic() + READY_S
        while waiting := [name for name in self.names if not self._ready(name)]:
            if time.monotonic() > end or self.troubles:
                await self.__aexit__()
                raise SystemExit(
                    f"the system did not come up: {', '.join(self.troubles or waiting)}; see {self.data.path}"
                )
            await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.stop()
        await self._server.close()

    def _ready(self, name: str) -> bool:
        return str(self.health(name).get("condition")) == "healthy"

    def health(self, name: str) -> dict[str, Any]:
        """What a process says of itself."""
        return read_health(self.data.health(name))

    def admin(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the simulated venue's administration; without a body, GET."""
        venue = simulated(self.data)
        assert venue is not None
        request = urllib.request.Request(
            f"{venue.url}/admin/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Admin-Token": venue.token},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def figures(self) -> dict[str, Figures]:
        """CPU time and memory of every process."""
        found = {name: figures(child.pid) for name, child in self.supervisor.children.items() if child.pid}
        return {name: figure for name, figure in found.items() if figure is not None}

    def orders(self) -> list[dict[str, Any]]:
        """The venue's own record of requests."""
        found: list[dict[str, Any]] = []
        while more := self.admin(f"record?requests_from={len(found)}&happenings_from=1000000000")["requests"]:
            found += more
        return found
