"""A strategy that buys once, at whatever the market asks, and holds."""

from __future__ import annotations

from tidegate.model.order import TimeInForce
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Quote


class HolderParams(StrategyParams, frozen=True):
    """`size` is in lots; so many are bought at once."""

    market: str
    size: int
    clip: int


class Holder(Strategy):
    """See the module."""

    Params = HolderParams
    params: HolderParams

    def on_start(self) -> None:
        self._market = self.market(self.params.market)
        self.subscribe_quotes(self._market)

    def on_quote(self, quote: Quote) -> None:
        left = self.params.size - self._market.position
        if left > 0 and self._market.has_touch and not self.orders:
            price = int(self._market.ask * 1.001)
            self._market.buy(min(left, self.params.clip), price, tif=TimeInForce.IOC)
