"""Equity, exposure and inventory over time, folded from the sampled ledger.

A *path* is one (strategy, account, instrument): cumulative amounts that hold from one sample to the next, and
are zero before the first. A curve at time t is the sum of its paths' last samples at or before t.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tidegate.analytics.tables import Floats, Ints, Names, codes, floats, ints

AMOUNTS = ("position", "mark", "exposure", "realised", "unrealised", "fees", "funding")


@dataclass(frozen=True)
class Path:
    """One position of one strategy in one account: its samples in time order."""

    strategy: int
    account: int
    instrument: int
    ts: Ints
    position: Floats
    mark: Floats
    exposure: Floats
    realised: Floats
    unrealised: Floats
    fees: Floats
    funding: Floats

    @property
    def pnl(self) -> Floats:
        """realised + unrealised − fees + funding, base currency."""
        pnl: Floats = self.realised + self.unrealised - self.fees + self.funding
        return pnl


@dataclass(frozen=True)
class Curves:
    """Sums of paths by strategy, on the union of their sample times. Rows are strategies."""

    ts: Ints
    pnl: Floats
    net: Floats
    """Signed exposure, base currency."""
    gross: Floats
    """Σ |exposure| over the paths: nothing is netted between instruments or accounts."""


def paths(equity: Any, names: Names) -> list[Path]:
    """The sampled ledger split by (strategy, account, instrument), each in time order."""
    if not equity.num_rows:
        return []
    who = [
        codes(equity, column, labels)
        for column, labels in (
            ("strategy", names.strategies), ("account", names.accounts), ("instrument", names.instruments),
        )
    ]  # fmt: skip
    ts = ints(equity, "ts")
    key = (who[0] * len(names.accounts) + who[1]) * len(names.instruments) + who[2]
    order = np.lexsort((ts, key))
    columns = {name: floats(equity, name)[order] for name in AMOUNTS}
    ts, key = ts[order], key[order]
    edges = np.flatnonzero(np.diff(key, prepend=-1, append=-1))
    return [
        Path(
            strategy=int(who[0][order[a]]),
            account=int(who[1][order[a]]),
            instrument=int(who[2][order[a]]),
            ts=ts[a:b],
            position=columns["position"][a:b],
            mark=columns["mark"][a:b],
            exposure=columns["exposure"][a:b],
            realised=columns["realised"][a:b],
            unrealised=columns["unrealised"][a:b],
            fees=columns["fees"][a:b],
            funding=columns["funding"][a:b],
        )
        for a, b in pairwise(edges)
    ]


def at(ts: Ints, values: Floats, when: Ints, before: float = 0.0) -> Floats:
    """The last of `values` at or before each time in `when`; `before` where there is none.

    `ts` ascends. Of several samples with one stamp the last counts.
    """
    if len(ts) == len(when) and np.array_equal(ts, when) and not (np.diff(ts) == 0).any():
        return values
    place = np.searchsorted(ts, when, side="right") - 1
    if not len(ts):
        return np.full(len(when), before)
    return np.where(place >= 0, values[np.maximum(place, 0)], before)


def curves(positions: list[Path], strategies: int) -> Curves:
    """P&L and exposure of every strategy on the union of all sample times."""
    if not positions:
        none = np.zeros((strategies, 0))
        return Curves(np.zeros(0, np.int64), none, none.copy(), none.copy())
    grid = np.unique(np.concatenate([path.ts for path in positions]))
    pnl, net, gross = (np.zeros((strategies, len(grid))) for _ in range(3))
    for path in positions:
        exposure = at(path.ts, path.exposure, grid)
        pnl[path.strategy] += at(path.ts, path.pnl, grid)
        net[path.strategy] += exposure
        gross[path.strategy] += np.abs(exposure)
    return Curves(grid, pnl, net, gross)


def regular_grid(start: int, end: int, step: int) -> Ints:
    """start, start + step, … up to and including the last that is not after `end`."""
    if step <= 0:
        raise ValueError(f"the grid's step is {step} ns, must be above 0")
    return np.arange(start, end + 1, step, dtype=np.int64)
