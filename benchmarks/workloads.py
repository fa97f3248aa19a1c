"""The benchmarks' data as market events: the draws of `draws.py`, in ticks and lots."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import draws
import numpy as np

from tidegate.model.event import Events, Flag, Kind, empty
from tidegate.model.instrument import Instrument, InstrumentKind

BTCUSDT = Instrument(
    symbol="BTCUSDT", venue="BINANCE", kind=InstrumentKind.SPOT, base="BTC", quote="USDT", tick=Decimal("0.01"),
    lot=Decimal("0.000001"), maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"),
)  # fmt: skip
"""2 decimals of price, 6 of size, fees of 0.1 %, as the peers define it."""

LINEAR = Instrument(
    symbol="ASSET", venue="SIM", kind=InstrumentKind.PERPETUAL, base="ASSET", quote="USDT", tick=Decimal("0.1"),
    lot=Decimal("0.001"), maker_fee=Decimal("-0.00005"), taker_fee=Decimal("0.0007"), initial_margin=Decimal("0.01"),
)  # fmt: skip
UNIT = 1_000_000
"""Lots of BTCUSDT to one bitcoin."""
LINEAR_UNIT = 1_000


def quotes(n: int) -> Iterator[Events]:
    """Quotes 100 ms apart around a random walk of one tick a step; spread of one tick, sizes 1 to 10."""
    for ts, bid, bid_size, ask_size in draws.quotes(n):
        chunk = empty(len(ts))
        chunk["ts_event"] = chunk["ts_recv"] = ts
        chunk["price"], chunk["price2"] = bid, bid + 1
        chunk["size"], chunk["size2"] = bid_size * UNIT, ask_size * UNIT
        chunk["kind"], chunk["flags"] = Kind.QUOTE, Flag.LAST
        yield chunk


def trades(n: int) -> Iterator[Events]:
    """Trades 100 ms apart on the same walk, sizes 0.1 to 1, random aggressor."""
    number = 0
    for ts, price, size, buyer in draws.trades(n):
        chunk = empty(len(ts))
        chunk["ts_event"] = chunk["ts_recv"] = ts
        chunk["price"], chunk["side"] = price, 2 - buyer
        chunk["size"] = np.round(size * UNIT)
        chunk["price2"] = np.arange(number, number + len(ts))
        chunk["kind"], chunk["flags"] = Kind.TRADE, Flag.LAST
        number += len(ts)
        yield chunk


def deltas(n: int, batch: int = 1) -> Iterator[Events]:
    """A snapshot of 20 levels a side, then `n` level updates around a fixed middle, `batch` to a message."""
    snapshot = empty(42)
    snapshot["ts_event"] = snapshot["ts_recv"] = draws.START
    snapshot["kind"] = Kind.DELTA
    snapshot["kind"][[0, -1]] = Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END
    levels = np.arange(1, 21)
    snapshot["price"][1:-1] = np.concatenate([draws.MID + levels, draws.MID - levels])
    snapshot["side"][1:-1] = np.repeat([2, 1], 20)
    snapshot["size"][1:-1] = 10 * UNIT
    snapshot["flags"][-1] = Flag.LAST
    yield snapshot
    for row, bid, level, size, gone in draws.deltas(n):
        chunk = empty(len(row))
        chunk["ts_event"] = chunk["ts_recv"] = draws.START + draws.STEP * (1 + row // batch)
        chunk["price"] = draws.MID + np.where(bid == 1, -level, level)
        chunk["side"] = 2 - bid
        chunk["size"] = np.where(gone, 0, size * UNIT)
        chunk["kind"] = Kind.DELTA
        chunk["flags"] = np.where((row + 1) % batch == 0, Flag.LAST, 0)
        yield chunk


def depth_and_trades(n: int) -> Events:
    """Four fifths depth, one fifth trades, 1 ms apart and 1 ms late, whole in memory (64 bytes a row)."""
    ts, price, size, trade, buy = draws.depth_and_trades(n)
    events = empty(n)
    events["ts_event"], events["ts_recv"] = ts, ts + 1_000_000
    events["price"], events["size"] = price, size * LINEAR_UNIT
    events["side"] = np.where(buy, 1, 2)
    events["kind"] = np.where(trade, Kind.TRADE, Kind.DELTA)
    events["flags"] = Flag.LAST
    return events
