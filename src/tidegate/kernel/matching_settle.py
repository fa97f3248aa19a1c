"""What follows a command: the stops that its trades triggered, then the pegs whose reference moved.

Each function goes one step at a time and keeps its place in the header, so that the kernel can stop between any
two steps for room and go on later. The order of the steps is that of docs/matching.md.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bitmap import bit_next, bit_prev
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    LIMIT,
    MARKET,
    PEG_MID,
    PEG_PRIMARY,
    POST_ONLY,
    STOP_LIMIT,
    TRAILING_STOP,
)
from tidegate.kernel.matching_layout import (
    EX_CANCELED,
    EX_RESTATED,
    EX_TRIGGERED,
    INST_SHIFT,
    NO_PRICE,
    TYPE_SHIFT,
    WHY_NONE,
    WHY_PEG,
    WHY_POST_ONLY,
    WHY_SPAN,
    WHY_TRAIL,
)
from tidegate.kernel.matching_state import (
    ASKS,
    BIDS,
    BUY_STOPS,
    COUNT_BITS,
    FAR,
    H_BASE,
    H_BITS,
    H_DENIED,
    H_FIRST,
    H_LAST,
    H_LIMIT,
    H_MAP,
    H_PEG_NEXT,
    H_PEGS,
    H_REF,
    H_SIZE,
    H_SPECIAL,
    H_TOP,
    H_TRAIL_NEXT,
    H_WALK,
    H_WANT,
    L_COUNT,
    L_PRICE,
    N_FLAGS,
    N_LEAVES,
    N_NEXT,
    NODE,
    S_PEGS,
    S_QUEUE,
    S_TRAIL,
    SELL_STOPS,
    SWEEP,
    WAITING,
    X_EXTRA,
    X_LIMIT,
    X_NEXT,
    X_STOP,
    crosses,
    extra_at,
    full,
    link,
    outside,
    price_at,
    report,
    ring_append,
    ring_remove,
    side_at,
    type_at,
    unlink,
    worse_level,
)
from tidegate.kernel.matching_trade import begin, drop, list_remove, listed_after, remove
from tidegate.kernel.matching_walk import walk_on

# What a step comes to: an order's node that has to match now, or one of these.
QUIET, FULL, GROW_WINDOW, GROW_ORDERS = 0, -1, -2, -3
FITS, NO_FIT = 0, 1


@inline
def fit(m: Any, price: int) -> Any:
    """FITS, GROW_WINDOW when the window must grow first (H_WANT says to where), or NO_FIT when it cannot."""
    if not outside(m, price):
        return FITS
    if price == m[H_DENIED]:
        m[H_DENIED] = NO_PRICE
        return NO_FIT
    m[H_WANT] = price
    return GROW_WINDOW


@inline
def enqueue(m: Any, o: int) -> None:
    """Put a triggered stop at the end of the queue of those to become active."""
    ring_append(m, S_QUEUE, o)
    if type_at(m, o) == TRAILING_STOP:
        list_remove(m, o, X_NEXT)


@outline
def trigger_level(m: Any, t: Any, level: int) -> None:
    """Trigger every stop of one price, first come first."""
    more = True
    while more:
        o = m[level + N_NEXT]
        more = m[o + N_NEXT] != level
        unlink(m, t, o)
        enqueue(m, o)


@inline
def trigger(m: Any, t: Any, price: int) -> None:
    """Queue the stops that a trade at this price reaches: buys from the lowest up, then sells from the top."""
    size, offset = m[H_SIZE], price - m[H_BASE]
    tick = bit_next(t, m[H_BITS + BUY_STOPS], size, 0)
    while 0 <= tick <= offset:
        trigger_level(m, t, t[m[H_MAP + BUY_STOPS] + m[H_BASE] + tick])
        tick = bit_next(t, m[H_BITS + BUY_STOPS], size, tick)
    tick = bit_prev(t, m[H_BITS + SELL_STOPS], size, size - 1)
    while tick >= 0 and tick >= offset:
        trigger_level(m, t, t[m[H_MAP + SELL_STOPS] + m[H_BASE] + tick])
        tick = bit_prev(t, m[H_BITS + SELL_STOPS], size, tick)


@inline
def trail(m: Any, t: Any, price: int) -> Any:
    """Move the trailing stops that a trade at this price pulls along. False when there is no room to report."""
    o = m[H_TRAIL_NEXT]
    if o == 0:
        o = m[S_TRAIL + NODE + X_NEXT]
    while o != S_TRAIL:
        m[H_TRAIL_NEXT] = o
        if full(m):
            return False
        x, side, leaves = extra_at(m, o), side_at(m, o), m[o + N_LEAVES]
        after, sign = m[x + X_NEXT], 3 - 2 * side
        stop = price + sign * m[x + X_EXTRA]
        if (m[x + X_STOP] - stop) * sign > 0:
            # It fits: it lies between the old stop price and a price that was in the book a moment ago.
            unlink(m, t, o)
            m[x + X_STOP] = stop
            link(m, t, side + 2, stop, o)
            report(m, t, o, EX_RESTATED, WHY_TRAIL, stop, NO_PRICE, leaves, leaves)
        o = after
    m[H_TRAIL_NEXT] = 0
    return True


@inline
def look_at_stops(m: Any, t: Any) -> Any:
    """Trail and trigger by the first and the last trade price since the last look. False for want of room.

    Those two are as good as all: the trades of one order go through the book in one direction.
    """
    while m[H_FIRST] != NO_PRICE:
        price = m[H_FIRST]
        if not trail(m, t, price):
            return False
        trigger(m, t, price)
        m[H_FIRST] = m[H_LAST] if price != m[H_LAST] else NO_PRICE
    return True


@inline
def activate(m: Any, t: Any, o: int) -> Any:
    """The first triggered stop becomes a market or limit order. Returns it, or QUIET when it was cancelled."""
    side, x = side_at(m, o), extra_at(m, o)
    flags, leaves = m[o + N_FLAGS], m[o + N_LEAVES]
    limit, fits, became = m[x + X_LIMIT], FITS, MARKET
    if type_at(m, o) == STOP_LIMIT:
        fits, became = fit(m, limit), LIMIT
        if fits == GROW_WINDOW:
            return GROW_WINDOW
    ring_remove(m, o)
    report(m, t, o, EX_TRIGGERED, WHY_NONE, m[x + X_STOP], limit, leaves, leaves)
    m[o + N_FLAGS] = (flags & ~(WAITING | (15 << TYPE_SHIFT))) | (became << TYPE_SHIFT)
    m[H_SPECIAL] -= 1
    m[H_LIMIT] = limit
    if fits == NO_FIT:
        drop(m, t, o, WHY_SPAN)
        return QUIET
    if (flags >> INST_SHIFT) & POST_ONLY and crosses(m, side, limit):
        drop(m, t, o, WHY_POST_ONLY)
        return QUIET
    return begin(m, t, o, (3 - 2 * side) * SWEEP if became == MARKET else limit)


@outline
def reference(m: Any, t: Any, side: int) -> Any:
    """The best price of a side that an order which is not pegged stands at; ∓FAR for none."""
    level = m[H_TOP + side]
    while level != 0:
        count = m[level + L_COUNT]
        if count & COUNT_BITS != count >> 32:
            return m[level + L_PRICE]
        level = worse_level(m, t, side, m[level + L_PRICE])
    return (2 * side - 3) * FAR


@outline
def peg_target(m: Any, side: int, inst: int, offset: int, worst: int) -> Any:
    """Where a pegged order of these terms stands by the references in the header; NO_PRICE without one."""
    sign, own, other = 3 - 2 * side, m[H_REF + side], m[H_REF + 3 - side]
    price = own if inst & PEG_PRIMARY else other
    if price == FAR or price == -FAR:
        return NO_PRICE
    if inst & PEG_MID:
        if own == FAR or own == -FAR:
            return NO_PRICE
        price = sign * ((sign * (own + other)) >> 1)  # rounds away from the other side
    price -= sign * offset
    return worst if worst != NO_PRICE and (price - worst) * sign > 0 else price


@outline
def look_at_references(m: Any, t: Any) -> None:
    """Take the pegs' references anew, and set out on a round through the pegs when they have moved."""
    bid, ask = reference(m, t, BIDS), reference(m, t, ASKS)
    if bid != m[H_REF + BIDS] or ask != m[H_REF + ASKS]:
        m[H_REF + BIDS] = bid
        m[H_REF + ASKS] = ask
        m[H_PEG_NEXT] = listed_after(m, S_PEGS, X_NEXT, S_PEGS)


@inline
def reprice(m: Any, t: Any) -> Any:
    """Move the next pegged order that does not stand at its target. Returns it when it has to match there."""
    look_at_references(m, t)
    while m[H_PEG_NEXT] != 0:
        if full(m):
            return FULL
        o = m[H_PEG_NEXT]
        x, side, leaves = extra_at(m, o), side_at(m, o), m[o + N_LEAVES]
        at, inst = price_at(m, o), m[o + N_FLAGS] >> INST_SHIFT
        target = peg_target(m, side, inst, m[x + X_EXTRA], m[x + X_LIMIT])
        if target != at and target != NO_PRICE:
            fits = fit(m, target)
            if fits == GROW_WINDOW:
                return GROW_WINDOW
            if fits == NO_FIT or (inst & POST_ONLY and crosses(m, side, target)):
                remove(m, t, o, EX_CANCELED, WHY_SPAN if fits == NO_FIT else WHY_POST_ONLY)
                continue
        m[H_PEG_NEXT] = listed_after(m, o, X_NEXT, S_PEGS)
        if target == at:
            continue
        if at != NO_PRICE:
            unlink(m, t, o)
        report(m, t, o, EX_RESTATED, WHY_PEG, 0, target, leaves, leaves)
        if target != NO_PRICE:
            m[H_LIMIT] = target
            return o
    return QUIET


@outline
def settle(m: Any, t: Any) -> Any:
    """The next step of what a command set off: an order that has to match, FULL, GROW_WINDOW, or QUIET."""
    while True:
        if m[H_WALK] != 0 and not walk_on(m, t):
            return FULL
        if not look_at_stops(m, t) or full(m):
            return FULL
        o = m[S_QUEUE + N_NEXT]
        if o == S_QUEUE:
            return reprice(m, t) if m[H_PEGS] != 0 else QUIET
        step = activate(m, t, o)
        if step != QUIET:
            return step
