"""What a running topology costs when nothing happens, and whether its memory stays flat: parts of `bench_live.py`."""

from __future__ import annotations

import asyncio
import shutil
import time

import numpy as np
from live_system import OUT, Load, System

SETTLE_S = 5.0
SAMPLE_S = 5.0


async def idle(seconds: float) -> float:
    """A topology whose market has not begun: CPU of each process and of all, % of a core."""
    system = _system("idle", Load())
    async with system:
        await asyncio.sleep(SETTLE_S)
        before, began = system.figures(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = system.figures(), time.monotonic() - began
    shares = {name: (after[name].cpu_s - before[name].cpu_s) / took * 100 for name in before}
    for name, share in shares.items():
        print(f"  {name:<20}{share:6.2f} %{after[name].rss / 2**20:9.0f} MiB")
    total = sum(shares.values())
    memory = sum(figure.rss for figure in after.values()) / 2**20
    print(f"  {'all':<20}{total:6.2f} %{memory:9.0f} MiB   goal: below 5 % of a core")
    return total


async def soak(minutes: float, speed: float) -> None:
    """The memory of each process under load, and its slope over the last two thirds of the time."""
    system = _system("soak", Load(speed=speed))
    samples: dict[str, list[tuple[float, float]]] = {}
    async with system:
        await asyncio.to_thread(system.admin, "start", {})
        began = time.monotonic()
        while (at := time.monotonic() - began) < minutes * 60:
            for name, figure in system.figures().items():
                samples.setdefault(name, []).append((at / 60, figure.rss / 1024))
            await asyncio.sleep(SAMPLE_S)
    for name, found in samples.items():
        rows = np.array(found)
        late = rows[rows[:, 0] >= minutes / 3]
        slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] if len(late) > 2 else float("nan")
        print(
            f"  {name:<20}{rows[0, 1] / 1024:8.0f} MiB → {rows[-1, 1] / 1024:6.0f} MiB {slope:+10.1f} KB/min"
        )
    for trouble in system.troubles:
        print(f"  {trouble}")


def _system(name: str, load: Load) -> System:
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    return System(folder, load, hops=False)
