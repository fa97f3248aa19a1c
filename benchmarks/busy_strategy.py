"""A strategy that does nothing but trade: quotes, takes, replaces and cancels at a set rate, and notes what it did.

The journal is one line a happening, written before anything else happens, so it outlives a `kill -9`:

    life <ts>                       a process began to run the strategy
    new <ts> <cmd_id> <seen>        an order was asked for; `seen` is when the feed received the touch behind it
    ack <ts> <cmd_id> <cl_ord_id>   the venue acknowledged it
    told <cmd_id>                   an event of it came back otherwise: denied, rejected
    quiet <ts>                      told to stop, and nothing is awaited any more
    end <ts>                        a clean end of the process
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tidegate.model.order import OrdStatus, Side, TimeInForce
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams

FAR = 0.01
"""Where the orders rest that are left when the load stops: this part of the price away from the touch."""
KEEP = 3
"""So many of them a market."""


class BusyParams(StrategyParams, frozen=True):
    """`sizes`: lots of one order by instrument. `rate`: commands a second. `journal`: the file to write to; a file of
    that name and `.stop` beside it ends the load."""

    sizes: dict[str, int]
    rate: float
    journal: str
    open_most: int = 12
    seed: int = 1


class Busy(Strategy):
    """See the module."""

    Params = BusyParams
    params: BusyParams

    def on_start(self) -> None:
        """Trade by the clock, from the first touch on."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._journal = os.open(self.params.journal, flags, 0o600)
        self._stop = Path(self.params.journal + ".stop")
        self._random = random.Random(f"{self.params.seed}/{self.now}")
        self._pairs = [(self.market(name), lots) for name, lots in self.params.sizes.items()]
        for market, _ in self._pairs:
            self.subscribe_quotes(market)
        self._turn = 0
        self._stopping = self._quiet = False
        self._note(f"life {self.now}")
        self.every(round(1e9 / self.params.rate), "act")
        self.every("200ms", "look")

    def on_timer(self, name: str) -> None:
        """One command, or a look at whether to go on."""
        if name == "look":
            self._look()
        elif not self._stopping:
            self._turn += 1
            market, lots = self._pairs[self._turn % len(self._pairs)]
            if market.has_touch:
                self._act(market, lots)

    def _act(self, market: Market, lots: int) -> None:
        mine = [order for order in market.orders if order.cancellable and order.cl_ord_id]
        draw = self._random.random()
        standing = sum(order.status is not OrdStatus.UNKNOWN for order in mine)
        if mine and (draw < 0.2 or standing >= self.params.open_most):
            self.cancel(self._random.choice(mine))
        elif mine and draw < 0.35:
            order = self._random.choice(mine)
            if order.status is not OrdStatus.PENDING_REPLACE:
                self.replace(order, price=self._resting(market, order.side))
        elif draw < 0.5:
            side = Side.SELL if market.position > 0 else Side.BUY
            price = market.ask + 5 if side is Side.BUY else market.bid - 5
            self._place(market, side, lots, price, False)
        else:
            side = self._random.choice((Side.BUY, Side.SELL))
            self._place(market, side, lots, self._resting(market, side), True)

    def _resting(self, market: Market, side: Side) -> int:
        away = self._random.randrange(20)
        return market.bid - away if side is Side.BUY else market.ask + away

    def _place(self, market: Market, side: Side, lots: int, price: int, post_only: bool) -> None:
        tif = TimeInForce.GTC if post_only else TimeInForce.IOC
        order = market.submit(side, lots, price, post_only=post_only, tif=tif)
        self._note(f"new {self.now} {order.cmd_id} {self.host.touch(market.number)[2]}")

    def on_order(self, order: StrategyOrder) -> None:
        """Note that the system has answered."""
        if order.tag is None and order.cl_ord_id and order.status in (OrdStatus.NEW, OrdStatus.FILLED):
            order.tag = "acknowledged"
            self._note(f"ack {self.now} {order.cmd_id} {order.cl_ord_id}")
        elif order.tag is None:
            self._note(f"told {order.cmd_id}")

    # The end of the load.

    def _look(self) -> None:
        """Stop when told: cancel all, then leave a few orders far from the market, and say when all is answered."""
        if not self._stop.exists():
            return
        if not self._stopping:
            self._stopping = True
            self.cancel_all()
            self.after("2s", "look")
            self._left = False
        elif not self.orders and not self._left:
            self._left = True
            for market, lots in self._pairs:
                for n in range(KEEP if market.has_touch else 0):
                    self._place(market, Side.BUY, lots, round(market.bid * (1 - FAR)) - n, True)
        elif self._left and not self._quiet and all(o.status is OrdStatus.NEW for o in self.orders.values()):
            self._quiet = True
            self._note(f"quiet {self.now}")

    def on_stop(self) -> None:
        """The process ends in order."""
        self._note(f"end {self.now}")

    def _note(self, line: str) -> None:
        os.write(self._journal, line.encode() + b"\n")
