"""What must hold of a lane between any two messages, whatever came before."""

from __future__ import annotations

from tidegate.execution.state import LaneBroken, LaneOrder, State
from tidegate.model.order import OrdStatus

_AWAITED = (OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL, OrdStatus.UNKNOWN)
_OPEN = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)


def check(s: State) -> None:
    """Raise `LaneBroken` naming the first invariant that fails. Time grows with the number of live orders."""
    for key, order in s.live.items():
        _check_order(s, key, order)
    for key, order in s.waiting.items():
        if s.live.get(key) is not order or not order.deadline:
            raise LaneBroken(f"waiting: order {key} is awaited but not live")
    for key, order in s.owed.items():
        if s.live.get(key) is not order:
            raise LaneBroken(f"owed: something is owed on order {key}, which is not live")
    if len(s.closed) > s.settings.history:
        raise LaneBroken(f"history: {len(s.closed)} closed orders are kept, {s.settings.history} allowed")


def _check_order(s: State, key: int, order: LaneOrder) -> None:
    if key != order.cl_ord_id or key in s.closed or key - s.prefix > s.seq:
        raise LaneBroken(f"identity: order {key} is filed twice, or under a number never given")
    if order.status >= OrdStatus.FILLED:
        raise LaneBroken(f"terminal: order {key} is {order.status.name} and still live")
    if order.cum_qty + order.leaves_qty != order.qty or order.leaves_qty < 0 or order.cum_qty < 0:
        raise LaneBroken(
            f"quantity: order {key} has CumQty {order.cum_qty} + LeavesQty {order.leaves_qty} of {order.qty}"
        )
    filled = sum(fill[0] for fill in order.fills.values()) if order.fills else 0
    if filled != order.cum_qty:
        raise LaneBroken(f"fills: order {key} has CumQty {order.cum_qty}, its fills are {filled}")
    if order.sent != (order.status is not OrdStatus.CREATED):
        raise LaneBroken(f"intent: order {key} is {order.status.name}, sent is {order.sent}")
    if (order.status in _AWAITED or order.deadline) and s.waiting.get(key) is not order:
        raise LaneBroken(f"waiting: order {key} is {order.status.name} and nobody will ask about it")
    asked = order.pending_qty > 0
    if (order.status in _OPEN and asked) or (order.status is OrdStatus.PENDING_REPLACE and not asked):
        raise LaneBroken(f"pending: order {key} is {order.status.name}, asked for {order.pending_qty} lots")
