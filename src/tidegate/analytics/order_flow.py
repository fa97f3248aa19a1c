"""What became of orders: fill ratios, the queue, time to fill, order-to-trade.

Counted are orders that were sent; those our own gate refused (DENIED) or that never left (CREATED) are not.
- fill ratio: Σ filled quantity / Σ submitted quantity, of one instrument; over several instruments quantities
  do not add, so there it is the mean of the orders' own ratios.
- queue-fill ratio: the fill ratio of orders that joined a queue (`queue_ahead` known), also by how much stood
  ahead of them when they joined.
- time to fill: from the venue's acknowledgement to the first fill, local times both. Only orders that filled
  have one: it says nothing about the patience of those that did not.
- order-to-trade: orders sent / fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tidegate.analytics.tables import Bools, Floats, Ints

NOT_SENT = ("DENIED", "CREATED")
BUCKETS = 4


@dataclass(frozen=True)
class FlowRow:
    """The orders of one group."""

    sent: int
    filled: int
    """Orders with at least one fill."""
    fill_ratio: float | None
    resting: int
    queue_fill_ratio: float | None
    fills: int
    order_to_trade: float | None
    cancelled: int
    rejected: int
    median_to_fill: float | None
    """ns."""
    p90_to_fill: float | None


@dataclass(frozen=True)
class QueueBucket:
    """Resting orders of one instrument with a queue ahead in (low, high]; the first bucket is exactly 0."""

    low: float
    high: float
    orders: int
    submitted: float
    filled: float
    ratio: float | None
    median_to_fill: float | None


def fill_ratio(qty: Floats, cum_qty: Floats, one_instrument: bool = True) -> float | None:
    """Filled of submitted; over several instruments the mean of the orders' ratios. None without orders."""
    if not len(qty) or not (qty > 0).any():
        return None
    if one_instrument:
        return float(cum_qty.sum() / qty.sum())
    return float((cum_qty[qty > 0] / qty[qty > 0]).mean())


def time_to_fill(order_id: Ints, ts_ack: Ints, fill_order: Ints, fill_ts: Ints) -> Floats:
    """ns from acknowledgement to first fill of each order; NaN where never acknowledged or filled.

    A fill that reached us before the acknowledgement counts as 0.
    """
    out = np.full(len(order_id), np.nan)
    if not len(order_id) or not len(fill_order):
        return out
    by_order = np.lexsort((fill_ts, fill_order))
    ids, first = np.unique(fill_order[by_order], return_index=True)
    first_ts = fill_ts[by_order][first]
    place = np.minimum(np.searchsorted(ids, order_id), len(ids) - 1)
    found = (ids[place] == order_id) & (ts_ack > 0)
    out[found] = np.maximum(first_ts[place[found]] - ts_ack[found], 0)
    return out


def quantile(values: Floats, q: float) -> float | None:
    """A quantile of what is not NaN, between samples linearly; None of nothing."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, q)) if len(known) else None


def flow_row(
    qty: Floats,
    cum_qty: Floats,
    queue_ahead: Floats,
    to_fill: Floats,
    cancelled: Bools,
    rejected: Bools,
    fills: int,
    one_instrument: bool,
) -> FlowRow:
    """The figures of a group of sent orders; `fills` is how many fills they had."""
    resting = ~np.isnan(queue_ahead)
    return FlowRow(
        sent=len(qty),
        filled=int((cum_qty > 0).sum()),
        fill_ratio=fill_ratio(qty, cum_qty, one_instrument),
        resting=int(resting.sum()),
        queue_fill_ratio=fill_ratio(qty[resting], cum_qty[resting], one_instrument),
        fills=fills,
        order_to_trade=len(qty) / fills if fills else None,
        cancelled=int(cancelled.sum()),
        rejected=int(rejected.sum()),
        median_to_fill=quantile(to_fill, 0.5),
        p90_to_fill=quantile(to_fill, 0.9),
    )


def queue_buckets(
    queue_ahead: Floats, qty: Floats, cum_qty: Floats, to_fill: Floats
) -> tuple[QueueBucket, ...]:
    """Resting orders of one instrument by queue ahead: none ahead, then quarters of those with some ahead."""
    resting = ~np.isnan(queue_ahead)
    ahead = queue_ahead[resting]
    if not len(ahead):
        return ()
    qty, cum_qty, to_fill = qty[resting], cum_qty[resting], to_fill[resting]
    behind = ahead[ahead > 0]
    edges = [-np.inf, 0.0]
    if len(behind):
        edges += sorted({float(q) for q in np.quantile(behind, np.arange(1, BUCKETS + 1) / BUCKETS)})
    out = []
    for low, high in pairwise(edges):
        mine = (ahead > low) & (ahead <= high)
        if mine.any():
            out.append(
                QueueBucket(
                    low=max(low, 0.0),
                    high=high,
                    orders=int(mine.sum()),
                    submitted=float(qty[mine].sum()),
                    filled=float(cum_qty[mine].sum()),
                    ratio=fill_ratio(qty[mine], cum_qty[mine]),
                    median_to_fill=quantile(to_fill[mine], 0.5),
                )
            )
    return tuple(out)
