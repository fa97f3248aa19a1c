"""Tick to order on a whole system, steady and under a flood: one case of `bench_live.py`."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from live_hops import Ways, show
from live_system import OUT, Load, System

WARM_S = 4.0
FLOOD_S = 5.0
FLOOD = 10
SETTLE_S = 6.0
CALM = 50
"""So many orders in a row on time: the flood has drained."""


class Figures(NamedTuple):
    """A case's result, µs: quantiles at the venue's socket."""

    p50: float
    p99: float
    p999: float


async def measure(name: str, load: Load, seconds: float, flood: bool = True) -> Figures:
    """Run the system, print its table, and say how late its orders were."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    marks: list[int] = []
    system = System(folder, load)
    async with system:
        ask = asyncio.to_thread
        await ask(system.admin, "start", {})
        await asyncio.sleep(WARM_S)
        clock = system.supervisor.clock
        cpu = system.figures()
        marks.append(clock.now())
        began = time.monotonic()
        await asyncio.sleep(seconds)
        marks.append(clock.now())
        spent, after = time.monotonic() - began, system.figures()
        if flood:
            await ask(system.admin, "speed", {"speed": f"{FLOOD * load.speed:.4f}"})
            await asyncio.sleep(FLOOD_S)
            await ask(system.admin, "speed", {"speed": f"{load.speed:.4f}"})
            marks.append(clock.now())
            await asyncio.sleep(SETTLE_S)
        requests = await ask(system.orders)
    ways = Ways(folder, requests)
    steady = ways.between(marks[0], marks[1])
    ticks = int(((ways.every_at >= marks[0]) & (ways.every_at < marks[1])).sum())
    orders = int(((ways.sent_at >= marks[0]) & (ways.sent_at < marks[1])).sum())
    print(f"  {orders / seconds:.0f} orders/s, {ticks / seconds:.0f} messages/s at the strategy; ", end="")
    print(f"{ways.left_out} of {len(ways.ticks) + ways.left_out} ways incomplete")
    found = show(ways, steady, marks[0], marks[1])
    used = {p: (after[p].cpu_s - cpu[p].cpu_s) / spent * 100 for p in after if p in cpu}
    print("  CPU, % of a core: " + ", ".join(f"{p} {share:.0f}" for p, share in used.items()))
    if flood:
        tell_flood(ways, marks)
    for trouble in system.troubles:
        print(f"  {trouble}")
    return Figures(*found)


def tell_flood(ways: Ways, marks: list[int]) -> None:
    """What the flood did, and how soon after its end orders were on time again."""
    during = ways.between(marks[1], marks[2])
    steady = ways.between(marks[0], marks[1])
    late = np.sort(ways.table[during, -1]) / 1e3
    orders = int(((ways.sent_at >= marks[1]) & (ways.sent_at < marks[2])).sum())
    line = f"  flood of {FLOOD}× for {FLOOD_S:g} s: {orders / FLOOD_S:.0f} orders/s"
    if len(late):
        line += f", tick to venue p50 {late[len(late) // 2]:.0f} µs, p99 {late[int(len(late) * 0.99)]:.0f} µs"
    print(line + f"; {drained(ways, steady, marks[2])}")


def drained(ways: Ways, steady: np.ndarray, end: int) -> str:
    """When lateness by the venue's own stamps was back within what it is without a flood."""
    usual = int(np.quantile(ways.lateness[steady], 0.99)) if steady.any() else 0
    most = int(ways.lateness[ways.ticks >= end - int(FLOOD_S * 1e9)].max(initial=0))
    after = np.flatnonzero(ways.ticks >= end)
    calm = 0
    for i in after:
        calm = calm + 1 if ways.lateness[i] <= usual else 0
        if calm == CALM:
            begin = after[0] if i - CALM + 1 <= after[0] else i - CALM + 1
            at = max(0.0, (int(ways.ticks[begin]) - end) / 1e9)
            return f"behind the venue by {most / 1e6:.0f} ms at most, drained {at:.2f} s after its end"
    return f"behind the venue by {most / 1e6:.0f} ms at most, not drained within {SETTLE_S:g} s"


def clear(folder: Path) -> None:
    """Remove what a case left."""
    shutil.rmtree(folder, ignore_errors=True)
