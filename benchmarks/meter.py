"""How a benchmark process measures itself and says so: one JSON line on stdout."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterable, Iterator
from typing import Any


class Stopwatch:
    """Wall and processor seconds of a `with` block."""

    wall = cpu = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._began[0]
        self.cpu = time.process_time() - self._began[1]


class Untimed:
    """An iterable whose items are made off the clock: `wall` and `cpu` say how long making them took."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.wall = self.cpu = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            with Stopwatch() as making:
                item = next(self._items, None)
            self.wall, self.cpu = self.wall + making.wall, self.cpu + making.cpu
            if item is None:
                return
            yield item


def peak_mb() -> float:
    """The largest resident set of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def emit(case: str, system: str, version: str, n: int, wall: float, cpu: float, **counts: object) -> None:
    """Print the result of one case: `n` events in `wall` seconds, and what was counted on the way."""
    result = {
        "case": case, "system": system, "version": version, "n": n, "wall_s": wall, "cpu_s": cpu,
        "per_s": n / wall, "peak_mb": peak_mb(), "counts": counts,
    }  # fmt: skip
    print(json.dumps(result), flush=True)
