"""A strategy for the simulation: it does everything strategies may do, in small, by a seed."""

from __future__ import annotations

import random
from typing import Any

from tidegate.model.order import Contingency, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.sim.faults.plant import POSITION
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Fill, Quote

MOST_OPEN = 6
BURST = 15 * MS
"""Time between two orders of a rogue."""


class Trader(Strategy):
    """Every `pace` ms or so: quote, take, replace, cancel, or link orders."""

    class Params(StrategyParams, frozen=True):
        seed: int = 0
        pace: int = 2_000

    def on_start(self) -> None:
        self.rng = random.Random(f"{self.params.seed} {self.name} {self.now}")
        self.groups = self.now // MS % 1_000_000_000
        self.markets = [self.market_number(n) for n in range(len(self.host.universe))]
        for market in self.markets:
            self.subscribe_quotes(market)
        self.every(self.params.pace * MS, "act")

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = int(state["seen"])

    def save_state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    seen = 0
    quiet = bursting = False
    """Trade no more; a rogue's next order is due."""
    rogue = ""
    """How it misbehaves now: `refused` asks for far too much, again and again; `busy` takes without end."""

    def on_fill(self, fill: Fill) -> None:
        self.seen += 1

    def on_quote(self, quote: Quote) -> None:
        """Pull what the market has run away from."""
        market = quote.market
        if self.rogue and not self.bursting:
            self.bursting = True
            self._misbehave()
        for order in market.orders:
            away = market.bid - order.price if order.buy else order.price - market.ask
            if order.price and away > 8 and not self.quiet:
                self.cancel(order)

    def _misbehave(self) -> None:
        market = self.rng.choice(self.markets)
        self.bursting = bool(self.rogue) and not self.quiet and market.has_touch
        if not self.bursting:
            return
        if self.rogue == "refused":
            market.submit(Side.BUY, 20 * POSITION, market.bid - 5)
        else:
            market.submit(self._side(market), 1)
        self.after(BURST, "burst")

    def on_timer(self, name: str) -> None:
        if name == "burst":
            self._misbehave()
            return
        market = self.rng.choice(self.markets)
        if self.quiet or not market.has_touch:
            return
        act = self.rng.choices(
            (self._quote, self._take, self._replace, self._cancel, self._linked, self._all),
            (40, 15, 20, 15, 8, 2),
        )[0]
        act(market)

    def _side(self, market: Market) -> Side:
        if abs(market.position) > POSITION // 3:
            return Side.SELL if market.position > 0 else Side.BUY
        return self.rng.choice((Side.BUY, Side.SELL))

    def _at(self, market: Market, side: Side) -> int:
        depth = self.rng.choice((0, 0, 1, 2, 4))
        return market.bid - depth if side is Side.BUY else market.ask + depth

    def _quote(self, market: Market) -> None:
        if len(self.orders) < MOST_OPEN:
            side = self._side(market)
            market.submit(
                side, self.rng.randint(1, 9), self._at(market, side), post_only=self.rng.random() < 0.7
            )

    def _take(self, market: Market) -> None:
        side = self._side(market)
        qty = self.rng.randint(1, 6)
        if self.rng.random() < 0.4:
            market.submit(side, qty)
        else:
            price = market.ask + 1 if side is Side.BUY else market.bid - 1
            market.submit(side, qty, price, tif=TimeInForce.IOC)

    def _pick(self) -> StrategyOrder | None:
        mine = [order for order in self.orders.values() if order.cancellable and order.price]
        return self.rng.choice(mine) if mine else None

    def _replace(self, market: Market) -> None:
        if order := self._pick():
            market = order.market
            qty = self.rng.choice((0, 0, order.qty + 1, max(1, order.qty - 1)))
            self.replace(order, qty, self._at(market, order.side))

    def _cancel(self, market: Market) -> None:
        if order := self._pick():
            self.cancel(order)

    def _linked(self, market: Market) -> None:
        """Two that cancel each other, or one that waits for another."""
        if len(self.orders) >= MOST_OPEN - 1:
            return
        qty = self.rng.randint(2, 6)
        self.groups += 1
        if self.rng.random() < 0.5:
            for depth in (1, 3):
                market.submit(
                    Side.BUY, qty, market.bid - depth, contingency=Contingency.OCO, link_group=self.groups
                )
            return
        parent = market.submit(Side.SELL, qty, market.ask, contingency=Contingency.OTO)
        market.submit(Side.BUY, qty, market.bid - 3, contingency=Contingency.OTO, parent_cmd_id=parent.cmd_id)

    def _all(self, market: Market) -> None:
        self.cancel_all()
