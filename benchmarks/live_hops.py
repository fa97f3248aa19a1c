"""From the processes' hop files and the venue's record to one table: how late an order's tick is at each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.ops.hops import HOPS
from tidegate.venue.port import cl_ord_id_of

PLACES = (*HOPS, "venue.in")
SHARES = (0.5, 0.99, 0.999)
Times = npt.NDArray[np.int64]


class Ways:
    """The ways of all orders: one row an order, in the order of their ticks; columns are `PLACES`, ns after the tick
    was read off the feed's socket. `ticks` are those receive times; `lateness` is how long after the venue made the
    tick's stamp the order was back at the venue; `every` the latencies of all ticks at the strategy."""

    def __init__(self, folder: Path, requests: Sequence[Mapping[str, Any]]) -> None:
        rows = np.concatenate([read(path) for path in sorted(folder.glob("*.hops"))])
        by_hop = {name: rows[rows[:, 0] == number] for number, name in enumerate(HOPS)}
        received = {
            cl_ord_id_of(entry["client_id"]): entry["received_ns"]
            for entry in requests
            if entry["kind"] == "order.place"
        }
        sent = by_hop["gateway.out"]
        sent = sent[[int(number) in received for number in sent[:, 3]]]
        self.sent_at: Times = sent[:, 2]
        """When each order left, those that share a tick among them."""
        sent = sent[np.unique(sent[:, 1], return_index=True)[1]]
        self.ticks: Times = sent[:, 1]
        columns, good = [], np.ones(len(sent), bool)
        for name in HOPS:
            found, at = first(by_hop[name], self.ticks)
            good &= found
            columns.append(at - self.ticks)
        venue = np.array([received[int(number)] for number in sent[:, 3]], np.int64)
        columns.append(venue - self.ticks)
        self.left_out = int((~good).sum())
        self.table: Times = np.stack(columns, axis=1)[good]
        self.ticks = self.ticks[good]
        self.every: Times = by_hop["strategy.in"][:, 2] - by_hop["strategy.in"][:, 1]
        self.every_at: Times = by_hop["strategy.in"][:, 2]
        notes = np.fromfile(folder / "notes", np.int64).reshape(-1, 2)[:, ::-1]
        stamped = dict(zip(notes[:, 0].tolist(), notes[:, 1].tolist(), strict=True))
        self.lateness: Times = np.array(
            [
                venue[i] - stamped.get(int(t), t)
                for i, t in zip(np.flatnonzero(good), self.ticks, strict=True)
            ],
            np.int64,
        )

    def between(self, begin: int, end: int) -> npt.NDArray[np.bool_]:
        """Which orders' ticks were received in a stretch of time."""
        return (self.ticks >= begin) & (self.ticks < end)


def read(path: Path) -> Times:
    """A hop file's rows."""
    return np.fromfile(path, np.int64).reshape(-1, 4)


def first(rows: Times, traces: Times) -> tuple[npt.NDArray[np.bool_], Times]:
    """When each trace first came to a hop, and whether it did."""
    if not len(rows):
        return np.zeros(len(traces), bool), np.zeros(len(traces), np.int64)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1]))]
    at = np.minimum(np.searchsorted(rows[:, 1], traces), len(rows) - 1)
    return rows[at, 1] == traces, rows[at, 2]


def quantiles(values: Times) -> list[float]:
    """p50, p99 and p99.9 in µs."""
    return (
        [float(np.quantile(values, share)) / 1e3 for share in SHARES] if len(values) else [float("nan")] * 3
    )


def show(ways: Ways, which: npt.NDArray[np.bool_], begin: int, end: int) -> list[float]:
    """Print the table of some orders; the quantiles at the venue."""
    table = ways.table[which]
    print(f"  {'µs after the tick was read':<28}{'p50':>9}{'p99':>9}{'p99.9':>9}   step p50")
    every = ways.every[(ways.every_at >= begin) & (ways.every_at < end)]
    print(f"  {'strategy.in, every tick':<28}" + "".join(f"{value:9.0f}" for value in quantiles(every)))
    before = np.zeros(len(table), np.int64)
    for n, name in enumerate(PLACES):
        step = quantiles(table[:, n] - before)[0]
        print(
            f"  {name:<28}" + "".join(f"{value:9.0f}" for value in quantiles(table[:, n])) + f"{step:11.0f}"
        )
        before = table[:, n]
    return quantiles(table[:, -1])
