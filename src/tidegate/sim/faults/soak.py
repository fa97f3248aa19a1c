"""Seed after seed until the time is over, or one fails."""

from __future__ import annotations

import itertools
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.sim.faults.run import Outcome, run


@dataclass
class Soaked:
    """What a soak came to."""

    seeds: int = 0
    virtual: float = 0.0
    """Minutes."""
    real: float = 0.0
    """Seconds."""
    counts: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, MiB in use) after every seed."""
    failed: Outcome | None = None

    def slope(self) -> float:
        """MiB an hour: the median slope over all pairs of the last three quarters; 0.0 where there is too little."""
        points = self.memory[len(self.memory) // 4 :]
        points = points[:: 1 + len(points) // 500]
        slopes = [
            (m1 - m0) / (t1 - t0) for (t0, m0), (t1, m1) in itertools.combinations(points, 2) if t1 > t0
        ]
        return 3600 * statistics.median(slopes) if slopes else 0.0


def resident() -> float:
    """MiB of this process in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak must do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def soak(first: int, minutes: float, seconds: float, told: Callable[[Soaked, float], None]) -> Soaked:
    """Run seeds from `first` on, `minutes` virtual ones each, for so many real seconds. `told` hears of every seed, with
    the seconds that have passed."""
    began, done = time.perf_counter(), Soaked()
    while True:
        outcome = run(first + done.seeds, minutes)
        done.seeds += 1
        done.virtual += outcome.virtual
        done.real += outcome.real
        done.counts.update(outcome.counts)
        done.recoveries += outcome.recoveries
        passed = time.perf_counter() - began
        done.memory.append((passed, resident()))
        told(done, passed)
        if outcome.violations:
            done.failed = outcome
        if outcome.violations or passed >= seconds:
            return done
