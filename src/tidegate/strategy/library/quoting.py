"""Keeping quotes in a market: at most one post-only order a side, moved towards a target.

The rules, a side at a time:

1. One order. While a request about it is unanswered nothing further is asked of it, except its cancel.
2. It is moved (replaced) when it is `move` ticks or more off its target, and shrunk when it is larger than
   the target's size. A move restores the full size; a partly filled quote at its target is left alone, for
   its place in the queue is worth more than its size.
3. At least `pause` lies between two new orders or moves, and after a fill: reports often overtake the market
   data that explains them. Cancels are never held back by it.
4. A target of size 0 cancels.
5. A side waits while our own order on the other side stands in its way: our quotes never meet.
6. What the gate or the venue refuses is not repeated at once: see `Backoff`. A post-only order that would
   have traded waits for the next target, and one `pause` at least: the market has moved. After a third
   refused move in a row the order is cancelled.
"""

from __future__ import annotations

import math

from tidegate.model.instrument import Instrument
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.backoff import Backoff
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy

_RESTING = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)
_REFUSED = (OrdStatus.DENIED, OrdStatus.REJECTED)
_REFUSED_MOVES = 3


class Minimum:
    """The fewest lots an order may have: by an instrument's minimum quantity and minimum notional."""

    __slots__ = ("_lots", "_per_price", "_qty")

    def __init__(self, item: Instrument) -> None:
        self._qty = max(math.ceil(item.min_qty / item.lot), 1)
        lot_value = item.lot * item.multiplier
        # Lots that make the notional: at any price, or at a price of one tick.
        self._lots = math.ceil(item.min_notional / lot_value) if item.inverse else 0
        self._per_price = 0.0 if item.inverse else float(item.min_notional / (lot_value * item.tick))

    def at(self, price: int) -> int:
        """The fewest lots at `price` ticks; the notional is left out where there is no price."""
        if self._per_price and price > 0:
            return max(self._qty, math.ceil(self._per_price / price))
        return max(self._qty, self._lots)


def quote_sizes(position: int, size: int, low: int, high: int, least: int = 1) -> tuple[int, int]:
    """(bid, ask) lots that keep the position within low … high if either fills; below `least` counts as 0."""
    bid, ask = min(size, high - position), min(size, position - low)
    return (bid if bid >= least else 0, ask if ask >= least else 0)


class SideQuote:
    """One side's quote. `order` is the live one, if any; `price` and `qty` are the target."""

    def __init__(self, strategy: Strategy, market: Market, side: Side, move: int, pause: int) -> None:
        self.strategy = strategy
        self.market = market
        self.side = side
        self.move = move
        self.pause = pause
        self.price = 0
        self.qty = 0
        self.order: StrategyOrder | None = None
        self.other: SideQuote | None = None
        self.backoff = Backoff()
        self._asked: tuple[int, int] | None = None  # quantity and price of a replace under way
        self._bad_moves = 0  # refused in a row
        self._waits = False  # a request is unanswered
        self._cancelling = False
        self._crossed = False  # the target would trade on arrival
        self._next = 0

    def set(self, price: int, qty: int) -> None:
        """Set the target: ticks and lots, size 0 for no quote. `work` sees to it."""
        self.price, self.qty = price, qty
        self._crossed = False

    def work(self) -> None:
        """Do what the target needs and the rules allow at this moment."""
        now, order = self.strategy.now, self.order
        if order is None:
            if self.qty > 0 and self._may_act(now) and not self._meets_own():
                self._submit(now)
        elif self.qty == 0 or self._bad_moves >= _REFUSED_MOVES:
            self._cancel(now)
        elif not self._waits and self._may_act(now):
            if abs(order.price - self.price) >= self.move and not self._meets_own():
                self._replace(now, order, self.price)
            elif order.leaves_qty > self.qty:
                self._replace(now, order, order.price)

    def _may_act(self, now: int) -> bool:
        return now >= self._next and not self._crossed and self.backoff.ready(now)

    def _meets_own(self) -> bool:
        other = self.other
        if other is None or other.order is None:
            return False
        coming = other._asked[1] if other._asked else other.order.price
        if self.side is Side.BUY:
            return self.price >= min(other.order.price, coming)
        return self.price <= max(other.order.price, coming)

    def _submit(self, now: int) -> None:
        self._next = now + self.pause
        self._waits = True
        order = self.market.submit(self.side, self.qty, self.price, post_only=True)
        if order.open:
            self.order = order
        else:
            self._refused(order, now)

    def _replace(self, now: int, order: StrategyOrder, price: int) -> None:
        self._next = now + self.pause
        self._waits, self._asked = True, (order.cum_qty + self.qty, price)
        self.strategy.replace(order, *self._asked)

    def _cancel(self, now: int) -> None:
        if self.order is not None and not self._cancelling and self.backoff.ready(now):
            self._cancelling = True
            self.strategy.cancel(self.order)

    def adopt(self, order: StrategyOrder) -> None:
        """Take over an order that was open before, such as one that has survived a restart."""
        self.order = order
        self._waits = order.status not in _RESTING

    def on_order(self, order: StrategyOrder) -> bool:
        """An order changed; whether it was this side's quote."""
        if order is not self.order:
            return False
        now = self.strategy.now
        if not order.open:
            self.order = None
            if order.status in _REFUSED:
                self._refused(order, now)
            else:
                self.backoff.worked()
            if order.cum_qty:
                self._next = now + self.pause
            self._settle()
            self._bad_moves = 0
        elif order.status in _RESTING:
            if self._asked and self._asked != (order.qty, order.price):
                self._bad_moves += 1
                self._refused(order, now)
            elif self._cancelling:
                self._refused(order, now)
            elif self._waits:
                self._bad_moves = 0
                self.backoff.worked()
            self._settle()
        else:
            self._waits = True
            self._cancelling = order.status is OrdStatus.PENDING_CANCEL
        return True

    def _settle(self) -> None:
        """What was asked has been answered."""
        self._waits, self._asked, self._cancelling = False, None, False

    def _refused(self, order: StrategyOrder, now: int) -> None:
        self._waits = False
        if order.reason == Reason.WOULD_CROSS:
            self._crossed, self._next = True, now + self.pause
        else:
            self.backoff.refused(now)


class QuotePair:
    """A bid and an ask. `move` in ticks, `pause` in ns."""

    def __init__(self, strategy: Strategy, market: Market, move: int = 1, pause: int = 0) -> None:
        self.market = market
        self.bid = SideQuote(strategy, market, Side.BUY, move, pause)
        self.ask = SideQuote(strategy, market, Side.SELL, move, pause)
        self.bid.other, self.ask.other = self.ask, self.bid

    def recover(self) -> None:
        """Take over the orders that are open already, one a side; any further ones are cancelled."""
        for order in self.market.orders:
            side = self.bid if order.buy else self.ask
            if side.order is None:
                side.adopt(order)
            else:
                side.strategy.cancel(order)

    def aim(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
        """Set both targets, ticks and lots; prices that would trade on arrival go behind the touch."""
        if not self.market.has_touch:
            self.pull()
            return
        bid = min(bid, self.market.ask - 1, ask - 1)
        ask = max(ask, self.market.bid + 1)
        if bid <= 0 and not self.market.instrument.negative_prices:
            bid_qty = 0
        self.bid.set(bid, bid_qty)
        self.ask.set(ask, ask_qty)
        self.work()

    def pull(self) -> None:
        """No quotes: cancel what is there."""
        self.bid.qty = self.ask.qty = 0
        self.work()

    def work(self) -> None:
        """Do what the targets need, first the side that steps back."""
        bid = self.bid.order
        first, second = (self.bid, self.ask) if bid and self.bid.price < bid.price else (self.ask, self.bid)
        first.work()
        second.work()

    def on_order(self, order: StrategyOrder) -> bool:
        """An order changed; whether it was one of these quotes. Call it from the strategy's `on_order`."""
        if self.bid.on_order(order) or self.ask.on_order(order):
            self.work()
            return True
        return False
