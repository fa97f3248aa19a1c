"""Latency: the quantiles that matter. ns throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.tables import Floats, Ints

QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class LatencyRow:
    """One measured path. Quantiles are the smallest sample that at least that share lies at or below."""

    name: str
    samples: int
    negative: int
    """Samples below 0: clocks that disagree. Kept in the quantiles, absent from a logarithmic picture."""
    minimum: float
    quantiles: tuple[float, ...]
    """At `QUANTILES`; the last ones are the maximum when samples are few."""
    maximum: float


def latency_row(name: str, ns: Ints) -> LatencyRow | None:
    """Quantiles of one path's samples; None without samples."""
    if not len(ns):
        return None
    values = np.quantile(ns, QUANTILES, method="inverted_cdf")
    return LatencyRow(
        name=name,
        samples=len(ns),
        negative=int((ns < 0).sum()),
        minimum=float(ns.min()),
        quantiles=tuple(float(value) for value in values),
        maximum=float(ns.max()),
    )


def exceedance(ns: Ints, points: int = 160) -> tuple[Floats, Floats]:
    """The tail of a distribution: latencies (ns, above 0) ascending, and the share at or above each.

    About `points` of them, evenly spaced in log share as a tail is read, a decade for each further nine,
    and some more in the body; the first is the smallest sample and the last the largest.
    """
    values = np.sort(ns[ns > 0])
    if not len(values):
        return np.zeros(0), np.zeros(0)
    n = len(values)
    left = np.concatenate((np.linspace(0.1, 1.0, points // 4), np.geomspace(1 / n, 1.0, points)))
    rank = np.unique(np.clip(np.rint((1 - left) * n), 0, n - 1).astype(np.int64))
    return values[rank].astype(np.float64), (n - rank) / n
