"""Seeded worlds for the replay: instruments of every make, their recorded events, and a script of requests.

Nothing here decides what happens; it only makes up data and what strategies ask for, as plain values that the
kernels and the reference are both given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal as D
from typing import Any

import numpy as np

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import FLAGS_SHIFT, Flag, Kind, meta
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import DAY as ONE_DAY

US = 1_000
MIDNIGHT = 19_700 * ONE_DAY
QUEUES = ("risk_averse", "log", "log2", "power", "power2", "power3", "l3_fifo")
Action = tuple[Any, ...]
"""("new", instrument, side, type, tif, inst, qty, price, stop, display, offset, expire), or ("cancel", age), or
("replace", age, qty, shift): `age` counts orders back from the last one asked for, `shift` is from the price that
one was asked for at."""


@dataclass
class World:
    """One run's data and requests."""

    universe: Universe
    venues: dict[str, VenueModel]
    rows: Any
    """Recorded events, int64 (n, 8), by receive time."""
    max_delay: int = 0
    seed: int = 1
    strategies: int = 1
    timers: list[tuple[int, int, int]] = field(default_factory=list)
    """(strategy, first, interval; 0: once), in the order they are set. A strategy of −1 is the sampling of marks."""
    script: dict[tuple[int, int], list[Action]] = field(default_factory=dict)
    """What a strategy asks for at its n-th timer."""
    reactions: list[Action] = field(default_factory=list)
    """What is asked for at every eleventh report, in turn."""
    subscriptions: list[tuple[int, int, int]] = field(default_factory=list)
    """(strategy, instrument, WAKE_*)."""
    bars: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(strategy, instrument, interval, first)."""


def instrument(symbol: str, venue: str, **more: Any) -> Instrument:
    """A small perpetual; `more` overrides."""
    fields: dict[str, Any] = {
        "symbol": symbol, "venue": venue, "kind": InstrumentKind.PERPETUAL, "base": "BTC", "quote": "USDT",
        "tick": D("0.1"), "lot": D("0.001"), "maker_fee": D("0.0002"), "taker_fee": D("0.0005"),
    }  # fmt: skip
    return Instrument(**(fields | more))


UNIVERSE = Universe(
    [
        instrument("FULL", "A"),
        instrument("QUOTES", "A", maker_fee=D("-0.0001")),
        instrument("TRADES", "B"),
        instrument("ORDERS", "C"),
        instrument(
            "INVERSE", "B", kind=InstrumentKind.INVERSE_PERPETUAL, quote="USD", lot=D(1), multiplier=D(100)
        ),
        instrument("SPREAD", "C", negative_prices=True),
    ]
)
# Shares of DELTA, QUOTE, TRADE, FUNDING by instrument; where mid starts.
_STYLES = (
    (0.60, 0.15, 0.24, 0.01), (0.0, 0.70, 0.30, 0.0), (0.0, 0.0, 1.0, 0.0), (0.75, 0.0, 0.25, 0.0),
    (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0),
)  # fmt: skip
_MIDS = (600_000, 30_000, 2_500, 900, 600_000, 0)
_L3, _HALTS = 3, (1, 5)
SNAPSHOT = 14


def events(rng: np.random.Generator, n: int, start: int, sources: int = len(_STYLES)) -> tuple[Any, Any]:
    """`n` records by receive time, and each record's middle by instrument (n, instruments)."""
    rows = np.zeros((n, 8), np.int64)
    rows[:, 1] = start + np.cumsum(rng.choice([0, 0, 1, 1, 2, 5, 11], n)) * US
    rows[:, 0] = rows[:, 1] - rng.choice([0, 0, 1, 2, 3, 20], n) * US
    rows[:, 2] = np.arange(n) * 3
    which = rng.integers(0, sources, n)
    steps = np.zeros((n, len(_STYLES)), np.int64)
    steps[np.arange(n), which] = rng.choice([-1, 0, 0, 0, 0, 0, 1], n)
    mids = np.cumsum(steps, axis=0) + np.array(_MIDS)
    for i in range(sources):
        at = np.flatnonzero(which == i)
        if len(at):
            rows[at] = _market(rng, rows[at], mids[at, i], i)
    return rows, mids


def _market(rng: np.random.Generator, rows: Any, mid: Any, i: int) -> Any:
    n = len(rows)
    kinds = np.array([Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.FUNDING])
    kind = rng.choice(kinds, n, p=_STYLES[i])
    if _STYLES[i][0]:
        for at in range(40, n - SNAPSHOT, 400):
            kind[at : at + SNAPSHOT] = Kind.DELTA
            kind[at], kind[at + SNAPSHOT - 1] = Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END
    if i in _HALTS:
        for at in range(150, n - 80, 700):
            kind[at] = kind[at + 60] = Kind.STATUS
    side = rng.choice([1, 2], n)
    sign = 3 - 2 * side
    away = rng.integers(-1, 8, n)
    size = rng.integers(1, 60, n)
    flags = np.where(rng.random(n) < 0.6, int(Flag.LAST), 0)

    delta = kind == Kind.DELTA
    rows[:, 3] = mid - sign * (1 + away)
    rows[:, 4] = np.where(rng.random(n) < 0.3, 0, size)
    rows[:, 2] -= np.where(delta & (rng.random(n) < 0.3), 30, 0)
    if i == _L3:
        rows[:, 5] = np.where(delta, (1 << 40) + rng.integers(0, 40, n), 0)
        flags |= np.where(delta, int(Flag.ORDER), 0)
    else:
        flags |= np.where(delta & (rng.random(n) < 0.003), int(Flag.GAP), 0)

    trade = kind == Kind.TRADE
    rows[trade, 3] = (mid + rng.integers(-2, 3, n))[trade]
    rows[trade, 4] = np.maximum(size // 2, 1)[trade]
    side = np.where(trade & (rng.random(n) < 0.05), 0, side)

    quote = kind == Kind.QUOTE
    empty = rng.random((n, 2)) < 0.02
    rows[quote, 3] = (mid - 1 - rng.integers(0, 2, n))[quote]
    rows[quote, 4] = np.where(empty[:, 0], 0, size)[quote]
    rows[quote, 5] = (mid + 1 + rng.integers(0, 2, n))[quote]
    rows[quote, 6] = np.where(empty[:, 1], 0, rng.integers(1, 60, n))[quote]

    status = np.flatnonzero(kind == Kind.STATUS)
    rows[status] = np.where(np.arange(8) < 3, rows[status], 0)
    rows[status[::2], 3] = rng.integers(1, 3, len(status[::2]))
    rows[kind == Kind.FUNDING, 3] = rng.integers(-10_000, 10_000, int((kind == Kind.FUNDING).sum()))
    none = (kind == Kind.SNAPSHOT_BEGIN) | (kind == Kind.SNAPSHOT_END)
    rows[none, 3:7] = 0
    book = np.where(delta | trade, side, 0)
    rows[:, 7] = meta(i, kind.astype(np.int64), book, np.where(delta, flags, 0))
    return rows


def gaps(rows: Any) -> Any:
    """The rows flagged GAP."""
    return (rows[:, 7] >> FLAGS_SHIFT) & int(Flag.GAP) != 0


_TYPES = {
    OrdType.LIMIT: 0.48, OrdType.MARKET: 0.08, OrdType.STOP: 0.09, OrdType.STOP_LIMIT: 0.09,
    OrdType.TRAILING_STOP: 0.08, OrdType.ICEBERG: 0.09, OrdType.PEGGED: 0.09,
}  # fmt: skip
_TIFS = {
    TimeInForce.GTC: 0.40, TimeInForce.DAY: 0.14, TimeInForce.IOC: 0.12, TimeInForce.FOK: 0.12,
    TimeInForce.GTD: 0.22,
}  # fmt: skip
_PEGS = (ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID)


class Asker:
    """Makes up requests around the middle of the moment."""

    def __init__(self, rng: np.random.Generator, rows: Any, mids: Any) -> None:
        self.rng = rng
        self.times = rows[:, 1]
        self.mids = mids
        self.draws = iter(rng.random(4_000_000 if len(rows) > 200_000 else 40 * len(rows) + 10_000).tolist())

    def below(self, n: int) -> int:
        return int(next(self.draws) * n)

    def pick(self, shares: dict[Any, float]) -> Any:
        left = next(self.draws)
        for value, share in shares.items():
            left -= share
            if left < 0:
                return value
        return value

    def new(self, ts: int) -> Action:
        at = max(int(np.searchsorted(self.times, ts)) - 1, 0)
        i = self.below(self.mids.shape[1])
        mid = int(self.mids[at, i])
        side = Side.BUY if next(self.draws) < 0.5 else Side.SELL
        kind, tif = self.pick(_TYPES), self.pick(_TIFS)
        inst = int(ExecInst.POST_ONLY) if next(self.draws) < 0.2 else 0
        offset = 0
        if kind is OrdType.PEGGED:
            inst |= int(_PEGS[self.below(3)])
            offset = self.below(5) - 1
        elif kind is OrdType.TRAILING_STOP:
            offset = 1 + self.below(5)
        price = mid - side.sign * (self.below(9) - 3)
        stop = 0
        if kind in (OrdType.STOP, OrdType.STOP_LIMIT) or (
            kind is OrdType.TRAILING_STOP and self.below(3) == 0
        ):
            stop = mid + side.sign * (self.below(7) - 1)
        display = self.below(12) if kind is OrdType.ICEBERG else 0
        expire = ts + self.below(4_000) * US if tif is TimeInForce.GTD else 0
        qty = 1 + self.below(40)
        return ("new", i, int(side), kind, tif, inst, qty, price, stop, display, offset, expire)

    def ask(self, ts: int) -> Action:
        kind = next(self.draws)
        if kind < 0.5:
            return self.new(ts)
        age = self.below(6) if self.below(2) else self.below(60)
        if kind < 0.78:
            return ("cancel", age)
        return ("replace", age, self.below(45), 0 if self.below(3) == 0 else self.below(9) - 4)


def venue_models(seed: int) -> dict[str, VenueModel]:
    """Three venues whose models turn with the seed."""
    rng = np.random.default_rng(seed)
    sampled = tuple((rng.lognormal(2.5, 0.8, 60).astype(np.int64) * US).tolist())
    latencies: tuple[tuple[int, ...], ...] = ((0,), (3 * US,), sampled, (7 * US,))
    models = {}
    for n, name in enumerate("ABC"):
        kind = QUEUES[(seed + 2 * n) % len(QUEUES)] if name != "C" or seed % 2 else "l3_fifo"
        models[name] = VenueModel(
            fill="partial" if (seed + n) % 2 else "no_partial",
            queue=kind,
            queue_exponent=(2.0, 3.0, 0.7)[seed % 3],
            entry_latency=latencies[(seed + n) % 4],
            response_latency=latencies[(seed + 2 * n + 1) % 4],
        )
    return models


def world(seed: int, n: int, every: int = 40, watch: bool = False) -> World:
    """A seeded world of `n` records and about two requests for each `every` microseconds of them.

    Midnight falls in the middle of it. With `watch`, strategies look at events and bars too.
    """
    rng = np.random.default_rng(seed)
    rows, mids = events(rng, n, 0)
    shift = MIDNIGHT - int(rows[n // 2, 1])
    rows[:, :2] += shift
    start, stop = int(rows[0, 1]), int(rows[-1, 1])
    asker = Asker(rng, rows, mids)
    step = every * US
    timers = [(0, start + step, step), (-1, start + 500 * US, 500 * US), (1, start + step, 3 * step)]
    timers += [(2, start + int(t) * US, 0) for t in rng.integers(0, (stop - start) // US, 40)]
    script: dict[tuple[int, int], list[Action]] = {}
    for strategy, interval in ((0, step), (1, 3 * step)):
        times = range(start + step, stop + 1, interval)
        script |= {
            (strategy, m): [asker.ask(ts) for _ in range(1 + asker.below(3))] for m, ts in enumerate(times)
        }
    once = sorted(first for who, first, _ in timers if who == 2)
    script |= {(2, m): [asker.ask(ts) for _ in range(4)] for m, ts in enumerate(once)}
    made = World(UNIVERSE, venue_models(seed), rows, 20 * US, seed, 3, timers, script)
    made.reactions = [asker.ask(start) if asker.below(2) else ("cancel", asker.below(9)) for _ in range(50)]
    if watch:
        made.subscriptions = [(0, i, wake) for i in range(len(UNIVERSE)) for wake in range(3)]
        made.subscriptions += [(2, 0, 1), (1, 3, 2)]
        made.bars = [(1, 0, 700 * US, start + 700 * US), (2, 2, 250 * US, start + 250 * US)]
    return made
