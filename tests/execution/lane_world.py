"""A small world for a lane: a gate that counts, a ledger that sums, a venue with a book of its orders.

The venue is a real exchange in little: it holds the true state of every order it was sent, answers requests
and reports what happens, in its own time. What the network then does to requests and reports (duplicates,
reorders, drops) is the tests' business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.state import Settings
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import (
    Message,
    NewOrder,
    OrderEvent,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
    SendStatus,
)
from tidegate.model.order import ExecType, Order, OrdStatus, OrdType, Side, TimeInForce

MS = 1_000_000
SETTINGS = Settings(ack_timeout=100 * MS, reconciliation_window=500 * MS, max_backoff=800 * MS, history=64)
THROTTLED, TOO_LARGE = 86, 40
PLACE = (1, 0)
"""Account and instrument of the orders that `new` writes."""


def universe() -> Universe:
    return Universe(
        [
            Instrument(
                symbol=f"C{n}", venue="X", kind=InstrumentKind.PERPETUAL, base="C", quote="USDT",
                tick=Decimal("0.01"), lot=Decimal("0.001"),
            )
            for n in range(3)
        ]
    )  # fmt: skip


class CountingGate:
    """Keeps each open order's charged lots, and positions; refuses what is too large or throttled.

    A mark that is one tick wide closes the cancels' throttle, any other opens it: so the log decides.
    """

    def __init__(self, max_qty: int = 1 << 40) -> None:
        self.limit = self.value = self.scope = 0
        self.max_qty = max_qty
        self.cancels_allowed = True
        self.charges: dict[int, int] = {}
        self.positions: dict[int, int] = {}
        self.states: dict[int, int] = {}
        self.calls = 0
        self.clock = 0

    def check(self, order: Order, ref_bid: int, ref_ask: int, ref_ts: int, ts: int) -> int:
        self.calls += 1
        assert order.cl_ord_id not in self.charges
        if order.qty > self.max_qty:
            self.limit, self.value, self.scope = self.max_qty, order.qty, 7
            return TOO_LARGE
        self.charges[order.cl_ord_id] = order.leaves_qty
        return 0

    def check_replace(self, order, new_qty, new_price, ref_bid, ref_ask, ref_ts, ts) -> int:
        self.calls += 1
        self.limit = self.value = self.scope = 0
        if new_qty <= order.cum_qty:
            return 23
        if new_qty > self.max_qty:
            self.limit, self.value, self.scope = self.max_qty, new_qty, 7
            return TOO_LARGE
        self.charges[order.cl_ord_id] = max(self.charges[order.cl_ord_id], new_qty - order.cum_qty)
        return 0

    def _set(self, key: int, lots: int) -> None:
        assert lots >= 0, f"negative charge {lots}"
        if lots:
            self.charges[key] = lots
        else:
            del self.charges[key]

    def replaced(self, order, new_qty, new_price, ts) -> None:
        assert order.cl_ord_id in self.charges
        self._set(order.cl_ord_id, max(0, new_qty - order.cum_qty))

    def replace_rejected(self, order, new_qty, new_price, ts) -> None:
        assert new_qty == order.pending_qty
        if order.cl_ord_id in self.charges:
            self._set(order.cl_ord_id, order.leaves_qty)

    def check_cancel(self, order, ts) -> int:
        self.calls += 1
        self.limit = self.value = self.scope = 0
        return 0 if self.cancels_allowed else THROTTLED

    def fill(self, order, qty, price, fee, ts) -> None:
        signed = qty if order.side is Side.BUY else -qty
        self.positions[order.instrument] = self.positions.get(order.instrument, 0) + signed
        if order.cl_ord_id in self.charges:
            left = 0 if qty >= order.leaves_qty else self.charges[order.cl_ord_id] - qty
            self._set(order.cl_ord_id, left)

    def unfill(self, order, qty, price, fee, ts) -> None:
        signed = qty if order.side is Side.BUY else -qty
        self.positions[order.instrument] -= signed

    def release(self, order, qty, ts, refused=False) -> None:
        assert qty == order.leaves_qty
        del self.charges[order.cl_ord_id]

    def may_adopt(self, account: int, strategy: int, lots: int, price: int) -> None:
        if account < 0 or strategy < -1:
            raise ValueError(f"account {account}, strategy {strategy}")

    def adopt(self, account, strategy, instrument, lots, price, ts) -> None:
        self.positions[instrument] = self.positions.get(instrument, 0) + lots

    def set_instrument_state(self, instrument: int, state: int, ts: int) -> None:
        self.states[-1 - instrument] = state

    def covers(self, scope: int, account: int, strategy: int) -> bool:
        return scope == 0

    def mark(self, instrument, bid, ask, ts) -> None:
        self.cancels_allowed = ask - bid != 1

    def funding(self, instrument, rate, price, ts) -> None:
        self.calls += 1

    def clock_limit(self) -> int:
        return self.clock

    def tick(self, ts) -> None:
        pass

    def scope_state(self, scope: int) -> int:
        return self.states.get(scope, 0)

    def set_state(self, scope, state, ts) -> None:
        self.states[scope] = state

    def state_bytes(self) -> bytes:
        tables = [sorted(table.items()) for table in (self.charges, self.positions, self.states)]
        return msgspec.msgpack.encode([*tables, self.calls, self.cancels_allowed])

    def load(self, data: bytes) -> None:
        charges, positions, states, self.calls, self.cancels_allowed = msgspec.msgpack.decode(data)
        self.charges, self.positions, self.states = dict(charges), dict(positions), dict(states)


class SummingLedger:
    """Positions and the fills behind them; a bust must undo a fill that was booked."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.fills: dict[tuple[int, ...], int] = {}
        self.funded = 0

    def apply_fill(self, account, strategy, instrument, signed_lots, price_ticks, fee_units, ts) -> None:
        self.positions[instrument] = self.positions.get(instrument, 0) + signed_lots
        key = (account, strategy, instrument, signed_lots, price_ticks, fee_units)
        self.fills[key] = self.fills.get(key, 0) + 1

    def bust(self, account, strategy, instrument, signed_lots, price_ticks, fee_units, ts) -> None:
        key = (account, strategy, instrument, signed_lots, price_ticks, fee_units)
        assert self.fills.get(key, 0) > 0, f"bust of a fill never booked: {key}"
        self.fills[key] -= 1
        self.positions[instrument] -= signed_lots

    def correct(self, account, strategy, instrument, old, new, ts) -> None:
        self.bust(account, strategy, instrument, *old, ts)
        self.apply_fill(account, strategy, instrument, *new, ts)

    def apply_funding(self, instrument, rate, price, ts) -> None:
        self.funded += 1

    def state_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            [sorted(self.positions.items()), sorted(self.fills.items()), self.funded]
        )

    def load(self, data: bytes) -> None:
        positions, fills, self.funded = msgspec.msgpack.decode(data)
        self.positions = dict(positions)
        self.fills = {tuple(key): n for key, n in fills}


def lane(settings: Settings = SETTINGS, max_qty: int = 1 << 40, number: int = 3) -> Lane:
    return Lane(number, universe(), CountingGate(max_qty), SummingLedger(), settings)


def new(cmd_id: int, qty: int = 10, price: int = 100, side: Side = Side.BUY, ts: int = 1, **more) -> NewOrder:
    defaults = {
        "account": 1,
        "strategy": 2,
        "instrument": 0,
        "ord_type": OrdType.LIMIT,
        "time_in_force": TimeInForce.GTC,
    }
    return NewOrder(ts=ts, cmd_id=cmd_id, side=side, qty=qty, price=price, **{**defaults, **more})


def sends(out: list[Message], kind: type = object) -> list[Message]:
    """The requests to the gateway among a lane's outputs."""
    kinds = (SendNew, SendCancel, SendReplace, SendStatus)
    return [m for m in out if isinstance(m, kinds) and isinstance(m, kind)]


def events(out: list[Message]) -> list[OrderEvent]:
    """The order events among a lane's outputs."""
    return [m for m in out if isinstance(m, OrderEvent)]


@dataclass
class VenueOrder:
    """The truth about one order."""

    request: SendNew
    qty: int
    price: int
    cum: int = 0
    status: OrdStatus = OrdStatus.NEW
    fills: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    history: list[Report] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.status < OrdStatus.FILLED

    @property
    def leaves(self) -> int:
        return self.qty - self.cum if self.open else 0


class Venue:
    """Answers requests, fills orders, and reports; `tells` is whether reports carry CumQty and LeavesQty."""

    def __init__(self, tells: bool = True) -> None:
        self.orders: dict[int, VenueOrder] = {}
        self.tells = tells
        self.exec_ids = 0
        self.reject_next = False

    def report(self, key: int, exec_type: ExecType, now: int, **more) -> Report:
        order = self.orders.get(key)
        told = {"cum_qty": order.cum, "leaves_qty": order.leaves} if order and self.tells else {}
        r = Report(ts=now, cl_ord_id=key, exec_type=exec_type, ts_venue=now, **{**told, **more})
        if order and exec_type in (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
            order.history.append(r)
        return r

    def handle(self, m: Message, now: int) -> list[Report]:
        """What the venue answers to one request."""
        if isinstance(m, SendNew):
            return self._new(m, now)
        if isinstance(m, SendCancel):
            return self._cancel(m, now)
        if isinstance(m, SendReplace):
            return self._replace(m, now)
        assert isinstance(m, SendStatus)
        return self.status(m.cl_ord_id, now)

    def _new(self, m: SendNew, now: int) -> list[Report]:
        assert m.cl_ord_id not in self.orders, "one intent was sent twice"
        order = self.orders[m.cl_ord_id] = VenueOrder(m, m.qty, m.price)
        if self.reject_next:
            self.reject_next = False
            order.status = OrdStatus.REJECTED
            return [self.report(m.cl_ord_id, ExecType.REJECTED, now, reason=211)]
        return [self.report(m.cl_ord_id, ExecType.NEW, now)]

    def _cancel(self, m: SendCancel, now: int) -> list[Report]:
        order = self.orders.get(m.cl_ord_id)
        if order is not None and order.open:
            order.status = OrdStatus.CANCELED
            return [self.report(m.cl_ord_id, ExecType.CANCELED, now)]
        return [self._refuse(m.cl_ord_id, now)]

    def _replace(self, m: SendReplace, now: int) -> list[Report]:
        order = self.orders.get(m.cl_ord_id)
        if order is None or not order.open or m.qty <= order.cum:
            return [self._refuse(m.cl_ord_id, now, m.qty, m.price)]
        order.qty, order.price = m.qty, m.price
        return [self.report(m.cl_ord_id, ExecType.REPLACED, now, qty=m.qty, price=m.price)]

    def _refuse(self, key: int, now: int, qty: int = 0, price: int = 0) -> Report:
        order = self.orders.get(key)
        status = order.status if order and self.tells else OrdStatus.CREATED
        return self.report(
            key, ExecType.CANCEL_REJECTED, now, qty=qty, price=price, status=status, reason=203
        )

    def status(self, key: int, now: int) -> list[Report]:
        """The answer to a status request: all fills and busts again, then how the order stands."""
        order = self.orders.get(key)
        if order is None:
            return [Report(ts=now, cl_ord_id=key, exec_type=ExecType.NOT_FOUND, ts_venue=now)]
        again = [msgspec.structs.replace(r, ts=now) for r in order.history]
        answer = Report(
            ts=now, cl_ord_id=key, exec_type=ExecType.ORDER_STATUS, ts_venue=now, status=order.status,
            cum_qty=order.cum, leaves_qty=order.leaves, price=order.price,
        )  # fmt: skip
        return [*again, answer]

    def fill(self, key: int, qty: int, now: int) -> Report:
        """Trade `qty` of an open order."""
        order = self.orders[key]
        qty = min(qty, order.leaves)
        self.exec_ids += 1
        price = order.price or 100
        order.fills[self.exec_ids] = (qty, price, qty)
        order.cum += qty
        if order.cum == order.qty:
            order.status = OrdStatus.FILLED
        elif order.status is OrdStatus.NEW:
            order.status = OrdStatus.PARTIALLY_FILLED
        return self.report(
            key, ExecType.TRADE, now, exec_id=self.exec_ids, last_qty=qty, last_px=price, fee=qty, maker=True
        )

    def bust(self, key: int, exec_id: int, now: int) -> Report:
        """Take a fill back; what was busted does not come back to the book."""
        order = self.orders[key]
        qty = order.fills.pop(exec_id)[0]
        order.cum -= qty
        order.qty -= qty
        if order.open and order.qty == order.cum:
            order.status = OrdStatus.CANCELED
        self.exec_ids += 1
        return self.report(key, ExecType.TRADE_CANCEL, now, exec_id=self.exec_ids, ref_exec_id=exec_id)

    def correct(self, key: int, exec_id: int, price: int, now: int) -> Report:
        """Change a fill's price."""
        order = self.orders[key]
        qty, _, fee = order.fills.pop(exec_id)
        self.exec_ids += 1
        order.fills[self.exec_ids] = (qty, price, fee)
        return self.report(
            key, ExecType.TRADE_CORRECT, now, exec_id=self.exec_ids, ref_exec_id=exec_id, last_qty=qty,
            last_px=price, fee=fee,
        )  # fmt: skip

    def end(self, key: int, exec_type: ExecType, now: int) -> Report:
        """Cancel or expire an order unasked."""
        order = self.orders[key]
        order.status = OrdStatus.CANCELED if exec_type is ExecType.CANCELED else OrdStatus.EXPIRED
        return self.report(key, exec_type, now, reason=217)

    def restate(self, key: int, qty: int, now: int) -> Report:
        """Cut an order's quantity unasked."""
        order = self.orders[key]
        order.qty = max(order.cum + 1, qty)
        return self.report(key, ExecType.RESTATED, now, qty=order.qty, price=order.price)
