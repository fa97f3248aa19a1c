"""What follows a command: the stops that its trades triggered, then the pegs whose reference moved.

Each function goes one step at a time and keeps its place in the header, so that the kernel can stop between any
two steps for room and go on later. The order of the steps is that of docs/matching.md.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bitmap import bit_next, bit_prev
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    FOK,
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
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHY_KILLED,
    WHY_NONE,
    WHY_PEG,
    WHY_POST_ONLY,
    WHY_SPAN,
    WHY_TRAIL,
)
from tidegate.kernel.matching_state import (
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
    H_REF_ASK,
    H_REF_BID,
    H_SIZE,
    H_SPECIAL,
    H_TOP,
    H_TRAIL_NEXT,
    H_WALK,
    H_WANT,
    L_COUNT,
    L_PRICE,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    N_NEXT,
    N_OWNER,
    N_PREV,
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
    X_PREV,
    X_STOP,
    crosses,
    emit,
    extra_at,
    link,
    outside,
    price_at,
    room,
    side_at,
    type_at,
    unlink,
)
from tidegate.kernel.matching_trade import can_fill, end_order, list_remove, remove, worse_level
from tidegate.kernel.matching_walk import walk_on

# What a step comes to: an order's node that has to match now, or one of these.
QUIET, FULL, GROW_WINDOW, GROW_ORDERS = 0, -1, -2, -3
FITS, DENIED = 0, 1


@inline
def fit(m: Any, price: int) -> Any:
    """FITS, GROW_WINDOW when the window must grow first (H_WANT says to where), or DENIED when it cannot."""
    if not outside(m, price):
        return FITS
    if price == m[H_DENIED]:
        m[H_DENIED] = NO_PRICE
        return DENIED
    m[H_WANT] = price
    return GROW_WINDOW


@inline
def enqueue(m: Any, o: int) -> None:
    """Put a triggered stop at the end of the queue of those to become active."""
    back = m[S_QUEUE + N_PREV]
    m[o + N_NEXT] = S_QUEUE
    m[o + N_PREV] = back
    m[o + N_LEVEL] = 0
    m[back + N_NEXT] = o
    m[S_QUEUE + N_PREV] = o
    if type_at(m, o) == TRAILING_STOP:
        list_remove(m, o, X_NEXT, X_PREV)


@inline
def enqueue_level(m: Any, w: Any, level: int) -> None:
    """Trigger every stop of one price, first come first."""
    more = True
    while more:
        o = m[level + N_NEXT]
        more = m[o + N_NEXT] != level
        unlink(m, w, o)
        enqueue(m, o)


@inline
def trigger(m: Any, w: Any, price: int) -> None:
    """Queue the stops that a trade at this price reaches: buys from the lowest up, then sells from the top."""
    base, size = m[H_BASE], m[H_SIZE]
    tick = bit_next(w, m[H_BITS + BUY_STOPS], size, 0)
    while tick >= 0 and base + tick <= price:
        enqueue_level(m, w, w[m[H_MAP + BUY_STOPS] + base + tick])
        tick = bit_next(w, m[H_BITS + BUY_STOPS], size, tick)
    tick = bit_prev(w, m[H_BITS + SELL_STOPS], size, size - 1)
    while tick >= 0 and base + tick >= price:
        enqueue_level(m, w, w[m[H_MAP + SELL_STOPS] + base + tick])
        tick = bit_prev(w, m[H_BITS + SELL_STOPS], size, tick)


@inline
def trail(m: Any, w: Any, ids: Any, out: Any, price: int) -> Any:
    """Move the trailing stops that a trade at this price pulls along, in order of arrival."""
    o = m[H_TRAIL_NEXT]
    if o == 0:
        o = m[S_TRAIL + NODE + X_NEXT]
    while o != S_TRAIL:
        m[H_TRAIL_NEXT] = o
        if not room(m, out):
            return FULL
        extra, side = extra_at(m, o), side_at(m, o)
        follower, sign = m[extra + X_NEXT], 3 - 2 * side
        stop = price + sign * m[extra + X_EXTRA]
        if (m[extra + X_STOP] - stop) * sign > 0:
            fits = fit(m, stop)
            if fits == GROW_WINDOW:
                return GROW_WINDOW
            if fits == DENIED:
                remove(m, w, ids, out, o, EX_CANCELED, WHY_SPAN)
            else:
                unlink(m, w, o)
                m[extra + X_STOP] = stop
                link(m, w, side + 2, stop, o)
                leaves = m[o + N_LEAVES]
                emit(m, out, EX_RESTATED, side, WHY_TRAIL, m[o + N_KEY], stop, NO_PRICE, leaves, leaves, 0)
        o = follower
    return QUIET


@inline
def look_at_stops(m: Any, w: Any, ids: Any, out: Any) -> Any:
    """Trail and trigger by the first and the last trade price since the last look.

    Those two are as good as all: the trades of one order go through the book in one direction.
    """
    while m[H_FIRST] != NO_PRICE:
        price = m[H_FIRST]
        step = trail(m, w, ids, out, price)
        if step != QUIET:
            return step
        m[H_TRAIL_NEXT] = 0
        trigger(m, w, price)
        m[H_FIRST] = m[H_LAST] if price != m[H_LAST] else NO_PRICE
    return QUIET


@inline
def activate(m: Any, w: Any, ids: Any, out: Any, o: int) -> Any:
    """The first triggered stop becomes a market or limit order. Returns it, QUIET when it was cancelled."""
    extra, side, kind = extra_at(m, o), side_at(m, o), type_at(m, o)
    limit, fits = m[extra + X_LIMIT], FITS
    if kind == STOP_LIMIT:
        fits = fit(m, limit)
        if fits == GROW_WINDOW:
            return GROW_WINDOW
    after, before = m[o + N_NEXT], m[o + N_PREV]
    m[before + N_NEXT] = after
    m[after + N_PREV] = before
    flags, leaves = m[o + N_FLAGS], m[o + N_LEAVES]
    emit(m, out, EX_TRIGGERED, side, WHY_NONE, m[o + N_KEY], m[extra + X_STOP], limit, leaves, leaves, 0)
    became = LIMIT if kind == STOP_LIMIT else MARKET
    m[o + N_FLAGS] = (flags & ~(WAITING | (15 << TYPE_SHIFT))) | (became << TYPE_SHIFT)
    m[H_SPECIAL] -= 1
    m[H_LIMIT] = limit if kind == STOP_LIMIT else (3 - 2 * side) * SWEEP
    why = WHY_NONE
    if fits == DENIED:
        why = WHY_SPAN
    elif (flags >> INST_SHIFT) & POST_ONLY and crosses(m, side, limit):
        why = WHY_POST_ONLY
    elif (flags >> TIF_SHIFT) & 15 == FOK:
        mode = (flags >> STP_SHIFT) & 15
        if not can_fill(m, w, side, m[H_LIMIT], leaves, m[o + N_OWNER], mode):
            why = WHY_KILLED
    if why == WHY_NONE:
        return o
    emit(m, out, EX_CANCELED, side, why, m[o + N_KEY], 0, limit, leaves, 0, 0)
    end_order(m, ids, o)
    return QUIET


@outline
def reference(m: Any, w: Any, side: int) -> Any:
    """The best price of a side that an order which is not pegged stands at; ∓FAR for none."""
    level = m[H_TOP + side]
    while level != 0:
        count = m[level + L_COUNT]
        if count & COUNT_BITS != count >> 32:
            return m[level + L_PRICE]
        level = worse_level(m, w, side, level)
    return (2 * side - 3) * FAR


@outline
def peg_target(m: Any, side: int, inst: int, offset: int, cap: int) -> Any:
    """Where a pegged order of these terms stands by the references in the header; NO_PRICE without one."""
    bid, ask = m[H_REF_BID], m[H_REF_ASK]
    if inst & PEG_MID:
        if bid == -FAR or ask == FAR:
            return NO_PRICE
        price = (bid + ask) >> 1 if side == BUY else -((-(bid + ask)) >> 1)
    else:
        own = inst & PEG_PRIMARY != 0
        price = bid if own == (side == BUY) else ask
        if price == FAR or price == -FAR:
            return NO_PRICE
    if side == BUY:
        price -= offset
        return min(price, cap) if cap != NO_PRICE else price
    price += offset
    return max(price, cap)


@inline
def look_at_references(m: Any, w: Any) -> None:
    """Set out on a round through the pegs when their references have moved."""
    bid, ask = reference(m, w, 1), reference(m, w, 2)
    if bid != m[H_REF_BID] or ask != m[H_REF_ASK]:
        m[H_REF_BID] = bid
        m[H_REF_ASK] = ask
        first = m[S_PEGS + NODE + X_NEXT]
        m[H_PEG_NEXT] = first if first != S_PEGS else 0


@inline
def reprice(m: Any, w: Any, ids: Any, out: Any) -> Any:
    """Move the next pegged order that does not stand at its target. Returns it when it has to match there."""
    look_at_references(m, w)
    while m[H_PEG_NEXT] != 0:
        if not room(m, out):
            return FULL
        o = m[H_PEG_NEXT]
        extra, side, leaves = extra_at(m, o), side_at(m, o), m[o + N_LEAVES]
        inst, at = m[o + N_FLAGS] >> INST_SHIFT, price_at(m, o)
        target = peg_target(m, side, inst, m[extra + X_EXTRA], m[extra + X_LIMIT])
        if target != at and target != NO_PRICE:
            fits = fit(m, target)
            if fits == GROW_WINDOW:
                return GROW_WINDOW
            if fits == DENIED or (inst & POST_ONLY and crosses(m, side, target)):
                why = WHY_SPAN if fits == DENIED else WHY_POST_ONLY
                remove(m, w, ids, out, o, EX_CANCELED, why)
                continue
        follower = m[extra + X_NEXT]
        m[H_PEG_NEXT] = follower if follower != S_PEGS else 0
        if target == at:
            continue
        if at != NO_PRICE:
            unlink(m, w, o)
            m[o + N_LEVEL] = 0
        emit(m, out, EX_RESTATED, side, WHY_PEG, m[o + N_KEY], 0, target, leaves, leaves, 0)
        if target != NO_PRICE:
            m[H_LIMIT] = target
            return o
    return QUIET


@outline
def settle(m: Any, w: Any, ids: Any, out: Any) -> Any:
    """The next step of what a command set off: an order that has to match, FULL, GROW_WINDOW, or QUIET."""
    while True:
        if m[H_WALK] != 0 and not walk_on(m, w, ids, out):
            return FULL
        step = look_at_stops(m, w, ids, out)
        if step != QUIET:
            return step
        if not room(m, out):
            return FULL
        o = m[S_QUEUE + N_NEXT]
        if o == S_QUEUE:
            return reprice(m, w, ids, out) if m[H_PEGS] != 0 else QUIET
        step = activate(m, w, ids, out, o)
        if step != QUIET:
            return step
