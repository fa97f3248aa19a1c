"""The obvious reading of a Binance frame: `json` and `Decimal`, nothing shared with the parser but its enums.

`read(line)` gives (header, events) of a `<receive ns> <frame>` line of the six captured markets, where header
is (kind, instrument id, recv, E, T, first, last, prev) and an event is (ts_event, recv, seq, kind, side,
last, price, size, price2, size2) with decimals as ticks and lots.
"""

from __future__ import annotations

import json
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from tidegate.model.event import Kind

# Symbol and shape of the frame → id, tick, lot.
GRIDS = {
    ("BTCUSDT", "spot"): ("BTCUSDT.BINANCE", "0.01", "0.00001"),
    ("ETHUSDT", "spot"): ("ETHUSDT.BINANCE", "0.01", "0.0001"),
    ("BTCUSDT", "futures"): ("BTCUSDT.BINANCE_USDM", "0.1", "0.001"),
    ("ETHUSDT", "futures"): ("ETHUSDT.BINANCE_USDM", "0.01", "0.001"),
    ("BTCUSD_PERP", "futures"): ("BTCUSD_PERP.BINANCE_COINM", "0.1", "1"),
    ("ETHUSD_PERP", "futures"): ("ETHUSD_PERP.BINANCE_COINM", "0.01", "1"),
}
BUY, SELL = 1, 2


def read(line: bytes, snapshot_symbol: str = "") -> tuple[tuple[Any, ...], list[tuple[int, ...]]]:
    """One line. `snapshot_symbol` is whose a snapshot is that does not say."""
    stamp, frame = line.split(b" ", 1)
    recv, message = int(stamp), json.loads(frame)
    if "lastUpdateId" in message:
        return _snapshot(message, recv, snapshot_symbol)
    data, stream = message["data"], message["stream"].split("@")[1]
    futures = "T" in data and not (stream == "trade" and "M" in data)
    name, tick, lot = GRIDS[data["s"], "futures" if futures else "spot"]

    def ticks(text: str) -> int:
        whole = Decimal(text) / Decimal(tick)
        assert whole == int(whole)
        return int(whole)

    def lots(text: str) -> int:
        return int((Decimal(text) / Decimal(lot)).to_integral_value(ROUND_FLOOR))

    event, traded = data.get("E", 0) * 10**6, data.get("T", 0) * 10**6
    ts = traded or event
    if stream == "depth":
        levels = [(BUY, *level) for level in data["b"]] + [(SELL, *level) for level in data["a"]]
        events = [
            (ts, recv, data["u"], Kind.DELTA, side, n == len(levels) - 1, ticks(price), lots(size), 0, 0)
            for n, (side, price, size) in enumerate(levels)
        ]
        return ("depth", name, recv, event, traded, data["U"], data["u"], data.get("pu", -1)), events
    if stream == "bookTicker":
        touch = ticks(data["b"]), lots(data["B"]), ticks(data["a"]), lots(data["A"])
        quote = (ts, recv, data["u"], Kind.QUOTE, 0, True, *touch)
        return ("bookTicker", name, recv, event, traded, data["u"], data["u"], -1), [quote]
    side = SELL if data["m"] else BUY
    trade = (ts, recv, data["t"], Kind.TRADE, side, True, ticks(data["p"]), lots(data["q"]), data["t"], 0)
    return ("trade", name, recv, event, traded, data["t"], data["t"], -1), [trade]


def _snapshot(data: dict[str, Any], recv: int, symbol: str) -> tuple[tuple[Any, ...], list[tuple[int, ...]]]:
    name, tick, lot = GRIDS[data.get("symbol", symbol), "futures" if "T" in data else "spot"]
    event, traded, last = data.get("E", 0) * 10**6, data.get("T", 0) * 10**6, data["lastUpdateId"]
    ts = traded or event
    events: list[tuple[int, ...]] = [(ts, recv, last, Kind.SNAPSHOT_BEGIN, 0, False, 0, 0, 0, 0)]
    for side, levels in ((BUY, data["bids"]), (SELL, data["asks"])):
        for price, size in levels:
            steps = int(Decimal(price) / Decimal(tick)), int(Decimal(size) / Decimal(lot))
            events.append((ts, recv, last, Kind.DELTA, side, False, *steps, 0, 0))
    events.append((ts, recv, last, Kind.SNAPSHOT_END, 0, True, 0, 0, 0, 0))
    return ("snapshot", name, recv, event, traded, last, last, -1), events
