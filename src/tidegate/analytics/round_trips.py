"""Round trips: which bought unit met which sold unit, first in, first out.

In one position the k-th unit ever bought is matched with the k-th unit ever sold: when long, the open units
are the last ones bought and a sale closes the oldest of them; when short it is the mirror image. So matching
needs no queue: lay cumulative bought and sold quantity side by side and cut at every fill's edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.tables import Bools, Floats, Ints

_MOST_DECIMALS = 12


@dataclass(frozen=True)
class Pieces:
    """Matched pieces in the order of matching; indices are those of the fills given."""

    entry: Ints
    exit: Ints
    qty: Floats
    long: Bools
    """Bought first."""


@dataclass(frozen=True)
class Closings:
    """One row for every fill that closed something, in the order of the fills."""

    fill: Ints
    """Index of the closing fill."""
    pnl: Floats
    """Settlement currency, net of the fees of both ends, pro rata."""
    qty: Floats
    holding_ns: Floats
    """Mean time since entry, weighted by quantity."""


def match(side: Ints, qty: Floats) -> Pieces:
    """Match the fills of one position, in time order. `side` is ±1, `qty` above 0."""
    units, scale = _as_units(qty)
    buys, sells = np.flatnonzero(side > 0), np.flatnonzero(side < 0)
    bought, sold = np.cumsum(units[buys]), np.cumsum(units[sells])
    matched = min(bought[-1] if len(buys) else 0, sold[-1] if len(sells) else 0)
    if matched == 0:
        none = np.zeros(0, np.int64)
        return Pieces(none, none, np.zeros(0), np.zeros(0, np.bool_))
    edges = np.union1d(bought, sold)
    edges = edges[edges <= matched]
    buy = buys[np.searchsorted(bought, edges)]
    sell = sells[np.searchsorted(sold, edges)]
    pieces = np.diff(edges, prepend=0) / scale
    return Pieces(np.minimum(buy, sell), np.maximum(buy, sell), pieces, buy < sell)


def _as_units(qty: Floats) -> tuple[Ints, float]:
    """Quantities as whole multiples of the coarsest decimal unit they share, so that sums are exact."""
    total = float(qty.sum())
    for decimals in range(_MOST_DECIMALS + 1):
        scale = 10.0**decimals
        if total * scale > 2**62:
            break
        units = np.rint(qty * scale)
        if np.allclose(units, qty * scale, rtol=1e-9, atol=1e-6) and (units > 0).all():
            break
    else:
        units = np.rint(qty * scale)
    return units.astype(np.int64), scale


def closings(
    ts: Ints, side: Ints, price: Floats, qty: Floats, value: Floats, fee: Floats, inverse: bool
) -> Closings:
    """P&L and holding time of every closing fill of one position, its fills in time order.

    `value` and `fee` are in the settlement currency. A linear long earns exit value − entry value; an inverse
    contract is worth less of the settlement currency the higher its price, so the sign turns.
    """
    pieces = match(side, qty)
    if not len(pieces.qty):
        return Closings(pieces.exit, np.zeros(0), np.zeros(0), np.zeros(0))
    part_in = pieces.qty / qty[pieces.entry]
    part_out = pieces.qty / qty[pieces.exit]
    gain = value[pieces.exit] * part_out - value[pieces.entry] * part_in
    sign = np.where(pieces.long, 1.0, -1.0) * (-1.0 if inverse else 1.0)
    net = sign * gain - fee[pieces.entry] * part_in - fee[pieces.exit] * part_out
    held = (ts[pieces.exit] - ts[pieces.entry]) * pieces.qty
    rows, place = np.unique(pieces.exit, return_inverse=True)
    pnl, closed, waited = (np.bincount(place, w).astype(np.float64) for w in (net, pieces.qty, held))
    return Closings(rows, pnl, closed, waited / closed)


@dataclass(frozen=True)
class TripStats:
    """What the closing fills of one strategy came to, in the currency of `pnl`."""

    closings: int
    hit_rate: float | None
    """Closings with net P&L above 0, of all closings."""
    profit_factor: float | None
    """Σ gains / Σ losses; None without a loss."""
    average_gain: float | None
    average_loss: float | None
    """A positive number."""
    holding_ns: float | None
    """Mean time from entry to exit, weighted by `weight`."""


def trip_stats(pnl: Floats, holding_ns: Floats, weight: Floats) -> TripStats:
    """Hit rate, profit factor and holding time; `weight` is the value that each closing closed."""
    if not len(pnl):
        return TripStats(0, None, None, None, None, None)
    gains, losses = pnl[pnl > 0], -pnl[pnl < 0]
    return TripStats(
        closings=len(pnl),
        hit_rate=len(gains) / len(pnl),
        profit_factor=float(gains.sum() / losses.sum()) if len(losses) else None,
        average_gain=float(gains.mean()) if len(gains) else None,
        average_loss=float(losses.mean()) if len(losses) else None,
        holding_ns=float(np.average(holding_ns, weights=weight)) if weight.sum() > 0 else None,
    )
