"""Binance frames made up for tests, in the exact form the exchange sends; prices around 100.00."""

from __future__ import annotations

import json
from typing import Any

MS = 1_000_000
EPOCH = 1_723_161_255_000
"""Exchange time of the first frame, ms."""
RECV = EPOCH * MS + 5 * MS


def line(recv: int, frame: dict[str, Any]) -> bytes:
    """As a recorder writes it."""
    return b"%d %s\n" % (recv, json.dumps(frame, separators=(",", ":")).encode())


def spot_depth(
    first: int, last: int, bids: Any = (), asks: Any = (), at: int = 0, symbol: str = "BTCUSDT"
) -> Any:
    data = {"e": "depthUpdate", "E": EPOCH + at, "s": symbol, "U": first, "u": last}
    return {
        "stream": f"{symbol.lower()}@depth@100ms",
        "data": {**data, "b": [list(b) for b in bids], "a": [list(a) for a in asks]},
    }


def usdm_depth(
    first: int, last: int, prev: int, bids: Any = (), asks: Any = (), at: int = 0, symbol: str = "BTCUSDT"
) -> Any:
    data = {
        "e": "depthUpdate",
        "E": EPOCH + at + 1,
        "T": EPOCH + at,
        "s": symbol,
        "U": first,
        "u": last,
        "pu": prev,
    }
    return {
        "stream": f"{symbol.lower()}@depth@0ms",
        "data": {**data, "b": [list(b) for b in bids], "a": [list(a) for a in asks]},
    }


def spot_ticker(
    update: int, bid: str = "100.00", ask: str = "100.01", size: str = "1.00000", symbol: str = "BTCUSDT"
) -> Any:
    data = {"u": update, "s": symbol, "b": bid, "B": size, "a": ask, "A": size}
    return {"stream": f"{symbol.lower()}@bookTicker", "data": data}


def usdm_ticker(update: int, bid: str = "100.0", ask: str = "100.1", size: str = "1.000", at: int = 0) -> Any:
    data = {"e": "bookTicker", "u": update, "s": "BTCUSDT", "b": bid, "B": size, "a": ask, "A": size}
    return {"stream": "btcusdt@bookTicker", "data": {**data, "T": EPOCH + at, "E": EPOCH + at + 1}}


def spot_trade(
    trade: int, price: str = "100.00", size: str = "1.00000", seller: bool = False, at: int = 0
) -> Any:
    data = {"e": "trade", "E": EPOCH + at + 1, "s": "BTCUSDT", "t": trade, "p": price, "q": size}
    return {"stream": "btcusdt@trade", "data": {**data, "T": EPOCH + at, "m": seller, "M": True}}


def usdm_trade(
    trade: int, price: str = "100.0", size: str = "1.000", seller: bool = False, at: int = 0
) -> Any:
    data = {
        "e": "trade",
        "E": EPOCH + at + 1,
        "T": EPOCH + at,
        "s": "BTCUSDT",
        "t": trade,
        "p": price,
        "q": size,
    }
    return {"stream": "btcusdt@trade", "data": {**data, "X": "MARKET", "m": seller}}


def coinm_trade(trade: int, price: str = "100.0", size: str = "3", at: int = 0) -> Any:
    data = {
        "e": "trade",
        "E": EPOCH + at + 1,
        "T": EPOCH + at,
        "s": "BTCUSD_PERP",
        "t": trade,
        "p": price,
        "q": size,
    }
    return {"stream": "btcusd_perp@trade", "data": {**data, "X": "MARKET", "m": False}}


def spot_snapshot(last: int, bids: Any = (("100.00", "1.0"),), asks: Any = (("100.01", "1.0"),)) -> Any:
    return {"lastUpdateId": last, "bids": [list(b) for b in bids], "asks": [list(a) for a in asks]}


def usdm_snapshot(
    last: int, bids: Any = (("100.0", "1.0"),), asks: Any = (("100.1", "1.0"),), at: int = 0
) -> Any:
    times = {"lastUpdateId": last, "E": EPOCH + at + 2, "T": EPOCH + at}
    return {**times, "bids": [list(b) for b in bids], "asks": [list(a) for a in asks]}


def coinm_snapshot(
    last: int, bids: Any = (("100.0", "1"),), asks: Any = (("100.1", "1"),), at: int = 0
) -> Any:
    named = {
        "lastUpdateId": last,
        "E": EPOCH + at,
        "T": EPOCH + at,
        "symbol": "BTCUSD_PERP",
        "pair": "BTCUSD",
    }
    return {**named, "bids": [list(b) for b in bids], "asks": [list(a) for a in asks]}
