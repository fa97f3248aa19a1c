"""Bringing a position to a target with aggressive orders, and keeping it there.

One order in flight at a time. It is a market order, or an immediate-or-cancel limit order where a price bound
or a `slippage` is given; what it leaves unfilled is tried again after `pause`. Orders that only shrink the
position are reduce-only, so that a late fill cannot turn into a position the other way. A refusal backs off
(`Backoff`). A rest below the instrument's minimum is left: `settled` is true.

Call `work` from a timer or from market data as well: it is what tries again.
"""

from __future__ import annotations

from tidegate.model.order import OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.strategy.library.backoff import Backoff
from tidegate.strategy.library.quoting import Minimum
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy


class PositionTarget:
    """Drives the strategy's position in one market to `target` lots. `slippage` in ticks, `pause` in ns."""

    def __init__(self, strategy: Strategy, market: Market, slippage: int = 0, pause: int = 100 * MS) -> None:
        self.strategy = strategy
        self.market = market
        self.slippage = slippage
        self.pause = pause
        self.target = market.position
        self.bound = 0
        """The worst price to trade at, ticks; 0: as `slippage` says."""
        self.order: StrategyOrder | None = None
        self.backoff = Backoff()
        self._minimum = Minimum(market.instrument)
        self._once = False
        self._next = 0

    def recover(self) -> None:
        """Take over an order of ours that is open already, such as one that has survived a restart."""
        for order in self.market.orders:
            if order.ord_type in (OrdType.MARKET, OrdType.LIMIT):
                self.order = order

    @property
    def gap(self) -> int:
        """Lots still to trade, signed; 0 where the rest is too small to be traded."""
        gap = self.target - self.market.position
        return gap if gap and abs(gap) >= self._minimum.at(self.market.bid) else 0

    @property
    def settled(self) -> bool:
        """Nothing is in flight and nothing is left to trade."""
        return self.order is None and self.gap == 0

    def aim(self, target: int, bound: int = 0) -> None:
        """Set the target (lots, signed) and the worst price for it, and trade what can be traded now."""
        self.target, self.bound, self._once = target, bound, False
        self.work()

    def attempt(self, target: int, bound: int = 0) -> bool:
        """One order towards the target, if it can be sent now; what it fills is the position from then on."""
        self.aim(target, bound)
        self._once = self.order is not None
        if not self._once:
            self.target = self.market.position
        return self._once

    def work(self) -> None:
        """Trade towards the target, where nothing is in flight and nothing holds back."""
        now = self.strategy.now
        if self.order is not None or now < self._next or not self.backoff.ready(now):
            return
        gap = self.gap
        if gap == 0 or not self.market.has_touch:
            return
        side = Side.BUY if gap > 0 else Side.SELL
        price = self._price(side)
        if price is None:
            return
        self._next = now + self.pause
        order = self.market.submit(
            side, abs(gap), price, tif=TimeInForce.IOC, reduce_only=self._only_shrinks()
        )
        if order.open:
            self.order = order
        else:
            self.backoff.refused(now)

    def _price(self, side: Side) -> int | None:
        """The limit: 0 for a market order, None where the bound lies beyond the touch."""
        touch = self.market.ask if side is Side.BUY else self.market.bid
        if self.bound:
            reachable = touch <= self.bound if side is Side.BUY else touch >= self.bound
            return self.bound if reachable else None
        return touch + side.sign * self.slippage if self.slippage else 0

    def _only_shrinks(self) -> bool:
        position = self.market.position
        return position * self.target >= 0 and abs(self.target) < abs(position)

    def on_order(self, order: StrategyOrder) -> bool:
        """An order changed; whether it was this target's. Call it from the strategy's `on_order`."""
        if order is not self.order:
            return False
        if not order.open:
            self.order = None
            if order.status in (OrdStatus.DENIED, OrdStatus.REJECTED):
                self.backoff.refused(self.strategy.now)
            elif order.cum_qty:
                self.backoff.worked()
            if self._once:
                self._once, self.target = False, self.market.position
            self.work()
        return True
