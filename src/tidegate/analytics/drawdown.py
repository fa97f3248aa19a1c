"""Drawdown: how far and how long a P&L curve lay below its highest point so far.

Amounts are in the curve's currency. The high-water mark starts at `start` (0: what was put in), so a curve
that only falls is in drawdown from its first point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.tables import Floats, Ints


@dataclass(frozen=True)
class Drawdown:
    """The deepest drawdown of a curve, and its longest."""

    depth: float
    """High-water mark less trough, ≥ 0."""
    peak_ts: int
    trough_ts: int
    recovered_ts: int | None
    """The first time the curve was back at that peak; None when it never was."""
    duration_ns: int
    """From the peak to the recovery, or to the end of the curve."""
    longest_ns: int
    """The longest spell under the high-water mark, of any depth; an unfinished one counts to the end."""


def underwater(pnl: Floats, start: float = 0.0) -> Floats:
    """The curve less its running maximum (at least `start`): 0 at a new high, negative below."""
    below: Floats = pnl - np.maximum(np.maximum.accumulate(pnl), start)
    return below


def drawdown(ts: Ints, pnl: Floats, start: float = 0.0) -> Drawdown | None:
    """The deepest and longest drawdown of `pnl` over the ascending times `ts`; None without points."""
    if not len(ts):
        return None
    below = underwater(pnl, start)
    trough = int(np.argmin(below))
    high = np.flatnonzero(below == 0.0)
    before = high[high <= trough]
    after = high[high > trough]
    peak = int(before[-1]) if len(before) else 0
    deep = bool(below[trough] < 0.0)
    recovered = int(ts[after[0]]) if deep and len(after) else None
    end = recovered if recovered is not None else int(ts[-1])
    return Drawdown(
        depth=float(-below[trough]),
        peak_ts=int(ts[peak]),
        trough_ts=int(ts[trough]),
        recovered_ts=recovered,
        duration_ns=end - int(ts[peak]) if deep else 0,
        longest_ns=_longest(ts, below),
    )


def _longest(ts: Ints, below: Floats) -> int:
    """The longest spell from a high to the next one, counting only spells that went below."""
    marks = np.flatnonzero(below == 0.0)
    stamps = ts[marks]
    if below[0] < 0.0:
        # Under what was put in from the first point: as if the high had been just before it.
        marks, stamps = np.insert(marks, 0, -1), np.insert(stamps, 0, ts[0])
    went_below = np.diff(marks) > 1
    finished = int(np.diff(stamps)[went_below].max()) if went_below.any() else 0
    unfinished = int(ts[-1] - stamps[-1]) if below[-1] < 0.0 else 0
    return max(finished, unfinished)
