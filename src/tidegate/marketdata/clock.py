"""The recorder's clock against the exchange's: estimated from what every frame says, and taken out.

A frame that the exchange stamped E and the recorder stamped R shows lag = R − E = latency + offset. Latency
has a floor and offset moves slowly, so the lower envelope of the lags is the offset plus the smallest
latency. One recorder clock stamps all files of a session: the envelope is taken over all their streams
together.

1. The least lag of every second is kept (`LagMinima`); a stamp that lies far below its neighbours is wrong
   and left out.
2. Drift: the straight line under all minima that lies closest to them (Moon, Skelly & Towsley, "Estimation
   and Removal of Clock Skew from Network Delay Measurements", INFOCOM 1999): the edge of the lower convex
   hull over the mean time.
3. What the line leaves: the highest curve under the minima that bends by at most `slack_ppm` (a crystal's
   rate moves that slowly with temperature; a quiet network does not look like drift).
4. The smallest latency itself cannot be known from one-way stamps. It is assumed: `floor`, 0.5 ms, what a
   recorder in the exchange's own region sees. Every latency is right up to that constant and to the
   exchange's own stamps, which are whole ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tidegate.kernel.jit import inline
from tidegate.marketdata.binance_shapes import M_EVENT, M_KIND, M_RECV, M_TRADED, SNAPSHOT
from tidegate.model.event import Words
from tidegate.model.time import MS, SECOND, US

FLOOR = 500 * US
SLACK_PPM = 2.0
WINDOW = SECOND
_OUTLIER = 50 * MS
_NEIGHBOURS = 15


class LagMinima:
    """The least lag of every second of recorder time, and when it was seen."""

    def __init__(self) -> None:
        self._least: dict[int, tuple[int, int]] = {}

    def add(self, messages: Words) -> None:
        """Take in the headers of a batch. Snapshots stay out: they answer a request, on another path."""
        stamp = np.maximum(messages[:, M_EVENT], messages[:, M_TRADED])
        timed = (stamp > 0) & (messages[:, M_KIND] != SNAPSHOT)
        recv = messages[timed, M_RECV]
        if not len(recv):
            return
        lag, window = recv - stamp[timed], recv // WINDOW
        starts = [0, *(np.flatnonzero(np.diff(window)) + 1).tolist(), len(window)]
        for i, j in pairwise(starts):
            k = i + int(np.argmin(lag[i:j]))
            self._keep(int(window[k]), (int(recv[k]), int(lag[k])))

    def merge(self, other: LagMinima) -> None:
        """Take in another file's minima."""
        for window, point in other._least.items():
            self._keep(window, point)

    def _keep(self, window: int, point: tuple[int, int]) -> None:
        known = self._least.get(window)
        if known is None or point[1] < known[1]:
            self._least[window] = point

    def points(self) -> tuple[Words, Words]:
        """(recorder times, least lags), by time."""
        points = [self._least[window] for window in sorted(self._least)]
        array = np.array(points, np.int64).reshape(len(points), 2)
        return np.ascontiguousarray(array[:, 0]), np.ascontiguousarray(array[:, 1])


@dataclass(frozen=True)
class ClockFit:
    """What is subtracted from the recorder's time to have the exchange's: piecewise linear between knots."""

    knots: Words
    """Shape (n, 2): recorder time, offset; ns. The offset is constant before the first and after the last."""
    drift_ppm: float
    """How fast the offset grows: below 0, the recorder's clock loses."""
    floor: int
    """The smallest latency, assumed, ns."""
    rejected: int
    """Seconds whose least lag was left out as a wrong stamp."""

    @property
    def offset(self) -> int:
        """The offset in the middle of the session, ns; below 0, the recorder's clock is behind."""
        return int(self.knots[len(self.knots) // 2, 1])

    def correct(self, recv: int) -> int:
        """A receive time in the exchange's clock."""
        k = int(np.searchsorted(self.knots[:, 0], recv, side="right")) - 1
        if not 0 <= k < len(self.knots) - 1:
            return int(recv - self.knots[max(k, 0), 1])
        (before, low), (after, high) = self.knots[k].tolist(), self.knots[k + 1].tolist()
        return int(recv - (low + (recv - before) * (high - low) // (after - before)))


def fit(times: Words, lags: Words, floor: int = FLOOR, slack_ppm: float = SLACK_PPM) -> ClockFit:
    """Fit the recorder's clock to the minima of a session. Without any, the offset is 0."""
    if floor < 0:
        raise ValueError(f"the smallest latency is {floor} ns, must not be below 0")
    if not len(times):
        return ClockFit(np.zeros((1, 2), np.int64), 0.0, floor, 0)
    good = _plausible(lags)
    t = (times[good] - times[0]).astype(np.float64)
    lag = (lags[good] - lags[0]).astype(np.float64)
    slope, level = _line_below(t, lag)
    above = lag - (level + slope * t)
    slack = slack_ppm * 1e-6
    # The highest curve of bounded slope under all points: once from the left, once from the right.
    for order in (range(1, len(t)), range(len(t) - 2, -1, -1)):
        for i in order:
            j = i - 1 if order.step > 0 else i + 1
            above[i] = min(above[i], above[j] + slack * abs(t[i] - t[j]))
    offset = np.rint(level + slope * t + above).astype(np.int64) + lags[0] - floor
    return ClockFit(np.column_stack([times[good], offset]), slope * 1e6, floor, int(len(lags) - good.sum()))


def _plausible(lags: Words) -> Any:
    """Where a least lag is not far below even the fourth least around it: such a stamp is wrong."""
    good = np.ones(len(lags), bool)
    for i in range(len(lags)):
        around = np.sort(lags[max(0, i - _NEIGHBOURS) : i + _NEIGHBOURS + 1])
        good[i] = lags[i] >= around[min(3, len(around) // 2)] - _OUTLIER
    return good


def _line_below(t: Any, lag: Any) -> tuple[float, float]:
    """(slope, level) of the line under all points whose summed distance to them is least."""
    hull: list[int] = []
    for i in range(len(t)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (lag[b] - lag[a]) * (t[i] - t[a]) < (lag[i] - lag[a]) * (t[b] - t[a]):
                break
            hull.pop()
        hull.append(i)
    middle = float(t.mean())
    for a, b in pairwise(hull):
        if t[b] >= middle:
            slope = float((lag[b] - lag[a]) / (t[b] - t[a]))
            return slope, float(lag[a] - slope * t[a])
    return 0.0, float(lag[hull[0]])


@inline
def offset_at(knots: Any, k: int, recv: int) -> Any:
    """(offset at `recv`, the knot at or before it), starting the search at knot `k`."""
    n = len(knots)
    while k + 1 < n and recv >= knots[k + 1, 0]:
        k += 1
    while k > 0 and recv < knots[k, 0]:
        k -= 1
    if k + 1 >= n or recv < knots[k, 0]:
        return knots[k, 1], k
    span, rise = knots[k + 1, 0] - knots[k, 0], knots[k + 1, 1] - knots[k, 1]
    # Part × rise fits: sessions have no pause above a minute (6e10 ns), and a rise above 1e8 ns is no
    # clock's.
    return knots[k, 1] + (recv - knots[k, 0]) * rise // span, k
