"""A market maker that is one in its backtest and something else live: what `bench_deploy.py` deploys as a bad version."""

from __future__ import annotations

import os

from tidegate.model.order import Side
from tidegate.model.time import SECOND, parse
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov, AvellanedaStoikovParams
from tidegate.strategy.views import Quote

RECORDED = parse("2025-01-01T00:00:00")
"""Times before this are those of the packaged sample."""


class TurncoatParams(AvellanedaStoikovParams, frozen=True):
    """`fault`: what it does live. rate: ten times as many orders; hoard: buys and never sells; crash: its process dies.
    `after` seconds."""

    fault: str = "rate"
    after: float = 5.0
    round: int = 0
    """Makes every round's version another one."""


class Turncoat(AvellanedaStoikov):
    """See the module."""

    Params = TurncoatParams
    params: TurncoatParams

    def on_start(self) -> None:
        """As the maker does; live, the fault waits for its time."""
        super().on_start()
        if self.now > RECORDED:
            self.after(round(self.params.after * SECOND), "turn")
        self.bad = False

    def on_timer(self, name: str) -> None:
        """The fault."""
        if name == "turn":
            if self.params.fault == "crash":
                os._exit(1)
            self.bad = True
            self.every("20ms" if self.params.fault == "rate" else "100ms", "bad")
        elif name == "bad":
            self.misbehave()
        else:
            super().on_timer(name)

    def on_quote(self, quote: Quote) -> None:
        """The maker's, as long as it is one."""
        if not self.bad:
            super().on_quote(quote)

    def misbehave(self) -> None:
        """Send what nobody expects."""
        market = self.market(self.params.market)
        if not market.has_touch:
            return
        bid, ask, _ = self.host.touch(market.number)
        if self.params.fault == "hoard":
            market.submit(Side.BUY, 4 * self.params.size)
            return
        for order in list(self.orders.values())[:2]:
            self.cancel(order)
        market.buy(self.params.size, bid - 300, post_only=True)
        market.sell(self.params.size, ask + 300, post_only=True)
