"""A little exchange, exact: what is true of every order and fill, whatever our side believes.

The market is a touch that walks by a seed, one tick wide or more, and takes what it is asked for. On every step of the
walk, resting orders that the touch has crossed fill at their price, those at the touch sometimes, whole or in part. An
order that comes trades with our own resting orders where they are better than the touch, then with the touch. Prices
are ticks, quantities lots, times ns; fees are `FEE` minor units a lot.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecInst, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason

FEE = 7
DEPOSIT = 10**6 * 10**8
"""USDT of each account, in minor units."""
Fill = tuple[int, int, int]
"""(quantity, price, fee)."""
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass
class Truth:
    """One order as it is."""

    key: int
    account: int
    instrument: int
    side: Side
    qty: int
    price: int
    ts: int
    request: SendNew
    cum: int = 0
    status: OrdStatus = OrdStatus.NEW
    fills: dict[int, Fill] = field(default_factory=dict)
    """By ExecID; those that were taken back are gone."""
    history: list[Report] = field(default_factory=list)
    """Trades, busts and corrections, as reported."""
    changed: int = 0
    """When it was placed or changed last."""

    @property
    def open(self) -> bool:
        return self.status < OrdStatus.FILLED

    @property
    def leaves(self) -> int:
        return self.qty - self.cum if self.open else 0


class Doubled(AssertionError):
    """One ClOrdID was placed twice."""


class Exchange:
    """`tell(account, report)` is called with every report, as it happens; `now` gives the venue's time."""

    def __init__(
        self,
        universe: Universe,
        prices: Sequence[int],
        accounts: int,
        rng: random.Random,
        now: Callable[[], int],
        tell: Callable[[int, Report], None],
    ) -> None:
        self.books = Ledger(universe)
        """Cash and positions by account, every fill in its order; deposits of `DEPOSIT`."""
        self.orders: dict[int, Truth] = {}
        self.open: dict[int, Truth] = {}
        for account in range(accounts):
            self.books.deposit(account, "USDT", DEPOSIT)
        self.touch = [(price, price + 2) for price in prices]
        self.halted = False
        self.storm = False
        """A halted market refuses new orders and does not trade; in a storm, every other new order is refused."""
        self.exec_ids = 0
        self.fills = 0
        self.positions: dict[tuple[int, int], int] = {}
        """Signed lots by (account, instrument)."""
        self.excused: dict[tuple[int, int], int] = {}
        """Lots by which the venue's own whims may have carried a position beyond a limit."""
        self.tape: list[tuple[Truth, Report]] = []
        """All trades, busts and corrections, oldest first."""
        self._home = list(prices)
        self._rng, self.now, self._tell = rng, now, tell

    # What comes in.

    def place(self, m: SendNew) -> None:
        """A new order; raises `Doubled`."""
        if m.cl_ord_id in self.orders:
            raise Doubled(f"order {m.cl_ord_id} was placed twice")
        now = self.now()
        order = Truth(m.cl_ord_id, m.account, m.instrument, m.side, m.qty, m.price, now, m, changed=now)
        self.orders[order.key] = order
        reason = self._refusal(order)
        if reason:
            order.status = OrdStatus.REJECTED
            self._report(order, ExecType.REJECTED, reason=reason)
            return
        self.open[order.key] = order
        self._report(order, ExecType.NEW)
        self._match(order)
        if order.open and (m.ord_type is OrdType.MARKET or m.time_in_force in _IMMEDIATE):
            self._end(order, ExecType.EXPIRED, Reason.IOC_REMAINDER)

    def _refusal(self, order: Truth) -> int:
        m = order.request
        if self.halted:
            return int(Reason.VENUE_HALTED)
        if self.storm and self._rng.random() < 0.5:
            return int(Reason.VENUE_THROTTLE)
        bid, ask = self.touch[order.instrument]
        crosses = order.price >= ask if order.side is Side.BUY else order.price <= bid
        if m.exec_inst & ExecInst.POST_ONLY and crosses:
            return int(Reason.WOULD_CROSS)
        if m.time_in_force is TimeInForce.FOK and not crosses:
            return int(Reason.FOK_NOT_FILLABLE)
        return 0

    def cancel(self, m: SendCancel) -> None:
        """End an order, or say why not."""
        order = self.orders.get(m.cl_ord_id)
        if order is None or not order.open:
            self._refuse(m.cl_ord_id, m.account, order, 0, 0)
        else:
            self._end(order, ExecType.CANCELED, 0)

    def replace(self, m: SendReplace) -> None:
        """Change an order's total quantity and price, or say why not."""
        order = self.orders.get(m.cl_ord_id)
        if order is None or not order.open or m.qty <= order.cum or self.halted:
            self._refuse(m.cl_ord_id, m.account, order, m.qty, m.price)
            return
        order.qty, order.price, order.changed = m.qty, m.price or order.price, self.now()
        self._report(order, ExecType.REPLACED, qty=order.qty, price=order.price)
        self._match(order)

    def cancel_all(self, account: int, instrument: int | None) -> None:
        """End all orders of an account."""
        for order in list(self.open.values()):
            if order.account == account and instrument in (None, order.instrument):
                self._end(order, ExecType.CANCELED, Reason.VENUE_CANCELED)

    def _refuse(self, key: int, account: int, order: Truth | None, qty: int, price: int) -> None:
        status = order.status if order else OrdStatus.CREATED
        reason = Reason.TOO_LATE_TO_CANCEL if order else Reason.UNKNOWN_ORDER
        now = self.now()
        report = Report(
            now, key, ExecType.CANCEL_REJECTED, now, qty=qty, price=price, status=status, reason=int(reason),
            cum_qty=order.cum if order else -1, leaves_qty=order.leaves if order else -1,
        )  # fmt: skip
        self._tell(account, report)

    # What happens.

    def walk(self) -> None:
        """The touch moves, and what it crosses fills."""
        for n, (bid, ask) in enumerate(self.touch):
            pull = 1 if bid < self._home[n] else -1
            step = self._rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2)) + (
                pull if self._rng.random() < 0.15 else 0
            )
            width = self._rng.choice((1, 1, 2, 2, 3)) if self._rng.random() < 0.3 else ask - bid
            self.touch[n] = (bid + step, bid + step + width)
        if not self.halted:
            for order in list(self.open.values()):
                self._touched(order)

    def _touched(self, order: Truth) -> None:
        if not order.open:
            return
        bid, ask = self.touch[order.instrument]
        ahead = order.price - ask if order.side is Side.BUY else bid - order.price
        at = order.price == bid if order.side is Side.BUY else order.price == ask
        if ahead >= 0 or (at and self._rng.random() < 0.2):
            part = order.leaves if self._rng.random() < 0.5 else self._rng.randint(1, order.leaves)
            self._trade(order, part, order.price, True)

    def _match(self, order: Truth) -> None:
        """An order that came or changed takes what it can."""
        if self.halted:
            return
        bid, ask = self.touch[order.instrument]
        buy = order.side is Side.BUY
        limit = order.price if order.request.ord_type is not OrdType.MARKET else 0
        best = ask if buy else bid
        for other in list(self.open.values()):
            if other.instrument != order.instrument or other.side is order.side or not order.leaves:
                continue
            better = other.price <= best if buy else other.price >= best
            if better and (not limit or (other.price <= limit if buy else other.price >= limit)):
                qty = min(order.leaves, other.leaves)
                self._trade(other, qty, other.price, True)
                self._trade(order, qty, other.price, False)
        if order.leaves and (not limit or (limit >= best if buy else limit <= best)):
            whole = limit == 0 or self._rng.random() < 0.8
            self._trade(order, order.leaves if whole else self._rng.randint(1, order.leaves), best, False)

    def _trade(self, order: Truth, qty: int, price: int, maker: bool) -> None:
        self.exec_ids += 1
        self.fills += 1
        fee = FEE * qty
        order.fills[self.exec_ids] = (qty, price, fee)
        self._move(order, qty)
        self.books.apply_fill(order.account, 0, order.instrument, order.side.sign * qty, price, fee, 0)
        if order.open:
            order.status = OrdStatus.FILLED if order.cum >= order.qty else OrdStatus.PARTIALLY_FILLED
        if not order.open:
            self.open.pop(order.key, None)
        self._report(
            order, ExecType.TRADE, exec_id=self.exec_ids, last_qty=qty, last_px=price, fee=fee, maker=maker
        )

    def _move(self, order: Truth, qty: int) -> None:
        order.cum += qty
        place = order.account, order.instrument
        self.positions[place] = self.positions.get(place, 0) + order.side.sign * qty

    def _excuse(self, order: Truth, qty: int) -> None:
        place = order.account, order.instrument
        self.excused[place] = self.excused.get(place, 0) + qty

    def _end(self, order: Truth, kind: ExecType, reason: int) -> None:
        order.status = OrdStatus.CANCELED if kind is ExecType.CANCELED else OrdStatus.EXPIRED
        del self.open[order.key]
        self._report(order, kind, reason=int(reason))

    def _report(self, order: Truth, kind: ExecType, **more: int) -> None:
        now = self.now()
        report = Report(now, order.key, kind, now, cum_qty=order.cum, leaves_qty=order.leaves, **more)  # type: ignore[arg-type]
        if kind in (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
            order.history.append(report)
            self.tape.append((order, report))
        self._tell(order.account, report)

    # What venues do unasked.

    def cancel_unasked(self, rng: random.Random) -> None:
        """The venue cancels an open order."""
        if self.open:
            self._end(rng.choice(list(self.open.values())), ExecType.CANCELED, Reason.VENUE_CANCELED)

    def late_fill(self, rng: random.Random) -> bool:
        """An order canceled lately turns out to have traded one lot before its cancel was told."""
        late = [
            order
            for order in list(self.orders.values())[-20:]
            if order.status is OrdStatus.CANCELED and order.cum < order.qty and order.price
        ]
        if late:
            order = rng.choice(late)
            self._excuse(order, 1)
            self._trade(order, 1, order.price, True)
        return bool(late)

    def take_back(self, rng: random.Random, correct: bool) -> bool:
        """A late fill of a closed order is busted, or its price corrected."""
        found = [
            (order, key)
            for order in list(self.orders.values())[-40:]
            if not order.open
            for key in order.fills
        ]
        if not found:
            return False
        order, key = rng.choice(found)
        qty, price, fee = order.fills.pop(key)
        place, signed = (order.account, 0, order.instrument), order.side.sign * qty
        self.exec_ids += 1
        if correct:
            self.books.correct(*place, (signed, price, fee), (signed, price + 1, fee), 0)
            order.fills[self.exec_ids] = (qty, price + 1, fee)
            self._report(
                order, ExecType.TRADE_CORRECT, exec_id=self.exec_ids, ref_exec_id=key, last_qty=qty,
                last_px=price + 1, fee=fee,
            )  # fmt: skip
        else:
            self.books.bust(*place, signed, price, fee, 0)
            self._excuse(order, qty)
            self._move(order, -qty)
            self._report(order, ExecType.TRADE_CANCEL, exec_id=self.exec_ids, ref_exec_id=key)
        return True
