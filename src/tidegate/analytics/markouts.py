"""Markouts: where the mid went after our fills, and so what the fills were worth.

The markout of a fill at horizon h is s (m_{t+h} − p)/m_t in basis points: what it has gained on its own price
after h, before fees. At h = 0 it is minus the slippage against mid. A maker that is picked off starts above
zero and falls below; a trend follower starts below and rises if it was right.

The mid at t + h is the last touch at or before t + h, both in venue time. A fill within h of the end of the
touches has no markout at h: the count falls with the horizon and is shown.

Means weigh by value. Fills close together share one price path, so they are not independent: the standard
error is the cluster-robust one (Liang & Zeger 1986), a cluster being one instrument's fills in one window of
max(h, 1 s); √(G/(G−1) Σ_g (Σ_{i∈g} w_i (x_i − x̄))²)/Σ w. It is not given for fewer than two clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.tables import Floats, Ints
from tidegate.model.time import MS, SECOND

HORIZONS = (0, 100 * MS, 500 * MS, SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND)


@dataclass(frozen=True)
class Markout:
    """The mean markout of a group of fills at one horizon."""

    horizon: int
    """ns."""
    bps: float | None
    se: float | None
    fills: int
    """Fills that have a mid this long after them."""
    weight: float
    """Σ of their weights: what to pool several means by."""


@dataclass(frozen=True)
class Mids:
    """The touch's mid by instrument: ascending times and values."""

    ts: tuple[Ints, ...]
    mid: tuple[Floats, ...]

    def after(self, instrument: Ints, ts: Ints, horizon: int) -> Floats:
        """The mid `horizon` ns after each time; NaN before the first touch and past the last."""
        out = np.full(len(ts), np.nan)
        for number, (times, mids) in enumerate(zip(self.ts, self.mid, strict=True)):
            mine = np.flatnonzero(instrument == number)
            if not len(times) or not len(mine):
                continue
            when = ts[mine] + horizon
            place = np.searchsorted(times, when, side="right") - 1
            known = (place >= 0) & (when <= times[-1])
            out[mine] = np.where(known, mids[np.maximum(place, 0)], np.nan)
        return out

    def last(self, instrument: Ints) -> Floats:
        """The last mid of each instrument; NaN where it has none."""
        ends = np.array([mid[-1] if len(mid) else np.nan for mid in self.mid], np.float64)
        return ends[instrument] if len(ends) else np.full(len(instrument), np.nan)

    def spacing(self) -> int:
        """The largest median step between touches of any instrument, ns: horizons below are not resolved."""
        steps = [int(np.median(np.diff(times))) for times in self.ts if len(times) > 1]
        return max(steps, default=0)


def mids(instrument: Ints, ts: Ints, bid: Floats, ask: Floats, instruments: int) -> Mids:
    """The mids of a touch table: one-sided or empty touches are left out."""
    mid = (bid + ask) / 2
    times, values = [], []
    for number in range(instruments):
        mine = np.flatnonzero((instrument == number) & np.isfinite(mid))
        mine = mine[np.argsort(ts[mine], kind="stable")]
        times.append(ts[mine])
        values.append(mid[mine])
    return Mids(tuple(times), tuple(values))


def markout_bps(side: Ints, price: Floats, mid: Floats, future: Floats) -> Floats:
    """s (m_{t+h} − p)/m_t in basis points; NaN where a mid is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bps: Floats = 1e4 * side * (future - price) / np.abs(mid)
    bps[~np.isfinite(bps)] = np.nan
    return bps


def clustered_mean(values: Floats, weights: Floats, cluster: Ints) -> tuple[float | None, float | None, int]:
    """Weighted mean, cluster-robust standard error and count of the values that are not NaN."""
    known = np.flatnonzero(~np.isnan(values) & (weights > 0))
    if not len(known):
        return None, None, 0
    x, w = values[known], weights[known]
    total = float(w.sum())
    mean = float((w * x).sum()) / total
    _, place = np.unique(cluster[known], return_inverse=True)
    sums = np.bincount(place, w * (x - mean))
    groups = len(sums)
    se = float(np.sqrt(groups / (groups - 1) * (sums**2).sum())) / total if groups > 1 else None
    return mean, se, len(known)


def markout_curve(
    touches: Mids,
    instrument: Ints,
    ts_venue: Ints,
    side: Ints,
    price: Floats,
    mid: Floats,
    weight: Floats,
    horizons: tuple[int, ...] = HORIZONS,
) -> tuple[Markout, ...]:
    """The mean markout of these fills at every horizon; horizon 0 uses the fill's own mid."""
    out = []
    for horizon in horizons:
        future = mid if horizon == 0 else touches.after(instrument, ts_venue, horizon)
        window = ts_venue // max(horizon, SECOND)
        cluster = window * max(len(touches.ts), 1) + instrument
        bps = markout_bps(side, price, mid, future)
        mean, se, count = clustered_mean(bps, weight, cluster)
        out.append(Markout(horizon, mean, se, count, float(weight[~np.isnan(bps)].sum())))
    return tuple(out)
