"""A real system of processes with one honest strategy and several that misbehave, on an account of their own."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from rounds_system import ROOT, SIZES, System, toml

from tidegate.log.base import Log
from tidegate.model.clock import SystemClock
from tidegate.ops import log_reader
from tidegate.roles.place import open_log
from tidegate.world import World

MARKET = "BTCUSDT.BINANCE_USDM"
RAW = "raw"
"""The act of one that writes 20,000 orders a second past its own process's checks; nothing of it rests before."""


def rogues(home: Path, acts: dict[str, dict[str, Any]], cell: dict[str, Any]) -> System:
    """The system of `make rounds` with strategy `left`, and one for each act with its cell."""
    system = System(home)
    config = tomllib.loads(system.path.read_text())
    del config["strategies"]["right"]
    config["topology"] = {"on_stop": "keep", "cell": cell}
    for act, own in acts.items():
        params = {"market": MARKET, "act": act, "size": SIZES[MARKET], "folder": str(home)}
        kind = f"{ROOT / 'benchmarks/rogue_strategy.py'}:Rogue"
        if act == RAW:
            lane = list(config["accounts"]).index("arbitrage")
            params = {"market": MARKET, "size": SIZES[MARKET], "how": "raw", "rate": 20_000.0,
                      "data": str(system.data), "go": str(home / f"go.{RAW}"), "lane": lane}  # fmt: skip
            kind = f"{ROOT / 'benchmarks/flood_strategy.py'}:Flood"
        config["strategies"][act] = {"type": kind, "account": "arbitrage", "params": params, "cell": own}
    config["risk"]["strategies"]["*"] |= {"orders_per_second": 100, "cancels_per_second": 100}
    # On a machine this busy the venue's session may be late, which is no matter here.
    config["risk"]["breakers"] = {"rejects": {"share": "unlimited"}, "latency": {"share": "unlimited"}}
    system.path.write_text(toml(config) + "\n")
    system.world = World.load(system.path)
    system.strategies = ["left"]
    return system


def said(system: System, process: str) -> list[str]:
    """What the supervisor has said of a process, oldest first."""
    wanted = log_reader.Wanted(("up",), 0, 0, 0)
    lines = log_reader.read(system.folder, wanted)
    return [str(line.get("text", "")) for line in lines if line.get("process") == process]


async def alerts(system: System) -> list[dict[str, Any]]:
    """All alerts so far."""
    log: Log = await open_log(system.world, system.data, "test", SystemClock())
    try:
        found = [entry async for batch in log.read("ALERT") for entry in batch]
        return [msgspec.json.decode(entry.data) for entry in found]
    finally:
        await log.close()


async def resting(system: System) -> list[dict[str, Any]]:
    """The rogues' open orders at the venue."""
    state = await system.admin("state")
    return [row for row in state["arbitrage"]["orders"] if row["status"] in ("NEW", "PARTIALLY_FILLED")]
