"""One instrument in a strategy's hands: its book, the position in it, and orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.strategy.orders import StrategyOrder

if TYPE_CHECKING:
    from tidegate.strategy.strategy import Strategy

_BUY, _SELL, _LIMIT, _MARKET = Side.BUY, Side.SELL, OrdType.LIMIT, OrdType.MARKET
_POST_ONLY, _REDUCE_ONLY = int(ExecInst.POST_ONLY), int(ExecInst.REDUCE_ONLY)


class Market:
    """A market of a strategy. Prices are ticks, quantities lots; `price()` and `ticks()` convert.

    `buy` and `sell` are limit orders when given a price and market orders without one.
    """

    __slots__ = ("_strategy", "id", "instrument", "number")

    def __init__(self, strategy: Strategy, number: int) -> None:
        self._strategy = strategy
        self.number = number
        self.instrument = strategy.host.universe[number]
        self.id = self.instrument.id

    def __repr__(self) -> str:
        return f"<Market {self.id}>"

    # The book, as it has reached us.

    @property
    def bid(self) -> int:
        """Best bid; 0 when there is none."""
        return self._strategy.host.touch(self.number)[0]

    @property
    def ask(self) -> int:
        """Best ask; 0 when there is none."""
        return self._strategy.host.touch(self.number)[1]

    @property
    def has_touch(self) -> bool:
        """Whether both sides have a price and the book may be used."""
        bid, ask, _ = self._strategy.host.touch(self.number)
        return bool(bid and ask)

    @property
    def mid(self) -> float:
        """The middle in ticks; 0.0 when a side is missing."""
        bid, ask, _ = self._strategy.host.touch(self.number)
        return (bid + ask) / 2 if bid and ask else 0.0

    @property
    def last_price(self) -> int:
        """The last trade's price; 0 before the first."""
        return self._strategy.host.last_trade(self.number)[0]

    def levels(self, side: Side, count: int = 10) -> list[tuple[int, int]]:
        """Up to `count` (price, size) of one side, best first."""
        return self._strategy.host.levels(self.number, side, count)

    def level_qty(self, side: Side, price: int) -> int:
        """Size shown at one price."""
        return self._strategy.host.level_qty(self.number, side, price)

    # What we have in it.

    @property
    def position(self) -> int:
        """Our position in lots, signed: fills that have reached us."""
        return self._strategy.host.position(self.number)

    @property
    def orders(self) -> list[StrategyOrder]:
        """Our open orders here, oldest first."""
        return [order for order in self._strategy.orders.values() if order.market is self]

    # Units.

    def price(self, ticks: float) -> float:
        """Ticks to a price in the quote currency, for signals and display."""
        return ticks * float(self.instrument.tick)

    def ticks(self, price: float) -> int:
        """A computed price to the nearest tick. Exact text goes through `instrument.ticks`."""
        return round(price / float(self.instrument.tick))

    def qty(self, lots: float) -> float:
        """Lots to a quantity."""
        return lots * float(self.instrument.lot)

    def lots(self, qty: float) -> int:
        """A computed quantity to whole lots, towards zero. Exact text goes through `instrument.lots`."""
        return int(qty / float(self.instrument.lot) + (1e-9 if qty >= 0 else -1e-9))

    # Orders.

    def submit(
        self,
        side: Side,
        qty: int,
        price: int = 0,
        *,
        ord_type: OrdType | None = None,
        tif: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        stop_price: int = 0,
        display_qty: int = 0,
        offset: int = 0,
        expire_ts: int = 0,
        exec_inst: int = 0,
        contingency: int = 0,
        link_group: int = 0,
        parent_cmd_id: int = 0,
    ) -> StrategyOrder:
        """Send an order of any type. Without `ord_type`: LIMIT when a price is given, else MARKET.

        `contingency`, `link_group` and `parent_cmd_id` link orders, as in `model.messages.NewOrder`.
        """
        inst = int(exec_inst) | (_POST_ONLY if post_only else 0) | (_REDUCE_ONLY if reduce_only else 0)
        if ord_type is None:
            ord_type = _LIMIT if price or self.instrument.negative_prices else _MARKET
        return self._strategy.submit(
            self,
            side,
            ord_type,
            qty,
            price,
            tif,
            inst,
            stop_price,
            display_qty,
            offset,
            expire_ts,
            (contingency, link_group, parent_cmd_id),
        )

    def buy(self, qty: int, price: int = 0, *, post_only: bool = False, reduce_only: bool = False,
            tif: TimeInForce = TimeInForce.GTC) -> StrategyOrder:  # fmt: skip
        """Buy `qty` lots: a limit order at `price`, a market order without."""
        return self.submit(_BUY, qty, price, tif=tif, post_only=post_only, reduce_only=reduce_only)

    def sell(self, qty: int, price: int = 0, *, post_only: bool = False, reduce_only: bool = False,
             tif: TimeInForce = TimeInForce.GTC) -> StrategyOrder:  # fmt: skip
        """Sell `qty` lots: a limit order at `price`, a market order without."""
        return self.submit(_SELL, qty, price, tif=tif, post_only=post_only, reduce_only=reduce_only)

    def bracket(
        self, side: Side, qty: int, price: int, take_profit: int, stop_loss: int, *, post_only: bool = False
    ) -> tuple[StrategyOrder, StrategyOrder, StrategyOrder]:
        """An entry with two exits that cancel each other: (entry, take-profit limit, stop-loss stop)."""
        return self._strategy.bracket(self, side, qty, price, take_profit, stop_loss, post_only)

    def flatten(self) -> StrategyOrder | None:
        """Close the position with a reduce-only market order; None when there is none."""
        lots = self.position
        if lots == 0:
            return None
        return self.submit(Side.SELL if lots > 0 else Side.BUY, abs(lots), reduce_only=True)

    def cancel_all(self) -> None:
        """Cancel every open order of ours here."""
        for order in self.orders:
            self._strategy.cancel(order)
