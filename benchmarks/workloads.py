"""The work that replay benchmarks do: synthetic data and strategies, defined once for every system compared.

The data are those of the peers' benchmark scripts (numpy `default_rng(42)`, same draws in the same order), so the
same events meet the same rules on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from tidegate.model.event import Events, Flag, Kind, empty
from tidegate.model.instrument import Instrument, InstrumentKind

START, STEP = 1_700_000_000_000_000_000, 100_000_000
CHUNK = 65_536

BTCUSDT = Instrument(
    symbol="BTCUSDT", venue="BINANCE", kind=InstrumentKind.SPOT, base="BTC", quote="USDT", tick=Decimal("0.01"),
    lot=Decimal("0.000001"), maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"),
)  # fmt: skip
"""2 decimals of price, 6 of size, fees of 0.1 %, as the peers define it."""

LINEAR = Instrument(
    symbol="ASSET", venue="SIM", kind=InstrumentKind.PERPETUAL, base="ASSET", quote="USD", tick=Decimal("0.1"),
    lot=Decimal("0.001"), maker_fee=Decimal("-0.00005"), taker_fee=Decimal("0.0007"), initial_margin=Decimal("0.01"),
)  # fmt: skip


def _mid_walk(n: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(42)
    return 10_000_000 + np.cumsum(rng.integers(-1, 2, n)), rng


def quotes(n: int) -> Iterator[Events]:
    """Quotes 100 ms apart around a random walk of one tick a step; spread of one tick, sizes 1 to 10."""
    mid, rng = _mid_walk(n)
    bid_size, ask_size = rng.integers(1, 11, n), rng.integers(1, 11, n)
    for lo in range(0, n, CHUNK):
        hi = min(lo + CHUNK, n)
        chunk = empty(hi - lo)
        chunk["ts_event"] = chunk["ts_recv"] = START + STEP * np.arange(lo, hi)
        chunk["price"], chunk["price2"] = mid[lo:hi], mid[lo:hi] + 1
        chunk["size"], chunk["size2"] = bid_size[lo:hi] * 1_000_000, ask_size[lo:hi] * 1_000_000
        chunk["kind"], chunk["flags"] = Kind.QUOTE, Flag.LAST
        yield chunk


def trades(n: int) -> Iterator[Events]:
    """Trades 100 ms apart on the same walk, sizes 0.1 to 1, random aggressor."""
    mid, rng = _mid_walk(n)
    size, side = np.round(rng.uniform(0.1, 1.0, n) * 1e6).astype(np.int64), rng.integers(0, 2, n)
    for lo in range(0, n, CHUNK):
        hi = min(lo + CHUNK, n)
        chunk = empty(hi - lo)
        chunk["ts_event"] = chunk["ts_recv"] = START + STEP * np.arange(lo, hi)
        chunk["price"], chunk["size"], chunk["side"] = mid[lo:hi], size[lo:hi], 2 - side[lo:hi]
        chunk["price2"] = np.arange(lo, hi)
        chunk["kind"], chunk["flags"] = Kind.TRADE, Flag.LAST
        yield chunk


def deltas(n: int, batch: int = 1) -> Iterator[Events]:
    """A snapshot of 20 levels a side, then `n` level updates around a fixed middle, `batch` to a message."""
    rng = np.random.default_rng(42)
    side, level = rng.integers(0, 2, n), rng.integers(1, 21, n)
    size, gone = rng.integers(1, 101, n), rng.random(n) < 0.1
    snapshot = empty(42)
    snapshot["ts_event"] = snapshot["ts_recv"] = START
    snapshot["kind"] = Kind.DELTA
    snapshot["kind"][[0, -1]] = Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END
    levels = np.arange(1, 21)
    snapshot["price"][1:-1] = np.concatenate([10_000_000 + levels, 10_000_000 - levels])
    snapshot["side"][1:-1] = np.repeat([2, 1], 20)
    snapshot["size"][1:-1] = 10_000_000
    snapshot["flags"][-1] = Flag.LAST
    yield snapshot
    price = 10_000_000 + np.where(side == 1, -level, level)
    for lo in range(0, n, CHUNK):
        hi = min(lo + CHUNK, n)
        at = np.arange(lo, hi)
        chunk = empty(hi - lo)
        chunk["ts_event"] = chunk["ts_recv"] = START + STEP * (1 + at // batch)
        chunk["price"], chunk["side"] = price[lo:hi], np.where(side[lo:hi] == 1, 1, 2)
        chunk["size"] = np.where(gone[lo:hi], 0, size[lo:hi] * 1_000_000)
        chunk["kind"] = Kind.DELTA
        chunk["flags"] = np.where((at + 1) % batch == 0, Flag.LAST, 0)
        yield chunk


def depth_and_trades(n: int) -> Events:
    """80 % depth, 20 % trades, 1 ms apart and 1 ms late, around a middle that steps every 1000 rows."""
    rng = np.random.default_rng(42)
    i = np.arange(n)
    step = np.where(i % 1000 == 0, rng.integers(0, 2, n) * 2 - 1, 0)
    step[0] = 0
    mid = 500_000 + np.cumsum(step)
    buy = rng.integers(0, 2, n).astype(bool)
    level, size = rng.integers(1, 21, n), rng.integers(1, 101, n)
    size[rng.random(n) < 0.1] = 0
    trade = rng.random(n) < 0.2
    price = np.where(trade, np.where(buy, mid + 1, mid - 1), np.where(buy, mid - level, mid + level))
    size[trade] = rng.integers(1, 11, n)[trade]
    moved = step != 0  # the level the middle has stepped onto is deleted
    trade[moved], size[moved] = False, 0
    buy[moved], price[moved] = step[moved] < 0, mid[moved]
    events = empty(n)
    events["ts_event"] = START + 1_000_000 * i
    events["ts_recv"] = events["ts_event"] + 1_000_000
    events["price"], events["size"] = price, size * 1000
    events["side"] = np.where(buy, 1, 2)
    events["kind"] = np.where(trade, Kind.TRADE, Kind.DELTA)
    events["flags"] = Flag.LAST
    return events
