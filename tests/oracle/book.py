"""The L2 and L3 books the slow and obvious way: dictionaries, searched for their best price whenever it is asked.

The rules are those at the top of `kernel.book` and `kernel.l3`. There is no window: any price has a place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BUY, SELL = 1, 2
Change = tuple[int, int, int, int]
"""A level whose size changed: side, price, size before, size after."""
Removal = tuple[int, int, int, int]
"""Lots of a market order that left: side, price, lots, the order's arrival number."""


@dataclass
class MarketOrder:
    """One order of an L3 feed."""

    side: int
    price: int
    qty: int
    arrival: int
    doubtful: bool = False


@dataclass
class Book:
    """One instrument's book, as of one clock."""

    levels: dict[int, dict[int, int]] = field(default_factory=lambda: {BUY: {}, SELL: {}})
    orders: dict[int, MarketOrder] = field(default_factory=dict)
    usable: bool = True
    depth: bool = False
    quoted: bool = False
    quote_seq: int = -1
    quote: dict[int, int | None] = field(default_factory=lambda: {BUY: None, SELL: None})
    last_price: int = 0
    last_size: int = 0
    crossed: int = 0
    ts: int = 0

    def best(self, side: int) -> int | None:
        prices = self.levels[side]
        if not prices:
            return None
        return max(prices) if side == BUY else min(prices)

    def size(self, side: int, price: int | None) -> int:
        return 0 if price is None else self.levels[side].get(price, 0)

    @property
    def trades_only(self) -> bool:
        return not self.depth and not self.quoted and self.last_size != 0

    def set(self, side: int, price: int, qty: int) -> int:
        """The level now holds `qty`; levels of the other side that it meets are older and go. Its size before."""
        before = self.size(side, price)
        if qty == 0:
            self.levels[side].pop(price, None)
            return before
        self.levels[side][price] = qty
        other = self.levels[3 - side]
        for level in [p for p in other if (p <= price if side == BUY else p >= price)]:
            del other[level]
            self.crossed += 1
        return before

    def delta(self, seq: int, side: int, price: int, qty: int) -> int | None:
        """An L2 record; the level's size before, None where a newer quote has settled that price."""
        if seq < self.quote_seq:
            touch = self.quote[side]
            if touch is None or (price >= touch if side == BUY else price <= touch):
                return None
        self.depth = True
        return self.set(side, price, qty)

    def state_touch(self, seq: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
        """A QUOTE."""
        stated = ((BUY, bid, bid_qty), (SELL, ask, ask_qty))
        for side, price, qty in stated:
            better = [p for p in self.levels[side] if qty == 0 or (p > price if side == BUY else p < price)]
            if not self.depth:
                best = self.best(side)
                better = [best] if best is not None and (qty == 0 or best != price) else []
            for level in better:
                del self.levels[side][level]
        for side, price, qty in stated:
            if qty:
                self.set(side, price, qty)
            self.quote[side] = price if qty else None
        self.quote_seq = seq
        self.quoted = True

    def _add(self, side: int, price: int, by: int) -> list[Change]:
        before = self.size(side, price)
        after = max(before + by, 0)
        if before == after:
            return []
        self.set(side, price, after)
        return [(side, price, before, after)]

    def order(
        self, number: int, side: int, price: int, qty: int, arrival: int
    ) -> tuple[list[Change], list[Removal]]:
        """An L3 record: the order is now `qty` lots at `price`; 0: it is gone."""
        self.depth = True
        changes: list[Change] = []
        removed: list[Removal] = []
        old = self.orders.get(number)
        if old is not None:
            keeps = 0 < qty <= old.qty and price == old.price and side == old.side
            gone = old.qty - qty if keeps else old.qty
            if old.doubtful:
                changes += self._add(side, price, qty) if keeps else []
            else:
                changes += self._add(old.side, old.price, -gone)
            if gone:
                removed.append((old.side, old.price, gone, old.arrival))
            if keeps:
                old.qty, old.doubtful = qty, False
                return changes, removed
            del self.orders[number]
        if qty:
            self.orders[number] = MarketOrder(side, price, qty, arrival)
            changes += self._add(side, price, qty)
        return changes, removed

    def begin(self) -> None:
        """SNAPSHOT_BEGIN."""
        self.levels = {BUY: {}, SELL: {}}
        self.usable = False
        self.quote_seq = -1
        self.quote = {BUY: None, SELL: None}
        for order in self.orders.values():
            order.doubtful = True

    def end(self) -> list[Removal]:
        """SNAPSHOT_END: the L3 orders it did not name are gone."""
        self.usable = True
        gone = {n: o for n, o in self.orders.items() if o.doubtful}
        self.orders = {n: o for n, o in self.orders.items() if not o.doubtful}
        return [(o.side, o.price, o.qty, o.arrival) for o in gone.values()]
