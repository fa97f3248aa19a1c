"""The strategy a user writes: one object, the same in a backtest, in paper trading and live.

Subclass `Strategy`, declare `Params`, subscribe in `on_start`, act in the handlers. Only what was subscribed to
is called. A handler runs to its end before anything else happens; time is `self.now`; what an order does comes
back later, through `on_order` and `on_fill`.

    class Quoter(Strategy):
        class Params(StrategyParams):
            market: str
            size: int = 10

        def on_start(self) -> None:
            self.m = self.market(self.params.market)
            self.subscribe_quotes(self.m)

        def on_quote(self, quote: Quote) -> None:
            if not self.m.orders:
                self.m.buy(self.params.size, quote.bid, post_only=True)
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.execution.lane_door import CMD_SHIFT
from tidegate.model.messages import CancelAll, CancelOrder, NewOrder, OrderEvent, ReplaceOrder
from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import duration
from tidegate.risk.booked import booked
from tidegate.strategy.host import Host
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.views import Bar, Book, Fill, Quote, Trade

if TYPE_CHECKING:
    from tidegate.execution.strategy_view import StrategyView

WAKE_QUOTE, WAKE_TRADE, WAKE_BOOK = range(3)
_COUNTER = (1 << CMD_SHIFT) - 1
_IN_FLIGHT = 1 << 16
"""Command ids passed over after a restart: more than can have been under way unseen."""
_REMEMBERED = 1024
_CONTINGENCY = tuple(Contingency)
_FILLED, _TRADE = OrdStatus.FILLED, ExecType.TRADE  # an enumeration's member is slow to reach in Python 3.11


RESERVED = frozenset((
    "account", "after", "bracket", "cancel", "cancel_all", "deliver", "every", "host", "market", "market_number",
    "name", "now", "number", "orders", "params", "replace", "restore", "stop", "submit", "subscribe_bars",
    "subscribe_book", "subscribe_quotes", "subscribe_trades",
))  # fmt: skip
"""What hosts, markets and the base itself call by these names."""


class StrategyParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a strategy's parameters: typed, validated, and named in an error when unknown."""


class Strategy:
    """Base class; see the module for how to use it. Units: ticks, lots, ns.

    A subclass overrides handlers, `save_state` and `load_state`; a name that the base stands on it may not take:
    that is a `UserError` where the class is defined. What the base keeps for itself has names of its own
    (`__markets`), which a subclass cannot hit.
    """

    Params: ClassVar[type[StrategyParams]] = StrategyParams

    params: Any
    host: Host

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        taken = sorted(RESERVED & vars(cls).keys())
        if taken:
            raise UserError(
                f"strategy class {cls.__name__}: {taken[0]!r} is a name of Strategy's own; call yours another"
            )

    def __init__(self, name: str, number: int, account: int, params: StrategyParams) -> None:
        self.name = name
        self.number = number
        self.account = account
        self.params = params
        self.orders: dict[int, StrategyOrder] = {}
        """Open orders by command id."""
        self.__commands = 0
        self.__ended: OrderedDict[int, StrategyOrder] = OrderedDict()
        self.__markets: dict[int, Market] = {}

    # What a user overrides.

    def on_start(self) -> None:
        """Subscribe, set timers. Called once, before the first event."""

    def on_quote(self, quote: Quote) -> None:
        """A best bid or ask changed."""

    def on_trade(self, trade: Trade) -> None:
        """The market traded."""

    def on_book(self, book: Book) -> None:
        """A message of depth data has been applied."""

    def on_bar(self, bar: Bar) -> None:
        """A bar has ended."""

    def on_timer(self, name: str) -> None:
        """A timer is due."""

    def on_order(self, order: StrategyOrder) -> None:
        """One of our orders changed: acknowledged, filled, cancelled, denied …"""

    def on_fill(self, fill: Fill) -> None:
        """One of our orders traded. `on_order` of the same event has been called before."""

    def on_stop(self) -> None:
        """The run ends; orders sent here still go out."""

    def save_state(self) -> dict[str, Any]:
        """What must survive a restart, as plain values. Orders and positions survive by themselves."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `save_state` gave; called before `on_start` of a restarted strategy."""

    # What a user calls.

    @property
    def now(self) -> int:
        """Local time, ns since the epoch."""
        return self.host.now()

    def market(self, instrument_id: str) -> Market:
        """The market `SYMBOL.VENUE`; an unknown one is an error that names the nearest."""
        index = self.host.universe.index
        if instrument_id not in index:
            raise UserError(
                f"strategy {self.name}: unknown instrument {instrument_id!r}{nearest(instrument_id, index)}"
            )
        return self.market_number(index[instrument_id])

    def market_number(self, number: int) -> Market:
        """The market of an instrument's number in the run."""
        found = self.__markets.get(number)
        if found is None:
            found = self.__markets[number] = Market(self, number)
        return found

    def subscribe_quotes(self, market: Market) -> None:
        """Call `on_quote` for every best-bid/ask record of the market."""
        self.host.subscribe(market.number, WAKE_QUOTE)

    def subscribe_trades(self, market: Market) -> None:
        """Call `on_trade` for every trade."""
        self.host.subscribe(market.number, WAKE_TRADE)

    def subscribe_book(self, market: Market) -> None:
        """Call `on_book` after every message of depth data."""
        self.host.subscribe(market.number, WAKE_BOOK)

    def subscribe_bars(self, market: Market, interval: str | int) -> None:
        """Call `on_bar` at the end of each interval (`"1m"`, or ns) in which the market traded."""
        self.host.subscribe_bars(market.number, duration(interval))

    def every(self, interval: str | int, name: str = "") -> None:
        """Call `on_timer(name)` every interval from now on, at whole multiples of it."""
        step = duration(interval)
        self.host.timer(step, (self.now // step + 1) * step, name)

    def after(self, delay: str | int, name: str = "") -> None:
        """Call `on_timer(name)` once, after a delay."""
        self.host.timer(0, self.now + duration(delay), name)

    def cancel(self, order: StrategyOrder) -> None:
        """Ask for an order's cancel; nothing happens when it has ended or a cancel is on its way."""
        if order.cancellable:
            self.host.command(CancelOrder(self.now, order.cmd_id))

    def replace(self, order: StrategyOrder, qty: int = 0, price: int = 0) -> None:
        """Ask for another total quantity or price; 0 keeps. Fewer lots at the same price keep the queue place."""
        order.asked(qty, price)
        bid, ask, seen = self.host.touch(order.market.number)
        self.host.command(ReplaceOrder(self.now, order.cmd_id, qty, price, bid, ask, seen))

    def cancel_all(self) -> None:
        """Cancel every open order of this strategy."""
        self.host.command(CancelAll(self.now, account=-1, strategy=self.number))

    def stop(self, reason: str = "") -> None:
        """End this strategy's run after the handler returns."""
        self.host.stop(reason)

    # What the host and `Market` call.

    def submit(
        self, market: Market, side: Side, ord_type: OrdType, qty: int, price: int, tif: TimeInForce, inst: int,
        stop_price: int, display_qty: int, offset: int, expire_ts: int, links: tuple[int, int, int],
    ) -> StrategyOrder:  # fmt: skip
        """Write the command of a new order and hand it over; use `Market.buy`, `sell` or `submit`."""
        self.__commands += 1
        cmd_id = (self.number << CMD_SHIFT) | self.__commands
        bid, ask, seen = self.host.touch(market.number)
        command = NewOrder(
            self.host.now(), cmd_id, self.account, self.number, market.number, side, ord_type, qty, price,
            stop_price, tif, inst, display_qty, offset, expire_ts, bid, ask, seen,
            _CONTINGENCY[links[0]], links[1], links[2],
        )  # fmt: skip
        order = StrategyOrder(market, command)
        self.orders[cmd_id] = order
        self.host.command(command)
        return order

    def bracket(
        self,
        market: Market,
        side: Side,
        qty: int,
        price: int,
        take_profit: int,
        stop_loss: int,
        post_only: bool,
    ) -> tuple[StrategyOrder, StrategyOrder, StrategyOrder]:
        """See `Market.bracket`."""
        entry = market.submit(side, qty, price, post_only=post_only, contingency=Contingency.OTO)
        exits: dict[str, Any] = {
            "contingency": Contingency.OCO,
            "link_group": entry.cmd_id,
            "parent_cmd_id": entry.cmd_id,
        }
        # Not reduce-only: both exits are open at once for the same position, and the lane keeps them to what filled.
        profit = market.submit(side.opposite, qty, take_profit, **exits)
        loss = market.submit(side.opposite, qty, ord_type=OrdType.STOP, stop_price=stop_loss, **exits)
        return entry, profit, loss

    def restore(self, view: StrategyView) -> None:
        """Take back the orders of an earlier life, as their lane holds them; new commands are numbered on."""
        for found in view.orders:
            order = StrategyOrder(self.market_number(found.command.instrument), found.command)
            order.restore(found.event, found.cum_value)
            if order.open:
                self.orders[order.cmd_id] = order
            else:
                self.__remember(order)
        if view.last_cmd:
            self.__commands = (view.last_cmd & _COUNTER) + _IN_FLIGHT

    def __remember(self, order: StrategyOrder) -> None:
        """Keep an ended order for a while: a fill can still arrive after a cancel was confirmed."""
        self.__ended[order.cmd_id] = order
        if len(self.__ended) > _REMEMBERED:
            self.__ended.popitem(last=False)

    def deliver(self, event: OrderEvent) -> None:
        """An order event of this strategy: move the order, then call the handlers."""
        order = self.orders.get(event.cmd_id)
        if order is None:
            order = self.__ended.get(event.cmd_id)
            if order is None:
                return
        order.adopt(event)
        if event.status < _FILLED:
            self.orders[event.cmd_id] = (
                order  # a bracket's exit may be followed by another of the same command
            )
        elif self.orders.pop(event.cmd_id, None) is not None:
            self.__remember(order)
        self.on_order(order)
        if event.exec_type is _TRADE and booked(event):
            self.on_fill(
                Fill(
                    order, order.market, event.ts, order.side, event.last_px, event.last_qty, event.fee,
                    event.maker, event.exec_id,
                )
            )  # fmt: skip
