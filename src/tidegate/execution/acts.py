"""The lane's acts on one order: telling, sending, cancelling, closing. Every change of one goes through here.

The order of acts is fixed: the gate is charged (or credited) before the order's fields change, the fields
change before a request is handed out, and each change is told as one `OrderEvent`.
"""

from __future__ import annotations

from tidegate.execution import flattened, reductions
from tidegate.execution.ids import MARGIN_IDS
from tidegate.execution.state import LaneBroken, LaneOrder, State
from tidegate.model.messages import OrderEvent, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.order import TRANSITIONS, ExecType, OrdStatus, Side, Trigger
from tidegate.risk.reasons import Reason

CREATED, NEW, PARTIALLY_FILLED = OrdStatus.CREATED, OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED
PENDING_NEW, PENDING_REPLACE = OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE
PENDING_CANCEL, UNKNOWN = OrdStatus.PENDING_CANCEL, OrdStatus.UNKNOWN
FILLED, CANCELED = OrdStatus.FILLED, OrdStatus.CANCELED
_ACK, _ACK_PARTIAL, _CANCEL_REQUEST = Trigger.ACK, Trigger.ACK_PARTIAL, Trigger.CANCEL_REQUEST
NOT_THE_ORDERS = frozenset(
    (
        Reason.GATEWAY_HELD, Reason.VENUE_DOWN, Reason.REQUEST_EXPIRED, Reason.GATEWAY_HALTED, Reason.BEFORE_HALT,
        Reason.NOT_FOUND,
    )
)  # fmt: skip
"""Refusals that say nothing of the order: its strategy is not paused for them (control 24)."""
AWAITED = frozenset((PENDING_NEW, PENDING_REPLACE, PENDING_CANCEL, UNKNOWN))
"""Statuses that wait for the venue's word."""


def tell(
    s: State,
    order: LaneOrder,
    exec_type: ExecType | None,
    ts: int,
    reason: int = 0,
    last_qty: int = 0,
    last_px: int = 0,
    fee: int = 0,
    maker: bool = False,
    exec_id: int = 0,
) -> None:
    """Emit the order's state as it is now."""
    s.out.append(
        OrderEvent(
            ts, order.cl_ord_id, order.cmd_id, order.account, order.strategy, order.instrument, order.status,
            exec_type, order.leaves_qty, order.cum_qty, last_qty, last_px, fee, maker, exec_id, reason, 0, 0,
            0, order.version, order.side,
        )
    )  # fmt: skip


def tell_refusal(s: State, order: LaneOrder, exec_type: ExecType | None, ts: int, reason: int) -> None:
    """Emit the order's state with the gate's figures for why something on it was refused."""
    gate = s.gate
    s.out.append(
        OrderEvent(
            ts, order.cl_ord_id, order.cmd_id, order.account, order.strategy, order.instrument, order.status,
            exec_type, order.leaves_qty, order.cum_qty, reason=reason, limit=int(gate.limit),
            value=int(gate.value), scope=int(gate.scope), version=order.version, side=order.side,
        )
    )  # fmt: skip


def touch(s: State, order: LaneOrder, ts: int) -> None:
    """The order has changed: a new version, and its links are to be looked at."""
    order.version += 1
    order.ts_update = ts
    if order.linked:
        s.touched.append(order)


def move(s: State, order: LaneOrder, trigger: Trigger, ts: int) -> None:
    """Take the transition; one that the table lacks breaks the lane, for callers ask only for legal ones."""
    status = TRANSITIONS.get((order.status, trigger))
    if status is None:
        raise LaneBroken(f"transition: order {order.cl_ord_id} is {order.status.name} and got {trigger.name}")
    order.status = status
    order.version += 1
    order.ts_update = ts
    if order.linked:
        s.touched.append(order)


def submit(s: State, order: LaneOrder, ref: tuple[int, int, int], ts: int) -> bool:
    """Pass the gate and hand out the order, or deny it. It is in the lane's state either way."""
    if flattened.keeps(s, order):
        reason: int = Reason.BEING_FLATTENED
    else:
        reason = s.gate.check(order, ref[0], ref[1], ref[2], ts)
    s.by_cmd[order.cmd_id] = order
    if reason:
        deny(s, order, reason, ts)
        return False
    s.live[order.cl_ord_id] = order
    order.sent = True
    order.ts_sent = order.ts_asked = ts
    order.status = PENDING_NEW
    touch(s, order, ts)
    s.watch(order, ts + s.settings.ack_timeout)
    tell(s, order, None, ts)
    s.out.append(
        SendNew(
            ts, order.cl_ord_id, order.account, order.instrument, order.side, order.ord_type, order.qty,
            order.price, order.stop_price, order.time_in_force, order.exec_inst, order.display_qty,
            order.offset, order.expire_ts, order.strategy, s.halt_epoch,
        )
    )  # fmt: skip
    return True


def deny(s: State, order: LaneOrder, reason: int, ts: int) -> None:
    """The order is DENIED: the gate's refusal (or the lane's, from 300 up), never sent."""
    s.count(reason)
    s.live[order.cl_ord_id] = order
    order.reason = reason
    order.leaves_qty = 0
    move(s, order, Trigger.DENY, ts)
    if reason < 300:
        tell_refusal(s, order, ExecType.REJECTED, ts, reason)
    else:
        tell(s, order, ExecType.REJECTED, ts, reason)
    s.retire(order)


def close(s: State, order: LaneOrder, trigger: Trigger, ts: int, reason: int = 0) -> None:
    """Make the order terminal: what it was still charged is released, LeavesQty becomes 0."""
    if order.sent and order.leaves_qty:
        s.gate.release(
            order, order.leaves_qty, ts, trigger is Trigger.REJECTED and reason not in NOT_THE_ORDERS
        )
    elif order.pending_qty:
        s.gate.replace_rejected(order, order.pending_qty, order.pending_price, ts)
    if reason:
        order.reason = reason
    if order.cmd_id >= MARGIN_IDS:
        reductions.closed(s, order)
    order.pending_qty = order.pending_price = 0
    order.leaves_qty = 0
    order.closing = CREATED
    order.doubt = False
    move(s, order, trigger, ts)
    s.retire(order)


def drop_pending(s: State, order: LaneOrder, ts: int) -> None:
    """The replace under way, if any, is off."""
    if order.pending_qty:
        s.gate.replace_rejected(order, order.pending_qty, order.pending_price, ts)
        order.pending_qty = 0
        order.pending_price = 0


def adopt(s: State, order: LaneOrder, qty: int, price: int, ts: int, asked: tuple[int, int] = (0, 0)) -> None:
    """The order has this total quantity and price at the venue; `asked` is a replace that stays under way."""
    order.qty = qty = max(qty, order.cum_qty)
    order.price = price
    order.leaves_qty = qty - order.cum_qty
    order.pending_qty, order.pending_price = asked
    recharge(s, order, ts)


def recharge(s: State, order: LaneOrder, ts: int) -> None:
    """Charge an open order anew, after its fields changed: at the worse of what it is and what is asked of
    it."""
    price = order.price
    if order.pending_qty:
        worse = max if order.side is Side.BUY else min
        price = worse(price, order.pending_price)
    s.gate.replaced(order, max(order.qty, order.pending_qty), price, ts)


def settle(s: State, order: LaneOrder, ts: int) -> None:
    """After a report: decide whether, and until when, the venue's next word is awaited."""
    status = order.status
    if status is not NEW and status is not PARTIALLY_FILLED:
        if not order.deadline:
            s.watch(order, ts + s.settings.ack_timeout)
    elif order.doubt or order.immediate or order.venue_cum > order.cum_qty:
        s.watch(order, ts + s.settings.ack_timeout)
    elif order.expire_ts:
        s.watch(order, max(order.expire_ts, ts) + s.settings.ack_timeout)
    elif order.deadline:
        s.unwatch(order)


def alive(s: State, order: LaneOrder, ts: int) -> None:
    """The venue has the order: NEW or PARTIALLY_FILLED, if it was not known before."""
    order.acked = True
    if order.status is PENDING_NEW or order.status is UNKNOWN:
        move(s, order, _ACK_PARTIAL if order.cum_qty else _ACK, ts)


def resume(s: State, order: LaneOrder, ts: int) -> None:
    """An order found open goes on with what was asked of it: a replace still out, a cancel still wanted."""
    if order.status is not NEW and order.status is not PARTIALLY_FILLED:
        return
    if order.pending_qty:
        move(s, order, Trigger.REPLACE_REQUEST, ts)
        s.watch(order, ts + s.settings.ack_timeout)
    if order.target is CANCELED:
        request_cancel(s, order, ts, order.reason)


def request_cancel(s: State, order: LaneOrder, ts: int, reason: int) -> None:
    """The lane's own cancel: where the throttle forbids it now, it is owed and sent at a later Tick."""
    order.target = CANCELED
    order.reason = reason
    if s.gate.check_cancel(order, ts):
        s.owed[order.cl_ord_id] = order
        return
    send_cancel(s, order, ts)


def send_cancel(s: State, order: LaneOrder, ts: int) -> None:
    """Hand out a cancel that the gate has let pass. An UNKNOWN order stays UNKNOWN."""
    s.owed.pop(order.cl_ord_id, None)
    order.target = CANCELED
    order.ts_sent = ts
    move(s, order, _CANCEL_REQUEST, ts)
    if order.status is not UNKNOWN:
        order.asks = 0
        s.watch(order, ts + s.settings.ack_timeout)
    tell(s, order, None, ts, order.reason)
    s.out.append(SendCancel(ts, order.cl_ord_id, order.account, order.instrument))


def cancel_linked(s: State, order: LaneOrder, reason: int, ts: int) -> None:
    """Cancel an order because of another: at once where it was never sent, else by request."""
    if order.status is CREATED:
        close(s, order, Trigger.CANCELED, ts, reason)
        tell(s, order, ExecType.CANCELED, ts, reason)
    elif order.target is not CANCELED and not order.closing:
        request_cancel(s, order, ts, reason)


def send_replace(s: State, order: LaneOrder, qty: int, price: int, ts: int) -> None:
    """Hand out a replace that the gate has charged."""
    order.pending_qty = qty
    order.pending_price = price
    order.ts_sent = order.ts_asked = ts
    move(s, order, Trigger.REPLACE_REQUEST, ts)
    order.asks = 0
    s.watch(order, ts + s.settings.ack_timeout)
    tell(s, order, None, ts)
    s.out.append(
        SendReplace(
            ts, order.cl_ord_id, qty, price, order.account, order.instrument, order.side, order.strategy,
            s.halt_epoch,
        )
    )  # fmt: skip


def ask(s: State, order: LaneOrder, ts: int) -> None:
    """Ask the venue what became of the order, and again after a pause that doubles, but soon after its "not found"
    has begun to prove something (its clock may be behind ours): until then a lost order is charged to the limits."""
    timeout = s.settings.ack_timeout
    pause = min(timeout << min(order.asks, 16), s.settings.max_backoff)
    proves = order.ts_asked + s.settings.reconciliation_window + timeout // 4 - ts
    order.asks += 1
    s.watch(order, ts + (proves if 0 < proves < pause else pause))
    s.out.append(SendStatus(ts, order.cl_ord_id, order.account, order.instrument))


def refuse(s: State, order: LaneOrder, reason: Reason, ts: int) -> None:
    """A cancel or replace of a known order cannot be: the order stands as it is."""
    s.count(reason)
    tell(s, order, ExecType.CANCEL_REJECTED, ts, reason)
