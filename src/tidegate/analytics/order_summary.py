"""A run's orders and denials in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.analytics.fill_arrays import Fills
from tidegate.analytics.order_flow import (
    NOT_SENT,
    FlowRow,
    QueueBucket,
    flow_row,
    queue_buckets,
    time_to_fill,
)
from tidegate.analytics.tables import Bools, Ints, Names, RunTables, codes, floats, ints, text


@dataclass(frozen=True)
class FlowGroup:
    """The orders of one strategy in one instrument."""

    strategy: str
    instrument: str
    flow: FlowRow


@dataclass(frozen=True)
class OrderSummary:
    """What became of the run's orders."""

    total: FlowRow
    by_strategy: tuple[tuple[str, FlowRow], ...]
    groups: tuple[FlowGroup, ...]
    queue: tuple[tuple[str, tuple[QueueBucket, ...]], ...]
    """By instrument, those with resting orders."""
    statuses: tuple[tuple[str, int], ...]
    """Orders by last status, most first."""


@dataclass(frozen=True)
class DenialRow:
    """One strategy's denials for one reason in one instrument and scope."""

    reason: str
    control: int
    strategy: str
    instrument: str
    scope: str
    count: int
    first_ts: int
    last_ts: int
    limit: float
    """The limit at the last denial."""
    worst: float
    """The value furthest from zero that was refused."""


def summarise_orders(run: RunTables, labels: Names, fills: Fills) -> OrderSummary:
    """Fill ratios by strategy and instrument, queue buckets by instrument, statuses."""
    table = run.orders
    status, statuses = text(table, "status")
    sent = ~np.isin(status, [statuses.index(name) for name in NOT_SENT if name in statuses])
    strategy = codes(table, "strategy", labels.strategies)
    instrument = codes(table, "instrument", labels.instruments)
    qty, cum_qty, ahead = (floats(table, name) for name in ("qty", "cum_qty", "queue_ahead"))
    waited = time_to_fill(ints(table, "cl_ord_id"), ints(table, "ts_ack"), fills.order, fills.ts)

    def ended(name: str) -> Bools:
        return status == statuses.index(name) if name in statuses else np.zeros(len(status), np.bool_)

    cancelled, rejected = ended("CANCELED"), ended("REJECTED")

    def flow(which: Bools, fill_count: int, one: bool) -> FlowRow:
        return flow_row(
            qty[which], cum_qty[which], ahead[which], waited[which],
            cancelled[which], rejected[which], fill_count, one,
        )  # fmt: skip

    several = len(np.unique(instrument[sent])) > 1
    by_strategy = tuple(
        (name, flow(sent & (strategy == s), int((fills.strategy == s).sum()), not several))
        for s, name in enumerate(labels.strategies)
        if (sent & (strategy == s)).any()
    )
    groups, queue = [], []
    for i, instrument_name in enumerate(labels.instruments):
        here = sent & (instrument == i)
        if not here.any():
            continue
        for s, strategy_name in enumerate(labels.strategies):
            mine = here & (strategy == s)
            if mine.any():
                count = int(((fills.strategy == s) & (fills.instrument == i)).sum())
                groups.append(FlowGroup(strategy_name, instrument_name, flow(mine, count, True)))
        buckets = queue_buckets(ahead[here], qty[here], cum_qty[here], waited[here])
        if buckets:
            queue.append((instrument_name, buckets))
    place = {name: n for n, name in enumerate(labels.strategies)}
    groups.sort(key=lambda group: place[group.strategy])
    counts = np.bincount(status, minlength=len(statuses))
    return OrderSummary(
        total=flow(sent, len(fills), not several),
        by_strategy=by_strategy,
        groups=tuple(groups),
        queue=tuple(queue),
        statuses=tuple(sorted(zip(statuses, map(int, counts), strict=True), key=lambda item: -item[1])),
    )


def denial_rows(denials: Any, labels: Names) -> tuple[DenialRow, ...]:
    """Denials by reason, strategy, instrument and scope; most first."""
    if not denials.num_rows:
        return ()
    reason, reasons = text(denials, "reason")
    scope, scopes = text(denials, "scope")
    strategy = codes(denials, "strategy", labels.strategies)
    instrument = codes(denials, "instrument", labels.instruments)
    control, ts = ints(denials, "control"), ints(denials, "ts")
    limit, value = floats(denials, "limit"), floats(denials, "value")
    keys = np.column_stack((reason, strategy, instrument, scope))
    _, place, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    rows = []
    for group in range(len(counts)):
        mine: Ints = np.flatnonzero(place.reshape(-1) == group)
        mine = mine[np.argsort(ts[mine], kind="stable")]
        last = mine[-1]
        seen = value[mine][~np.isnan(value[mine])]
        rows.append(
            DenialRow(
                reason=reasons[reason[last]],
                control=int(control[last]),
                strategy=labels.strategies[strategy[last]],
                instrument=labels.instruments[instrument[last]],
                scope=scopes[scope[last]],
                count=len(mine),
                first_ts=int(ts[mine[0]]),
                last_ts=int(ts[last]),
                limit=float(limit[last]),
                worst=float(seen[np.argmax(np.abs(seen))]) if len(seen) else float("nan"),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.count, row.reason, row.strategy)))
