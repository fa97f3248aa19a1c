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
from tidegate.kernel.gate_commands import F_WARNINGS
from tidegate.kernel.gate_money import counted, unit_at, whole
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
    W_END,
    W_GROSS,
    W_MARGIN,
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
def foresee(cell: Any, work: Any, side: int, lots: int, unit: float, margin: float, keeps: Any) -> None:
    """What the cell's gross notional, end on this side and, of an account, margin come to with `lots` more open: for the
    limits now, for the books when the order has passed."""
    long, short = cell[C_POS] + cell[C_BUYS], cell[C_POS] - cell[C_SELLS]
    if side == BUY:
        long += lots
    else:
        short -= lots
    worst = unit * max(abs(long), abs(short))
    work[W_GROSS] = counted(worst)
    if keeps:
        work[W_MARGIN] = counted(worst * margin)
    work[W_END] = whole(unit * (long if side == BUY else short))


@inline
def check_notional(scope: Any, cell: Any, work: Any, s: int, side: int, judge_margin: Any, out: Any) -> int:
    """Gross and net notional (18) and margin (20): only a worst case that grows can be refused."""
    cut = RECOVERING_CUT if scope[P_STATE] == S_RECOVERING else 0
    if side == BUY:
        further, most = work[W_END] - cell[C_LONG], scope[P_MAX_NET_LONG] >> cut
        net = scope[P_LONG] + further
    else:
        further, most = cell[C_SHORT] - work[W_END], scope[P_MAX_NET_SHORT] >> cut
        net = further - scope[P_SHORT]
    grown = work[W_GROSS] - cell[C_GROSS]
    gross, widest = scope[P_GROSS] + grown, scope[P_MAX_GROSS] >> cut
    if grown > 0 and gross > widest:
        return deny(out, GROSS_NOTIONAL, 18, widest, gross, s)
    if further > 0 and net > most:
        return deny(out, NET_NOTIONAL, 18, most, net, s)
    if judge_margin and scope[P_KEEP] >= 0 and work[W_MARGIN] > cell[C_MARGIN]:
        keep, equity, more = scope[P_KEEP], scope[P_CAPITAL] + scope[P_PNL], work[W_MARGIN] - cell[C_MARGIN]
        allowed = equity // PPM * keep + equity % PPM * keep // PPM
        if scope[P_MARGIN] + more > allowed:
            return deny(out, MARGIN, 20, allowed, scope[P_MARGIN] + more, s)
    return 0


@inline
def check_scope(
    scope: Any, cell: Any, s: int, side: int, only_reduce: Any, safe: Any, lots: int, value: int, count: int,
    part: int, out: Any,
) -> int:  # fmt: skip
    """One scope: state (23, 27), reduce-only (27), open orders (16), position (17, 22), traded value (25).

    `part`: the instrument recovers, and its room is shifted down by so many bits.
    """
    state, position = scope[P_STATE], cell[C_POS]
    if state == S_WARN:
        out[F_WARNINGS] |= 1 << 23
    if side == BUY:
        held, open_reducing, most, would = -position, C_REDUCE_BUYS, C_MAX_LONG, position + cell[C_BUYS]
    else:
        held, open_reducing, most, would = position, C_REDUCE_SELLS, C_MAX_SHORT, cell[C_SELLS] - position
    cut = RECOVERING_CUT if state == S_RECOVERING else 0
    room, slots, worth = cell[most] >> max(cut, part), scope[P_MAX_ORDERS] >> cut, scope[P_MAX_OPEN] >> cut
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
    elif count > 0 and orders > slots:
        reason, limit, figure = OPEN_ORDERS, slots, orders
    elif value > 0 and resting > worth:
        reason, limit, figure = OPEN_VALUE, worth, resting
    elif not safe and lots > 0 and would + lots > room:
        reason, control, limit, figure = POSITION_LIMIT, 17, room, would + lots
    elif not safe and lots > 0 and would + lots > cell[C_MAX_SHARE]:
        reason, control, limit, figure = CONCENTRATION, 22, cell[C_MAX_SHARE], would + lots
        if limit < 0:
            reason = NO_MARKET_REFERENCE
    elif not safe and value > 0 and scope[P_TRADED] + resting > scope[P_MAX_TRADED]:
        reason, control, limit, figure = TRADED_VALUE, 25, scope[P_MAX_TRADED], scope[P_TRADED] + resting
    if reason == 0 and not safe and lots > 0 and would + lots > cell[C_MAX_SHARE] // 2:
        out[F_WARNINGS] |= 1 << 22
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
    part = RECOVERING_CUT if g.inst[i, I_STATE] == S_RECOVERING else 0
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s < 0:
            continue
        scope, cell = g.scope[s], g.cell[s * n + i]
        safe, own = shrinks or reduces(g, s, i, side, lots), j <= CH_ACCOUNT
        reason = check_scope(scope, cell, s, side, only_reduce and own, safe, lots, value, count, part, out)
        if reason != 0:
            return reason
        work = g.work[j]
        foresee(cell, work, side, lots, unit, margin, j == CH_ACCOUNT)
        if not safe and lots > 0:
            reason = check_notional(scope, cell, work, s, side, j == CH_ACCOUNT, out)
            if reason != 0:
                return reason
    return 0


@inline
def check_throttle(g: Any, links: Any, ts: int, tat: int, gap: int, burst: int, reason: int, out: Any) -> int:
    """Control 13: each scope's bucket has a token (the generic cell rate algorithm)."""
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s >= 0:
            scope = g.scope[s]
            wait = scope[tat] - scope[burst] - ts
            if wait > 0:
                return deny(out, reason, 13, scope[gap], wait, s)
    return 0


@inline
def give_tokens(g: Any, links: Any, ts: int, tat: int, gap: int) -> None:
    """Control 13: a message passes, and every bucket of its chain gives a token."""
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s >= 0:
            scope = g.scope[s]
            scope[tat] = max(ts, scope[tat]) + scope[gap]
