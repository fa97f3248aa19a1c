"""The limits on one order by itself: reference, size, collars, self-match, duplicates (controls 4 to 12)."""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.gate_codes import (
    BELOW_MIN_NOTIONAL,
    DEPTH_SHARE,
    DUPLICATE_ID,
    DUPLICATE_ORDER,
    DYNAMIC_COLLAR,
    MARKET_DATA_CROSSED,
    MARKET_DATA_MISSING,
    MARKET_DATA_STALE,
    MAX_ORDER_QTY,
    MAX_ORDER_VALUE,
    MAX_PARENT_VALUE,
    NO_FX_RATE,
    NO_MARKET_REFERENCE,
    NO_REFERENCE,
    OUT_OF_RANGE,
    PERIOD_COLLAR,
    PRICE_COLLAR,
    SELF_MATCH,
)
from tidegate.kernel.gate_commands import F_WARNINGS
from tidegate.kernel.gate_likeness import SEEN_ID, key_of, looked_through, new_here, remember, size_of
from tidegate.kernel.gate_money import rate_of, whole
from tidegate.kernel.gate_order import STOPS, collar_width, deny, priced
from tidegate.kernel.gate_state import (
    C_ASKS,
    C_BIDS,
    C_DRIFT_BASE,
    C_DRIFT_HIGH,
    C_DRIFT_LOW,
    C_DRIFT_TS,
    I_MARKS,
    L_PRICE,
    MAX_MONEY,
    PPM,
    R_AGE,
    R_AGE_SCOPE,
    R_BAND,
    R_BAND_FLOOR,
    R_BAND_HORIZON,
    R_BAND_SCOPE,
    R_COLLAR,
    R_COLLAR_SCOPE,
    R_DEPTH_BUY,
    R_DEPTH_SCOPE,
    R_DEPTH_SELL,
    R_DRIFT,
    R_DRIFT_SCOPE,
    R_DRIFT_WINDOW,
    R_PARENT,
    R_PARENT_SCOPE,
    R_QTY,
    R_QTY_NOW,
    R_QTY_SCOPE,
    R_SAME,
    R_SAME_SCOPE,
    R_SAME_WINDOW,
    R_SELF_MATCH,
    R_VALUE,
    R_VALUE_NOW,
    R_VALUE_SCOPE,
    UNLIMITED,
    X_MIN_NOTIONAL,
    X_VARIANCE,
)
from tidegate.kernel.jit import inline
from tidegate.kernel.layout import (
    BUY,
    O_ID,
    O_INSTRUMENT,
    O_SIDE,
    O_STOP,
    O_STRATEGY,
    O_TYPE,
    TRAILING_STOP,
)

WARM_MARKS = 20
"""Marks an instrument needs before its volatility is trusted by control 8."""


@inline
def check_data(rules: Any, i: int, known: Any, bid: int, ask: int, ref_ts: int, ts: int, out: Any) -> int:
    """Control 10: a reference that is there, not crossed and young enough."""
    reason, limit, value = 0, 0, i
    if not known:
        reason = MARKET_DATA_MISSING
    elif bid > ask:
        reason, limit, value = MARKET_DATA_CROSSED, bid, ask
    elif abs(ts - ref_ts) > rules[R_AGE]:
        reason, limit, value = MARKET_DATA_STALE, rules[R_AGE], abs(ts - ref_ts)
    return deny(out, reason, 10, limit, value, rules[R_AGE_SCOPE])


@inline
def check_reference(g: Any, orders: Any, k: int, rules: Any, price: int, known: Any, out: Any) -> int:
    """There is a rate to value the order by (10) and, where its price needs one, a reference (7)."""
    i, kind = orders[k, O_INSTRUMENT], orders[k, O_TYPE]
    if rate_of(g, i) == 0.0:
        return deny(out, NO_FX_RATE, 10, 0, i, 0)
    if known:
        return 0
    if (STOPS >> kind) & 1:
        needed = kind == TRAILING_STOP and orders[k, O_STOP] == 0
    else:
        needed = rules[R_COLLAR] < UNLIMITED or not priced(orders, k, price)
    return deny(out, NO_REFERENCE if needed else 0, 7, rules[R_COLLAR], 0, rules[R_COLLAR_SCOPE])


@inline
def check_size(
    g: Any, rules: Any, i: int, buy: Any, safe: Any, qty: int, plain: int, value: int, out: Any
) -> int:
    """Minimum notional (3), then quantity (4), share of the depth (22), value (5) and parent value (6).

    What is `safe`, for it only reduces, is held to people's own limits.
    """
    notional, least = float(abs(plain)) * qty, g.real[i, X_MIN_NOTIONAL]
    reason, control, scope, most = 0, 5, 0, rules[R_QTY] if safe else rules[R_QTY_NOW]
    limit = rules[R_VALUE] if safe else rules[R_VALUE_NOW]
    depth = rules[R_DEPTH_BUY] if buy else rules[R_DEPTH_SELL]
    if notional < least:
        reason, control, limit, value = BELOW_MIN_NOTIONAL, 3, whole(least), whole(notional)
    elif qty > most:
        reason, control, limit, value, scope = MAX_ORDER_QTY, 4, most, qty, rules[R_QTY_SCOPE]
    elif qty > depth and not safe:
        reason, control, limit, value, scope = DEPTH_SHARE, 22, depth, qty, rules[R_DEPTH_SCOPE]
        if depth < 0:
            reason = NO_MARKET_REFERENCE
    elif value >= MAX_MONEY:
        reason, limit = OUT_OF_RANGE, MAX_MONEY
    elif value > limit:
        reason, scope = MAX_ORDER_VALUE, rules[R_VALUE_SCOPE]
    else:
        if value > limit // 2:
            out[F_WARNINGS] |= 1 << 5
        if qty > depth // 2 and not safe:
            out[F_WARNINGS] |= 1 << 22
        if value > rules[R_PARENT]:
            reason, control, limit, scope = MAX_PARENT_VALUE, 6, rules[R_PARENT], rules[R_PARENT_SCOPE]
    return deny(out, reason, control, limit, value, scope)


@inline
def parts_of(off: int, base: int) -> int:
    """`off / base` in parts per million, the nearest; of nothing, as much as can be said."""
    return whole(float(off) * PPM / abs(base)) if base != 0 else MAX_MONEY


@inline
def check_collar(orders: Any, k: int, rules: Any, plain: int, base2: int, price: int, out: Any) -> int:
    """Control 7. A market order is judged by the touch it would meet; a stop without a limit has none."""
    off = abs(2 * plain - base2)
    if off <= collar_width(rules, base2) or (
        (STOPS >> orders[k, O_TYPE]) & 1 and not priced(orders, k, price)
    ):
        return 0
    return deny(out, PRICE_COLLAR, 7, rules[R_COLLAR], parts_of(off, base2), rules[R_COLLAR_SCOPE])


@inline
def check_band(g: Any, rules: Any, i: int, through: int, mid2: int, out: Any) -> int:
    """Control 8: a limit may reach through the touch by k·σ·√h, or by its floor; half of that warns."""
    if through <= 0 or rules[R_BAND] >= UNLIMITED or g.inst[i, I_MARKS] < WARM_MARKS:
        return 0  # what does not reach through the touch is within any band
    sigma = math.sqrt(g.real[i, X_VARIANCE] * rules[R_BAND_HORIZON])
    floor = float(rules[R_BAND_FLOOR]) * abs(mid2) / (2 * PPM)
    band = whole(max(sigma * rules[R_BAND] / 1000, floor))
    if 2 * through > band:
        out[F_WARNINGS] |= 1 << 8
    return deny(out, DYNAMIC_COLLAR if through > band else 0, 8, band, through, rules[R_BAND_SCOPE])


@inline
def check_drift(g: Any, rules: Any, i: int, s: int, sign: int, ts: int, out: Any) -> int:
    """Control 9, of an order that would take: how far own aggressive fills went since their window began."""
    cell = g.cell[s * g.inst.shape[0] + i]
    began, base = cell[C_DRIFT_TS], cell[C_DRIFT_BASE]
    if began == 0 or base == 0 or ts - began >= rules[R_DRIFT_WINDOW]:
        return 0
    extreme = cell[C_DRIFT_HIGH] if sign > 0 else cell[C_DRIFT_LOW]
    moved = sign * (2 * extreme - base)
    parts = parts_of(moved, base) if moved > 0 else 0
    reason = PERIOD_COLLAR if parts > rules[R_DRIFT] else 0
    return deny(out, reason, 9, rules[R_DRIFT], parts, rules[R_DRIFT_SCOPE])


@inline
def check_self_match(g: Any, orders: Any, k: int, group: int, rules: Any, worst: int, out: Any) -> int:
    """Control 12: no own resting order of the account group is within the order's reach."""
    order = orders[k]
    if rules[R_SELF_MATCH] == 0 or (STOPS >> order[O_TYPE]) & 1:
        return 0
    buy = order[O_SIDE] == BUY
    own = g.cell[group * g.inst.shape[0] + order[O_INSTRUMENT], C_ASKS if buy else C_BIDS]
    if own == 0:
        return 0
    price = g.slot[own, L_PRICE]
    meets = worst >= price if buy else worst <= price
    return deny(out, SELF_MATCH if meets else 0, 12, price, worst, group)


@inline
def check_duplicate(g: Any, orders: Any, k: int, rules: Any, qty: int, price: int, ts: int, out: Any) -> int:
    """Control 11, over the strategy's last RING orders; every order that comes this far is remembered."""
    order = orders[k]
    t, key, size, name = order[O_STRATEGY], key_of(order, price), size_of(order, qty), order[O_ID]
    found = 0
    if not new_here(g, t, key, size, name):
        found = looked_through(g, t, key, size, name, ts - rules[R_SAME_WINDOW])
    remember(g, t, key, size, ts, name)
    reason, limit, value = 0, rules[R_SAME], found % SEEN_ID + 1
    if found >= SEEN_ID:
        reason, limit, value = DUPLICATE_ID, 0, name
    elif value > limit:
        reason = DUPLICATE_ORDER
    return deny(out, reason, 11, limit, value, rules[R_SAME_SCOPE])
