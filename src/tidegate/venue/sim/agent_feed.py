"""The public frames of a market of agents: what changed in the book, the touch, every trade."""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import Side
from tidegate.model.time import MS
from tidegate.venue.sim.agent_market import AgentMarket, Print, Venue
from tidegate.venue.sim.capture_files import D_DEPTH, D_TICKER, D_TRADE
from tidegate.venue.sim.hub import Channel, Hub
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.market_view import MarketView, aggregate

SHOWN = 1000
"""Levels a side that the public book has."""
Levels = dict[int, int]
_NAMES = {D_DEPTH: "depth", D_TICKER: "bookTicker", D_TRADE: "trade"}


class AgentFeed:
    """The `capture_feed.Feed` of agents: update ids and trade ids rise by one from 1."""

    def __init__(self, market: AgentMarket, listings: Listings, hub: Hub) -> None:
        self._market, self._hub = market, hub
        self.views = [MarketView(item) for item in listings.all]
        for view in self.views:
            view.reset(0, [], [])
        self._channels: dict[tuple[int, int], Channel] = {
            (item.number, kind): hub.channel((item.market, item.lower, name))
            for item in listings.all
            for kind, name in _NAMES.items()
        }
        self._aggregates = [hub.channel((item.market, item.lower, "aggTrade")) for item in listings.all]
        count = len(listings.all)
        self._books: list[tuple[Levels, Levels]] = [({}, {}) for _ in range(count)]
        self._touch: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * count
        self._update = [0] * count
        self._trade = [0] * count
        self._folding: list[tuple[int, int, bytes]] = []

    def next_due(self) -> int:
        """See `Feed.next_due`: at once where the book has changed, else with the agents' next step."""
        return 0 if any(venue.changed for venue in self._market.venues) else self._market.next_due()

    def emit(self, now: int) -> int:
        """See `Feed.emit`."""
        before = len(self._folding)
        for number, venue in enumerate(self._market.venues):
            if venue.changed:
                venue.changed = False
                self._emit(number, venue, now // MS)
        return len(self._folding) - before

    def _emit(self, number: int, venue: Venue, ms: int) -> None:
        prints, venue.prints = venue.prints, []
        for made in prints:
            self._trade[number] += 1
            self._publish(number, D_TRADE, self._trade_frame(venue, made, self._trade[number]))
        changes, touch = self._changes(number, venue)
        if changes[0] or changes[1]:
            last = self._update[number]
            self._update[number] += len(changes[0]) + len(changes[1])
            self._publish(number, D_DEPTH, self._depth_frame(venue, changes, last, self._update[number], ms))
        if touch != self._touch[number]:
            self._touch[number] = touch
            self._publish(number, D_TICKER, self._ticker_frame(venue, touch, self._update[number], ms))

    def _publish(self, number: int, kind: int, body: dict[str, Any]) -> None:
        data = orjson.dumps(body)
        self._hub.publish(self._channels[number, kind], data)
        if kind == D_TRADE and self._aggregates[number].wanted:
            self._hub.publish(self._aggregates[number], aggregate(data))
        self._folding.append((number, kind, data))

    def _changes(
        self, number: int, venue: Venue
    ) -> tuple[tuple[list[tuple[int, int]], list[tuple[int, int]]], tuple[int, int, int, int]]:
        """The levels that are no longer as they were last shown, each side, and the touch."""
        found: list[list[tuple[int, int]]] = []
        best: list[int] = []
        for side, shown in zip((Side.BUY, Side.SELL), self._books[number], strict=True):
            rows = venue.book.depth(side, SHOWN)[:, :2].tolist()
            now = dict(rows)
            gone = [(price, 0) for price in shown if price not in now]
            found.append([(price, qty) for price, qty in now.items() if shown.get(price) != qty] + gone)
            shown.clear()
            shown.update(now)
            best += rows[0] if rows else [0, 0]
        return (found[0], found[1]), (best[0], best[1], best[2], best[3])

    @staticmethod
    def _levels(venue: Venue, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
        listing = venue.listing
        return [(listing.price.text(price), listing.qty.text(qty)) for price, qty in levels]

    def _depth_frame(self, venue: Venue, changes: Any, before: int, last: int, ms: int) -> dict[str, Any]:
        made: dict[str, Any] = {"e": "depthUpdate", "E": ms}
        if venue.listing.futures:
            made["T"] = ms
        made["s"] = venue.listing.symbol
        if venue.listing.market is Market.COINM:
            made["ps"] = venue.listing.pair
        made |= {"U": before + 1, "u": last}
        if venue.listing.futures:
            made["pu"] = before
        return made | {"b": self._levels(venue, changes[0]), "a": self._levels(venue, changes[1])}

    @staticmethod
    def _ticker_frame(venue: Venue, touch: tuple[int, int, int, int], update: int, ms: int) -> dict[str, Any]:
        listing = venue.listing
        price, qty = listing.price.text, listing.qty.text
        made: dict[str, Any] = {"u": update}
        if listing.futures:
            made["e"] = "bookTicker"
        made["s"] = listing.symbol
        if listing.market is Market.COINM:
            made["ps"] = listing.pair
        made |= {"b": price(touch[0]), "B": qty(touch[1]), "a": price(touch[2]), "A": qty(touch[3])}
        return made | ({"T": ms, "E": ms} if listing.futures else {})

    @staticmethod
    def _trade_frame(venue: Venue, made: Print, ident: int) -> dict[str, Any]:
        listing, ms = venue.listing, made.ts // MS
        price, qty = listing.price.text(made.price), listing.qty.text(made.qty)
        sold = made.side == Side.SELL
        if not listing.futures:
            return {
                "e": "trade", "E": ms, "s": listing.symbol, "t": ident, "p": price, "q": qty, "T": ms, "m": sold,
                "M": True,
            }  # fmt: skip
        return {
            "e": "trade", "E": ms, "T": ms, "s": listing.symbol, "t": ident, "p": price, "q": qty, "X": "MARKET",
            "m": sold,
        }  # fmt: skip

    def fold(self) -> None:
        """See `Feed.fold`."""
        folding, self._folding = self._folding, []
        for number, kind, data in folding:
            view = self.views[number]
            if kind == D_DEPTH:
                view.fold_depth(data)
            elif kind == D_TICKER:
                view.fold_quote(data)
            else:
                view.fold_trade(data)
