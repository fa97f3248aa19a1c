"""The risk gate: every control on a new order, a replace, a cancel; the charges that orders and fills move.

Orders are rows of `kernel.layout`. `gate_check` judges in this order of controls, and the first hard denial
wins: 1 (unknown numbers), 30, 29 (a gap), 27 (killed, cancel-only), 1, 2, 3; of what adds risk 27 (an instrument
that may only be reduced), 30, 10, 29, 15, 14, 26, 28; then 7 (no reference at all), 3 (minimum notional), 4, 22
(depth), 5, 6, 7, 8, 9, 12; then scope by scope from the strategy up to the firm 23, 24 and 27 (only reducing), 16, 17,
22, 25, 18, 20; then 11 and 13, which remember what they see. Soft warnings only ever set bits of `F_WARNINGS`
(1 << control).

`out` is a command's row, with the columns `gate_commands.F_…` for what was compared. `ts` is the event's time, ns.

What passes is charged: its lots, its value, its place in counts, buckets and own resting prices; `O_CHARGE`
is the gate's handle for that, 0 when nothing is charged. A denial charges nothing, except that control 11
remembers an order it judged. An order reduces risk when, with all that is open on its side, it can only
shrink the position of the scope that judges it; for controls of one order that is the strategy's. Such an order
passes controls 10, 14, 15, 17, 18, 20, 22 to 26, 28, 29's clocks, and 27's reduce-only states.

Numbers of account, strategy and instrument in fills, releases and marks are those of the run: only the checks
test them. Where money could overflow is said in `gate_state`.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_charge import charged_value, note_taking, recharge, release
from tidegate.kernel.gate_codes import CANCEL_THROTTLE, INVALID_QTY, MAX_PARENT_VALUE, NO_LIMIT, NOT_CHARGED
from tidegate.kernel.gate_commands import F_CONTROL
from tidegate.kernel.gate_conduct import OWN_FAULTS, note_fill, note_outcome, note_reject, note_sent
from tidegate.kernel.gate_judge import chain_of, judge, reference
from tidegate.kernel.gate_limits import check_reference
from tidegate.kernel.gate_marks import (
    gate_funding,
    gate_mark,
    gate_set_state,
    note_time,
    revalue_all,
    roll_day,
)
from tidegate.kernel.gate_money import cash_of, order_value, post_position, set_touch
from tidegate.kernel.gate_order import check_known, check_valid, clear, deny, judged_prices
from tidegate.kernel.gate_scopes import check_throttle, give_tokens
from tidegate.kernel.gate_slots import find
from tidegate.kernel.gate_state import (
    CH_RULES,
    CH_STRATEGY,
    I_MARK_TS,
    MAX_MONEY,
    P_CANCEL_BURST,
    P_CANCEL_GAP,
    P_CANCEL_TAT,
    R_MISSING,
    R_MISSING_SCOPE,
    R_PARENT,
    R_PARENT_SCOPE,
    GateState,
    empty_gate,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    O_CHARGE,
    O_CUM,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STRATEGY,
)

__all__ = [
    "GateState",
    "empty_gate",
    "gate_book",
    "gate_cancel_check",
    "gate_check",
    "gate_check_parent",
    "gate_check_replace",
    "gate_fill",
    "gate_funding",
    "gate_mark",
    "gate_release",
    "gate_replace_rejected",
    "gate_replaced",
    "gate_set_state",
    "gate_unfill",
]


@inline
def gate_check(g: Any, orders: Any, k: int, ts: int, out: Any) -> Any:
    """Judge the new order in row `k` against the touch its sender saw; 0 when it passed and is charged.

    A denial's reason is returned and its figures are in `out`: limit and value in the control's own unit
    (`risk.controls`), and the scope whose limit it was.
    """
    clear(out)
    roll_day(g, ts)
    order = orders[k]
    order[O_CHARGE] = 0
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    bid, ask, seen = order[O_REF_BID], order[O_REF_ASK], order[O_REF_TS]
    reason = judge(g, orders, k, 0, order[O_QTY], order[O_PRICE], ts, bid, ask, seen, out)
    if reason == 0 or (OWN_FAULTS >> out[F_CONTROL]) & 1:
        t = order[O_STRATEGY]
        note_outcome(g, t, g.chain[chain_of(g, orders, k), CH_STRATEGY], 1 if reason != 0 else 0)
    return reason


@inline
def gate_check_replace(
    g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int, ref_bid: int, ref_ask: int, ref_ts: int,
    out: Any,
) -> Any:  # fmt: skip
    """Judge a change of total quantity and limit price (0 keeps); 0 when it passed.

    The row still holds the order as it stands. What the change adds is charged at once; the worst of old and
    new stays charged until `gate_replaced` or `gate_replace_rejected`.
    """
    clear(out)
    roll_day(g, ts)
    order = orders[k]
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    h = find(g, orders, k)
    if h == 0:
        return deny(out, NOT_CHARGED, 3, 0, order[O_ID], 0)
    qty = new_qty if new_qty != 0 else order[O_QTY]
    price = new_price if new_price != 0 else order[O_PRICE]
    if qty <= order[O_CUM]:
        return deny(out, INVALID_QTY, 3, order[O_CUM] + 1, qty, 0)
    return judge(g, orders, k, h, qty, price, ts, ref_bid, ref_ask, ref_ts, out)


@inline
def gate_replaced(g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int) -> None:
    """The venue changed the order (asked or not): charge what it now is, quantity total (0 keeps)."""
    note_time(g, ts)
    qty = new_qty if new_qty != 0 else orders[k, O_QTY]
    recharge(g, orders, k, qty - orders[k, O_CUM], new_price if new_price != 0 else orders[k, O_PRICE])


@inline
def gate_replace_rejected(g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int) -> None:
    """The venue refused the change: back to what the row holds."""
    note_time(g, ts)
    recharge(g, orders, k, orders[k, O_LEAVES], orders[k, O_PRICE])


@inline
def gate_cancel_check(g: Any, orders: Any, k: int, ts: int, out: Any) -> Any:
    """Judge a cancel: only its own bucket can hold it back, whatever the state of its scopes."""
    clear(out)
    roll_day(g, ts)
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    links = g.chain[chain_of(g, orders, k)]
    reason = check_throttle(g, links, ts, P_CANCEL_TAT, P_CANCEL_GAP, P_CANCEL_BURST, CANCEL_THROTTLE, out)
    if reason == 0:
        give_tokens(g, links, ts, P_CANCEL_TAT, P_CANCEL_GAP)
        note_sent(g, links, orders[k, O_INSTRUMENT], 1, orders[k, O_LEAVES])
    return reason


@outline
def gate_check_parent(g: Any, orders: Any, first: int, count: int, ts: int, out: Any) -> Any:
    """Control 6 for a parent before it is sliced, or a basket: the value of `count` rows from `first` on.

    Charges nothing: the children pass `gate_check` one by one.
    """
    clear(out)
    total = 0
    for k in range(first, first + count):
        order = orders[k]
        reason = check_known(g, orders, k, out)
        if reason == 0:
            reason = check_valid(g, orders, k, order[O_QTY], order[O_PRICE], ts, out)
        if reason != 0:
            return reason
        i, price = order[O_INSTRUMENT], order[O_PRICE]
        rules = g.rules[g.chain[chain_of(g, orders, k), CH_RULES] + i]
        bid, ask, _, known = reference(g, i, order[O_REF_BID], order[O_REF_ASK], order[O_REF_TS])
        if rules[R_MISSING] != 0:
            reason = deny(out, NO_LIMIT, 30, rules[R_MISSING], 0, rules[R_MISSING_SCOPE])
        else:
            reason = check_reference(g, orders, k, rules, price, known, out)
        if reason != 0:
            return reason
        worst, plain, _ = judged_prices(g, orders, k, rules, price, bid, ask)
        value = charged_value(g, i, order[O_SIDE], worst, plain, known, bid, ask, order[O_QTY])
        total = min(total + value, 2 * MAX_MONEY)
        if total > rules[R_PARENT]:
            return deny(out, MAX_PARENT_VALUE, 6, rules[R_PARENT], total, rules[R_PARENT_SCOPE])
    return 0


@outline
def gate_book(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """Book a fill's position, cash and traded value alone: what is open stays. `qty` below 0 undoes one."""
    note_time(g, ts)
    i = orders[k, O_INSTRUMENT]
    if g.inst[i, I_MARK_TS] == 0:
        set_touch(g, i, price, price, max(ts, 1))
        revalue_all(g, i)
    lots = qty if orders[k, O_SIDE] == BUY else -qty
    value = order_value(g, i, price, qty)
    traded = value if qty >= 0 else -value
    post_position(g, chain_of(g, orders, k), i, lots, cash_of(g, i, price, lots, fee), traded)


@inline
def gate_fill(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """A fill, told before the caller moves O_LEAVES and O_CUM: its charge moves from open to position.

    `fee` in minor units of the settlement currency, positive is paid. A fill of an order that is not charged
    (adopted, or late) moves the position all the same.
    """
    note_time(g, ts)  # first: it counts among the trades of its own day (14)
    h = find(g, orders, k)
    note_fill(g, orders, k, chain_of(g, orders, k), h, qty, price, ts)
    if h != 0:
        note_taking(g, h, price, ts)
        release(g, orders, k, h, qty)
    gate_book(g, orders, k, qty, price, fee, ts)


@inline
def gate_unfill(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """A trade was canceled (bust): position, cash and traded value go back; what is open does not change."""
    gate_book(g, orders, k, -qty, price, -fee, ts)


@inline
def gate_release(g: Any, orders: Any, k: int, qty: int, ts: int, refused: int) -> None:
    """`qty` open lots will not trade (reject, cancel, expiry: O_LEAVES); all of them free the order's place.

    `refused` is 1 where the venue refused the order: control 24 counts that.
    """
    note_time(g, ts)
    if refused != 0:
        t = orders[k, O_STRATEGY]
        note_reject(g, t, g.chain[chain_of(g, orders, k), CH_STRATEGY])
    h = find(g, orders, k)
    if h != 0:
        release(g, orders, k, h, qty)
