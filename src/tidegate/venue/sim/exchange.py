"""The exchange itself: orders in, executions booked, words to whoever owns them. No I/O, no clock.

Time is passed in (ns) and never runs backwards. What stands behind it, a capture or agents, is its `Background`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from tidegate.kernel.exchange_orders import R_WOULD_CROSS
from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import ExecType, OrdStatus, OrdType, SelfTrade, Side
from tidegate.venue.sim import margin, refusal
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.background import Background
from tidegate.venue.sim.bands import Bands
from tidegate.venue.sim.config import VenueConfig
from tidegate.venue.sim.listing import Listing, Listings
from tidegate.venue.sim.order import Execution, Order, Trade
from tidegate.venue.sim.refusal import Refused

if TYPE_CHECKING:
    from tidegate.venue.sim.lending import Lender

FIRST_ORDER, FIRST_TRADE = 1_000_000, 5_000_000
IN_MATCH = "EXPIRED_IN_MATCH"
PREVENTED = 20
"""Reason of an execution that self-trade prevention caused, as the matching engine gives it."""


class Listener(Protocol):
    """Who is told what happens to orders and money."""

    def on_order(self, order: Order, happened: str, ts: int, trade: Trade | None) -> None:
        """`happened` is Binance's execution type (`x`); the order's fields are as they are after it."""

    def on_money(self, account: Account, listing: Listing, ts: int, traded: bool) -> None:
        """Balances that `listing` touches have changed; `traded`: by a fill, not by a lock."""

    def on_moved(
        self, account: Account, market: Market, asset: str, units: int, reason: str, ts: int
    ) -> None:
        """So much (minor units) has come to a balance, or gone, for another reason than an order."""


class Exchange:
    """Accounts and their orders over a background."""

    def __init__(self, listings: Listings, config: VenueConfig, listener: Listener) -> None:
        self.listings, self.config, self.listener = listings, config, listener
        self.accounts = [
            Account(item, number, listings, config.spot_fee) for number, item in enumerate(config.accounts)
        ]
        self.by_key = {account.key: account for account in self.accounts}
        self.live: dict[int, Order] = {}
        """Open orders, and one that is just being placed, by id."""
        self.halted: set[int] = set()
        self.bands = Bands()
        self.paused: dict[int, str] = {}
        """Halts that the exchange's own rules began, and why."""
        self.counters: dict[str, int] = {}
        self._next_order, self._next_trade = FIRST_ORDER, FIRST_TRADE
        self._refusal = 0
        self._excess: list[Order] = []
        self.background: Background
        self.lender: Lender | None = None

    def stand_on(self, background: Background) -> None:
        """The background, whose sink is `executed`; before anything else."""
        self.background = background

    def count(self, name: str) -> None:
        """One more of what is worth knowing."""
        self.counters[name] = self.counters.get(name, 0) + 1

    @property
    def last_trade(self) -> int:
        """The id of the last trade."""
        return self._next_trade - 1

    # Time and the market.

    def advance(self, now: int) -> None:
        """Everything due at or before `now` happens."""
        self.background.advance(now)
        self._settle(now)
        if self.bands:
            self._look(now)

    def _look(self, now: int) -> None:
        """Begin and end the halts that price bands and moves lead to."""
        for act in self.bands.look(now, self.mark):
            if act.halted and act.number not in self.halted:
                self.paused[act.number] = act.why
                self.count("volatility_halts")
                self.halt(self.listings[act.number], True, now)
            elif not act.halted and self.paused.pop(act.number, ""):
                self.halt(self.listings[act.number], False, now)

    def _check_band(self, listing: Listing, side: Side, price: int, now: int) -> None:
        """Raise `Refused` for a limit beyond the price band."""
        if self.bands and not self.bands.admits(listing.number, side, price, now):
            low, high = self.bands.bounds(listing.number, now) or (0, 0)
            raise refusal.beyond_band(
                listing.futures, side is Side.BUY, listing.price.text(high if side is Side.BUY else low)
            )

    def _settle(self, now: int) -> None:
        """Do what executions led to but could not do while the background was at work."""
        while self._excess:
            order = self._excess.pop()
            if order.open:
                order.ending = "EXPIRED"
                self.background.cancel(order, now)

    def mark(self, number: int) -> int:
        """An instrument's mark, ticks: the middle of its touch, else its last price, 0 before either."""
        bid, ask = self.background.touch(number)
        return (bid + ask) // 2 if bid and ask else bid or ask or self.background.last(number)

    def halt(self, listing: Listing, halted: bool, now: int) -> None:
        """Stop trading in a symbol, or let it go on. Cancels pass meanwhile."""
        (self.halted.add if halted else self.halted.discard)(listing.number)
        self.background.halt(listing.number, halted, now)

    # Orders in.

    def place(self, order: Order, now: int) -> None:
        """Take in an order that passed its symbol's filters. Raises `Refused`; the order then never was."""
        account, listing = order.account, order.listing
        if listing.number in self.halted:
            raise refusal.halted(listing.futures)
        self.advance(now)
        if listing.number in self.halted:  # by what has just been seen
            raise refusal.halted(listing.futures)
        self._check_band(listing, order.side, order.price, now)
        self.check_room(order)
        price = order.resting_price or self._other_side(order)
        if order.reduce_only and not self._reduces(order):
            raise Refused(-2022, "ReduceOnly Order is rejected.")
        if not order.client_id:
            order.client_id = f"web_{self._next_order}"
        expires = self._prevent(order, now)
        if self.lender is not None and order.side_effect:
            self.lender.lend(order, price, now)
        if not account.reserve(order, price, self.mark):
            raise refusal.no_balance(listing.futures)
        if listing.futures and margin.too_large(account, order, price):
            account.release(order)
            raise Refused(-2027, "Exceeded the maximum allowable position at current leverage.")
        order.id, order.ts, order.ts_update = self._next_order, now, now
        self._next_order += 1
        self.live[order.id] = order
        if expires:
            self.executed(Execution(ExecType.NEW, order.id, now))
            self.executed(Execution(ExecType.EXPIRED, order.id, now, reason=PREVENTED))
            return
        self.background.place(order, now)
        self._settle(now)
        if order.status is OrdStatus.REJECTED:
            if order.reason == R_WOULD_CROSS:
                raise refusal.would_take(listing.futures)
            self.count("orders_rejected_by_the_market")
            raise Refused(-2010, f"Order was rejected by the market (reason {order.reason}).")

    def force(self, order: Order, now: int) -> None:
        """Take in an order of the exchange's own making: no filter, no money, and no market it could meet."""
        order.id, order.ts, order.ts_update = self._next_order, now, now
        self._next_order += 1
        self.live[order.id] = order
        self._enter(order)
        self._tell(order, "NEW", now)

    def check_room(self, order: Order) -> None:
        """Raise `Refused` for a client id that is in use, or for too many open orders."""
        account, listing = order.account, order.listing
        known = account.by_client.get((listing.number, order.client_id)) if order.client_id else None
        if known is not None and known.open:
            raise refusal.duplicate_client_id(listing.futures)
        if len(account.open) >= self.config.max_open_orders:
            mine = sum(1 for item in account.open.values() if item.listing is listing)
            if mine >= self.config.max_open_orders:
                if listing.futures:
                    raise Refused(-2025, "Reach max open order limit.")
                raise refusal.filter_failure("MAX_NUM_ORDERS")

    def cancel(self, order: Order, now: int) -> None:
        """Cancel an open order; raises `Refused` where it is none any more."""
        self.advance(now)
        if not order.open:
            raise refusal.unknown_order(True)
        self.background.cancel(order, now)
        if order.status is not OrdStatus.CANCELED:
            raise refusal.unknown_order(True)

    def replace(self, order: Order, qty: int, price: int, now: int) -> None:
        """Change an open order's total quantity and limit; raises `Refused`, and the order stands."""
        self.advance(now)
        if not order.open:
            raise refusal.unknown_order(True)
        if order.listing.number in self.halted:
            raise refusal.halted(order.listing.futures)
        self._check_band(order.listing, order.side, price, now)
        account, held = order.account, order.locked
        if qty > order.cum and not account.reserve_again(order, qty - order.cum, price, self.mark):
            raise refusal.no_balance(order.listing.futures)
        self._refusal = 0
        self.background.replace(order, qty, price, now)
        self._settle(now)
        if self._refusal:
            account.hold(order, held)
            if self._refusal == R_WOULD_CROSS:
                raise refusal.would_take(order.listing.futures)
            raise refusal.unknown_order(True)

    def cancel_all(self, account: Account, market: Market, listing: Listing | None, now: int) -> list[Order]:
        """Cancel every open order of a market, or of one symbol; those that were canceled."""
        self.advance(now)
        mine = [
            order for order in account.open.values()
            if order.listing.market is market and (listing is None or order.listing is listing)
        ]  # fmt: skip
        for order in mine:
            if order.open:
                self.background.cancel(order, now)
        return [order for order in mine if order.status is OrdStatus.CANCELED]

    # What orders are judged by.

    def _other_side(self, order: Order) -> int:
        bid, ask = self.background.touch(order.listing.number)
        return (ask if order.side is Side.BUY else bid) or self.background.last(order.listing.number)

    def _reduces(self, order: Order) -> bool:
        """Whether a reduce-only order has a position left to reduce beside the others that wait to."""
        account, number, sign = order.account, order.listing.number, order.side.sign
        left = -sign * account.positions[number].lots
        for other in account.open.values():
            if other.reduce_only and other.listing.number == number and other.side is order.side:
                left -= other.leaves
        return order.qty <= left

    def _prevent(self, order: Order, now: int) -> bool:
        """Self-trade prevention where own orders do not meet by themselves; whether the new order expires.

        An own order counts as met when it is priced no worse than the market's best: by price, then, it would be
        first in line.
        """
        mode = order.self_trade
        if mode is SelfTrade.ALLOW or self.background.own_orders_meet or order.post_only or order.stop:
            return False
        sign, best = order.side.sign, self._other_side(order)
        met = [
            other for account in self._owned_by(order.account.owner) for other in account.open.values()
            if other.listing is order.listing and other.side is not order.side and other.working
            and (order.ord_type is OrdType.MARKET or sign * other.price <= sign * order.price)
            and (not best or sign * other.price <= sign * best)
        ]  # fmt: skip
        if met and mode in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            for other in met:
                other.ending = IN_MATCH
                self.background.cancel(other, now)
        return bool(met) and mode is not SelfTrade.CANCEL_OLDEST

    def _owned_by(self, owner: str) -> Iterable[Account]:
        return (account for account in self.accounts if account.owner == owner)

    # What the market says.

    def executed(self, e: Execution) -> None:
        """The background's word on an order."""
        order = self.live.get(e.order_id)
        if order is None:
            self.count("executions_of_unknown_orders")
            return
        kind = e.kind
        if kind is ExecType.TRADE:
            order.leaves = e.leaves
            self.trade(order, e.last_qty, e.last_px, e.maker, e.ts)
            return
        order.ts_update = e.ts
        if kind is ExecType.NEW:
            self._enter(order)
            self._tell(order, "NEW", e.ts)
        elif kind is ExecType.CANCELED:
            self._end(order, OrdStatus.CANCELED, "CANCELED", e.ts)
        elif kind is ExecType.EXPIRED:
            order.reason = e.reason
            if e.reason == PREVENTED:
                order.ending = IN_MATCH
            self._end(order, OrdStatus.EXPIRED, "EXPIRED", e.ts)
        elif kind is ExecType.REPLACED:
            order.qty, order.price, order.leaves = e.qty, e.price, e.qty - order.cum
            self._tell(order, "AMENDMENT" if order.listing.futures else "REPLACED", e.ts)
        elif kind is ExecType.REJECTED:
            order.status, order.reason = OrdStatus.REJECTED, e.reason
            self._release(order, e.ts)
            del self.live[order.id]
        elif kind is ExecType.CANCEL_REJECTED:
            self._refusal = e.reason or -1
        elif kind is ExecType.TRIGGERED:
            order.working = order.triggered = True
            self._tell(order, "NEW", e.ts)
        elif kind is ExecType.RESTATED and e.leaves < order.leaves:
            order.account.hold(order, order.locked * e.leaves // order.leaves)
            order.leaves, order.qty = e.leaves, order.cum + e.leaves
            self._tell(order, "TRADE_PREVENTION", e.ts)

    def trade(self, order: Order, qty: int, price: int, maker: bool, ts: int) -> Trade:
        """Book a fill; `order.leaves` is what remains after it."""
        account = order.account
        trade = Trade(self._next_trade, order, qty, price, maker, ts, 0, "")
        self._next_trade += 1
        order.cum += qty
        order.value += order.listing.weight(qty, price)
        order.turnover += order.listing.value(qty, price)
        order.ts_update = ts
        account.fill(order, trade)
        if self.lender is not None and order.side_effect:
            self.lender.traded(trade)
        remember(account.trades, trade.id, trade, self.config.history)
        if order.leaves == 0 and order.cum >= order.qty:
            self._close(order, OrdStatus.FILLED, ts)
        elif order.open:
            order.status = OrdStatus.PARTIALLY_FILLED
        self.listener.on_order(order, "TRADE", ts, trade)
        self.listener.on_money(account, order.listing, ts, True)
        if order.listing.futures:
            self._trim(account, order.listing)
        return trade

    def _enter(self, order: Order) -> None:
        account = order.account
        order.status = OrdStatus.NEW
        order.working = not order.stop and order.ord_type is not OrdType.TRAILING_STOP
        account.open[order.id] = order
        account.by_client[order.listing.number, order.client_id] = order
        account.orders[order.id] = order
        if len(account.orders) > self.config.history:
            self._forget(account)

    def _forget(self, account: Account) -> None:
        """Drop the oldest order that has ended; open ones stay."""
        for old in account.orders.values():
            if not old.open:
                del account.orders[old.id]
                if account.by_client.get((old.listing.number, old.client_id)) is old:
                    del account.by_client[old.listing.number, old.client_id]
                return

    def _close(self, order: Order, status: OrdStatus, ts: int) -> None:
        order.status, order.leaves, order.working = status, 0, False
        self._release(order, ts)
        order.account.open.pop(order.id, None)
        self.live.pop(order.id, None)

    def _release(self, order: Order, ts: int) -> None:
        left = order.locked
        order.account.release(order)
        if self.lender is not None and order.lent:
            self.lender.ended(order, left, ts)

    def _end(self, order: Order, status: OrdStatus, happened: str, ts: int) -> None:
        if order.status is OrdStatus.PENDING_NEW:  # it expired on arrival, before it was acknowledged
            self._enter(order)
        if order.ending:
            status, happened = OrdStatus.EXPIRED, "EXPIRED"
        self._close(order, status, ts)
        self._tell(order, happened, ts)

    def _tell(self, order: Order, happened: str, ts: int) -> None:
        self.listener.on_order(order, happened, ts, None)
        if not order.listing.futures:
            self.listener.on_money(order.account, order.listing, ts, False)

    def _trim(self, account: Account, listing: Listing) -> None:
        """Reduce-only orders beyond what is left of the position expire, the newest first."""
        waiting = [o for o in account.open.values() if o.reduce_only and o.listing is listing]
        if not waiting:
            return
        lots = account.positions[listing.number].lots
        for side in (Side.BUY, Side.SELL):
            mine = [o for o in waiting if o.side is side and o.open]
            excess = sum(o.leaves for o in mine) - max(0, -side.sign * lots)
            while excess > 0 and mine:
                order = mine.pop()
                excess -= order.leaves
                self._excess.append(order)


def remember(kept: dict[int, Trade], key: int, value: Trade, limit: int) -> None:
    """Keep `value`; the oldest is forgotten beyond `limit`."""
    kept[key] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]
