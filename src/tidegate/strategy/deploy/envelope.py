"""What is to be expected of a version: ranges for its figures, from a backtest of its own.

A figure is looked at over some horizons, in intervals. For each, many windows of that length are put together from blocks
of the backtest's intervals (a block bootstrap: what hangs together in time stays together), and from their distribution
come

* the **soft** range: the outermost quantiles, widened by three standard errors of the mean (a short backtest knows little)
  and by `slack`, for a live market is not the one of the backtest;
* the **hard** range: twice as far from the median. One look beyond it is enough.

Only the side that harms is bounded: many orders, much inventory, dear fills, losses; the fill ratio on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from tidegate.strategy.deploy.measure import Figures

HORIZONS: dict[str, tuple[int, ...]] = {
    "orders": (1, 6, 36), "changes": (1, 6, 36), "pnl": (6, 36, 216), "inventory": (1,), "fill_ratio": (36,),
    "slippage": (36,),
}  # fmt: skip
"""Figure → over how many intervals it is looked at."""
LONGEST = max(max(lengths) for lengths in HORIZONS.values())
ENOUGH = 5
"""Orders (or fills) without which a ratio says nothing."""
FEWEST = 60
"""Intervals that a backtest must have."""
_BLOCK, _DRAWS, _OUTER = 6, 2000, 0.999
_HIGH = ("orders", "changes", "inventory", "slippage", "fill_ratio")
_LOW = ("pnl", "fill_ratio")
_SOFT_ONLY = ("fill_ratio", "slippage")
_Floats = Any


class Range(msgspec.Struct, frozen=True):
    """Where a figure over `horizon` intervals is expected; None: no bound on that side."""

    figure: str
    horizon: int
    median: float
    low: float | None = None
    high: float | None = None
    hard_low: float | None = None
    hard_high: float | None = None

    def outside(self, value: float, hard: bool = False) -> bool:
        """Whether a value is beyond the soft range, or the hard one."""
        low, high = (self.hard_low, self.hard_high) if hard else (self.low, self.high)
        return (low is not None and value < low) or (high is not None and value > high)

    def text(self) -> str:
        """`≤ 12` or `0.1 … 0.9`."""
        if self.low is None:
            return f"≤ {self.high:.6g}" if self.high is not None else "any"
        return f"≥ {self.low:.6g}" if self.high is None else f"{self.low:.3g} … {self.high:.3g}"


class Envelope(msgspec.Struct, frozen=True):
    """The ranges of one version. `interval` in ns; `run` is the id of the backtest, `ppm` the part of the strategy's limits
    under which it was run, `intervals` how many it had."""

    version: str
    run: str
    interval: int
    intervals: int
    ppm: int
    ranges: list[Range]

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> Envelope:
    """The inverse of `Envelope.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=Envelope)
    except ValueError as error:
        raise ValueError(f"not an envelope: {error}") from None


def value_of(figure: str, window: Sequence[Figures]) -> float | None:
    """A figure over a window; None where it says nothing."""
    if figure == "inventory":
        return max(f.inventory for f in window)
    if figure == "fill_ratio":
        if sum(f.orders for f in window) < ENOUGH:
            return None
        ordered = sum(f.ordered for f in window)
        return sum(f.filled for f in window) / ordered if ordered else None
    if figure == "slippage":
        filled = sum(f.filled for f in window)
        return (
            sum(f.paid for f in window) / filled * 1e4
            if filled and sum(f.fills for f in window) >= ENOUGH
            else None
        )
    return float(sum(getattr(f, figure) for f in window))


def expected(
    version: str, run: str, interval: int, figures: Sequence[Figures], ppm: int, *, slack: float = 1.5, seed: int = 1
) -> Envelope:  # fmt: skip
    """The envelope of a backtest's figures; raises `ValueError` where it says too little."""
    if len(figures) < FEWEST:
        raise ValueError(f"{len(figures)} intervals of {interval / 1e9:g} s; at least {FEWEST} are needed")
    if not any(f.fills for f in figures):
        raise ValueError("nothing was traded: what it does live could not be compared with anything")
    draw = np.random.default_rng(seed)
    columns = {
        name: np.array([float(getattr(f, name)) for f in figures])
        for name in ("orders", "changes", "ordered", "filled", "fills", "paid", "pnl", "inventory")
    }
    most = float(columns["inventory"].max())
    ranges = []
    for figure, horizons in HORIZONS.items():
        for horizon in horizons:
            found = _range(figure, horizon, columns, most, slack, draw)
            if found is not None:
                ranges.append(found)
    return Envelope(version, run, interval, len(figures), ppm, ranges)


def _range(
    figure: str, horizon: int, columns: dict[str, _Floats], most: float, slack: float, draw: np.random.Generator
) -> Range | None:  # fmt: skip
    values = _values(figure, columns, _windows(len(columns["pnl"]), horizon, draw))
    if len(values) < _DRAWS // 40:
        return None
    median = float(np.median(values))
    doubt = 3 * _error(figure, columns, horizon) + _floor(figure, horizon, most)
    high = low = hard_high = hard_low = None
    if figure in _HIGH:
        far = slack * (float(np.quantile(values, _OUTER)) - median + doubt)
        high, hard_high = median + far, None if figure in _SOFT_ONLY else median + 2 * far
    if figure in _LOW:
        far = slack * (median - float(np.quantile(values, 1 - _OUTER)) + doubt)
        low, hard_low = median - far, None if figure in _SOFT_ONLY else median - 2 * far
    return Range(figure, horizon, median, low, high, hard_low, hard_high)


def _windows(intervals: int, horizon: int, draw: np.random.Generator) -> _Floats:
    """Windows of `horizon` intervals as rows of places, put together from blocks that go round at the end."""
    block = min(horizon, _BLOCK)
    starts = draw.integers(0, intervals, (_DRAWS, -(-horizon // block)))
    places = (starts[:, :, None] + np.arange(block)) % intervals
    return places.reshape(_DRAWS, -1)[:, :horizon]


def _values(figure: str, columns: dict[str, _Floats], places: _Floats) -> _Floats:
    if figure == "inventory":
        return columns["inventory"][places].max(axis=1)
    if figure not in _SOFT_ONLY:
        return columns[figure][places].sum(axis=1)
    above, below, count = (
        ("filled", "ordered", "orders") if figure == "fill_ratio" else ("paid", "filled", "fills")
    )
    divisor = columns[below][places].sum(axis=1)
    enough = (columns[count][places].sum(axis=1) >= ENOUGH) & (divisor > 0)
    ratio = columns[above][places].sum(axis=1)[enough] / divisor[enough]
    return ratio * (1e4 if figure == "slippage" else 1.0)


def _error(figure: str, columns: dict[str, _Floats], horizon: int) -> float:
    """The standard error of a window's mean: how far the backtest's own mean may be off."""
    if figure in _SOFT_ONLY or figure == "inventory":
        return 0.0
    column = columns[figure]
    blocks = column[: len(column) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=1)
    return float(horizon * blocks.std() / np.sqrt(len(blocks)))


def _floor(figure: str, horizon: int, most: float) -> float:
    """What is never too much, however calm the backtest was: a few orders, two basis points of the largest inventory."""
    if figure in ("orders", "changes"):
        return 2.0
    if figure == "pnl":
        return 2e-4 * most * float(np.sqrt(horizon))
    return {"inventory": 0.5 * most, "fill_ratio": 0.15, "slippage": 0.5}[figure]
