"""What a scope may have in all (controls 16 to 27), and how many messages it may send (13)."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_codes import (
    ANOMALY_FILLS,
    CONCENTRATION,
    GROSS_NOTIONAL,
    MARGIN,
    NET_NOTIONAL,
    NO_MARKET_REFERENCE,
    OPEN_ORDERS,
    OPEN_VALUE,
    POSITION_LIMIT,
    REDUCE_ONLY_EXCEEDED,
    SCOPE_REDUCE_ONLY,
    TRADED_VALUE,
)
from tidegate.kernel.gate_money import unit_at, whole
from tidegate.kernel.gate_order import deny
from tidegate.kernel.gate_state import (
    C_BUYS,
    C_GROSS,
    C_LONG,
    C_MARGIN,
    C_MAX_LONG,
    C_MAX_SHARE,
    C_MAX_SHORT,
    C_POS,
    C_REDUCE_BUYS,
    C_REDUCE_SELLS,
    C_SELLS,
    C_SHORT,
    CH_ACCOUNT,
    CH_STRATEGY,
    I_STATE,
    P_CAPITAL,
    P_CAUSE,
    P_CAUSE_LIMIT,
    P_CAUSE_VALUE,
    P_GROSS,
    P_KEEP,
    P_LONG,
    P_MARGIN,
    P_MAX_GROSS,
    P_MAX_NET_LONG,
    P_MAX_NET_SHORT,
    P_MAX_OPEN,
    P_MAX_ORDERS,
    P_MAX_TRADED,
    P_OPEN,
    P_ORDERS,
    P_PNL,
    P_SHORT,
    P_STATE,
    P_TRADED,
    PPM,
    RECOVERING_CUT,
    S_RECOVERING,
    S_REDUCE_ONLY,
    S_WARN,
    X_MARGIN,
    X_UNIT,
)
from tidegate.kernel.jit import inline
from tidegate.kernel.layout import BUY, O_INST, O_INSTRUMENT, O_SIDE, REDUCE_ONLY


@inline
def reduces(g: Any, s: int, i: int, side: int, lots: int) -> Any:
    """Whether `lots` more on this side, with all that is open there, can only shrink the scope's position."""
    cell = g.cell[s * g.inst.shape[0] + i]
    left = -cell[C_POS] - cell[C_BUYS] if side == BUY else cell[C_POS] - cell[C_SELLS]
    return lots <= left and cell[C_POS] != 0


@inline
def check_notional(
    scope: Any,
    cell: Any,
    s: int,
    side: int,
    lots: int,
    unit: float,
    margin: float,
    judge_margin: Any,
    out: Any,
) -> int:
    """Gross and net notional (18) and margin (20): only a worst case that grows can be refused."""
    cut = RECOVERING_CUT if scope[P_STATE] == S_RECOVERING else 1
    long, short = cell[C_POS] + cell[C_BUYS], cell[C_POS] - cell[C_SELLS]
    if side == BUY:
        long += lots
        further, most = whole(unit * long) - cell[C_LONG], scope[P_MAX_NET_LONG] // cut
        net = scope[P_LONG] + further
    else:
        short -= lots
        further, most = cell[C_SHORT] - whole(unit * short), scope[P_MAX_NET_SHORT] // cut
        net = further - scope[P_SHORT]
    worst = unit * max(abs(long), abs(short))
    grown = whole(worst) - cell[C_GROSS]
    more = whole(worst * margin) - cell[C_MARGIN]
    keep, equity = scope[P_KEEP], scope[P_CAPITAL] + scope[P_PNL]
    allowed = equity // PPM * keep + equity % PPM * keep // PPM
    reason, control, limit, value = 0, 18, scope[P_MAX_GROSS] // cut, scope[P_GROSS] + grown
    if grown > 0 and value > limit:
        reason = GROSS_NOTIONAL
    elif further > 0 and net > most:
        reason, limit, value = NET_NOTIONAL, most, net
    elif judge_margin and keep >= 0 and more > 0 and scope[P_MARGIN] + more > allowed:
        reason, control, limit, value = MARGIN, 20, allowed, scope[P_MARGIN] + more
    return deny(out, reason, control, limit, value, s)


@inline
def check_scope(
    scope: Any, cell: Any, s: int, side: int, only_reduce: Any, safe: Any, lots: int, value: int, count: int,
    part: int, out: Any,
) -> int:  # fmt: skip
    """One scope: state (23, 27), reduce-only (27), open orders (16), position (17, 22), traded value (25).

    `part`: the instrument recovers, and has one in so many of its room.
    """
    state, position = scope[P_STATE], cell[C_POS]
    if state == S_WARN:
        out[5] |= 1 << 23
    if side == BUY:
        held, open_reducing, most, would = -position, C_REDUCE_BUYS, C_MAX_LONG, position + cell[C_BUYS]
    else:
        held, open_reducing, most, would = position, C_REDUCE_SELLS, C_MAX_SHORT, cell[C_SELLS] - position
    cut = RECOVERING_CUT if state == S_RECOVERING else 1
    room = cell[most] // max(cut, part)
    orders, resting = scope[P_ORDERS] + count, scope[P_OPEN] + value
    reason, control, limit, figure = 0, 16, 0, 0
    if state >= S_REDUCE_ONLY and not safe:
        if scope[P_CAUSE] != 0:
            reason, limit, figure = scope[P_CAUSE], scope[P_CAUSE_LIMIT], scope[P_CAUSE_VALUE]
            control = 24 if reason >= ANOMALY_FILLS else 23
        else:
            reason, control, limit, figure = SCOPE_REDUCE_ONLY, 27, abs(position), lots
    elif only_reduce and lots > 0 and cell[open_reducing] + lots > max(0, held):
        reason, control, limit, figure = REDUCE_ONLY_EXCEEDED, 27, max(0, held), cell[open_reducing] + lots
    elif count > 0 and orders > scope[P_MAX_ORDERS] // cut:
        reason, limit, figure = OPEN_ORDERS, scope[P_MAX_ORDERS] // cut, orders
    elif value > 0 and resting > scope[P_MAX_OPEN] // cut:
        reason, limit, figure = OPEN_VALUE, scope[P_MAX_OPEN] // cut, resting
    elif not safe and lots > 0 and would + lots > room:
        reason, control, limit, figure = POSITION_LIMIT, 17, room, would + lots
    elif not safe and lots > 0 and would + lots > cell[C_MAX_SHARE]:
        reason, control, limit, figure = CONCENTRATION, 22, cell[C_MAX_SHARE], would + lots
        if limit < 0:
            reason = NO_MARKET_REFERENCE
    elif not safe and value > 0 and scope[P_TRADED] + resting > scope[P_MAX_TRADED]:
        reason, control, limit, figure = TRADED_VALUE, 25, scope[P_MAX_TRADED], scope[P_TRADED] + resting
    if reason == 0 and not safe and lots > 0 and would + lots > cell[C_MAX_SHARE] // 2:
        out[5] |= 1 << 22
    return deny(out, reason, control, limit, figure, s)


@inline
def check_scopes(
    g: Any, orders: Any, k: int, links: Any, shrinks: Any, lots: int, value: int, count: int, bid: int, ask: int,
    out: Any,
) -> int:  # fmt: skip
    """Scope by scope from the strategy up: `check_scope`, then `check_notional` for what can add risk.

    `lots`, `value` and `count` are what the request adds to what is open; `shrinks` marks a replace that asks for
    less at no worse a price.
    """
    i, side, n = orders[k, O_INSTRUMENT], orders[k, O_SIDE], g.inst.shape[0]
    only_reduce, margin, unit = orders[k, O_INST] & REDUCE_ONLY != 0, g.real[i, X_MARGIN], g.real[i, X_UNIT]
    if unit == 0.0:
        unit = unit_at(g, i, bid, ask)
    part = RECOVERING_CUT if g.inst[i, I_STATE] == S_RECOVERING else 1
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s < 0:
            continue
        scope, cell = g.scope[s], g.cell[s * n + i]
        safe, own = shrinks or reduces(g, s, i, side, lots), j <= CH_ACCOUNT
        reason = check_scope(scope, cell, s, side, only_reduce and own, safe, lots, value, count, part, out)
        if reason == 0 and not safe and lots > 0:
            reason = check_notional(scope, cell, s, side, lots, unit, margin, j == CH_ACCOUNT, out)
        if reason != 0:
            return reason
    return 0


@inline
def check_throttle(g: Any, links: Any, ts: int, tat: int, gap: int, burst: int, reason: int, out: Any) -> int:
    """Control 13: each scope's bucket has a token, then each gives one (the generic cell rate algorithm)."""
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s >= 0:
            wait = g.scope[s, tat] - g.scope[s, burst] - ts
            if wait > 0:
                return deny(out, reason, 13, g.scope[s, gap], wait, s)
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s >= 0:
            g.scope[s, tat] = max(ts, g.scope[s, tat]) + g.scope[s, gap]
    return 0
