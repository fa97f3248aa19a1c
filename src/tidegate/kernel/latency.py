"""Latencies drawn from measured distributions, reproducibly.

A table holds `n` quantiles in ns after its count; a draw picks a place between two of them at random and
interpolates. One quantile is a constant, and then nothing is drawn. The generator is xorshift64 (Marsaglia 2003),
its state one word of the engine, never 0, so a run repeats itself exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.engine import S_RANDOM
from tidegate.kernel.jit import inline

MAX_QUANTILES = 256


@inline
def _next_random(s: Any) -> float:
    """The next number in [0, 1)."""
    x = s[S_RANDOM]
    x ^= x << np.int64(13)
    x ^= (x >> np.int64(7)) & np.int64((1 << 57) - 1)
    x ^= x << np.int64(17)
    s[S_RANDOM] = x
    return float((x >> np.int64(11)) & np.int64((1 << 53) - 1)) / 9007199254740992.0


@inline
def draw_latency(s: Any, table: Any, row: int) -> int:
    """A latency in ns from `table[row]`: its count, then its quantiles in rising order."""
    count = table[row, 0]
    if count <= 1:
        return table[row, 1]
    place = _next_random(s) * float(count - 1)
    low = int(place)
    part = place - float(low)
    return table[row, 1 + low] + np.int64(part * float(table[row, 2 + low] - table[row, 1 + low]))


def quantile_table(samples: Any) -> Any:
    """Samples (ns) to a table row: up to 256 quantiles in rising order, preceded by their count."""
    row = np.zeros(MAX_QUANTILES + 1, np.int64)
    values = np.sort(np.asarray(samples, np.int64))
    if len(values) == 0:
        raise ValueError("a latency distribution needs at least one sample")
    if values[0] < 0:
        raise ValueError(f"a latency cannot be negative: {values[0]} ns")
    if len(values) > MAX_QUANTILES:
        values = np.quantile(values, np.linspace(0, 1, MAX_QUANTILES)).round().astype(np.int64)
    row[0] = len(values)
    row[1 : 1 + len(values)] = values
    return row
