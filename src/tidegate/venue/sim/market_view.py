"""What anybody may ask about a market: its book, its last trades, a day's figures. Folded from the public frames."""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from tidegate.model.time import MINUTE, MS
from tidegate.venue.sim.listing import Listing

Json = dict[str, Any]
TRADES, CANDLES = 1000, 1500


class MarketView:
    """One instrument as its own frames show it. Prices and sizes are the decimal text of the frames."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.update_id = 0
        self.known = False
        """Whether there is a book to give away."""
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.quote: tuple[str, str, str, str] | None = None
        self.trades: deque[Json] = deque(maxlen=TRADES)
        self.candles: deque[list[Any]] = deque(maxlen=CANDLES)
        self._seen = 0

    def reset(self, update_id: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        """Begin anew from a whole book."""
        self.update_id, self.known = update_id, True
        self.bids = dict(bids)
        self.asks = dict(asks)

    def fold_depth(self, data: bytes) -> None:
        """Apply a diff; one that the book holds already changes nothing."""
        raw = orjson.loads(data)
        last = raw["u"]
        if last <= self.update_id:
            return
        self.update_id = last
        _fold(self.bids, raw["b"])
        _fold(self.asks, raw["a"])

    def fold_quote(self, data: bytes) -> None:
        """Take the touch of a bookTicker."""
        raw = orjson.loads(data)
        self.quote = (raw["b"], raw["B"], raw["a"], raw["A"])

    def fold_trade(self, data: bytes) -> None:
        """Take a trade into the tape and the candles."""
        raw = orjson.loads(data)
        self.trades.append(raw)
        self._seen += 1
        price, size, ms = raw["p"], raw["q"], raw["T"]
        start = ms - ms % (MINUTE // MS)
        if not self.candles or self.candles[-1][0] < start:
            self.candles.append([start, price, price, price, price, 0.0, 0.0, 0, 0.0, 0.0])
        bar = self.candles[-1]
        value, traded = float(price) * float(size), float(size)
        bar[2] = max(bar[2], price, key=float)
        bar[3] = min(bar[3], price, key=float)
        bar[4] = price
        bar[5] += traded
        bar[6] += value
        bar[7] += 1
        if not raw["m"]:
            bar[8] += traded
            bar[9] += value

    # Answers.

    def depth(self, limit: int, now: int) -> Json:
        """`GET depth`: consistent with the diffs by its `lastUpdateId`."""
        made: Json = {"lastUpdateId": self.update_id}
        if self.listing.futures:
            made |= {"E": now // MS, "T": now // MS}
        if self.listing.market == 2:
            made |= {"symbol": self.listing.symbol, "pair": self.listing.pair}
        made["bids"] = [[p, self.bids[p]] for p in sorted(self.bids, key=float, reverse=True)[:limit]]
        made["asks"] = [[p, self.asks[p]] for p in sorted(self.asks, key=float)[:limit]]
        return made

    def best(self) -> tuple[str, str, str, str]:
        """Best bid, its size, best ask, its size."""
        if self.quote is not None:
            return self.quote
        zero = self.listing.price.text(0)
        bid = max(self.bids, key=float, default=zero)
        ask = min(self.asks, key=float, default=zero)
        return bid, self.bids.get(bid, zero), ask, self.asks.get(ask, zero)

    def ticker(self, now: int) -> Json:
        """`GET ticker/24hr`: over what this server has shown since it started."""
        zero = self.listing.price.text(0)
        bars, last = self.candles, self.trades[-1] if self.trades else None
        opened, closed = (bars[0][1], bars[-1][4]) if bars else (zero, zero)
        volume, value = sum(bar[5] for bar in bars), sum(bar[6] for bar in bars)
        change = float(closed) - float(opened)
        bid, bid_size, ask, ask_size = self.best()
        return {
            "symbol": self.listing.symbol,
            "priceChange": f"{change:.8f}",
            "priceChangePercent": f"{100 * change / float(opened) if float(opened) else 0:.3f}",
            "weightedAvgPrice": f"{value / volume if volume else 0:.8f}",
            "lastPrice": closed,
            "lastQty": last["q"] if last else zero,
            "bidPrice": bid,
            "bidQty": bid_size,
            "askPrice": ask,
            "askQty": ask_size,
            "openPrice": opened,
            "highPrice": max((bar[2] for bar in bars), key=float, default=zero),
            "lowPrice": min((bar[3] for bar in bars), key=float, default=zero),
            "volume": f"{volume:.8f}",
            "baseVolume" if self.listing.market == 2 else "quoteVolume": f"{value:.8f}",
            "openTime": bars[0][0] if bars else now // MS,
            "closeTime": now // MS,
            "firstId": self.trades[0]["t"] if self.trades else -1,
            "lastId": last["t"] if last else -1,
            "count": self._seen,
        }

    def book_ticker(self, now: int) -> Json:
        """`GET ticker/bookTicker`."""
        bid, bid_size, ask, ask_size = self.best()
        made: Json = {"symbol": self.listing.symbol}
        made |= {"bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size}
        return made | ({"time": now // MS} if self.listing.futures else {})

    def recent(self, limit: int) -> list[Json]:
        """`GET trades`."""
        kept = list(self.trades)[-limit:]
        return [
            {
                "id": raw["t"],
                "price": raw["p"],
                "qty": raw["q"],
                "quoteQty": f"{float(raw['p']) * float(raw['q']):.8f}",
                "time": raw["T"],
                "isBuyerMaker": raw["m"],
                "isBestMatch": True,
            }
            for raw in kept
        ]

    def aggregates(self, limit: int) -> list[Json]:
        """`GET aggTrades`."""
        return [
            {
                "a": t["t"],
                "p": t["p"],
                "q": t["q"],
                "f": t["t"],
                "l": t["t"],
                "T": t["T"],
                "m": t["m"],
                "M": True,
            }
            for t in list(self.trades)[-limit:]
        ]

    def klines(self, minutes: int, limit: int) -> list[list[Any]]:
        """`GET klines`: bars of whole minutes, over what this server has shown."""
        span = minutes * (MINUTE // MS)
        made: list[list[Any]] = []
        for bar in self.candles:
            start = bar[0] - bar[0] % span
            if made and made[-1][0] == start:
                row = made[-1]
                row[2] = max(row[2], bar[2], key=float)
                row[3] = min(row[3], bar[3], key=float)
                row[4] = bar[4]
                for column in (5, 6, 7, 8, 9):
                    row[column] += bar[column]
            else:
                made.append([start, *bar[1:]])
        return [_kline(row, span) for row in made[-limit:]]


def aggregate(data: bytes) -> bytes:
    """A trade's frame as `aggTrade` has it: every trade is an aggregate of itself."""
    raw = orjson.loads(data)
    made = {"e": "aggTrade", "E": raw["E"], "s": raw["s"], "a": raw["t"], "p": raw["p"], "q": raw["q"]}
    return orjson.dumps(made | {"f": raw["t"], "l": raw["t"], "T": raw["T"], "m": raw["m"], "M": True})


def _kline(bar: list[Any], span: int) -> list[Any]:
    start, opened, high, low, closed, volume, value, count, bought, paid = bar
    return [
        start, opened, high, low, closed, f"{volume:.8f}", start + span - 1, f"{value:.8f}", count,
        f"{bought:.8f}", f"{paid:.8f}", "0",
    ]  # fmt: skip


def _fold(side: dict[str, str], levels: list[list[str]]) -> None:
    for price, size in levels:
        if size.strip("0.") == "":
            side.pop(price, None)
        else:
            side[price] = size
