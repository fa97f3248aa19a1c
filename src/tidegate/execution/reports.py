"""A venue's word on an order, adopted: whatever order it comes in, however often, however late.

Reports may be duplicated, reordered and lost. What keeps the order right all the same: fills count by ExecID;
an acknowledgement counts once; quantity and price follow the venue's own time; a terminal word that names
more fills than have come leaves the order open, UNKNOWN and charged until they come; a terminal status is
final; and an order whose answer is missing is asked about.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tidegate.execution import fills
from tidegate.execution.acts import (
    AWAITED,
    CANCELED,
    CREATED,
    FILLED,
    NEW,
    PENDING_CANCEL,
    PENDING_REPLACE,
    UNKNOWN,
    adopt,
    alive,
    close,
    drop_pending,
    move,
    resume,
    settle,
    tell,
    touch,
)
from tidegate.execution.fills import CLOSING, Malformed
from tidegate.execution.state import LaneOrder, State
from tidegate.model.messages import OrderEvent, Report, SendCancel
from tidegate.model.order import ExecType, OrdStatus, Trigger
from tidegate.risk.reasons import Reason

_NEW = ExecType.NEW
_KINDS = {int(kind): kind for kind in ExecType}
_trade = fills.trade
_NUMBERS = struct.Struct("<13q")


def report(s: State, r: Report) -> None:
    """Adopt one report; one that cannot be true, or is for no order of ours, is told and counted."""
    try:
        handler = _HANDLERS[r.exec_type]
        if handler is not _trade:  # which looks at its numbers itself
            _NUMBERS.pack(
                r.ts, r.ts_venue, r.exec_id, r.last_qty, r.last_px, r.fee, r.qty, r.price, r.cum_qty,
                r.leaves_qty, r.status, r.reason, r.ref_exec_id,
            )  # fmt: skip
        order = s.live.get(r.cl_ord_id) or s.closed.get(r.cl_ord_id)
    except (struct.error, KeyError, TypeError) as error:
        _malformed(s, r, error)
        return
    if order is None and not isinstance(r.cl_ord_id, int):
        _malformed(s, r, TypeError("its ClOrdID is no integer"))
    elif order is None or not order.sent:
        _strange(s, order, r, Reason.ORPHAN_REPORT)
    elif order.status >= FILLED and handler not in _MONEY:
        _after_close(s, order, r)
    else:
        try:
            handler(s, order, r)
        except Malformed as error:
            _malformed(s, r, error)


def _malformed(s: State, r: Report, error: Exception) -> None:
    s.error = f"report for {r.cl_ord_id!r} not applied: {error}"
    _strange(s, s.find(r.cl_ord_id) if isinstance(r.cl_ord_id, int) else None, r, Reason.MALFORMED_REPORT)


def _strange(s: State, order: LaneOrder | None, r: Report, reason: Reason) -> None:
    """Tell of a report that was not applied, with what it said of a fill."""
    s.count(reason)
    known = isinstance(r.exec_type, int) and r.exec_type in _HANDLERS
    exec_type = _KINDS[r.exec_type] if known else None
    key, qty, price, fee, exec_id = map(_number, (r.cl_ord_id, r.last_qty, r.last_px, r.fee, r.exec_id))
    if order is not None:
        tell(s, order, exec_type, s.now, reason, qty, price, fee, False, exec_id)
        return
    event = OrderEvent(s.now, key, 0, -1, -1, -1, UNKNOWN, exec_type, 0, 0, qty, price, fee, exec_id=exec_id)
    event.reason = int(reason)
    s.out.append(event)


def _number(value: object) -> int:
    return value if isinstance(value, int) and -(1 << 63) <= value < 1 << 63 else 0


def _after_close(s: State, order: LaneOrder, r: Report) -> None:
    """A word on an order that is over. Where it lives at the venue all the same, it is cancelled there.

    That is so where we concluded its end from "not found", or where the venue showed it open after all else
    it said of it.
    """
    if r.exec_type == ExecType.ORDER_STATUS:
        lives = r.status < FILLED and (r.ts_venue > order.ts_seen or order.reason == Reason.NOT_FOUND)
    else:
        lives = r.exec_type in _LIVING and order.reason == Reason.NOT_FOUND
    if lives:
        s.count(Reason.ALIVE_AFTER_CLOSE)
        tell(s, order, _KINDS[r.exec_type], r.ts, Reason.ALIVE_AFTER_CLOSE)
        s.out.append(SendCancel(r.ts, order.cl_ord_id, order.account, order.instrument))
    elif r.cum_qty > order.cum_qty:
        s.count(Reason.FILL_MISSING)
        tell(s, order, _KINDS[r.exec_type], r.ts, Reason.FILL_MISSING)
    else:
        # "Too late to cancel" is no repetition: the order's end has overtaken it.
        too_late = r.exec_type == ExecType.CANCEL_REJECTED
        s.count(Reason.STALE_REPORT if too_late else Reason.DUPLICATE_REPORT)


def _acknowledged(s: State, order: LaneOrder, r: Report) -> None:
    """NEW. A second one, or one that a fill has overtaken, says nothing new."""
    if order.acked or order.closing:
        s.count(Reason.DUPLICATE_REPORT)
        return
    alive(s, order, r.ts)
    settle(s, order, r.ts)
    tell(s, order, _NEW, r.ts)
    resume(s, order, r.ts)


def _triggered(s: State, order: LaneOrder, r: Report) -> None:
    """TRIGGERED: a stop is live now."""
    if order.closing:
        s.count(Reason.STALE_REPORT)
        return
    alive(s, order, r.ts)
    settle(s, order, r.ts)
    tell(s, order, ExecType.TRIGGERED, r.ts)
    resume(s, order, r.ts)


def _over(status: OrdStatus) -> Callable[[State, LaneOrder, Report], None]:
    """The handler of a report that ends the order as `status`."""

    def handler(s: State, order: LaneOrder, r: Report) -> None:
        _end(s, order, status, int(r.cum_qty), r)

    return handler


def _end(s: State, order: LaneOrder, status: OrdStatus, cum: int, r: Report) -> None:
    """The venue says it is over, with `cum` filled (−1: it does not say)."""
    ts = r.ts
    order.ts_seen = max(order.ts_seen, int(r.ts_venue))
    if cum > order.cum_qty:
        news = order.closing is not status
        order.closing = status
        order.venue_cum = cum
        if news:
            move(s, order, Trigger.FILL_MISSING, ts)
            s.watch(order, ts + s.settings.ack_timeout)
            s.count(Reason.FILL_MISSING)
            tell(s, order, _KINDS[r.exec_type], ts, Reason.FILL_MISSING)
        return
    close(s, order, CLOSING[status], ts, r.reason)
    tell(s, order, _KINDS[r.exec_type], ts, r.reason)


def _replaced(s: State, order: LaneOrder, r: Report) -> None:
    """REPLACED: the venue has the new quantity and price."""
    now, asked = (order.qty, order.price), (order.pending_qty, order.pending_price)
    new = (int(r.qty) or asked[0] or now[0], int(r.price) or asked[1] or now[1])
    if order.closing or r.ts_venue < order.ts_qty or (new == now and new != asked):
        s.count(Reason.STALE_REPORT)
        return
    _adopt(s, order, r, *new, (0, 0))


def _restated(s: State, order: LaneOrder, r: Report) -> None:
    """RESTATED: the venue changed the order unasked. A replace under way stays under way, and charged."""
    if order.closing or r.ts_venue < order.ts_qty:
        s.count(Reason.STALE_REPORT)
        return
    asked = order.pending_qty, order.pending_price
    _adopt(s, order, r, _total(order, r) or order.qty, int(r.price) or order.price, asked)


def _adopt(s: State, order: LaneOrder, r: Report, qty: int, price: int, asked: tuple[int, int]) -> None:
    """Take over quantity and price, and go where that leads; `asked` is the replace that stays under way."""
    ts = r.ts
    order.ts_qty = max(order.ts_qty, int(r.ts_venue))
    adopt(s, order, qty, price, ts, asked)
    if order.leaves_qty == 0 and asked[0] <= order.cum_qty:
        close(s, order, Trigger.FULL_FILL, ts)
        tell(s, order, _KINDS[r.exec_type], ts, r.reason)
        return
    alive(s, order, ts)
    if r.exec_type == ExecType.REPLACED:
        move(s, order, Trigger.REPLACED_PARTIAL if order.cum_qty else Trigger.REPLACED, ts)
    else:
        touch(s, order, ts)
    settle(s, order, ts)
    tell(s, order, _KINDS[r.exec_type], ts, r.reason)
    resume(s, order, ts)


def _refused(s: State, order: LaneOrder, r: Report) -> None:
    """CANCEL_REJECTED: a cancel or a replace was refused."""
    if order.closing:
        s.count(Reason.STALE_REPORT)
    elif r.status >= FILLED:
        _end(s, order, OrdStatus(r.status), int(r.cum_qty), r)
    elif not order.acked:
        _refused_unseen(s, order, r)
    elif order.pending_qty and (order.status is PENDING_REPLACE or r.qty or order.target is not CANCELED):
        _replace_refused(s, order, r)
    elif order.status in (PENDING_CANCEL, UNKNOWN) and order.target is CANCELED:
        _cancel_refused(s, order, r)
    else:
        s.count(Reason.DUPLICATE_REPORT)


def _refused_unseen(s: State, order: LaneOrder, r: Report) -> None:
    """A refusal before the order was ever acknowledged settles nothing: it may not have arrived yet.

    The venue is asked at the next Tick.
    """
    if order.status is not UNKNOWN:
        move(s, order, Trigger.TIMEOUT, r.ts)
    s.watch(order, max(r.ts, 1))
    tell(s, order, ExecType.CANCEL_REJECTED, r.ts, r.reason)


def _replace_refused(s: State, order: LaneOrder, r: Report) -> None:
    ts = r.ts
    drop_pending(s, order, ts)
    if order.leaves_qty == 0:
        close(s, order, Trigger.FULL_FILL, ts)
    elif order.status is PENDING_REPLACE:
        _stand(s, order, r)
    tell(s, order, ExecType.CANCEL_REJECTED, ts, r.reason)
    resume(s, order, ts)


def _cancel_refused(s: State, order: LaneOrder, r: Report) -> None:
    order.target = FILLED if order.immediate else NEW
    order.reason = 0
    _stand(s, order, r)
    tell(s, order, ExecType.CANCEL_REJECTED, r.ts, r.reason)
    resume(s, order, r.ts)


def _stand(s: State, order: LaneOrder, r: Report) -> None:
    """The order goes on as before the request. Where the venue does not say how it stands, it is asked
    once."""
    order.doubt = r.status is CREATED
    partial = order.cum_qty > 0
    move(s, order, Trigger.REQUEST_REJECTED_PARTIAL if partial else Trigger.REQUEST_REJECTED_NEW, r.ts)
    if order.status is not UNKNOWN:
        s.unwatch(order)
    settle(s, order, r.ts)


def _status(s: State, order: LaneOrder, r: Report) -> None:
    """ORDER_STATUS: how the venue holds the order."""
    if r.cum_qty >= 0:
        fresh = r.ts_venue >= order.ts_seen
        order.venue_cum = int(r.cum_qty) if fresh else max(order.venue_cum, int(r.cum_qty))
    order.ts_seen = max(order.ts_seen, int(r.ts_venue))
    if r.status >= FILLED:
        cum = order.qty if r.status == FILLED and r.cum_qty < 0 else int(r.cum_qty)
        _end(s, order, OrdStatus(r.status), cum, r)
        return
    if order.closing:
        s.count(Reason.STALE_REPORT)
        return
    order.acked = True
    if order.status in (PENDING_CANCEL, PENDING_REPLACE):
        return  # that request is younger than the question, or its own answer is still to come
    before = order.status
    if order.pending_qty and not _replace_settled(s, order, r):
        return
    _adopt_total(s, order, r)
    order.doubt = False
    if order.leaves_qty == 0:
        close(s, order, Trigger.FULL_FILL, r.ts)
    else:
        alive(s, order, r.ts)
        s.unwatch(order)
        settle(s, order, r.ts)
    if order.status is not before:
        tell(s, order, ExecType.ORDER_STATUS, r.ts)
    resume(s, order, r.ts)


def _total(order: LaneOrder, r: Report) -> int:
    """OrderQty as a status answer or a restatement gives it; 0 where it does not.

    LeavesQty says it best: with it the total is what has filled here plus what is open there, unless fills
    that the venue counts are still to come.
    """
    if r.cum_qty < 0 or r.leaves_qty < 0:
        return int(r.qty)
    filled = int(r.cum_qty)
    if r.ts_venue >= order.ts_seen:
        filled = max(filled, order.cum_qty)
    return filled + int(r.leaves_qty)


def _replace_settled(s: State, order: LaneOrder, r: Report) -> bool:
    """Whether a status answer settles the replace that went unanswered: accepted, or lost.

    The old quantity proves nothing until the reconciliation window has passed since the send.
    """
    if (
        _total(order, r) == order.pending_qty != order.qty
        or 0 != r.price == order.pending_price != order.price
    ):
        order.ts_qty = max(order.ts_qty, r.ts_venue)
        adopt(s, order, order.pending_qty, order.pending_price, r.ts)
        return True
    if _proves(s, order, r):
        drop_pending(s, order, r.ts)
        return True
    return False


def _proves(s: State, order: LaneOrder, r: Report) -> bool:
    """Whether the venue spoke late enough to know of what was sent last. For an order it never acknowledged that is
    no cancel: a strategy that repeats its cancels would keep a lost order UNKNOWN for ever."""
    said = min(r.ts_venue, r.ts) if r.ts_venue else r.ts
    return said - (order.ts_sent if order.acked else order.ts_asked) >= s.settings.reconciliation_window


def _adopt_total(s: State, order: LaneOrder, r: Report) -> None:
    """Take over a quantity or price that a lost report should have told."""
    qty, price = _total(order, r) or order.qty, int(r.price) or order.price
    if r.ts_venue >= order.ts_qty and (qty, price) != (order.qty, order.price):
        order.ts_qty = max(order.ts_qty, r.ts_venue)
        adopt(s, order, qty, price, r.ts)


def _not_found(s: State, order: LaneOrder, r: Report) -> None:
    """NOT_FOUND: over, once the venue has had time to know; until then it proves nothing.

    Never where fills are known to be missing: those must come, or a person must look.
    """
    asked = order.status in AWAITED or order.doubt or order.immediate
    missing = order.closing or order.venue_cum > order.cum_qty
    if not asked or missing or not _proves(s, order, r):
        s.count(Reason.STALE_REPORT)
        return
    close(s, order, Trigger.CANCELED if order.acked else Trigger.REJECTED, r.ts, Reason.NOT_FOUND)
    s.count(Reason.NOT_FOUND)
    tell(s, order, ExecType.NOT_FOUND, r.ts, Reason.NOT_FOUND)


_HANDLERS: dict[int, Callable[[State, LaneOrder, Report], None]] = {
    ExecType.NEW: _acknowledged,
    ExecType.TRADE: fills.trade,
    ExecType.CANCELED: _over(OrdStatus.CANCELED),
    ExecType.REPLACED: _replaced,
    ExecType.REJECTED: _over(OrdStatus.REJECTED),
    ExecType.EXPIRED: _over(OrdStatus.EXPIRED),
    ExecType.CANCEL_REJECTED: _refused,
    ExecType.RESTATED: _restated,
    ExecType.TRIGGERED: _triggered,
    ExecType.TRADE_CANCEL: fills.bust,
    ExecType.TRADE_CORRECT: fills.correct,
    ExecType.ORDER_STATUS: _status,
    ExecType.NOT_FOUND: _not_found,
}
_LIVING = (ExecType.NEW, ExecType.REPLACED, ExecType.RESTATED, ExecType.TRIGGERED)
_MONEY = (fills.trade, fills.bust, fills.correct)
