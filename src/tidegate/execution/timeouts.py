"""Time: a Tick makes UNKNOWN what was not answered, asks about it with a back-off, and pays what is owed."""

from __future__ import annotations

from tidegate.execution.acts import CANCELED, CREATED, ask, move, request_cancel, tell
from tidegate.execution.state import LaneOrder, State
from tidegate.model.messages import Tick
from tidegate.model.order import OrdStatus, Trigger
from tidegate.risk.reasons import Reason

_PENDING = frozenset((OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL))


def tick(s: State, m: Tick) -> None:
    """Look at every order whose deadline has come, in the order they began to wait; then at what is owed."""
    ts = m.ts
    if s.waiting:
        for order in [order for order in s.waiting.values() if order.deadline <= ts]:
            _overdue(s, order, ts)
    for order in list(s.owed.values()):
        _pay(s, order, ts)


def _overdue(s: State, order: LaneOrder, ts: int) -> None:
    if order.status in _PENDING:
        move(s, order, Trigger.TIMEOUT, ts)
        s.count(Reason.ACK_TIMEOUT)
        tell(s, order, None, ts, Reason.ACK_TIMEOUT)
    ask(s, order, ts)


def _pay(s: State, order: LaneOrder, ts: int) -> None:
    """Send the cancel, or let the child grow, that the gate's throttle put off."""
    if s.owed.pop(order.cl_ord_id, None) is None:
        return
    if order.target is not CANCELED:
        s.touched.append(order)
    elif not order.closing and order.status is not OrdStatus.PENDING_CANCEL and order.status is not CREATED:
        request_cancel(s, order, ts, order.reason)
