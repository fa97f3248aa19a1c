"""A strategy to copy: joins the best bid and ask, never beyond a position, moves when the touch moves.

Run it with `type = "quoter.py:Quoter"` in a configuration beside this file.
"""

from __future__ import annotations

from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import SECOND
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Quote


class Quoter(Strategy):
    """Two post-only quotes at the touch."""

    class Params(StrategyParams, frozen=True):
        market: str
        size: int = 10
        max_position: int = 100

    params: Params

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.rest_until = 0
        self.subscribe_quotes(self.m)

    def on_quote(self, quote: Quote) -> None:
        if not self.m.has_touch:
            self.m.cancel_all()
            return
        for order in self.m.orders:
            if order.price != (quote.bid if order.buy else quote.ask):
                self.cancel(order)
        if self.now < self.rest_until:
            return
        resting = {order.side for order in self.m.orders}
        if Side.BUY not in resting and self.m.position < self.params.max_position:
            self.m.buy(self.params.size, quote.bid, post_only=True)
        if Side.SELL not in resting and self.m.position > -self.params.max_position:
            self.m.sell(self.params.size, quote.ask, post_only=True)

    def on_order(self, order: StrategyOrder) -> None:
        if order.status is OrdStatus.DENIED:
            self.rest_until = self.now + SECOND  # asking again at once would be denied again

    def on_stop(self) -> None:
        self.cancel_all()
