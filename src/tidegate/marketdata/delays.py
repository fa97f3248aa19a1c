"""Latency distributions, counted in buckets of constant relative width: bounded memory, no sample kept.

Values below 64 ns have a bucket each; above, every doubling is divided into 64, so a quantile is right to 0.8
%. The scheme is that of HdrHistogram (G. Tene).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.bits import msb
from tidegate.kernel.jit import inline
from tidegate.model.event import Words

BUCKETS = 64 * 58
LIMITS = (*(m * 10**e for e in range(3, 10) for m in (1, 2, 5)), 2**62)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@inline
def bucket(value: int) -> Any:
    """The bucket of a latency ≥ 0 ns."""
    shift = max(0, msb(value | 127) - 6)
    return (value >> np.int64(shift)) + 64 * shift


def edges(number: int) -> tuple[int, int]:
    """(smallest, largest) value of a bucket, ns."""
    shift = max(0, number // 64 - 1)
    low = (number - 64 * shift) << shift
    return low, low + (1 << shift) - 1


class Delays:
    """One stream's latencies: counts by bucket, and the exact extremes."""

    def __init__(self, counts: Words | None = None, least: int = 0, most: int = 0) -> None:
        self.counts = np.zeros(BUCKETS, np.int64) if counts is None else counts
        self.least = least
        self.most = most

    def add(self, values: Words) -> None:
        """Count some latencies, ns; one below 0 counts as 0, and shows as the least."""
        if not len(values):
            return
        least, most = int(values.min()), int(values.max())
        self.least, self.most = (
            (min(self.least, least), max(self.most, most)) if self.count else (least, most)
        )
        positive = np.maximum(values, 0)
        shift = np.maximum(0, np.frexp(positive.astype(np.float64))[1] - 7).astype(np.int64)
        # A value that a float rounds up to the next power of two is taken for one doubling too high.
        shift -= (positive >> shift < 64) & (shift > 0)
        self.counts += np.bincount((positive >> shift) + 64 * shift, minlength=BUCKETS)

    @property
    def count(self) -> int:
        """How many latencies were counted."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> int:
        """The latency that a share `q` of them does not exceed, ns; 0 when there are none."""
        total = self.count
        if not total:
            return 0
        number = int(np.searchsorted(np.cumsum(self.counts), max(1, np.ceil(q * total))))
        low, high = edges(number)
        return min(max((low + high) // 2, self.least), self.most)

    def histogram(self, limits: tuple[int, ...] = LIMITS) -> list[tuple[int, float]]:
        """(upper limit in ns, share of the latencies up to it and above the limit before), without empty
        ends.
        """
        middles = np.array([sum(edges(number)) // 2 for number in range(BUCKETS)])
        place = np.searchsorted(np.array(limits), middles)
        shares = np.bincount(place, self.counts, len(limits) + 1)[: len(limits)] / max(self.count, 1)
        used = np.flatnonzero(shares)
        return [(limits[i], float(shares[i])) for i in range(used[0], used[-1] + 1)] if len(used) else []

    def summary(self) -> dict[str, int]:
        """Count, extremes and quantiles, ns: `{"count": …, "min": …, "p1": …, …, "max": …}`."""
        named = {f"p{100 * q:g}": self.quantile(q) for q in QUANTILES}
        return {"count": self.count, "min": self.least, **named, "max": self.most}


@inline
def observe(counts: Any, extremes: Any, row: int, value: int) -> None:
    """Count a latency of stream `row`; `extremes[row]` is its (least, most, seen)."""
    if extremes[row, 2] == 0 or value < extremes[row, 0]:
        extremes[row, 0] = value
    if extremes[row, 2] == 0 or value > extremes[row, 1]:
        extremes[row, 1] = value
    extremes[row, 2] += 1
    counts[row, bucket(max(value, 0))] += 1
