"""What a rogue strategy does to the others on its lane: their tick-to-order times without one, and with one.

python benchmarks/bench_rogue.py [--case quiet api raw unguarded] [--seconds S] [--rate R]

`quiet`: the rogue's process is there and does nothing. `api`: it sends 20,000 orders a second by the API. `raw`: past
it, on a connection of its own. `unguarded`: as `raw`, with limits so wide that nothing is a flood: what the others
would suffer. The measured strategy is `bench_live.py`'s; the rogue begins as the measurement does.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import shutil
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
from environments import ROOT
from live_hops import Ways, quantiles
from live_latency import WARM_S
from live_system import APART, OUT, Load, System, speed_for
from rounds_system import toml

from tidegate.cli.cells import places
from tidegate.cli.live import topology_of
from tidegate.log.base import Log
from tidegate.log.opening import open_log
from tidegate.ops.cell_guard import Guard
from tidegate.ops.supervisor import Event, Supervisor
from tidegate.ops.topology import Process, Topology
from tidegate.risk import halt
from tidegate.world import World

CASES = ("quiet", "api", "raw", "unguarded")
GOAL = 1.5
LIMIT = 200
"""Orders and cancels a second that the rogue may send."""


class Result(NamedTuple):
    """µs at the venue, and what became of the rogue, ms after it began."""

    p50: float
    p99: float
    p999: float
    orders: float
    ended: float
    late: float
    """Ms for which orders came later than four times the quiet p99, counted from the rogue's beginning."""


class RogueSystem(System):
    """The system of `bench_live.py` with a rogue beside its strategy, on an account of its own and the same lane."""

    def __init__(self, folder: Path, load: Load, case: str, rate: float) -> None:
        super().__init__(folder, load)
        config = tomllib.loads(self.config.read_text())
        self.go = folder / "go"
        config["accounts"]["rogue"] = {"capital": "5000000"}
        config["strategies"]["rogue"] = {
            "type": f"{ROOT / 'benchmarks' / 'flood_strategy.py'}:Flood",
            "account": "rogue",
            "params": {
                "market": "BTCUSDT.BINANCE_USDM", "size": 2, "how": "api" if case == "api" else "raw",
                "rate": rate, "data": str(self.data.path), "go": str(self.go),
            },
        }  # fmt: skip
        if case != "unguarded":
            own = {"orders_per_second": LIMIT, "cancels_per_second": LIMIT}
            config["risk"]["strategies"]["rogue"] = config["risk"]["strategies"]["*"] | own
        # Told as they are by what waits on this machine, not by the venue: another matter.
        config["risk"]["breakers"] = {"rejects": {"share": "unlimited"}, "latency": {"share": "unlimited"}}
        self.config.write_text(toml(config) + "\n")
        self.ended = 0
        self._watch: asyncio.Task[None] | None = None
        self.world = World.load(self.config)
        clock = self.supervisor.clock
        self._guard = Guard(places(self.world), clock, self.log)
        found = topology_of(self.world.config, self.config, self.data.path, self._server)
        self.supervisor = Supervisor(
            Topology([self._noted(process) for process in found.processes]), self.data, clock, self._event,
            on_end=self._guard.gone,
        )  # fmt: skip
        self.names = [p.name for p in found.processes if p.health]

    def _noted(self, process: Process) -> Process:
        """With a file of hops; the rogue's ticks are nobody's measure."""
        if not process.argv or process.name == "strategy-rogue":
            return process
        more = ("--hops", str(self.folder / f"{process.name}.hops"))
        return dataclasses.replace(process, argv=[*process.argv, *more])

    def _event(self, event: Event) -> None:
        if event.name == "strategy-rogue" and event.state in ("restarting", "dead"):
            self.ended = self.ended or event.ts
            print(f"  rogue: {event.state} {event.text}", flush=True)
            return
        super()._event(event)

    async def log(self) -> Log:
        """A client with all rights."""
        return await open_log(
            self.world.config.log, self.config, self.data.path, "bench", self.supervisor.clock
        )

    async def __aenter__(self) -> RogueSystem:
        await super().__aenter__()
        self._watch = asyncio.create_task(self._guard.run(self.supervisor))
        return self

    async def __aexit__(self, *args: object) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._guard.close()
        await super().__aexit__(*args)


async def measure(case: str, load: Load, seconds: float, rate: float) -> tuple[Ways, list[int], RogueSystem]:
    """Run one case; the ways of the honest orders, and [begin, end] of the measurement."""
    folder = OUT / f"rogue-{case}"
    shutil.rmtree(folder, ignore_errors=True)
    system = RogueSystem(folder, load, case, rate)
    async with system:
        await asyncio.to_thread(system.admin, "start", {})
        await asyncio.sleep(WARM_S)
        begin = system.supervisor.clock.now()
        if case != "quiet":
            system.go.touch()
        await asyncio.sleep(seconds)
        marks = [begin, system.supervisor.clock.now()]
        for trouble in system.troubles:
            print(f"  {trouble}")
        requests = await asyncio.to_thread(system.orders)
        await halts(system)
        await stored(system)
    return Ways(folder, requests), marks, system


async def halts(system: RogueSystem) -> None:
    """Print what was halted, and how soon after the rogue began."""
    began = _began(system)
    log = await system.log()
    try:
        async for batch in log.read(halt.STREAM):
            for entry in batch:
                event = halt.decode(entry.data)
                print(
                    f"  {(event.ts - began) / 1e6:8.1f} ms: {event.scope} {event.state.name} by {event.trigger}"
                )
    finally:
        await log.close()


async def stored(system: RogueSystem) -> None:
    """Print how much of the rogue's came in: each entry was synced, where the log survives the loss of power."""
    number = list(system.world.config.strategies).index("rogue")
    log = await system.log()
    try:
        entries = [
            e async for batch in log.read("LANE_0") for e in batch if e.subject == f"lane.0.cmd.{number}"
        ]
    finally:
        await log.close()
    if entries:
        took = (entries[-1].ts - entries[0].ts) / 1e6
        print(f"  the rogue's entries in the log: {len(entries)}, stored within {took:.0f} ms")


def _began(system: RogueSystem) -> int:
    path = Path(f"{system.go}.began")
    return int(path.read_text()) if path.exists() else 0


def judge(ways: Ways, marks: list[int], system: RogueSystem, quiet_p99: float) -> Result:
    """The case's figures."""
    which = ways.between(marks[0], marks[1])
    values = ways.table[which, -1]
    began = _began(system) or marks[0]
    late = ways.ticks[which][values > 4e3 * quiet_p99] if quiet_p99 else np.zeros(0)
    late = late[late >= began]
    return Result(
        *quantiles(values),
        float(which.sum()) / ((marks[1] - marks[0]) / 1e9),
        (system.ended - began) / 1e6 if system.ended else float("nan"),
        float(late.max() - began) / 1e6 if len(late) else 0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=CASES)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of each case; the rogue lives for a tenth of one"
    )
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--ticks", type=float, default=1000.0, help="a second")
    parser.add_argument("--durability", nargs="*", choices=("process", "machine"), default=("machine",))
    args: Any = parser.parse_args()
    print(machine.sentence())
    OUT.mkdir(parents=True, exist_ok=True)
    speed = speed_for(args.ticks, WARM_S, args.seconds)
    for durability in args.durability:
        load = Load(APART, durability, speed)
        print(
            f"\nothers' tick to order beside a rogue at {args.rate:,.0f} orders/s, durability {durability}, µs"
        )
        quiet: Result | None = None
        for case in args.case:
            found = judge(
                *asyncio.run(measure(case, load, args.seconds, args.rate)), quiet.p99 if quiet else 0.0
            )
            quiet = found if case == "quiet" else quiet
            line = f"{case:>10}: p50 {found.p50:.0f}, p99 {found.p99:.0f}, p99.9 {found.p999:.0f}; {found.orders:.0f} orders/s"
            if quiet is not None and case != "quiet":
                line += f"; p99 {found.p99 / quiet.p99:.2f} × quiet (goal ≤ {GOAL})"
                line += f"; rogue ended after {found.ended:.0f} ms; last late order after {found.late:.0f} ms"
            print(line, flush=True)


if __name__ == "__main__":
    main()
