"""Seed after seed, on every core, until the time is over or one fails."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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
    memory: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """By worker: (seconds since the start, MiB in use) after every seed."""
    failed: Outcome | None = None

    def slope(self) -> float:
        """MiB an hour of the worker whose memory rises most."""
        return max((slope(points) for points in self.memory.values()), default=0.0)

    @property
    def resident(self) -> float:
        """MiB of the largest worker."""
        return max((points[-1][1] for points in self.memory.values()), default=0.0)


def slope(memory: list[tuple[float, float]]) -> float:
    """MiB an hour: the median slope over all pairs of the last three quarters; 0.0 where there is too little."""
    points = memory[len(memory) // 4 :]
    points = points[:: 1 + len(points) // 500]
    slopes = [(m1 - m0) / (t1 - t0) for (t0, m0), (t1, m1) in itertools.combinations(points, 2) if t1 > t0]
    return 3600 * statistics.median(slopes) if slopes else 0.0


def resident() -> float:
    """MiB of this process in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak must do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def _one(seed: int, minutes: float) -> tuple[Outcome, int, float]:
    """A seed in a worker: what it came to, whose process it was, and what memory that holds."""
    return run(seed, minutes), os.getpid(), resident()


def soak(
    first: int, minutes: float, seconds: float, told: Callable[[Soaked, float], None], jobs: int = 0
) -> Soaked:
    """Run seeds from `first` on, `minutes` virtual ones each, for so many real seconds, in `jobs` processes (0: one a
    core). `told` hears of every seed, with the seconds that have passed."""
    began, done = time.perf_counter(), Soaked()
    seeds = itertools.count(first)
    workers = jobs or len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[tuple[Outcome, int, float]]] = set()
        while True:
            passed = time.perf_counter() - began
            while len(running) < workers and passed < seconds and done.failed is None:
                running.add(pool.submit(_one, next(seeds), minutes))
            if not running:
                done.real = passed
                return done
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                _add(done, *future.result(), time.perf_counter() - began)
                told(done, time.perf_counter() - began)


def _add(done: Soaked, outcome: Outcome, pid: int, memory: float, at: float) -> None:
    done.seeds += 1
    done.virtual += outcome.virtual
    done.counts.update(outcome.counts)
    done.recoveries += outcome.recoveries
    done.memory.setdefault(pid, []).append((at, memory))
    if outcome.violations and done.failed is None:
        done.failed = outcome
