"""A real lane and a small venue, brought into any pair of states that the table of reconciliation knows."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from lane_world import MS, SETTINGS, CountingGate, Venue, VenueOrder, new, sends, universe

from tidegate.execution.core import Lane
from tidegate.execution.ids import cl_ord_id
from tidegate.execution.reconcile import Looks, Plan, Rules, VenueView, answered, compare, lane_view
from tidegate.execution.reconcile_table import Ours, Theirs
from tidegate.model.messages import (
    CancelOrder,
    Message,
    NewOrder,
    ReplaceOrder,
    Report,
    SendNew,
    SendStatus,
    Tick,
)
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.ledger import Ledger

LANE, ACCOUNT = 3, 1
RULES = Rules()
SECOND = 1000 * MS


class Shown(msgspec.Struct, frozen=True):
    """An open order as the venue lists it."""

    cl_ord_id: int
    instrument: int
    side: Side
    qty: int
    price: int
    cum_qty: int
    leaves_qty: int
    status: OrdStatus
    ts_venue: int
    text_id: str = ""


class Past(msgspec.Struct, frozen=True):
    """A fill of the venue's history."""

    report: Report
    instrument: int
    side: Side
    text_id: str = ""


@dataclass
class World:
    """The lane follows what it is told; what is not told, it has missed."""

    lane: Lane
    venue: Venue = field(default_factory=Venue)
    now: int = 1000 * SECOND
    key: int = 0
    lost: list[Past] = field(default_factory=list)
    """Fills that nobody told us."""
    looks: Looks = field(default_factory=Looks)
    again: bool = False

    def tell(self, *messages: Message) -> list[Message]:
        self.now += MS
        out: list[Message] = []
        for message in messages:
            out += self.lane.apply(message)
        return out

    def place(self, cmd_id: int = 1, heard: bool = True, **more) -> int:
        """A new order that reaches the venue; `heard`: its acknowledgement reaches us."""
        (request,) = sends(self.tell(new(cmd_id, ts=self.now, **more)), SendNew)
        reports = self.venue.handle(request, self.now)
        if heard:
            self.tell(*reports)
        return request.cl_ord_id

    def fill(self, qty: int, heard: bool = False, late: bool = False) -> None:
        """A fill; unheard, the venue's history has it at the next look, unless it is late."""
        self.now += MS
        report = self.venue.fill(self.key, qty, self.now)
        order = self.venue.orders[self.key].request
        if heard:
            self.tell(report)
        elif not late:
            self.lost.append(Past(report, order.instrument, order.side))

    def settle(self) -> None:
        """Time passes, and what the lane asks for is answered."""
        for _ in range(6):
            self.now += SECOND
            for question in sends(self.tell(Tick(self.now)), SendStatus):
                self.tell(*self.venue.status(question.cl_ord_id, self.now))

    def inject(self, key: int) -> int:
        """An order at the venue that no request of ours placed."""
        request = SendNew(
            self.now, key, ACCOUNT, 0, Side.BUY, OrdType.LIMIT, 10, 100, 0, TimeInForce.GTC, 0, 0, 0, 0
        )
        self.venue.orders[key] = VenueOrder(request, 10, 100)
        return key

    def shown(self) -> list[Shown]:
        return [
            Shown(
                key if key > 0 else 0, o.request.instrument, o.request.side, o.qty, o.price, o.cum, o.leaves, o.status,
                self.now, str(key),
            )
            for key, o in self.venue.orders.items()
            if o.open
        ]  # fmt: skip

    def look(self, began: int | None = None) -> Plan:
        """One look, carried out as the gateway does: fills first, then what the plan says."""
        self.now += 2 * SECOND
        began = self.now if began is None else began
        self.tell(*(past.report for past in self.lost))
        view = VenueView(began, self.now, self.shown(), list(self.lost))
        lanes = {LANE: lane_view(self.lane, ACCOUNT, ids=view.ids())}
        before = self.looks
        plan = compare(view, lanes, before, RULES)
        self.lost.clear()
        self.tell(*plan.reports)
        for question, order in plan.ask:
            self.tell(*answered(plan, before, RULES, order, self.venue.status(question.cl_ord_id, self.now)))
        for cancel in plan.cancel:
            self.tell(*self.venue.handle(cancel, self.now))
        self.looks = plan.looks
        self.lane.check()
        return plan


def world(max_qty: int = 40) -> World:
    settings = msgspec.structs.replace(SETTINGS, history=2)
    u = universe()
    return World(Lane(LANE, u, CountingGate(max_qty), Ledger(u), settings))


def standing(w: World, filled: bool = False) -> None:
    w.key = w.place()
    if filled:
        w.fill(3, heard=True)


def unknown(w: World, filled: bool = False) -> None:
    standing(w, filled)
    w.tell(ReplaceOrder(w.now, 1, price=101))
    w.now += SECOND
    w.tell(Tick(w.now))


def replacing(w: World, filled: bool = False) -> None:
    standing(w, filled)
    w.tell(ReplaceOrder(w.now, 1, price=101))


def canceling(w: World, filled: bool = False) -> None:
    standing(w, filled)
    w.tell(CancelOrder(w.now, 1))


def waiting(w: World) -> None:
    w.place()
    w.tell(new(2, ts=w.now, side=Side.SELL, price=105, parent_cmd_id=1))
    w.key = w.inject(w.lane.by_command(2).cl_ord_id)


def denied(w: World) -> None:
    w.tell(new(1, qty=41, ts=w.now))
    w.key = w.inject(w.lane.by_command(1).cl_ord_id)


def closed(w: World) -> None:
    standing(w)
    w.tell(Report(w.now, w.key, ExecType.CANCELED, ts_venue=w.now))


def forgotten(w: World) -> None:
    closed(w)
    first = w.key
    for cmd_id in (2, 3):
        w.key = w.place(cmd_id)
        w.tell(w.venue.end(w.key, ExecType.CANCELED, w.now))
    w.key = first


def pending_new(w: World, filled: bool = False) -> None:
    w.key = w.place(heard=False)


REACH = {
    Ours.MOVING: standing,
    Ours.PENDING_NEW: pending_new,
    Ours.NEW: standing,
    Ours.PARTIALLY_FILLED: lambda w, filled=True: standing(w, True),
    Ours.PENDING_REPLACE: replacing,
    Ours.PENDING_CANCEL: canceling,
    Ours.UNKNOWN: unknown,
    Ours.CREATED: waiting,
    Ours.DENIED: denied,
    Ours.CLOSED: closed,
    Ours.FORGOTTEN: forgotten,
    Ours.NEVER_GIVEN: lambda w: setattr(w, "key", w.inject(cl_ord_id(LANE, 999))),
    Ours.FOREIGN: lambda w: setattr(w, "key", w.inject(-7)),
}
"""How an order comes into each state of our books; it is open at the venue then."""


def bust(w: World) -> None:
    w.venue.bust(w.key, w.venue.exec_ids, w.now)


def vanish(w: World) -> None:
    del w.venue.orders[w.key]


MEANWHILE = {
    Theirs.OPEN: lambda w: None,
    Theirs.SAME: lambda w: None,
    Theirs.AHEAD: lambda w: w.fill(2, late=True),
    Theirs.BEHIND: bust,
    Theirs.CHANGED: lambda w: w.venue.restate(w.key, 8, w.now),
    Theirs.GONE: lambda w: w.venue.end(w.key, ExecType.CANCELED, w.now),
    Theirs.FILL: lambda w: w.fill(10),
    Theirs.STATUS: lambda w: w.venue.end(w.key, ExecType.CANCELED, w.now),
    Theirs.NOT_FOUND: vanish,
}
"""What then happens at the venue, unheard by us."""


def reach(ours: Ours, theirs: Theirs) -> World:
    """A world with one order, `key`, in this cell of the table."""
    w = world()
    REACH[ours](w, filled=True) if theirs is Theirs.BEHIND else REACH[ours](w)
    MEANWHILE[theirs](w)
    return w


__all__ = ["MEANWHILE", "REACH", "NewOrder", "World", "reach", "world"]
