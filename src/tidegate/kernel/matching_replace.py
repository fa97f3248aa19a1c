"""Replaces: judged wholly before anything changes, so that a stop for room just repeats them."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import ICEBERG, PEGGED, POST_ONLY, STOP_LIMIT, TRAILING_STOP
from tidegate.kernel.matching_admit import beyond, refuse, start_of_trail, unpriced, wait
from tidegate.kernel.matching_layout import (
    C_ID,
    C_PRICE,
    C_QTY,
    C_STOP,
    EX_CANCEL_REJECTED,
    EX_REPLACED,
    INST_SHIFT,
    MAX_QTY,
    NO_PRICE,
    WHY_COMBINATION,
    WHY_NONE,
    WHY_POST_ONLY,
    WHY_PRICE,
    WHY_QTY,
    WHY_SPAN,
    WHY_UNKNOWN,
)
from tidegate.kernel.matching_settle import GROW_WINDOW, NO_FIT, QUIET, fit, peg_target
from tidegate.kernel.matching_state import (
    H_LIMIT,
    L_QTY,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    WAITING,
    X_EXTRA,
    X_HIDDEN,
    X_LIMIT,
    X_STOP,
    crosses,
    extra_at,
    find,
    lesser,
    price_at,
    report,
    side_at,
    type_at,
    unlink,
)
from tidegate.kernel.matching_trade import open_qty


@outline
def refuse_change(m: Any, t: Any, o: int, why: int, price: int) -> Any:
    """Report that a replace is refused: the order stands as it was."""
    return refuse(m, t, EX_CANCEL_REJECTED, side_at(m, o), why, m[o + N_KEY], price, open_qty(m, o))


@outline
def replace_order(m: Any, t: Any, commands: Any, c: int) -> Any:
    """REPLACE: an order's node that has to match again, QUIET, or GROW_WINDOW."""
    key, qty = commands[c + C_ID], commands[c + C_QTY]
    price, stop = commands[c + C_PRICE], commands[c + C_STOP]
    o = find(m, t, key)
    if o == 0:
        return refuse(m, t, EX_CANCEL_REJECTED, 0, WHY_UNKNOWN, key, price, 0)
    filled, waiting = m[o + N_CUM], m[o + N_FLAGS] & WAITING
    if qty == 0:
        qty = filled + open_qty(m, o)
    if beyond(qty, filled + 1, MAX_QTY):
        return refuse_change(m, t, o, WHY_QTY, price)
    if (unpriced(price) and price != NO_PRICE) or (unpriced(stop) and stop != NO_PRICE):
        return refuse_change(m, t, o, WHY_PRICE, price)
    if waiting:
        return replace_waiting(m, t, o, qty, price, stop)
    if stop != NO_PRICE:
        return refuse_change(m, t, o, WHY_COMBINATION, price)
    return replace_resting(m, t, o, qty, price)


@inline
def replace_waiting(m: Any, t: Any, o: int, qty: int, price: int, stop: int) -> Any:
    """Replace a stop that has not triggered. Less quantity at the same prices keeps its place."""
    x, kind = extra_at(m, o), type_at(m, o)
    limit = m[x + X_LIMIT]
    if price != NO_PRICE:
        if kind != STOP_LIMIT:
            return refuse_change(m, t, o, WHY_COMBINATION, price)
        limit = price
    if stop == NO_PRICE:
        stop = m[x + X_STOP]
    elif kind == TRAILING_STOP:
        stop = start_of_trail(m, side_at(m, o), stop, m[x + X_EXTRA])
    fits = fit(m, stop)
    if fits == GROW_WINDOW:
        return GROW_WINDOW
    if fits == NO_FIT:
        return refuse_change(m, t, o, WHY_SPAN, price)
    report(m, t, o, EX_REPLACED, WHY_NONE, stop, limit, qty, qty)
    if stop == m[x + X_STOP] and limit == m[x + X_LIMIT] and qty <= m[o + N_LEAVES]:
        lose(m, o, m[o + N_LEAVES] - qty)
        return QUIET
    unlink(m, t, o)
    m[o + N_LEAVES] = qty
    m[x + X_STOP] = stop
    m[x + X_LIMIT] = limit
    wait(m, t, o, stop)
    return QUIET


@inline
def replace_resting(m: Any, t: Any, o: int, qty: int, price: int) -> Any:
    """Replace an order in the book, or a parked peg. Less quantity at the same price keeps its place."""
    side, kind, at = side_at(m, o), type_at(m, o), price_at(m, o)
    leaves, inst, target = qty - m[o + N_CUM], m[o + N_FLAGS] >> INST_SHIFT, at
    if price != NO_PRICE:
        target = price
        if kind == PEGGED:
            target = peg_target(m, side, inst, m[extra_at(m, o) + X_EXTRA], price)
    if target != NO_PRICE:
        fits = fit(m, target)
        if fits == GROW_WINDOW:
            return GROW_WINDOW
        if fits == NO_FIT:
            return refuse_change(m, t, o, WHY_SPAN, price)
        if inst & POST_ONLY and crosses(m, side, target):
            return refuse_change(m, t, o, WHY_POST_ONLY, price)
    if kind == PEGGED and price != NO_PRICE:
        m[extra_at(m, o) + X_LIMIT] = price
    report(m, t, o, EX_REPLACED, WHY_NONE, 0, target, qty, leaves)
    if target == at and leaves <= open_qty(m, o):
        lose(m, o, open_qty(m, o) - leaves)
        return QUIET
    if at != NO_PRICE:
        unlink(m, t, o)
    m[o + N_LEAVES] = leaves
    if kind == ICEBERG:
        m[extra_at(m, o) + X_HIDDEN] = 0
    m[H_LIMIT] = target
    return o if target != NO_PRICE else QUIET


@outline
def lose(m: Any, o: int, qty: int) -> None:
    """Take quantity from an order in its place: from what an iceberg hides first."""
    if type_at(m, o) == ICEBERG:
        x = extra_at(m, o)
        hidden = lesser(qty, m[x + X_HIDDEN])
        m[x + X_HIDDEN] -= hidden
        qty -= hidden
    m[o + N_LEAVES] -= qty
    level = m[o + N_LEVEL]
    if level != 0:
        m[level + L_QTY] -= qty
