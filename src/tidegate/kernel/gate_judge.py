"""The controls in their order: what `gate_check` and `gate_check_replace` share."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_charge import charged_value, set_charge, take_charge
from tidegate.kernel.gate_codes import (
    GATE_FULL,
    INSTRUMENT_REDUCE_ONLY,
    NO_LIMIT,
    ORDER_THROTTLE,
    RISK_LOG_GAP,
)
from tidegate.kernel.gate_commands import F_WARNINGS
from tidegate.kernel.gate_conduct import check_conduct, note_sent
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
from tidegate.kernel.gate_marks import revalue_all, usable
from tidegate.kernel.gate_money import set_touch
from tidegate.kernel.gate_order import STOPS, check_permitted, check_valid, deny, judged_prices, priced
from tidegate.kernel.gate_scopes import check_scopes, check_throttle, give_tokens, reduces
from tidegate.kernel.gate_slots import move_resting
from tidegate.kernel.gate_state import (
    CH_GROUP,
    CH_RULES,
    CH_STRATEGY,
    H_FREE,
    H_GAP,
    I_ASK,
    I_BID,
    I_MARK_TS,
    I_STATE,
    L_OPEN,
    L_PRICE,
    L_VALUE,
    P_NEW_BURST,
    P_NEW_GAP,
    P_NEW_TAT,
    R_MISSING,
    R_MISSING_RISK,
    R_MISSING_RISK_SCOPE,
    R_MISSING_SCOPE,
    S_REDUCE_ONLY,
    S_WARN,
    X_UNIT,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    O_ACCOUNT,
    O_CUM,
    O_INST,
    O_INSTRUMENT,
    O_PRICE,
    O_SIDE,
    O_STRATEGY,
    O_TYPE,
    POST_ONLY,
)


@inline
def chain_of(g: Any, orders: Any, k: int) -> int:
    """The row of `chain` for the order's account and strategy."""
    return orders[k, O_ACCOUNT] * g.ring.shape[0] + orders[k, O_STRATEGY]


@inline
def reference(g: Any, i: int, bid: int, ask: int, ts: int) -> Any:
    """(bid, ask, time, known): the touch the sender saw, else the gate's own last mark."""
    if ts == 0 or not usable(g, i, bid, ask):
        bid, ask, ts = g.inst[i, I_BID], g.inst[i, I_ASK], g.inst[i, I_MARK_TS]
    return bid, ask, ts, ts != 0


@inline
def _check_prices(
    g: Any, orders: Any, k: int, links: Any, rules: Any, price: int, worst: int, takes: Any, bid: int, ask: int,
    ts: int, out: Any,
) -> int:  # fmt: skip
    """Dynamic and period collar (8, 9) and self-match (12) of an order that is no stop."""
    i, buy, reason = orders[k, O_INSTRUMENT], orders[k, O_SIDE] == BUY, 0
    if priced(orders, k, price):
        reason = check_band(g, rules, i, worst - ask if buy else bid - worst, bid + ask, out)
    if reason == 0 and takes:
        reason = check_drift(g, rules, i, links[CH_STRATEGY], 1 if buy else -1, ts, out)
    return reason


@outline
def judge(
    g: Any,
    orders: Any,
    k: int,
    h: int,
    qty: int,
    price: int,
    ts: int,
    bid: int,
    ask: int,
    seen: int,
    out: Any,
) -> int:
    """Judge a new order (`h` 0) or the change of the one in slot `h`, and charge it when it passes."""
    i, side, chain = orders[k, O_INSTRUMENT], orders[k, O_SIDE], chain_of(g, orders, k)
    links = g.chain[chain]
    rules, slot = g.rules[links[CH_RULES] + i], g.slot[h]
    if rules[R_MISSING] != 0:
        return deny(out, NO_LIMIT, 30, rules[R_MISSING], 0, rules[R_MISSING_SCOPE])
    if g.slot[0, H_GAP] != 0:
        return deny(out, RISK_LOG_GAP, 29, 0, 1, 0)
    reason = check_permitted(g, orders, k, links, rules, ts, out)
    if reason == 0:
        reason = check_valid(g, orders, k, qty, price, ts, out)
    if reason != 0:
        return reason
    bid, ask, seen, known = reference(g, i, bid, ask, seen)
    sign, leaves, lots, shrinks = 1 if side == BUY else -1, qty, qty, False
    count, sent = 1, qty  # as control 14 counts: a replace is a cancel and a new order
    if h != 0:
        leaves = qty - orders[k, O_CUM]
        count, sent = 2, slot[L_OPEN] + leaves
        lots = max(0, leaves - slot[L_OPEN])
        shrinks = lots == 0 and sign * (price - orders[k, O_PRICE]) <= 0
    state = g.inst[i, I_STATE]
    if state == S_WARN:
        out[F_WARNINGS] |= 1 << 27
    safe = shrinks or reduces(g, links[CH_STRATEGY], i, side, lots)
    if not safe:
        if state >= S_REDUCE_ONLY:
            return deny(out, INSTRUMENT_REDUCE_ONLY, 27, 0, lots, 0)
        if rules[R_MISSING_RISK] != 0:
            return deny(out, NO_LIMIT, 30, rules[R_MISSING_RISK], 0, rules[R_MISSING_RISK_SCOPE])
        reason = check_data(rules, i, known, bid, ask, seen, ts, out)
        if reason == 0:
            reason = check_conduct(g, links, rules, i, side, lots, sent, count, seen, ts, out)
    if reason == 0:
        reason = check_reference(g, orders, k, rules, price, known, out)
    if reason != 0:
        return reason
    worst, plain, base2 = judged_prices(g, orders, k, rules, price, bid, ask)
    more = value = charged_value(g, i, side, worst, plain, known, bid, ask, qty)
    reason = check_size(g, rules, i, side == BUY, safe, qty, plain, value, out)
    if reason == 0:
        reason = check_collar(orders, k, rules, plain, base2, price, out)
    if reason != 0:
        return reason
    stop = (STOPS >> orders[k, O_TYPE]) & 1 != 0
    through = sign * (worst - (ask if side == BUY else bid))
    takes = stop or (through >= 0 and orders[k, O_INST] & POST_ONLY == 0)
    if known and not stop:
        reason = _check_prices(g, orders, k, links, rules, price, worst, takes, bid, ask, ts, out)
    if reason == 0:
        reason = check_self_match(g, orders, k, links[CH_GROUP], rules, worst, out)
    if h != 0:
        value = charged_value(g, i, side, worst, plain, known, bid, ask, leaves)
        more = max(0, value - slot[L_VALUE])
    elif reason == 0 and slot[H_FREE] == 0:
        reason = deny(out, GATE_FULL, 16, g.slot.shape[0] - 1, g.slot.shape[0], 0)
    if reason == 0:
        reason = check_scopes(g, orders, k, links, shrinks, lots, more, 1 if h == 0 else 0, bid, ask, out)
    if reason == 0 and h == 0:
        reason = check_duplicate(g, orders, k, rules, qty, price, ts, out)
    if reason == 0:
        reason = check_throttle(g, links, ts, P_NEW_TAT, P_NEW_GAP, P_NEW_BURST, ORDER_THROTTLE, out)
    if reason != 0:
        return reason
    first = g.real[i, X_UNIT] == 0.0 and known
    if first:
        set_touch(g, i, bid, ask, seen)
    note_sent(g, links, i, count, sent)
    if h != 0:
        give_tokens(g, links, ts, P_NEW_TAT, P_NEW_GAP)
    if h == 0:
        take_charge(g, orders, k, chain, lots, value, worst, takes, bid + ask, ts)
    else:
        set_charge(g, orders, k, h, slot[L_OPEN] + lots, slot[L_VALUE] + more)
        if sign * (worst - slot[L_PRICE]) > 0:
            move_resting(g, h, worst)
    if first:
        revalue_all(g, i)
    return 0
