"""Our books beside the venue's: what to append, to ask, to cancel and to alarm about. Pure; `docs/recovery.md`.

The venue is looked at first (`VenueView`), the lanes after it (`LaneView`), once they have applied every report that
was received meanwhile: so whatever the venue showed, the lane has had its chance to know. An order that was sent or
changed since the look began proves nothing. What is hard to take back waits for a second look that finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from tidegate.execution.ids import lane_of, sequence_of
from tidegate.execution.lane_view import LaneView, ViewOrder, answer_view, lane_view, read_view, view_request
from tidegate.execution.reconcile_plan import (
    Alarm,
    HistoryFill,
    Looks,
    OpenOrder,
    Plan,
    Rules,
    VenueView,
)
from tidegate.execution.reconcile_table import HOLDINGS, ORDERS, Act, Finding, Holding, Measure, Ours, Theirs
from tidegate.model import money
from tidegate.model.messages import Report, SendCancel, SendStatus
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.reasons import Reason

__all__ = [
    "Alarm", "LaneView", "Looks", "Plan", "Rules", "VenueView", "ViewOrder", "answer_view", "answered", "compare",
    "lane_view", "read_view", "shown_status", "view_request",
]  # fmt: skip


def compare(venue: VenueView, lanes: Mapping[int, LaneView | None], before: Looks, rules: Rules) -> Plan:
    """What follows from one look. A lane that did not answer is None: of its orders, and of what is held, nothing
    follows then but that fills were appended."""
    looks = Looks(positions=dict(before.positions), balances=dict(before.balances))
    plan = Plan(looks, reports=[], ask=[], cancel=[], alarms=[], restrict={}, foreign={})
    books = _Books(venue, lanes, rules)
    ahead: set[int] = set(venue.moved)
    shown = set()
    for theirs in venue.orders:
        ours, order = books.find(theirs.cl_ord_id)
        shown.add(theirs.cl_ord_id)
        if ours is None:
            continue
        word = _word(ours, order, theirs)
        plan.moving |= ours is Ours.MOVING and _differs(order, theirs) is not Theirs.SAME
        if word is Theirs.AHEAD:
            ahead.add(theirs.instrument)
        _act(plan, before, rules, _Case(ORDERS[ours, word], ours, word, theirs, order, venue.ended))
    for fill in venue.fills:
        _fill(plan, before, books, fill)
    for view in lanes.values():
        for order in view.orders if view else ():
            if order.cl_ord_id not in shown:
                ours = books.state(order)
                plan.moving |= ours is Ours.MOVING
                if ORDERS[ours, Theirs.GONE] is Act.ASK:
                    plan.ask.append((_question(order, venue.ended), order))
            if order.missing:
                ahead.add(order.instrument)
    if all(view is not None for view in lanes.values()):
        views = [view for view in lanes.values() if view is not None]
        _positions(plan, before, rules, venue, views, ahead)
        _balances(plan, before, rules, venue, views, bool(ahead))
    return plan


class _Books:
    """Our side: every order the lanes told of, by ClOrdID."""

    def __init__(self, venue: VenueView, lanes: Mapping[int, LaneView | None], rules: Rules) -> None:
        self.lanes = lanes
        self.since = venue.began - rules.margin
        self.caught_up = {fill.report.cl_ord_id for fill in venue.fills}
        self.known = {
            order.cl_ord_id: order
            for view in lanes.values()
            if view
            for order in (*view.orders, *view.closed)
        }

    def find(self, cl_ord_id: int) -> tuple[Ours | None, ViewOrder | None]:
        """How our books hold the order; (None, None) where its lane did not answer."""
        order = self.known.get(cl_ord_id)
        if order is not None:
            return self.state(order), order
        lane = lane_of(cl_ord_id)
        if not cl_ord_id or lane not in self.lanes:
            return Ours.FOREIGN, None
        view = self.lanes[lane]
        if view is None:
            return None, None
        return (Ours.FORGOTTEN if sequence_of(cl_ord_id) <= view.given else Ours.NEVER_GIVEN), None

    def state(self, order: ViewOrder) -> Ours:
        """How our books hold an order they know."""
        if order.status is OrdStatus.CREATED:
            return Ours.CREATED
        changed = order.ts_sent if order.cl_ord_id in self.caught_up else order.ts_update
        if max(order.ts_sent, changed) >= self.since:
            return Ours.MOVING  # but for a fill that this very look has brought
        if order.status is OrdStatus.DENIED:
            return Ours.DENIED
        return Ours.CLOSED if order.status.terminal else Ours[order.status.name]


def _word(ours: Ours, order: ViewOrder | None, theirs: OpenOrder) -> Theirs:
    """Which column of the table an open order of the venue's is in."""
    return Theirs.OPEN if (ours, Theirs.OPEN) in ORDERS else _differs(order, theirs)


def _differs(order: ViewOrder | None, theirs: OpenOrder) -> Theirs:
    if order is None or order.status.terminal:
        return Theirs.OPEN
    if theirs.cum_qty != order.cum_qty:
        return Theirs.AHEAD if theirs.cum_qty > order.cum_qty else Theirs.BEHIND
    same = theirs.qty == order.qty and theirs.price in (0, order.price)
    return Theirs.SAME if same else Theirs.CHANGED


class _Case(msgspec.Struct):
    """One open order of the venue's and the act it leads to."""

    act: Act
    ours: Ours
    word: Theirs
    theirs: OpenOrder
    order: ViewOrder | None
    ts: int


def _act(plan: Plan, before: Looks, rules: Rules, case: _Case) -> None:
    theirs, act = case.theirs, case.act
    if act is Act.ADOPT:
        plan.reports.append(shown_status(theirs, case.ts))
    elif act is Act.ASK or act is Act.ASK_ALERT:
        assert case.order is not None
        plan.ask.append((_question(case.order, case.ts), case.order))
        if act is Act.ASK_ALERT and plan.seen(before, ("behind", theirs.cl_ord_id, "")) == rules.looks:
            plan.alarms.append(_order_alarm("order_behind", "high", case))
    elif act is Act.CANCEL:
        times = plan.seen(before, ("stray", theirs.cl_ord_id, ""))
        plan.again |= times < rules.looks
        if times >= rules.looks:
            account = case.order.account if case.order else 0
            plan.cancel.append(SendCancel(case.ts, theirs.cl_ord_id, account, theirs.instrument))
        if times == rules.looks:
            plan.alarms.append(_order_alarm("stray_order", "high", case))
    elif act is Act.ALERT:
        plan.foreign[theirs.instrument] = plan.foreign.get(theirs.instrument, 0) + 1
        if plan.seen(before, ("foreign", theirs.instrument, theirs.text_id)) == 1:
            plan.alarms.append(_order_alarm("foreign_order", "warning", case))


def shown_status(theirs: OpenOrder, ts: int) -> Report:
    """An open order of the venue's as the answer to a status request."""
    return Report(
        ts, theirs.cl_ord_id, ExecType.ORDER_STATUS, ts_venue=theirs.ts_venue, qty=theirs.qty, price=theirs.price,
        cum_qty=theirs.cum_qty, leaves_qty=theirs.leaves_qty, status=theirs.status,
    )  # fmt: skip


def _question(order: ViewOrder, ts: int) -> SendStatus:
    return SendStatus(ts, order.cl_ord_id, order.account, order.instrument)


def _order_alarm(kind: str, severity: str, case: _Case) -> Alarm:
    theirs = case.theirs
    ours = case.order.status.name if case.order else case.ours.name
    return Alarm(
        kind,
        severity,
        f"order {theirs.cl_ord_id or theirs.text_id!r} is {theirs.status.name} at the venue, for us it is: "
        f"{case.ours.value}",
        {
            "cl_ord_id": theirs.cl_ord_id,
            "text_id": theirs.text_id,
            "instrument": theirs.instrument,
            "side": theirs.side.name,
            "qty": theirs.qty,
            "price": theirs.price,
            "cum_qty": theirs.cum_qty,
            "ours": ours,
            "our_cum_qty": case.order.cum_qty if case.order else 0,
        },
    )


def _fill(plan: Plan, before: Looks, books: _Books, fill: HistoryFill) -> None:
    """Alarm about a fill that no order in our books explains."""
    ours, _ = books.find(fill.report.cl_ord_id)
    if ours is None or ORDERS[ours, Theirs.FILL] is Act.APPEND:
        return
    r = fill.report
    if plan.seen(before, ("fill", r.exec_id, fill.text_id)) == 1:
        figures: dict[str, int | str] = {
            "cl_ord_id": r.cl_ord_id, "text_id": fill.text_id, "instrument": fill.instrument, "exec_id": r.exec_id,
            "last_qty": r.last_qty, "last_px": r.last_px,
        }  # fmt: skip
        text = f"a fill of {r.last_qty} lots of an order that is, for us: {ours.value}"
        plan.alarms.append(Alarm("foreign_fill", "high", text, figures))


def answered(
    plan: Plan, before: Looks, rules: Rules, order: ViewOrder, reports: list[Report]
) -> list[Report]:
    """What to append of the venue's answer about `order`, which this look asked for.

    "Not found" of an order that was acknowledged ends it after a second look, and never where fills are known to be
    missing: those must come, or a person must look.
    """
    if not reports or reports[-1].exec_type is not ExecType.NOT_FOUND:
        return reports
    if ORDERS.get((Ours[order.status.name], Theirs.NOT_FOUND)) is not Act.CLOSE:
        return reports
    times = plan.seen(before, ("not found", order.cl_ord_id, ""))
    if times < rules.looks:
        plan.again = True
        return reports
    if times == rules.looks:
        left = f"CumQty {order.cum_qty} of {order.qty}"
        end = "fills are missing: a person must look" if order.missing else "closed as CANCELED"
        text = f"the venue no longer knows order {order.cl_ord_id} ({order.status.name}, {left}): {end}"
        plan.alarms.append(Alarm("order_lost", "high", text, {"cl_ord_id": order.cl_ord_id}))
    if order.missing:
        return reports
    last = reports[-1]
    end_report = Report(
        last.ts, order.cl_ord_id, ExecType.CANCELED, ts_venue=last.ts_venue, reason=int(Reason.NOT_FOUND)
    )
    return [*reports, end_report]


def _positions(
    plan: Plan, before: Looks, rules: Rules, venue: VenueView, views: Iterable[LaneView], unsettled: set[int]
) -> None:
    ours: dict[int, int] = {}
    for view in views:
        for instrument, lots in view.positions.items():
            ours[instrument] = ours.get(instrument, 0) + lots
    for instrument, held in sorted(venue.positions.items()):
        mine = ours.get(instrument, 0)
        gap = held - mine
        finding = Finding.UNSETTLED if instrument in unsettled else Finding.DIFFERS
        if not gap:
            finding = Finding.EQUAL
            plan.looks.positions.pop(instrument, None)
        elif plan.looks.positions.get(instrument) == gap:
            finding = Finding.ACCEPTED
        if _confirmed(plan, before, rules, finding, Holding.POSITION, (instrument, gap)):
            plan.looks.positions[instrument] = plan.restrict[instrument] = gap
            text = f"position of instrument {instrument} is {held} lots at the venue and {mine} in our books"
            figures: dict[str, int | str] = {"instrument": instrument, "venue": held, "ours": mine}
            plan.alarms.append(Alarm("position_mismatch", "critical", text, figures))


def _confirmed(
    plan: Plan,
    before: Looks,
    rules: Rules,
    finding: Finding,
    holding: Holding,
    what: tuple[int | str, int | str],
) -> bool:
    """Whether a difference has been found often enough to be told now."""
    measure = HOLDINGS[holding, finding]
    if measure is Measure.NOTHING:
        return False
    looks = plan.seen(before, (holding.name, *what))
    settled = looks >= rules.unsettled_looks
    if measure is not Measure.LOOK_AGAIN:
        settled |= plan.seen(before, (f"settled {holding.name}", *what)) >= rules.looks
    plan.again |= not settled
    return settled


def _balances(
    plan: Plan, before: Looks, rules: Rules, venue: VenueView, views: Iterable[LaneView], unsettled: bool
) -> None:
    """Balances are compared by how their difference moves: what was there at the first look is taken as given."""
    ours: dict[str, Decimal] = {}
    for view in views:
        for asset, units in view.balances.items():
            ours[asset] = ours.get(asset, Decimal(0)) + money.from_units(units, asset)
    for asset in sorted(ours.keys() & venue.balances.keys()):
        held = venue.balances[asset]
        gap = held - ours[asset]
        known = plan.looks.balances.setdefault(asset, gap)
        finding = Finding.UNSETTLED if unsettled else Finding.DIFFERS
        if gap == known:
            finding = Finding.ACCEPTED if gap else Finding.EQUAL
        elif abs(gap - known) <= rules.tolerance * max(abs(held), abs(ours[asset])):
            finding = Finding.EQUAL
        if _confirmed(plan, before, rules, finding, Holding.BALANCE, (asset, str(gap))):
            plan.looks.balances[asset] = gap
            text = f"balance of {asset} is {held} at the venue, {ours[asset]} in our books; they differed by {known}"
            figures: dict[str, int | str] = {"asset": asset, "venue": str(held), "ours": str(ours[asset])}
            plan.alarms.append(Alarm("balance_mismatch", "high", text, figures))
