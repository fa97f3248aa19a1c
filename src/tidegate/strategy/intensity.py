"""How often trades reach a distance from the middle: the λ(δ) = A·e^(−κδ) of market-making models.

Avellaneda & Stoikov (2008, section 2.5) let market orders that reach δ from the mid arrive as a Poisson
process of that rate; κ says how fast fills thin out behind the touch, A how many there would be at the mid.
What counts for a quote is whether it is reached while it stands, so time is cut into intervals as long as a
quote lives: an interval's depth is how far its trades reached from the mid it began with (the way the mid
moves is part of it). With rate λ(δ) an interval of length Δ is reached with probability p(δ) = 1 −
e^(−λ(δ)Δ), so ln(−ln(1 − p(δ))/Δ) = ln A − κδ: a straight line, fitted by least squares with the weights of
the delta method (after Laruelle, Lehalle & Pagès, 2013, who fit the same line to execution counts).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Any, NamedTuple

from tidegate.model.order import Side
from tidegate.model.time import SECOND
from tidegate.strategy.indicators import Estimator

_NEAREST, _FARTHEST, _GROWTH = 0.5, 20_000, 1.15
_RESCALE = 1e12
_FEWEST = 5.0


class Intensity(NamedTuple):
    """λ(δ) = a·e^(−kappa·δ): `a` per second, `kappa` per tick."""

    a: float
    kappa: float

    def rate(self, depth: float) -> float:
        """Fills per second of a quote `depth` ticks from the mid."""
        return self.a * math.exp(-self.kappa * depth)


def depth_grid() -> list[float]:
    """Lower edges of the depth bins, ticks: every tick near the mid, then 15 % wider each."""
    edges, step = [_NEAREST], 0
    while step < _FARTHEST:
        step = max(step + 1, int(step * _GROWTH))
        edges.append(_NEAREST + step)
    return edges


class ArrivalIntensity(Estimator):
    """Fits `Intensity` to the trades of a market, both sides pooled, forgetting exponentially.

    `interval` (ns) is how long a quote stands, `half_life` (ns) how fast the past is forgotten. Call `begin`
    with the mid at the start of each interval and `trade` for every trade.
    """

    __slots__ = ("_edges", "_growth", "_hits", "_mid", "_reach", "_total", "_weight", "half_life", "interval")
    _kept = ("_hits", "_total", "_weight")

    def __init__(self, interval: int, half_life: int) -> None:
        if interval <= 0 or half_life <= 0:
            raise ValueError(f"interval {interval} ns and half_life {half_life} ns must be above 0")
        self.interval = interval
        self.half_life = half_life
        self._edges = depth_grid()
        self._hits = [0.0] * len(self._edges)
        self._growth = 2.0 ** (interval / half_life)
        self._weight = 1.0  # of the next interval: grows instead of all counts shrinking
        self._total = 0.0
        self._mid = 0.0
        self._reach = [0.0, 0.0]

    @property
    def intervals(self) -> float:
        """How many intervals the estimate rests on, forgotten ones taken off; both sides count."""
        return self._total / self._weight

    def begin(self, mid: float) -> None:
        """An interval ends, and one with this mid begins; 0.0 (no mid) leaves the next interval out."""
        if self._mid > 0.0:
            for side in (0, 1):
                at = bisect_right(self._edges, self._reach[side]) - 1
                if at >= 0:
                    self._hits[at] += self._weight
                self._total += self._weight
            self._weight *= self._growth
            if self._weight > _RESCALE:
                self._hits = [hit / self._weight for hit in self._hits]
                self._total /= self._weight
                self._weight = 1.0
        self._mid = mid
        self._reach = [0.0, 0.0]

    def trade(self, price: float, aggressor: Side) -> None:
        """A trade of the market: buyers reach up from the mid, sellers down."""
        if self._mid <= 0.0:
            return
        if aggressor is Side.BUY:
            self._reach[0] = max(self._reach[0], price - self._mid)
        else:
            self._reach[1] = max(self._reach[1], self._mid - price)

    def reached(self) -> list[tuple[float, float]]:
        """(depth in ticks, share of intervals that reached it), nearest first."""
        if not self._total:
            return []
        beyond = list(accumulate(reversed(self._hits)))[::-1]
        return [(edge, hits / self._total) for edge, hits in zip(self._edges, beyond, strict=True)]

    def fit(self) -> Intensity | None:
        """The line through what was seen; None while it is too little, or does not fall with the depth."""
        n = self.intervals
        points = [
            (depth, math.log(-math.log1p(-p) * SECOND / self.interval), (1 - p) * math.log1p(-p) ** 2 / p)
            for depth, p in self.reached()
            if p * n >= _FEWEST and (1 - p) * n >= _FEWEST
        ]
        if len(points) < 3:
            return None
        total = sum(w for _, _, w in points)
        x = sum(w * d for d, _, w in points) / total
        y = sum(w * v for _, v, w in points) / total
        slope = sum(w * (d - x) * (v - y) for d, v, w in points) / sum(w * (d - x) ** 2 for d, _, w in points)
        if slope >= 0.0:
            return None
        return Intensity(math.exp(y - slope * x), -slope)

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; a histogram over another grid is left out."""
        if len(state.get("_hits", ())) == len(self._hits):
            super().restore(state)
            self._hits = [float(hit) for hit in self._hits]
