"""Commands: what strategies and people ask of the lane.

A command that cannot be is refused with a reason and changes nothing; one that was seen before is done once
and answered with the order's state as it is now.
"""

from __future__ import annotations

import struct

from tidegate.execution import contingent, flattened, reductions
from tidegate.execution.acts import (
    CANCELED,
    CREATED,
    FILLED,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_REPLACE,
    close,
    refuse,
    send_cancel,
    send_replace,
    submit,
    tell,
    tell_refusal,
)
from tidegate.execution.ids import HOUSE_IDS, MARGIN_IDS, MAX_SEQUENCE
from tidegate.execution.state import LaneBroken, LaneOrder, State
from tidegate.model.messages import CancelAll, CancelOrder, Mark, Message, NewOrder, OrderEvent, ReplaceOrder
from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce, Trigger
from tidegate.risk.reasons import Reason

_NEW_NUMBERS = struct.Struct("<17q")
_REPLACE_NUMBERS = struct.Struct("<7q")
_FOUR = struct.Struct("<4q")
_SIDES = {int(member): member for member in Side}
_TYPES = {int(member): member for member in OrdType}
_TIFS = {int(member): member for member in TimeInForce}
_CONTINGENCIES = {int(member): member for member in Contingency}
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_MARKET, _OCO = OrdType.MARKET, Contingency.OCO
_PRICELESS = (OrdType.MARKET, OrdType.STOP, OrdType.TRAILING_STOP)


class Refused(Exception):
    """A command the lane will not take; carries the reason and, for the log, what was wrong."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def new_order(s: State, m: NewOrder) -> None:
    """Validate, name, charge and send; or hold back as a contingent child; or deny."""
    known = s.by_cmd.get(m.cmd_id)
    if known is not None:
        _again(s, known, m)
        return
    order, ref = _build(s, m)
    parent = _parent(s, m)
    if order.cmd_id >= MARGIN_IDS:
        if parent is not None or (why := reductions.admit(s, order)):
            raise Refused(Reason.NOT_OF_STEP, why if parent is None else "it has a parent")
        reductions.sent(s, order, submit(s, order, ref, order.ts_submit))
        s.seq += 1
        return
    if parent is None and not order.linked:
        submit(s, order, ref, order.ts_submit)
        s.seq += 1
        return
    s.seq += 1
    contingent.admit(s, order, parent, m, ref)


def _again(s: State, known: LaneOrder, m: NewOrder) -> None:
    same = (
        known.account == m.account
        and known.strategy == m.strategy
        and known.instrument == m.instrument
        and known.side == m.side
        and known.ord_type == m.ord_type
    )
    if not same:
        raise Refused(Reason.CMD_ID_REUSED, f"cmd_id {m.cmd_id} asked for another order before")
    s.count(Reason.DUPLICATE_COMMAND)
    tell(s, known, None, m.ts)


def _build(s: State, m: NewOrder) -> tuple[LaneOrder, tuple[int, int, int]]:
    """The order as a lane order. Packing admits what is an int64 and nothing else (numpy's integers too)."""
    (
        ts, cmd_id, account, strategy, instrument, qty, price, stop_price, exec_inst, display_qty, offset,
        expire_ts, ref_bid, ref_ask, ref_ts, link_group, _parent_cmd,
    ) = _NEW_NUMBERS.unpack(
        _NEW_NUMBERS.pack(
            m.ts, m.cmd_id, m.account, m.strategy, m.instrument, m.qty, m.price, m.stop_price, m.exec_inst,
            m.display_qty, m.offset, m.expire_ts, m.ref_bid, m.ref_ask, m.ref_ts, m.link_group,
            m.parent_cmd_id,
        )
    )  # fmt: skip
    if cmd_id <= 0 or account < 0 or strategy < 0 or qty <= 0 or ts < 0:
        raise Refused(
            Reason.INVALID_COMMAND,
            f"cmd_id {cmd_id}, account {account}, strategy {strategy}, qty {qty}, ts {ts}: out of range",
        )
    if not 0 <= instrument < s.instruments:
        raise Refused(Reason.UNKNOWN_INSTRUMENT, f"instrument {instrument} of {s.instruments}")
    if s.forgotten and cmd_id <= s.forgotten.get(strategy, 0):
        raise Refused(Reason.STALE_COMMAND, f"cmd_id {cmd_id} is not above {s.forgotten[strategy]}")
    if s.seq >= MAX_SEQUENCE:
        raise LaneBroken("sequence: the lane has used all its ClOrdIDs")
    ord_type, tif = _TYPES[m.ord_type], _TIFS[m.time_in_force]
    contingency = _CONTINGENCIES[m.contingency]
    oco = contingency is _OCO
    if oco != (link_group != 0):
        raise Refused(
            Reason.INVALID_CONTINGENCY, "a link_group is for OCO orders, and each of them needs one"
        )
    immediate = ord_type is _MARKET or tif in _IMMEDIATE
    order = LaneOrder(
        s.prefix | (s.seq + 1), cmd_id, account, strategy, instrument, _SIDES[m.side], ord_type, tif, qty,
        price, stop_price, display_qty, offset, expire_ts, exec_inst, leaves_qty=qty, contingency=contingency,
        target=FILLED if immediate else NEW, immediate=immediate, ts_submit=ts,
        linked=oco, link_group=link_group,
    )  # fmt: skip
    return order, (ref_bid, ref_ask, ref_ts)


def _parent(s: State, m: NewOrder) -> LaneOrder | None:
    if not m.parent_cmd_id:
        return None
    parent = s.by_cmd.get(m.parent_cmd_id)
    if parent is None:
        raise Refused(Reason.INVALID_CONTINGENCY, f"parent_cmd_id {m.parent_cmd_id} asked for no order")
    return parent


def cancel_order(s: State, m: CancelOrder) -> None:
    """Cancel by the cmd_id that asked for the order."""
    order = s.by_cmd.get(m.cmd_id)
    if order is None:
        raise Refused(Reason.UNKNOWN_COMMAND, f"cmd_id {m.cmd_id} asked for no order")
    cancel(s, order, int(m.ts))


def cancel(s: State, order: LaneOrder, ts: int) -> None:
    """Cancel one order as its owner asks: at once where it was never sent, else by request."""
    if order.status >= FILLED or order.closing:
        refuse(s, order, Reason.ORDER_NOT_OPEN, ts)
        return
    contingent.give_up(s, order)
    if order.status is CREATED:
        close(s, order, Trigger.CANCELED, ts)
        tell(s, order, ExecType.CANCELED, ts)
        return
    if order.status is PENDING_CANCEL:
        s.count(Reason.DUPLICATE_COMMAND)
        tell(s, order, None, ts)
        return
    reason = s.gate.check_cancel(order, ts)
    if reason:
        s.count(reason)
        tell_refusal(s, order, ExecType.CANCEL_REJECTED, ts, reason)
        return
    order.reason = 0
    send_cancel(s, order, ts)


def cancel_all(s: State, m: CancelAll) -> None:
    """Cancel every order in the scope, oldest first; children that wait for their parents too."""
    ts, account, strategy, instrument = _FOUR.unpack(_FOUR.pack(m.ts, m.account, m.strategy, m.instrument))
    scope = [
        order
        for order in s.live.values()
        if account in (-1, order.account)
        and strategy in (-1, order.strategy)
        and instrument in (-1, order.instrument)
    ]
    for order in scope:
        if order.status < FILLED and order.status is not PENDING_CANCEL and not order.closing:
            cancel(s, order, ts)


def mark(s: State, m: Mark) -> None:
    """The touch of an instrument: for the gate, and for children that are released later."""
    ts, instrument, bid, ask = _FOUR.unpack(_FOUR.pack(m.ts, m.instrument, m.bid, m.ask))
    if not 0 <= instrument < s.instruments:
        raise Refused(Reason.UNKNOWN_INSTRUMENT, f"mark of instrument {instrument} of {s.instruments}")
    s.gate.mark(instrument, bid, ask, ts)
    s.marks[instrument] = (bid, ask, ts)


def replace_order(s: State, m: ReplaceOrder) -> None:
    """Change total quantity and price; 0 keeps. One replace at a time."""
    order = s.by_cmd.get(m.cmd_id)
    if order is None:
        raise Refused(Reason.UNKNOWN_COMMAND, f"cmd_id {m.cmd_id} asked for no order")
    ts, _, qty, price, bid, ask, ref_ts = _REPLACE_NUMBERS.unpack(
        _REPLACE_NUMBERS.pack(m.ts, m.cmd_id, m.qty, m.price, m.ref_bid, m.ref_ask, m.ref_ts)
    )
    qty, price = qty or order.qty, price or order.price
    reason = _no_replace(order, qty, price)
    if reason is Reason.DUPLICATE_COMMAND:
        s.count(reason)
        tell(s, order, None, ts)
        return
    if reason:
        refuse(s, order, reason, ts)
        return
    if flattened.keeps(s, order):
        refuse(s, order, Reason.BEING_FLATTENED, ts)
        return
    denied = s.gate.check_replace(order, qty, price, bid, ask, ref_ts, ts)
    if denied:
        s.count(denied)
        tell_refusal(s, order, ExecType.CANCEL_REJECTED, ts, denied)
        return
    send_replace(s, order, qty, price, ts)


def _no_replace(order: LaneOrder, qty: int, price: int) -> Reason:
    """Why the replace cannot be sent; NONE where it can."""
    status = order.status
    if status >= FILLED or order.closing or status is CREATED:
        return Reason.ORDER_NOT_OPEN
    if order.cmd_id >= HOUSE_IDS:
        return Reason.ILLEGAL_REPLACE
    if status is PENDING_REPLACE and (order.pending_qty, order.pending_price) == (qty, price):
        return Reason.DUPLICATE_COMMAND
    if status not in (NEW, PARTIALLY_FILLED) or order.pending_qty or order.target is CANCELED:
        return Reason.REQUEST_PENDING
    if price != order.price and order.ord_type in _PRICELESS:
        return Reason.ILLEGAL_REPLACE
    return Reason.NONE


def reject(s: State, m: Message, reason: int) -> None:
    """Tell that a command was refused as a whole: no order stands behind it, or none was touched."""
    s.count(reason)
    is_new = isinstance(m, NewOrder)
    exec_type = ExecType.REJECTED if is_new else ExecType.CANCEL_REJECTED
    status = OrdStatus.DENIED if is_new else OrdStatus.REJECTED
    cmd_id, account, strategy, instrument = (
        _number(getattr(m, name, 0)) for name in ("cmd_id", "account", "strategy", "instrument")
    )
    event = OrderEvent(s.now, 0, cmd_id, account, strategy, instrument, status, exec_type, 0, 0)
    event.reason = int(reason)
    s.out.append(event)


def _number(value: object) -> int:
    return value if isinstance(value, int) and -(1 << 63) <= value < 1 << 63 else 0
