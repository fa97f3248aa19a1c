"""`tidegate data ls` and `describe`: what the lake holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from tidegate.marketdata.delays import Delays
from tidegate.model.event import Events, Flag, Kind
from tidegate.model.order import Side
from tidegate.model.time import SECOND
from tidegate.store.lake import Lake
from tidegate.store.part import Clock, Source

MAX_SPREAD = 100_000
_LATENCY_KINDS = {Kind.DELTA: "depth", Kind.QUOTE: "bookTicker", Kind.TRADE: "trade"}


class Listing(msgspec.Struct, kw_only=True):
    """One instrument's line of `ls`."""

    instrument: str
    kind: str
    days: list[str]
    parts: int
    rows: dict[str, int]
    first_recv: int
    last_recv: int
    size: int
    gaps: int

    @property
    def total(self) -> int:
        """Rows of all kinds."""
        return sum(self.rows.values())


class Spread(msgspec.Struct, kw_only=True):
    """The touch by bookTicker, in ticks, each spread weighted by how long it stood."""

    mean: float
    median: int
    p99: int
    widest: int
    one_tick: float
    """Share of the time at one tick."""


class Trading(msgspec.Struct, kw_only=True):
    """The trades. Prices and quantities are decimal text."""

    count: int
    quantity: str
    bought: float
    """Share of the quantity whose aggressor bought."""
    first: str
    high: str
    low: str
    last: str
    vwap: float
    largest: str


class Description(msgspec.Struct, kw_only=True):
    """Everything `describe` shows."""

    listing: Listing
    sources: list[Source]
    clock: Clock | None
    gaps: list[int]
    """Receive times of the records flagged GAP."""
    snapshots: list[int]
    delays: dict[str, dict[str, int]]
    """Latency by stream, ns."""
    histograms: dict[str, list[tuple[int, float]]]
    """By stream: (upper limit in ns, share of the messages up to it and above the one before)."""
    messages_per_second: float
    levels_per_message: float
    estimated: int
    """Records whose exchange time was estimated."""
    spread: Spread | None
    trading: Trading | None


def listing(lake: Lake) -> list[Listing]:
    """Every instrument of the lake, by id."""
    return [_listing(lake, name) for name in sorted(lake.manifest)]


def _listing(lake: Lake, instrument_id: str) -> Listing:
    parts, rows = lake.parts(instrument_id), Counter[str]()
    for part in parts:
        rows.update(part.info.kinds)
    return Listing(
        instrument=instrument_id, kind=parts[0].info.instrument.kind.value, days=lake.days(instrument_id),
        parts=len(parts), rows=dict(rows), first_recv=parts[0].info.first_recv,
        last_recv=parts[-1].info.last_recv, size=sum(part.size for part in parts),
        gaps=sum(part.info.gaps for part in parts),
    )  # fmt: skip


def describe(lake: Lake, instrument_id: str) -> Description:
    """Read one instrument's stream once, in bounded memory, and sum it up."""
    parts = lake.parts(instrument_id)
    instrument, line = parts[0].info.instrument, _listing(lake, instrument_id)
    delays = {kind: Delays() for kind in _LATENCY_KINDS}
    gaps: list[int] = []
    estimated = depth_messages = 0
    spreads, trades = _Spreads(), _Trades()
    for events in lake.open(instrument_id):
        flags, kinds = events["flags"], events["kind"]
        gaps += events["ts_recv"][flags & int(Flag.GAP) != 0].tolist()
        guessed = flags & int(Flag.ESTIMATED_TIME) != 0
        estimated += int(guessed.sum())
        ends = flags & int(Flag.LAST) != 0
        depth_messages += int((ends & (kinds == int(Kind.DELTA))).sum())
        for kind, counted in delays.items():
            counted.add(_latency(events[ends & ~guessed & (kinds == int(kind))]))
        spreads.add(events[kinds == int(Kind.QUOTE)])
        trades.add(events[kinds == int(Kind.TRADE)])
    span = max(line.last_recv - line.first_recv, 1) / SECOND
    return Description(
        listing=line, sources=list({s.sha256: s for part in parts for s in part.info.sources}.values()),
        clock=parts[0].info.clock, gaps=gaps, snapshots=lake.snapshots(instrument_id),
        delays={_LATENCY_KINDS[kind]: d.summary() for kind, d in delays.items() if d.count},
        histograms={_LATENCY_KINDS[kind]: d.histogram() for kind, d in delays.items() if d.count},
        messages_per_second=(depth_messages + line.rows.get("QUOTE", 0) + line.rows.get("TRADE", 0)) / span,
        levels_per_message=line.rows.get("DELTA", 0) / max(depth_messages, 1), estimated=estimated,
        spread=spreads.close(line.last_recv), trading=trades.close(instrument),
    )  # fmt: skip


def _latency(events: Events) -> Any:
    return events["ts_recv"] - events["ts_event"]


class _Spreads:
    """Spreads in ticks and how long each stood; a side that is empty has none."""

    def __init__(self) -> None:
        self._time = np.zeros(MAX_SPREAD + 1, np.int64)
        self._ts, self._spread = 0, -1

    def add(self, quotes: Events) -> None:
        if not len(quotes):
            return
        both = (quotes["price"] > 0) & (quotes["price2"] > 0)
        spread = np.where(both, np.clip(quotes["price2"] - quotes["price"], 0, MAX_SPREAD), -1)
        ts = np.concatenate([[self._ts], quotes["ts_recv"]])
        standing = np.concatenate([[self._spread], spread[:-1]])
        known = standing >= 0
        np.add.at(self._time, standing[known], np.diff(ts)[known])
        self._ts, self._spread = int(ts[-1]), int(spread[-1])

    def close(self, end: int) -> Spread | None:
        if self._spread >= 0:
            self._time[self._spread] += end - self._ts
        total = int(self._time.sum())
        if not total:
            return None
        share = np.cumsum(self._time) / total
        return Spread(
            mean=float(np.arange(MAX_SPREAD + 1) @ self._time / total), median=int(np.searchsorted(share,
            0.5)), p99=int(np.searchsorted(share, 0.99)), widest=int(np.flatnonzero(self._time)[-1]),
            one_tick=float(self._time[1] / total),
        )  # fmt: skip


class _Trades:
    """Sums over trades, in Python's integers where int64 would not hold them."""

    def __init__(self) -> None:
        self._count = self._lots = self._bought = self._largest = 0
        self._value = 0.0
        self._first = self._last = self._high = 0
        self._low = 2**63 - 1

    def add(self, trades: Events) -> None:
        if not len(trades):
            return
        price, size = trades["price"], trades["size"]
        self._first = self._first or int(price[0])
        self._last, self._high = int(price[-1]), max(self._high, int(price.max()))
        self._low, self._largest = min(self._low, int(price.min())), max(self._largest, int(size.max()))
        self._count += len(trades)
        self._lots += int(size.sum())
        self._bought += int(size[trades["side"] == int(Side.BUY)].sum())
        self._value += float(price.astype(np.float64) @ size.astype(np.float64))

    def close(self, instrument: Any) -> Trading | None:
        if not self._count:
            return None
        return Trading(
            count=self._count, quantity=str(instrument.qty(self._lots)), bought=self._bought / self._lots,
            first=str(instrument.price(self._first)), high=str(instrument.price(self._high)),
            low=str(instrument.price(self._low)), last=str(instrument.price(self._last)), vwap=self._value /
            self._lots * float(instrument.tick), largest=str(instrument.qty(self._largest)),
        )  # fmt: skip
