"""Walks over all orders of a book in one fixed order: for mass cancels, the end of the day, and snapshots.

Bids from the best down, asks from the best up, buy stops from the lowest up, sell stops from the highest down,
each price in its queue's order; then the pegged orders that have no price, in order of arrival.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bitmap import bit_next, bit_prev
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import DAY
from tidegate.kernel.matching_layout import (
    EX_CANCELED,
    EX_EXPIRED,
    TIF_SHIFT,
    WHY_END_OF_DAY,
    WHY_EXPIRY,
    WHY_MASS_CANCEL,
)
from tidegate.kernel.matching_state import (
    BIDS,
    FAR,
    H_BASE,
    H_BITS,
    H_MAP,
    H_NEXT_EXPIRY,
    H_NOW,
    H_SIZE,
    H_WALK,
    H_WALK_LEVEL,
    H_WALK_NEXT,
    H_WALK_OWNER,
    H_WALK_PLACE,
    H_WALK_TICK,
    N_FLAGS,
    N_LEVEL,
    N_NEXT,
    N_OWNER,
    NODE,
    PARKED,
    S_DUE,
    S_PEGS,
    SELL_STOPS,
    X_DUE_NEXT,
    X_NEXT,
    X_TIME,
    extra_at,
    full,
    lesser,
)
from tidegate.kernel.matching_trade import remove

FALLING = (1 << BIDS) | (1 << SELL_STOPS)  # places walked from the highest price down, as bits
WALK_ALL, WALK_OWNED, WALK_DAYS, WALK_DUE = 1, 2, 3, 4


@inline
def begin_walk(m: Any, walk: int, owner: int) -> None:
    """Set out on a walk; `owner` counts for WALK_OWNED."""
    m[H_WALK] = walk
    m[H_WALK_OWNER] = owner
    m[H_WALK_PLACE] = BIDS
    m[H_WALK_TICK] = m[H_SIZE]
    m[H_WALK_LEVEL] = 0
    m[H_WALK_NEXT] = 0
    if walk == WALK_DUE:
        m[H_WALK_NEXT] = m[S_DUE + NODE + X_DUE_NEXT]
        m[H_NEXT_EXPIRY] = FAR


@inline
def next_level(m: Any, t: Any) -> Any:
    """The next level of the place the walk is in, or 0 when that has no more."""
    place, tick = m[H_WALK_PLACE], m[H_WALK_TICK]
    if (FALLING >> place) & 1:
        tick = bit_prev(t, m[H_BITS + place], m[H_SIZE], tick - 1)
    else:
        tick = bit_next(t, m[H_BITS + place], m[H_SIZE], tick + 1)
    if tick < 0:
        return 0
    m[H_WALK_TICK] = tick
    return t[m[H_MAP + place] + m[H_BASE] + tick]


@outline
def next_order(m: Any, t: Any) -> Any:
    """The next order of the walk, or 0 at its end. The order last returned may be gone by then."""
    while m[H_WALK_PLACE] < PARKED:
        o = m[H_WALK_NEXT]
        if o == 0:
            level = next_level(m, t)
            m[H_WALK_LEVEL] = level
            if level == 0:
                place = m[H_WALK_PLACE] + 1
                m[H_WALK_PLACE] = place
                m[H_WALK_TICK] = m[H_SIZE] if place == SELL_STOPS else -1
                m[H_WALK_NEXT] = m[S_PEGS + NODE + X_NEXT] if place == PARKED else 0
                continue
            o = m[level + N_NEXT]
        follower = m[o + N_NEXT]
        m[H_WALK_NEXT] = follower if follower != m[H_WALK_LEVEL] else 0
        return o
    o = m[H_WALK_NEXT]
    while o != S_PEGS and m[o + N_LEVEL] != 0:
        o = m[extra_at(m, o) + X_NEXT]
    if o == S_PEGS:
        return 0
    m[H_WALK_NEXT] = m[extra_at(m, o) + X_NEXT]
    return o


@inline
def expire_due(m: Any, t: Any) -> Any:
    """Expire the GTD orders that are due, in order of arrival. False when there is no room to report."""
    o = m[H_WALK_NEXT]
    while o != S_DUE:
        m[H_WALK_NEXT] = o
        if full(m):
            return False
        follower, expiry = m[extra_at(m, o) + X_DUE_NEXT], m[extra_at(m, o) + X_TIME]
        if expiry <= m[H_NOW]:
            remove(m, t, o, EX_EXPIRED, WHY_EXPIRY)
        else:
            m[H_NEXT_EXPIRY] = lesser(m[H_NEXT_EXPIRY], expiry)
        o = follower
    m[H_WALK] = 0
    return True


@outline
def walk_on(m: Any, t: Any) -> Any:
    """End the orders the walk under way is for. False when reports filled up before its end."""
    walk = m[H_WALK]
    if walk == WALK_DUE:
        return expire_due(m, t)
    while not full(m):
        o = next_order(m, t)
        if o == 0:
            m[H_WALK] = 0
            return True
        if walk == WALK_DAYS:
            if (m[o + N_FLAGS] >> TIF_SHIFT) & 15 == DAY:
                remove(m, t, o, EX_EXPIRED, WHY_END_OF_DAY)
        elif walk == WALK_ALL or m[o + N_OWNER] == m[H_WALK_OWNER]:
            remove(m, t, o, EX_CANCELED, WHY_MASS_CANCEL)
    return False
