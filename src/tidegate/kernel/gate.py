"""The risk gate: every control on a new order, a replace or a cancel, and the charges that orders and fills move.

Orders are rows of `kernel.layout`. `gate_check` judges a new order in this order of controls, and the first hard
denial wins: 27 (killed, cancel-only), 1, 2, 3, 30, 10, 7 (no reference at all), 3 (minimum notional), 4, 5, 6, 7,
8, 9, 12; then scope by scope from the strategy up to the firm 23 and 27 (only reducing), 16, 17, 18, 20, 25; then
11 and 13, which remember what they see. Soft warnings only ever set bits of `out[5]` (1 << control).

`out` is int64[8]: reason, limit, value, scope, control, warnings, 0, 0. `ts` is the event's time, ns.

What passes is charged: its lots, its value, its place in counts, buckets and own resting prices; `O_CHARGE` is
the gate's handle for that, 0 when nothing is charged. A denial charges nothing, except that control 11 remembers
an order it judged. An order reduces risk when, with all that is open on its side, it can only shrink the
position of the scope that judges it; for control 10 that is the strategy's.

Numbers of account, strategy and instrument in fills, releases and marks are those of the run: only the checks
test them. Where money could overflow is said in `gate_state`.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_codes import (
    CANCEL_THROTTLE,
    GATE_FULL,
    INVALID_QTY,
    MAX_PARENT_VALUE,
    NO_LIMIT,
    NOT_CHARGED,
    ORDER_THROTTLE,
)
from tidegate.kernel.gate_limits import (
    check_band,
    check_collar,
    check_data,
    check_drift,
    check_duplicate,
    check_reference,
    check_self_match,
    check_size,
)
from tidegate.kernel.gate_money import (
    cash_of,
    order_value,
    post_open,
    post_position,
    revalue,
    revalue_pnl,
    set_touch,
    settle_value,
    unit_at,
    whole,
)
from tidegate.kernel.gate_order import (
    MAY_REST,
    STOPS,
    check_known,
    check_permitted,
    check_valid,
    deny,
    judged_prices,
    priced,
)
from tidegate.kernel.gate_scopes import check_scopes, check_throttle, reduces
from tidegate.kernel.gate_slots import drop_slot, find, move_resting, rest, take_slot
from tidegate.kernel.gate_state import (
    C_BUYS,
    C_CASH,
    C_DRIFT_BASE,
    C_DRIFT_HIGH,
    C_DRIFT_LOW,
    C_DRIFT_TS,
    C_POS,
    C_SELLS,
    CH_RULES,
    CH_STRATEGY,
    F_NEGATIVE,
    GATE_TYPE,
    H_DAY_OFFSET,
    H_FREE,
    H_NEXT_DAY,
    I_ASK,
    I_BAD_MARKS,
    I_BID,
    I_CURRENCY,
    I_FLAGS,
    I_FX,
    I_FX_QUOTE,
    I_MARK_TS,
    I_MARKS,
    L_CHAIN,
    L_FLAGS,
    L_ID,
    L_INSTRUMENT,
    L_MID2,
    L_OPEN,
    L_PRICE,
    L_SIDE,
    L_VALUE,
    MAX_TICKS,
    P_CANCEL_BURST,
    P_CANCEL_GAP,
    P_CANCEL_TAT,
    P_CAUSE,
    P_CAUSE_LIMIT,
    P_CAUSE_VALUE,
    P_DAY_PNL,
    P_NEW_BURST,
    P_NEW_GAP,
    P_NEW_TAT,
    P_PEAK,
    P_PNL,
    P_STATE,
    P_TRADED,
    R_DRIFT_WINDOW,
    R_MISSING,
    R_MISSING_RISK,
    R_MISSING_RISK_SCOPE,
    R_MISSING_SCOPE,
    R_PARENT,
    R_PARENT_SCOPE,
    REDUCES,
    S_REDUCE_ONLY,
    TAKES,
    X_MEMORY,
    X_PRICE,
    X_RATE,
    X_UNIT,
    X_UNITS,
    X_VARIANCE,
    GateState,
    empty_gate,
)
from tidegate.kernel.jit import inline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    IOC,
    O_ACCOUNT,
    O_CHARGE,
    O_CUM,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_LEAVES,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
    POST_ONLY,
    REDUCE_ONLY,
)
from tidegate.model.time import DAY as DAY_NS

__all__ = [
    "GATE_TYPE",
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
def _roll_day(g: Any, ts: int) -> None:
    """Begin a new day for traded value and the day's loss, when `ts` lies past the last one's end."""
    header = g.slot
    if ts < header[0, H_NEXT_DAY]:
        return
    header[0, H_NEXT_DAY] = (ts - header[0, H_DAY_OFFSET]) // DAY_NS * DAY_NS + DAY_NS + header[0, H_DAY_OFFSET]
    for s in range(g.scope.shape[0]):
        g.scope[s, P_TRADED] = 0
        g.scope[s, P_DAY_PNL] = g.scope[s, P_PNL]


@inline
def _chain(g: Any, orders: Any, k: int) -> int:
    return orders[k, O_ACCOUNT] * g.ring.shape[0] + orders[k, O_STRATEGY]


@inline
def _touch_known(g: Any, i: int, bid: int, ask: int, ts: int) -> Any:
    """Whether a touch can serve as a reference: both sides there, in range, and stamped."""
    if ts == 0 or abs(bid) > MAX_TICKS or abs(ask) > MAX_TICKS:
        return False
    return g.inst[i, I_FLAGS] & F_NEGATIVE != 0 or (bid > 0 and ask > 0)


@inline
def _reference(g: Any, i: int, bid: int, ask: int, ts: int) -> Any:
    """(bid, ask, time, known): the touch the sender saw, else the gate's own last mark."""
    if _touch_known(g, i, bid, ask, ts):
        return bid, ask, ts, True
    bid, ask, ts = g.inst[i, I_BID], g.inst[i, I_ASK], g.inst[i, I_MARK_TS]
    return bid, ask, ts, ts != 0


@inline
def _charged_value(
    g: Any, i: int, side: int, worst: int, plain: int, known: Any, bid: int, ask: int, lots: int
) -> int:
    """The order's value: the larger of that at its worst price and at the touch (or the price it names)."""
    other = plain
    if known:
        other = ask if side == BUY else bid
    return max(order_value(g, i, worst, lots), order_value(g, i, other, lots))


@inline
def _set_charge(g: Any, orders: Any, k: int, h: int, lots: int, value: int) -> None:
    """Bring what a slot has charged to `lots` and `value`; at no lots the slot is freed."""
    slot = g.slot
    closing = -1 if lots == 0 else 0
    post_open(
        g, slot[h, L_CHAIN], slot[h, L_INSTRUMENT], slot[h, L_SIDE], slot[h, L_FLAGS] & REDUCES != 0,
        lots - slot[h, L_OPEN], value - slot[h, L_VALUE], closing,
    )  # fmt: skip
    slot[h, L_OPEN], slot[h, L_VALUE] = lots, value
    if closing:
        drop_slot(g, h)
        orders[k, O_CHARGE] = 0


@inline
def _take_charge(
    g: Any, orders: Any, k: int, chain: int, lots: int, value: int, worst: int, takes: Any, base2: int
) -> None:
    """A new order passed: give it a slot, and charge it to every scope."""
    h, slot = take_slot(g), g.slot
    slot[h, L_ID], slot[h, L_CHAIN], slot[h, L_INSTRUMENT] = orders[k, O_ID], chain, orders[k, O_INSTRUMENT]
    slot[h, L_SIDE], slot[h, L_OPEN], slot[h, L_VALUE] = orders[k, O_SIDE], lots, value
    slot[h, L_PRICE], slot[h, L_MID2], slot[h, L_FLAGS] = worst, base2, 0
    if orders[k, O_INST] & REDUCE_ONLY:
        slot[h, L_FLAGS] |= REDUCES
    if takes:
        slot[h, L_FLAGS] |= TAKES
    tif = orders[k, O_TIF]
    if (MAY_REST >> orders[k, O_TYPE]) & 1 and tif != IOC and tif != FOK:
        rest(g, h)
    orders[k, O_CHARGE] = h
    post_open(g, chain, slot[h, L_INSTRUMENT], slot[h, L_SIDE], slot[h, L_FLAGS] & REDUCES != 0, lots, value, 1)


@inline
def _judge(
    g: Any, orders: Any, k: int, h: int, qty: int, price: int, ts: int, ref_bid: int, ref_ask: int, ref_ts: int,
    out: Any,
) -> int:  # fmt: skip
    """Judge a new order (`h` 0) or the change of the one in slot `h`, and charge it when it passes."""
    i, side = orders[k, O_INSTRUMENT], orders[k, O_SIDE]
    chain = _chain(g, orders, k)
    rule, own = g.chain[chain, CH_RULES] + i, g.chain[chain, CH_STRATEGY]
    reason = check_permitted(g, orders, k, chain, rule, ts, out)
    if reason == 0:
        reason = check_valid(g, orders, k, qty, price, ts, out)
    if reason != 0:
        return reason
    if g.rules[rule, R_MISSING] != 0:
        return deny(out, NO_LIMIT, 30, g.rules[rule, R_MISSING], 0, g.rules[rule, R_MISSING_SCOPE])
    bid, ask, seen, known = _reference(g, i, ref_bid, ref_ask, ref_ts)
    sign = 1 if side == BUY else -1
    leaves = qty if h == 0 else qty - orders[k, O_CUM]
    lots = leaves if h == 0 else max(0, leaves - g.slot[h, L_OPEN])
    shrinks = h != 0 and lots == 0 and sign * (price - orders[k, O_PRICE]) <= 0
    if not (shrinks or reduces(g, own, i, side, lots)):
        if g.rules[rule, R_MISSING_RISK] != 0:
            return deny(out, NO_LIMIT, 30, g.rules[rule, R_MISSING_RISK], 0, g.rules[rule, R_MISSING_RISK_SCOPE])
        reason = check_data(g, rule, i, known, bid, ask, seen, ts, out)
        if reason != 0:
            return reason
    reason = check_reference(g, orders, k, rule, price, known, out)
    if reason != 0:
        return reason
    worst, plain, base2 = judged_prices(g, orders, k, rule, price, bid, ask)
    value = _charged_value(g, i, side, worst, plain, known, bid, ask, qty)
    reason = check_size(g, rule, i, qty, plain, value, out)
    if reason == 0:
        reason = check_collar(g, orders, k, rule, plain, base2, price, out)
    if reason != 0:
        return reason
    stop = (STOPS >> orders[k, O_TYPE]) & 1 != 0
    takes = stop or (orders[k, O_INST] & POST_ONLY == 0 and sign * (worst - (ask if side == BUY else bid)) >= 0)
    if known and not stop:
        if priced(orders, k, price):
            reason = check_band(g, rule, i, sign, worst, bid, ask, out)
        if reason == 0 and takes:
            reason = check_drift(g, rule, i, own, sign, ts, out)
    if reason == 0:
        reason = check_self_match(g, orders, k, chain, rule, worst, out)
    if reason != 0:
        return reason
    more = value
    if h != 0:
        value = _charged_value(g, i, side, worst, plain, known, bid, ask, leaves)
        more = max(0, value - g.slot[h, L_VALUE])
    elif g.slot[0, H_FREE] == 0:
        return deny(out, GATE_FULL, 16, g.slot.shape[0] - 1, g.slot.shape[0], 0)
    reason = check_scopes(g, orders, k, chain, shrinks, lots, more, 1 if h == 0 else 0, bid, ask, out)
    if reason == 0 and h == 0:
        reason = check_duplicate(g, orders, k, rule, qty, price, ts, out)
    if reason == 0:
        reason = check_throttle(g, chain, ts, P_NEW_TAT, P_NEW_GAP, P_NEW_BURST, ORDER_THROTTLE, out)
    if reason != 0:
        return reason
    if g.real[i, X_UNIT] == 0.0 and known:
        set_touch(g, i, bid, ask, seen)
    if h == 0:
        _take_charge(g, orders, k, chain, lots, value, worst, takes, bid + ask)
    else:
        _set_charge(g, orders, k, h, g.slot[h, L_OPEN] + lots, g.slot[h, L_VALUE] + more)
        if sign * (worst - g.slot[h, L_PRICE]) > 0:
            move_resting(g, h, worst)
    return 0


@inline
def gate_check(g: Any, orders: Any, k: int, ts: int, out: Any) -> int:
    """Judge the new order in row `k` against the touch its sender saw; 0 when it passed and is charged.

    All controls of RISK_CONTROLS that this gate holds; a denial's reason is returned and its figures are in
    `out`: limit and value in the control's own unit (`risk.controls`), and the scope whose limit it was.
    """
    out[:] = 0
    _roll_day(g, ts)
    orders[k, O_CHARGE] = 0
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    return _judge(
        g, orders, k, 0, orders[k, O_QTY], orders[k, O_PRICE], ts,
        orders[k, O_REF_BID], orders[k, O_REF_ASK], orders[k, O_REF_TS], out,
    )  # fmt: skip


@inline
def gate_check_replace(
    g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int, ref_bid: int, ref_ask: int, ref_ts: int,
    out: Any,
) -> int:  # fmt: skip
    """Judge a change of total quantity and limit price (0 keeps); 0 when it passed.

    The row still holds the order as it stands. What the change adds is charged at once; the worst of old and new
    stays charged until `gate_replaced` or `gate_replace_rejected`.
    """
    out[:] = 0
    _roll_day(g, ts)
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    h = find(g, orders, k)
    if h == 0:
        return deny(out, NOT_CHARGED, 3, 0, orders[k, O_ID], 0)
    qty = new_qty if new_qty != 0 else orders[k, O_QTY]
    price = new_price if new_price != 0 else orders[k, O_PRICE]
    if qty <= orders[k, O_CUM]:
        return deny(out, INVALID_QTY, 3, orders[k, O_CUM] + 1, qty, 0)
    return _judge(g, orders, k, h, qty, price, ts, ref_bid, ref_ask, ref_ts, out)


@inline
def _recharge(g: Any, orders: Any, k: int, lots: int, price: int) -> None:
    """Charge an open order anew for `lots` at `price`, valued at the gate's own mark."""
    h = find(g, orders, k)
    if h == 0:
        return
    if lots <= 0:
        _set_charge(g, orders, k, h, 0, 0)
        return
    i = orders[k, O_INSTRUMENT]
    bid, ask, known = g.inst[i, I_BID], g.inst[i, I_ASK], g.inst[i, I_MARK_TS] != 0
    rule = g.chain[g.slot[h, L_CHAIN], CH_RULES] + i
    worst, plain, _ = judged_prices(g, orders, k, rule, price, bid, ask)
    value = _charged_value(g, i, orders[k, O_SIDE], worst, plain, known, bid, ask, lots)
    move_resting(g, h, worst)
    _set_charge(g, orders, k, h, lots, value)


@inline
def gate_replaced(g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int) -> None:
    """The venue changed the order (asked or not): charge what it now is, quantity total (0 keeps)."""
    _roll_day(g, ts)
    qty = new_qty if new_qty != 0 else orders[k, O_QTY]
    _recharge(g, orders, k, qty - orders[k, O_CUM], new_price if new_price != 0 else orders[k, O_PRICE])


@inline
def gate_replace_rejected(g: Any, orders: Any, k: int, new_qty: int, new_price: int, ts: int) -> None:
    """The venue refused the change: back to what the row holds."""
    _roll_day(g, ts)
    _recharge(g, orders, k, orders[k, O_LEAVES], orders[k, O_PRICE])


@inline
def gate_cancel_check(g: Any, orders: Any, k: int, ts: int, out: Any) -> int:
    """Judge a cancel: only its own bucket can hold it back, whatever the state of its scopes."""
    out[:] = 0
    reason = check_known(g, orders, k, out)
    if reason != 0:
        return reason
    chain = _chain(g, orders, k)
    return check_throttle(g, chain, ts, P_CANCEL_TAT, P_CANCEL_GAP, P_CANCEL_BURST, CANCEL_THROTTLE, out)


@inline
def gate_check_parent(g: Any, orders: Any, first: int, count: int, ts: int, out: Any) -> int:
    """Control 6 for a parent before it is sliced, or a basket: the value of rows first … first + count - 1.

    Charges nothing: the children pass `gate_check` one by one.
    """
    out[:] = 0
    total = 0
    for k in range(first, first + count):
        reason = check_known(g, orders, k, out)
        if reason != 0:
            return reason
        i = orders[k, O_INSTRUMENT]
        rule = g.chain[_chain(g, orders, k), CH_RULES] + i
        reason = check_valid(g, orders, k, orders[k, O_QTY], orders[k, O_PRICE], ts, out)
        if reason != 0:
            return reason
        if g.rules[rule, R_MISSING] != 0:
            return deny(out, NO_LIMIT, 30, g.rules[rule, R_MISSING], 0, g.rules[rule, R_MISSING_SCOPE])
        bid, ask, _, known = _reference(g, i, orders[k, O_REF_BID], orders[k, O_REF_ASK], orders[k, O_REF_TS])
        reason = check_reference(g, orders, k, rule, orders[k, O_PRICE], known, out)
        if reason != 0:
            return reason
        worst, plain, _ = judged_prices(g, orders, k, rule, orders[k, O_PRICE], bid, ask)
        value = _charged_value(g, i, orders[k, O_SIDE], worst, plain, known, bid, ask, orders[k, O_QTY])
        total = min(total + value, 1 << 61)
        if total > g.rules[rule, R_PARENT]:
            return deny(out, MAX_PARENT_VALUE, 6, g.rules[rule, R_PARENT], total, g.rules[rule, R_PARENT_SCOPE])
    return 0


@inline
def _note_taking(g: Any, h: int, price: int, ts: int) -> None:
    """Control 9 remembers how far the strategy's aggressive fills went."""
    i, chain = g.slot[h, L_INSTRUMENT], g.slot[h, L_CHAIN]
    row, cell = g.chain[chain, CH_STRATEGY] * g.inst.shape[0] + i, g.cell
    window = g.rules[g.chain[chain, CH_RULES] + i, R_DRIFT_WINDOW]
    if cell[row, C_DRIFT_TS] == 0 or ts - cell[row, C_DRIFT_TS] >= window:
        cell[row, C_DRIFT_TS] = max(ts, 1)
        cell[row, C_DRIFT_BASE] = g.slot[h, L_MID2] if g.slot[h, L_MID2] != 0 else 2 * price
        cell[row, C_DRIFT_HIGH] = cell[row, C_DRIFT_LOW] = price
    else:
        cell[row, C_DRIFT_HIGH] = max(cell[row, C_DRIFT_HIGH], price)
        cell[row, C_DRIFT_LOW] = min(cell[row, C_DRIFT_LOW], price)


@inline
def _release(g: Any, orders: Any, k: int, h: int, qty: int) -> None:
    left = g.slot[h, L_OPEN] - qty
    if left <= 0 or qty >= orders[k, O_LEAVES]:
        _set_charge(g, orders, k, h, 0, 0)
    else:
        _set_charge(g, orders, k, h, left, whole(float(g.slot[h, L_VALUE]) * left / g.slot[h, L_OPEN]))


@inline
def gate_book(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """Book a fill's position, cash and traded value alone: open quantity stays as it is. `qty` below 0 undoes."""
    _roll_day(g, ts)
    i = orders[k, O_INSTRUMENT]
    if g.inst[i, I_MARK_TS] == 0:
        set_touch(g, i, price, price, max(ts, 1))
    lots = qty if orders[k, O_SIDE] == BUY else -qty
    value = order_value(g, i, price, abs(qty))
    post_position(
        g, _chain(g, orders, k), i, lots, cash_of(g, i, price, lots, fee), value if qty >= 0 else -value
    )


@inline
def gate_fill(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """A fill, told before the caller moves O_LEAVES and O_CUM: its charge moves from open to position.

    `fee` in minor units of the settlement currency, positive is paid. A fill of an order that is not charged
    (adopted, or late) moves the position all the same.
    """
    h = find(g, orders, k)
    if h != 0:
        if g.slot[h, L_FLAGS] & TAKES:
            _note_taking(g, h, price, ts)
        _release(g, orders, k, h, qty)
    gate_book(g, orders, k, qty, price, fee, ts)


@inline
def gate_unfill(g: Any, orders: Any, k: int, qty: int, price: int, fee: int, ts: int) -> None:
    """A trade was canceled (bust): position, cash and traded value go back; what is open does not change."""
    gate_book(g, orders, k, -qty, price, -fee, ts)


@inline
def gate_release(g: Any, orders: Any, k: int, qty: int, ts: int) -> None:
    """`qty` open lots will not trade (reject, cancel, expiry: O_LEAVES); all of them frees the order's place."""
    _roll_day(g, ts)
    h = find(g, orders, k)
    if h != 0:
        _release(g, orders, k, h, qty)


@inline
def _revalue_all(g: Any, i: int) -> None:
    """Revalue an instrument in every scope that has anything in it."""
    n = g.inst.shape[0]
    for s in range(g.scope.shape[0]):
        row = s * n + i
        if g.cell[row, C_POS] != 0 or g.cell[row, C_BUYS] != 0 or g.cell[row, C_SELLS] != 0:
            revalue(g, s, i)
            revalue_pnl(g, s, i)
        elif g.cell[row, C_CASH] != 0:
            revalue_pnl(g, s, i)


@inline
def gate_mark(g: Any, instrument: int, bid: int, ask: int, ts: int) -> None:
    """A sampled touch: volatility, notional, margin, P&L, and the loss limits (23) of every scope concerned.

    A mark that is crossed or one-sided is counted and otherwise ignored. Where the instrument prices a settlement
    currency, all that settles in it is revalued.
    """
    _roll_day(g, ts)
    i = instrument
    if not _touch_known(g, i, bid, ask, max(ts, 1)) or bid > ask:
        g.inst[i, I_BAD_MARKS] += 1
        return
    gap = ts - g.inst[i, I_MARK_TS]
    if g.inst[i, I_MARK_TS] != 0 and gap > 0:
        move, real = 0.5 * (bid + ask - g.inst[i, I_BID] - g.inst[i, I_ASK]), g.real
        real[i, X_VARIANCE] += gap / (real[i, X_MEMORY] + gap) * (move * move / gap - real[i, X_VARIANCE])
    g.inst[i, I_MARKS] += 1
    if g.inst[i, I_FX] >= 0:
        n = g.inst.shape[0]
        priced_row, quote_row = n + g.inst[i, I_FX], n + g.inst[i, I_FX_QUOTE]
        one = g.real[quote_row, X_RATE] * g.real[quote_row, X_UNITS]
        g.real[priced_row, X_RATE] = 0.5 * (bid + ask) * g.real[i, X_PRICE] * one / g.real[priced_row, X_UNITS]
        for j in range(n):
            if g.inst[j, I_CURRENCY] == g.inst[i, I_FX] and g.inst[j, I_MARK_TS] != 0 and j != i:
                g.real[j, X_UNIT] = unit_at(g, j, g.inst[j, I_BID], g.inst[j, I_ASK])
                _revalue_all(g, j)
    set_touch(g, i, bid, ask, max(ts, 1))
    _revalue_all(g, i)


@inline
def gate_funding(g: Any, instrument: int, rate_e8: int, price: int, ts: int) -> None:
    """Funding is paid: position value at `price` × rate (× 1e-8), by longs when the rate is above 0."""
    _roll_day(g, ts)
    i, n = instrument, g.inst.shape[0]
    for s in range(g.scope.shape[0]):
        row = s * n + i
        if g.cell[row, C_POS] != 0:
            paid = whole(float(settle_value(g, i, price, g.cell[row, C_POS])) * rate_e8 * 1e-8)
            g.cell[row, C_CASH] -= paid
            revalue_pnl(g, s, i)


@inline
def gate_set_state(g: Any, scope: int, state: int, ts: int) -> None:
    """People, or the halt service, set a scope's state. Raised above REDUCE_ONLY, its drawdown counts from here."""
    _roll_day(g, ts)
    row = g.scope
    row[scope, P_STATE], row[scope, P_CAUSE] = state, 0
    row[scope, P_CAUSE_LIMIT] = row[scope, P_CAUSE_VALUE] = 0
    if state < S_REDUCE_ONLY:
        row[scope, P_PEAK] = row[scope, P_PNL]
