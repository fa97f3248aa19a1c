"""A strategy that goes wrong, to see it stopped: after a quiet time it sends child orders and never counts them.

The flaw is that of Knight Capital, 2012-08-01 (SEC release 34-70694): a router that cut parents into children no longer
looked at what had filled, so each parent went on for ever; 212 parents became millions of orders in 45 minutes.
`examples/breach.toml` runs it, `make demo` shows how it ends.
"""

from __future__ import annotations

from tidegate.model.order import Side
from tidegate.strategy.strategy import Strategy, StrategyParams


class Runaway(Strategy):
    """Sends `burst` children every 10 ms from `after` on: half of them take, half of them rest."""

    class Params(StrategyParams, frozen=True):
        market: str
        size: int
        """Lots of a child."""
        after: str = "20s"
        """How long it is quiet first."""
        burst: int = 2

    params: Params

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.subscribe_quotes(self.m)
        self.after(self.params.after, "wake")

    def on_timer(self, name: str) -> None:
        if name == "wake":
            self.every("10ms", "children")
            return
        if not self.m.has_touch:
            return
        for child in range(self.params.burst):
            price = self.m.ask if child % 2 else self.m.bid - 50
            self.m.submit(Side.BUY, self.params.size, price)  # what has filled is counted nowhere
