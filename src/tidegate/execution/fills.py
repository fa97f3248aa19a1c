"""Fills: each booked once by its ExecID, whenever it comes, and taken back or corrected when the venue says
so.

A fill moves the position even where the order is over: the venue's money is the truth, and only the status is
final. A trade cancel on an open order puts its quantity back into LeavesQty, charged again, until the venue
says otherwise; on a closed order CumQty alone falls.
"""

from __future__ import annotations

import struct

from tidegate.execution import reductions
from tidegate.execution.acts import NEW, adopt, close, move, recharge, resume, settle, tell, touch
from tidegate.execution.ids import MARGIN_IDS
from tidegate.execution.state import VOID, Fill, LaneOrder, State
from tidegate.model.messages import Report
from tidegate.model.order import ExecType, OrdStatus, Side, Trigger
from tidegate.risk.reasons import Reason

FILLED, BUY, TRADE = OrdStatus.FILLED, Side.BUY, ExecType.TRADE
_PARTIAL_FILL, _FULL_FILL = Trigger.PARTIAL_FILL, Trigger.FULL_FILL
_NUMBERS = struct.Struct("<8q")
CLOSING = {
    OrdStatus.FILLED: Trigger.FULL_FILL,
    OrdStatus.CANCELED: Trigger.CANCELED,
    OrdStatus.REJECTED: Trigger.REJECTED,
    OrdStatus.EXPIRED: Trigger.EXPIRED,
    OrdStatus.DENIED: Trigger.REJECTED,
}
"""The transition to each terminal status that a venue may name."""


class Malformed(Exception):
    """A report whose fields cannot be true."""


def trade(s: State, order: LaneOrder, r: Report) -> None:
    """TRADE: book the fill, once."""
    exec_id, qty, price, fee, cum, leaves, said, ts = _numbers(s, order, r)
    fills = order.fills
    if fills is None:
        fills = order.fills = {}
    elif exec_id in fills:
        s.count(Reason.DUPLICATE_REPORT)
        return
    fills[exec_id] = (qty, price, fee)
    order.venue_cum = max(order.venue_cum, cum)
    order.ts_seen = max(order.ts_seen, said)
    reason = _book(s, order, (qty, price, fee), cum, leaves, said, ts)
    signed = qty if order.side is BUY else -qty
    s.ledger.apply_fill(order.account, order.strategy, order.instrument, signed, price, fee, ts)
    if reason:
        s.count(reason)
    tell(s, order, TRADE, ts, reason, qty, price, fee, r.maker, exec_id)
    resume(s, order, ts)
    if order.early and exec_id in order.early:
        late = order.early.pop(exec_id)
        (bust if late.exec_type == ExecType.TRADE_CANCEL else correct)(s, order, late)


def _numbers(s: State, order: LaneOrder, r: Report) -> tuple[int, int, int, int, int, int, int, int]:
    """(ExecID, quantity, price, fee, CumQty, LeavesQty, venue time, ts) as plain integers that can be true."""
    try:
        numbers: tuple[int, int, int, int, int, int, int, int] = _NUMBERS.unpack(
            _NUMBERS.pack(r.exec_id, r.last_qty, r.last_px, r.fee, r.cum_qty, r.leaves_qty, r.ts_venue, r.ts)
        )
    except struct.error as error:
        raise Malformed(str(error)) from None
    exec_id, qty, price = numbers[:3]
    if not exec_id or qty <= 0:
        raise Malformed(f"exec_id {exec_id}, last_qty {qty}")
    if price <= 0 and not s.universe[order.instrument].negative_prices:
        raise Malformed(f"last_px {price}")
    return numbers


def _book(s: State, order: LaneOrder, fill: Fill, cum: int, leaves: int, said: int, ts: int) -> int:
    """Gate and order; returns the reason to tell with it, 0 for a fill as it should be."""
    qty, price, _ = fill
    over = order.status >= FILLED
    reason = 0
    if order.cmd_id >= MARGIN_IDS and qty > order.leaves_qty:
        reductions.beyond(s, order, qty - order.leaves_qty)
    if not over and qty > order.leaves_qty:
        reason = _make_room(s, order, qty, leaves, ts)
        order.ts_qty = max(order.ts_qty, said)
    _charge(s, order, fill, cum, leaves, ts)
    order.cum_qty += qty
    order.cum_value += qty * price
    if over:
        touch(s, order, ts)
        return Reason.LATE_FILL
    order.leaves_qty -= qty
    order.acked = True
    _advance(s, order, cum, leaves, ts)
    return reason


def _charge(s: State, order: LaneOrder, fill: Fill, cum: int, leaves: int, ts: int) -> None:
    """Tell the gate. Where a replace may bring more, it sees the LeavesQty of that form, which it charged too."""
    qty, price, fee = fill
    left = order.leaves_qty
    if order.pending_qty and qty >= left and _may_grow(order, order.cum_qty + qty, cum, leaves):
        order.leaves_qty = order.pending_qty - order.cum_qty
    s.gate.fill(order, qty, price, fee, ts)
    order.leaves_qty = left


def _make_room(s: State, order: LaneOrder, qty: int, leaves: int, ts: int) -> int:
    """A fill larger than LeavesQty proves a larger order at the venue: adopt what it proves.

    That is the LeavesQty that came with it, else the replace under way if the fill fits that, else no more
    than the fill itself: an overfill.
    """
    total, asked = order.cum_qty + qty, order.pending_qty
    if leaves <= 0 and asked < total:
        adopt(s, order, total, order.price, ts)
        return Reason.OVERFILL
    adopt(s, order, total + leaves if leaves > 0 else asked, order.pending_price or order.price, ts)
    if asked and not order.closing:
        move(s, order, Trigger.REPLACED_PARTIAL if order.cum_qty else Trigger.REPLACED, ts)
    return 0


def _advance(s: State, order: LaneOrder, cum: int, leaves: int, ts: int) -> None:
    """Where a fill leads."""
    if order.closing:
        if order.cum_qty >= order.venue_cum:
            close(s, order, CLOSING[order.closing], ts)
        else:
            touch(s, order, ts)
    elif order.leaves_qty == 0 and not _may_grow(order, order.cum_qty, cum, leaves):
        close(s, order, _FULL_FILL, ts)
    else:
        move(s, order, _PARTIAL_FILL, ts)
        settle(s, order, ts)


def _may_grow(order: LaneOrder, filled: int, cum: int, leaves: int) -> bool:
    """Whether, with `filled` lots, a replace to more is under way that may still be accepted at the venue.

    The order is then not over, unless the venue says with this fill that nothing is left of the whole.
    """
    return order.pending_qty > order.qty and not (leaves == 0 and cum <= filled)


def bust(s: State, order: LaneOrder, r: Report) -> None:
    """TRADE_CANCEL: take the fill back, once."""
    fill = _referred(s, order, r)
    if fill is None:
        return
    assert order.fills is not None
    order.fills[r.ref_exec_id] = VOID
    order.ts_seen = max(order.ts_seen, int(r.ts_venue))
    qty, price, fee = fill
    signed = qty if order.side is BUY else -qty
    s.ledger.bust(order.account, order.strategy, order.instrument, signed, price, fee, r.ts)
    _take_back(s, order, fill, r.ts)
    if order.status < FILLED:
        order.doubt = True  # whether the venue works the quantity again is for it to say
        settle(s, order, r.ts)
    s.count(Reason.FILL_BUSTED)
    tell(s, order, ExecType.TRADE_CANCEL, r.ts, Reason.FILL_BUSTED, qty, price, fee, exec_id=r.ref_exec_id)


def correct(s: State, order: LaneOrder, r: Report) -> None:
    """TRADE_CORRECT: the fill as it was is told as taken back, then the fill as it is."""
    exec_id, qty, price, fee, cum, leaves, said, ts = _numbers(s, order, r)
    if exec_id != r.ref_exec_id and order.fills and exec_id in order.fills:
        s.count(Reason.DUPLICATE_REPORT)
        return
    old = _referred(s, order, r)
    if old is None:
        return
    if old == (qty, price, fee) and exec_id == r.ref_exec_id:
        s.count(Reason.DUPLICATE_REPORT)
        return
    assert order.fills is not None
    order.fills[r.ref_exec_id] = VOID
    order.fills[exec_id] = (qty, price, fee)
    sign = 1 if order.side is BUY else -1
    was, now = (sign * old[0], old[1], old[2]), (sign * qty, price, fee)
    s.ledger.correct(order.account, order.strategy, order.instrument, was, now, ts)
    _take_back(s, order, old, ts)
    tell(s, order, ExecType.TRADE_CANCEL, ts, Reason.FILL_BUSTED, *old, exec_id=r.ref_exec_id)
    order.venue_cum += qty
    reason = _book(s, order, (qty, price, fee), cum, leaves, said, ts)
    if reason == Reason.LATE_FILL:
        reason = 0
    tell(s, order, ExecType.TRADE_CORRECT, ts, reason, qty, price, fee, r.maker, exec_id)
    resume(s, order, ts)


def _referred(s: State, order: LaneOrder, r: Report) -> Fill | None:
    """The fill that a trade cancel or correct is about; None where there is nothing to do now."""
    ref = r.ref_exec_id
    fill = order.fills.get(ref) if order.fills else None
    if fill is None:
        early = order.early
        if early is None:
            early = order.early = {}
        s.count(Reason.DUPLICATE_REPORT if ref in early else Reason.EARLY_BUST)
        early.setdefault(ref, r)
        return None
    if fill == VOID:
        reason = Reason.DUPLICATE_REPORT if r.exec_type == ExecType.TRADE_CANCEL else Reason.UNKNOWN_FILL
        s.count(reason)
        if reason is Reason.UNKNOWN_FILL:
            tell(
                s, order, ExecType(r.exec_type), r.ts, reason, r.last_qty, r.last_px, r.fee, exec_id=r.exec_id
            )
        return None
    return fill


def _take_back(s: State, order: LaneOrder, fill: Fill, ts: int) -> None:
    """Gate and order; the inverse of `_book`."""
    qty, price, fee = fill
    s.gate.unfill(order, qty, price, fee, ts)
    order.cum_qty -= qty
    order.cum_value -= qty * price
    order.venue_cum = max(order.venue_cum - qty, 0)
    if order.status >= FILLED:
        touch(s, order, ts)
        return
    order.leaves_qty += qty
    recharge(s, order, ts)
    if order.cum_qty == 0 and order.status is not NEW:
        move(s, order, Trigger.UNFILLED, ts)
    else:
        touch(s, order, ts)
