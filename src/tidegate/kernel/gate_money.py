"""What the gate values: orders at a price, positions and open orders at the mark, profit and loss, margin.

Floats appear only between integers: value = ⌊quantity × price × factor + ½⌋, the operations in the order written,
so every machine, and the plain-Python oracle, rounds alike.
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.gate_codes import DRAWDOWN_LIMIT, LOSS_LIMIT
from tidegate.kernel.gate_state import (
    C_BUYS,
    C_CASH,
    C_GROSS,
    C_LEG,
    C_LEG_VALUE,
    C_LONG,
    C_MARGIN,
    C_PNL,
    C_POS,
    C_REDUCE_BUYS,
    C_REDUCE_SELLS,
    C_SELLS,
    C_SHORT,
    CH_ACCOUNT,
    CH_ACCOUNTS,
    CH_HELD,
    CH_STRATEGY,
    F_INVERSE,
    H_FACT,
    I_ASK,
    I_BID,
    I_CURRENCY,
    I_FLAGS,
    I_MARK_TS,
    MAX_MONEY,
    P_CAUSE,
    P_CAUSE_LIMIT,
    P_CAUSE_VALUE,
    P_DAY_PNL,
    P_GROSS,
    P_LEG_DELTA,
    P_LEG_SINCE,
    P_LONG,
    P_MARGIN,
    P_MAX_DRAWDOWN,
    P_MAX_LEG,
    P_MAX_LOSS,
    P_NEW_GAP,
    P_NEW_TAT,
    P_OPEN,
    P_ORDERS,
    P_PEAK,
    P_PNL,
    P_SHORT,
    P_STATE,
    P_TRADED,
    S_REDUCE_ONLY,
    S_WARN,
    W_END,
    W_GROSS,
    W_MARGIN,
    X_MARGIN,
    X_RATE,
    X_UNIT,
    X_VALUE,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY

BOUND, _MINOR_BOUND = float(MAX_MONEY), float(2 * MAX_MONEY)


@inline
def whole(x: float) -> int:
    """The nearest integer, halves up, held to ±MAX_MONEY."""
    return math.floor(min(max(x, -BOUND), BOUND) + 0.5)


@inline
def counted(x: float) -> int:
    """`whole` of what is not below 0, in fewer steps."""
    return int(min(x, BOUND) + 0.5)


@inline
def settle_value(g: Any, i: int, price: int, lots: int) -> int:
    """Signed value of `lots` at `price` in settlement minor units; inverse contracts divide by the price."""
    if g.inst[i, I_FLAGS] & F_INVERSE:
        value = g.real[i, X_VALUE] * lots / price if price != 0 else 0.0
    else:
        value = g.real[i, X_VALUE] * price * lots
    return math.floor(min(max(value, -_MINOR_BOUND), _MINOR_BOUND) + 0.5)


@inline
def rate_of(g: Any, i: int) -> float:
    """Base micro-units of one settlement minor unit; 0 while unknown."""
    return g.real[g.inst.shape[0] + g.inst[i, I_CURRENCY], X_RATE]


@inline
def order_value(g: Any, i: int, price: int, lots: int) -> int:
    """Absolute value of `lots` at `price` in base micro-units."""
    if g.inst[i, I_FLAGS] & F_INVERSE:
        if price == 0:
            return 0
        return counted(abs(g.real[i, X_VALUE] * lots / price) * rate_of(g, i))
    return counted(abs(g.real[i, X_VALUE] * price * lots) * rate_of(g, i))


@inline
def dearer(g: Any, i: int, a: int, b: int) -> int:
    """Of two prices, the one at which a lot is worth more either way: an inverse contract's is the nearer to 0."""
    first = abs(a) >= abs(b)
    if g.inst[i, I_FLAGS] & F_INVERSE:
        first = b == 0 or (a != 0 and abs(a) <= abs(b))
    return a if first else b


@inline
def unit_at(g: Any, i: int, bid: int, ask: int) -> float:
    """Base micro-units of one lot at the dearer side of the touch: conservative for notional and margin."""
    if g.inst[i, I_FLAGS] & F_INVERSE:
        low = min(abs(bid), abs(ask))
        return g.real[i, X_VALUE] / low * rate_of(g, i) if low > 0 else 0.0
    return g.real[i, X_VALUE] * max(abs(bid), abs(ask)) * rate_of(g, i)


@inline
def set_touch(g: Any, i: int, bid: int, ask: int, ts: int) -> None:
    """Make (bid, ask) the mark of an instrument; valuations follow by `revalue`."""
    g.inst[i, I_BID], g.inst[i, I_ASK], g.inst[i, I_MARK_TS] = bid, ask, ts
    g.real[i, X_UNIT] = unit_at(g, i, bid, ask)


@inline
def weigh_leg(g: Any, s: int, row: int, value: int) -> None:
    """Control 28: a leg of the strategy's is worth `value` now."""
    g.scope[s, P_LEG_DELTA] += value - g.cell[row, C_LEG_VALUE]
    g.cell[row, C_LEG_VALUE] = value


@inline
def watch_legs(g: Any, s: int) -> None:
    """Control 28: since when the strategy's legs are out of balance. Asked when all of them have been weighed."""
    scope = g.scope[s]
    if abs(scope[P_LEG_DELTA]) <= scope[P_MAX_LEG]:
        scope[P_LEG_SINCE] = 0
    elif scope[P_LEG_SINCE] == 0:
        scope[P_LEG_SINCE] = max(g.slot[0, H_FACT], 1)


@inline
def revalue(g: Any, s: int, i: int) -> None:
    """Bring notional and margin of a scope's instrument to its position, open orders and mark."""
    row = s * g.inst.shape[0] + i
    cell, scope, unit = g.cell, g.scope, g.real[i, X_UNIT]
    long, short = cell[row, C_POS] + cell[row, C_BUYS], cell[row, C_POS] - cell[row, C_SELLS]
    worst = unit * max(abs(long), abs(short))
    gross = counted(worst)
    scope[s, P_GROSS] += gross - cell[row, C_GROSS]
    cell[row, C_GROSS] = gross
    if s >= g.chain[0, CH_ACCOUNTS] and s < g.scope.shape[0] - g.ring.shape[0]:
        margin = counted(worst * g.real[i, X_MARGIN])
        scope[s, P_MARGIN] += margin - cell[row, C_MARGIN]
        cell[row, C_MARGIN] = margin
    value = whole(unit * long)
    scope[s, P_LONG] += value - cell[row, C_LONG]
    cell[row, C_LONG] = value
    value = whole(unit * short)
    scope[s, P_SHORT] += value - cell[row, C_SHORT]
    cell[row, C_SHORT] = value
    if cell[row, C_LEG] != 0:
        weigh_leg(g, s, row, whole(unit * cell[row, C_POS]))


@outline
def move_state(g: Any, s: int, state: int, cause: int, limit: int, value: int) -> None:
    """Set a scope's state, with the reason that moved it (0: people), and note it on every chain it is part of."""
    row = g.scope[s]
    row[P_STATE], row[P_CAUSE], row[P_CAUSE_LIMIT], row[P_CAUSE_VALUE] = state, cause, limit, value
    for c in range(g.chain.shape[0]):
        links, held, mine = g.chain[c], 0, False
        for j in range(CH_STRATEGY, CH_STRATEGY + 4):
            if links[j] >= 0:
                mine = mine or links[j] == s
                held |= g.scope[links[j], P_STATE]
        if mine:
            links[CH_HELD] = held


@inline
def watch_losses(g: Any, s: int) -> None:
    """Control 23: half a limit warns, a whole one leaves the scope only reducing. Never the way up."""
    scope = g.scope
    pnl = scope[s, P_PNL]
    if pnl > scope[s, P_PEAK]:
        scope[s, P_PEAK] = pnl
    state = scope[s, P_STATE]
    if state >= S_REDUCE_ONLY:
        return
    loss, drawdown = scope[s, P_DAY_PNL] - pnl, scope[s, P_PEAK] - pnl
    most, deepest = scope[s, P_MAX_LOSS], scope[s, P_MAX_DRAWDOWN]
    if loss > 0 and loss >= most:
        cause, limit, value, to = LOSS_LIMIT, most, loss, S_REDUCE_ONLY
    elif drawdown > 0 and drawdown >= deepest:
        cause, limit, value, to = DRAWDOWN_LIMIT, deepest, drawdown, S_REDUCE_ONLY
    elif loss > 0 and loss >= most - most // 2:
        cause, limit, value, to = LOSS_LIMIT, most, loss, S_WARN
    elif drawdown > 0 and drawdown >= deepest - deepest // 2:
        cause, limit, value, to = DRAWDOWN_LIMIT, deepest, drawdown, S_WARN
    else:
        return
    if to > state:
        move_state(g, s, to, cause, limit, value)


@inline
def revalue_pnl(g: Any, s: int, i: int) -> None:
    """Bring a scope's P&L in one instrument to its cash and its position: longs at the bid, shorts at the ask."""
    row = s * g.inst.shape[0] + i
    pos = g.cell[row, C_POS]
    price = g.inst[i, I_BID] if pos > 0 else g.inst[i, I_ASK]
    worth = settle_value(g, i, price, pos)
    if g.inst[i, I_FLAGS] & F_INVERSE:
        worth = -worth
    pnl = whole((g.cell[row, C_CASH] + worth) * rate_of(g, i))
    g.scope[s, P_PNL] += pnl - g.cell[row, C_PNL]
    g.cell[row, C_PNL] = pnl


@inline
def post_foreseen(
    g: Any, chain: int, i: int, side: int, reduces: Any, lots: int, value: int, ts: int
) -> None:
    """Charge a new order that has passed to every scope of the chain, as its check foresaw it; it takes a token (13)."""
    n, links = g.inst.shape[0], g.chain[chain]
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s < 0:
            continue
        cell, scope, work = g.cell[s * n + i], g.scope[s], g.work[j]
        scope[P_OPEN] += value
        scope[P_ORDERS] += 1
        scope[P_NEW_TAT] = max(ts, scope[P_NEW_TAT]) + scope[P_NEW_GAP]
        scope[P_GROSS] += work[W_GROSS] - cell[C_GROSS]
        cell[C_GROSS] = work[W_GROSS]
        if j == CH_ACCOUNT:
            scope[P_MARGIN] += work[W_MARGIN] - cell[C_MARGIN]
            cell[C_MARGIN] = work[W_MARGIN]
        if side == BUY:
            cell[C_BUYS] += lots
            scope[P_LONG] += work[W_END] - cell[C_LONG]
            cell[C_LONG] = work[W_END]
            if reduces:
                cell[C_REDUCE_BUYS] += lots
        else:
            cell[C_SELLS] += lots
            scope[P_SHORT] += work[W_END] - cell[C_SHORT]
            cell[C_SHORT] = work[W_END]
            if reduces:
                cell[C_REDUCE_SELLS] += lots


@inline
def post_open(
    g: Any, chain: int, i: int, side: int, reduces: Any, lots: int, value: int, orders: int
) -> None:
    """Add to what is open (all may be negative) in every scope of the chain."""
    n = g.inst.shape[0]
    open_col = C_BUYS if side == BUY else C_SELLS
    reduce_col = C_REDUCE_BUYS if side == BUY else C_REDUCE_SELLS
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = g.chain[chain, j]
        if s < 0:
            continue
        g.cell[s * n + i, open_col] += lots
        if reduces:
            g.cell[s * n + i, reduce_col] += lots
        g.scope[s, P_OPEN] += value
        g.scope[s, P_ORDERS] += orders
        revalue(g, s, i)


@inline
def post_position(g: Any, chain: int, i: int, lots: int, cash: int, traded: int) -> None:
    """Add to position, cash and the day's traded value in every scope of the chain, and judge the losses."""
    n = g.inst.shape[0]
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = g.chain[chain, j]
        if s < 0:
            continue
        g.cell[s * n + i, C_POS] += lots
        g.cell[s * n + i, C_CASH] += cash
        g.scope[s, P_TRADED] = max(0, g.scope[s, P_TRADED] + traded)
        revalue(g, s, i)
        revalue_pnl(g, s, i)
        watch_losses(g, s)
        watch_legs(g, s)


@inline
def cash_of(g: Any, i: int, price: int, signed_lots: int, fee: int) -> int:
    """What a fill brings in, in settlement minor units: a linear buy pays its value, an inverse one books it."""
    value = settle_value(g, i, price, signed_lots)
    if g.inst[i, I_FLAGS] & F_INVERSE:
        return value - fee
    return -value - fee
