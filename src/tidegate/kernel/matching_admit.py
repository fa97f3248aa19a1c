"""New orders: judged wholly before anything changes, so that a stop for room just repeats them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.bits import at
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    DAY,
    FOK,
    GTC,
    GTD,
    ICEBERG,
    IOC,
    LIMIT,
    MARKET,
    PEG_MARKET,
    PEG_MID,
    PEG_PRIMARY,
    PEGGED,
    POST_ONLY,
    SELL,
    STOP,
    STOP_LIMIT,
    STP_DECREMENT,
    TRAILING_STOP,
)
from tidegate.kernel.matching_layout import (
    C_EXTRA,
    C_ID,
    C_OWNER,
    C_PRICE,
    C_QTY,
    C_STOP,
    C_TIME,
    C_WHAT,
    EX_CANCEL_REJECTED,
    EX_NEW,
    EX_REJECTED,
    INST_SHIFT,
    KIND_BITS,
    MAX_QTY,
    NO_PRICE,
    PRICE_LIMIT,
    R_REASON_SHIFT,
    R_SIDE_SHIFT,
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHAT_BITS,
    WHY_COMBINATION,
    WHY_DUPLICATE,
    WHY_FIELD,
    WHY_LATE,
    WHY_NO_REFERENCE,
    WHY_NONE,
    WHY_POST_ONLY,
    WHY_PRICE,
    WHY_QTY,
    WHY_SPAN,
)
from tidegate.kernel.matching_settle import (
    FITS,
    GROW_ORDERS,
    GROW_WINDOW,
    NO_FIT,
    QUIET,
    enqueue,
    fit,
    look_at_references,
    peg_target,
)
from tidegate.kernel.matching_state import (
    DUE,
    EXTRA_SHIFT,
    H_FIRST,
    H_LAST,
    H_LIVE,
    H_NEXT_EXPIRY,
    H_NOW,
    H_PEGS,
    H_ROOM,
    H_SPECIAL,
    HAS_EXTRA,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    N_OWNER,
    S_DUE,
    S_PEGS,
    S_TRAIL,
    SWEEP,
    WAITING,
    X_DUE_NEXT,
    X_EXTRA,
    X_LIMIT,
    X_NEXT,
    X_STOP,
    X_TIME,
    crosses,
    find,
    lesser,
    link,
    remember,
    report,
    side_at,
    take_node,
    write,
)
from tidegate.kernel.matching_trade import AT_ONCE, begin, list_append

# What a type of order has: a limit, perhaps a limit, a stop, perhaps a stop, a displayed quantity, a distance, an
# offset.
LIMITED, MAYBE_LIMITED, STOPS, MAYBE_STOPS, SHOWS, TRAILS, PEGS = (1 << k for k in range(7))
TERMS = np.zeros(16, np.int64)
TERMS[MARKET] = 1 << 7
TERMS[LIMIT] = LIMITED
TERMS[STOP] = STOPS
TERMS[STOP_LIMIT] = STOPS | LIMITED
TERMS[TRAILING_STOP] = MAYBE_STOPS | TRAILS
TERMS[ICEBERG] = LIMITED | SHOWS
TERMS[PEGGED] = MAYBE_LIMITED | PEGS
WAITS = STOPS | MAYBE_STOPS
SPECIAL = WAITS | SHOWS | PEGS

# What goes together, as sets of instructions (bit i: the set with the number i) by type: for orders that may rest
# at [type], for IOC and FOK at [type + 16].
NO_INST, ONLY_POST = 1, 1 << POST_ONLY
PEG_INST = (PEG_PRIMARY, PEG_MARKET, PEG_MID)
TOGETHER = np.zeros(32, np.int64)
TOGETHER[[MARKET, LIMIT, STOP, STOP_LIMIT, TRAILING_STOP, ICEBERG]] = NO_INST
TOGETHER[[LIMIT, STOP_LIMIT, ICEBERG]] |= ONLY_POST
TOGETHER[PEGGED] = sum((1 << peg) + (1 << (peg | POST_ONLY)) for peg in PEG_INST)
TOGETHER[16 + np.array([MARKET, LIMIT, STOP, STOP_LIMIT, TRAILING_STOP])] = NO_INST

# Known codes, as sets of bits.
KNOWN_SIDES = sum(1 << side for side in (BUY, SELL))
KNOWN_TIFS = sum(1 << time_in_force for time_in_force in (DAY, GTC, IOC, FOK, GTD))
KNOWN_MODES = (2 << STP_DECREMENT) - 1
KNOWN_BITS = WHAT_BITS & ~(0xFF << INST_SHIFT) | (POST_ONLY | sum(PEG_INST)) << INST_SHIFT


@inline
def known(what: int) -> Any:
    """1 when side, time in force and self-trade mode are codes that mean something, else 0."""
    sides, tifs = KNOWN_SIDES >> ((what >> SIDE_SHIFT) & 15), KNOWN_TIFS >> ((what >> TIF_SHIFT) & 15)
    return sides & tifs & (KNOWN_MODES >> ((what >> STP_SHIFT) & 15)) & 1


@inline
def unpriced(price: int) -> Any:
    """Whether this is no price in range."""
    return price < -PRICE_LIMIT or price > PRICE_LIMIT


@inline
def beyond(value: int, low: int, high: int) -> Any:
    """Whether a value is outside a range."""
    return value < low or value > high


@outline
def bad_terms(what: int, kind: int, qty: int, price: int, stop: int, extra: int) -> Any:
    """What is wrong with a new order whatever the state of the book, or WHY_NONE."""
    terms = TERMS[kind]
    if what & ~KNOWN_BITS or terms == 0 or known(what) == 0:
        return WHY_FIELD
    if beyond(qty, 1, MAX_QTY) or (terms & SHOWS and beyond(extra, 1, qty)):
        return WHY_QTY
    if unpriced(price) and (terms & LIMITED or (terms & MAYBE_LIMITED and price != NO_PRICE)):
        return WHY_PRICE
    if unpriced(stop) and (terms & STOPS or (terms & MAYBE_STOPS and stop != NO_PRICE)):
        return WHY_PRICE
    if terms & (TRAILS | PEGS) and beyond(extra, 1 if terms & TRAILS else 0, PRICE_LIMIT):
        return WHY_PRICE
    at_once = (AT_ONCE >> ((what >> TIF_SHIFT) & 15)) & 1
    if (TOGETHER[kind + 16 * at_once] >> (what >> INST_SHIFT)) & 1 == 0:
        return WHY_COMBINATION
    return WHY_NONE


@outline
def start_of_trail(m: Any, side: int, stop: int, distance: int) -> Any:
    """A trailing stop's stop price: the given one or, where nearer, the distance from the last trade."""
    if m[H_LAST] == NO_PRICE:
        return stop
    sign = 3 - 2 * side
    near = m[H_LAST] + sign * distance
    return near if stop == NO_PRICE or (stop - near) * sign > 0 else stop


@inline
def accept(m: Any, t: Any, what: int, key: int, owner: int, qty: int) -> Any:
    """A node for a new order, its id in the table."""
    o = take_node(m)
    m[at(o + N_LEVEL)] = 0
    m[at(o + N_KEY)] = key
    m[at(o + N_LEAVES)] = qty
    m[at(o + N_CUM)] = 0
    m[at(o + N_FLAGS)] = what & ~KIND_BITS
    m[at(o + N_OWNER)] = owner
    remember(m, t, key, o)
    m[H_LIVE] += 1
    return o


@inline
def add_extra(m: Any, o: int, terms: int, extra: int, stop: int, limit: int, time: int) -> None:
    """Give a special order its second node, and its places in the lists."""
    x = take_node(m)
    m[o + N_FLAGS] |= HAS_EXTRA | (x << EXTRA_SHIFT)
    m[x + X_EXTRA] = extra
    m[x + X_STOP] = stop
    m[x + X_LIMIT] = limit
    m[x + X_TIME] = time
    if (m[o + N_FLAGS] >> TIF_SHIFT) & 15 == GTD:
        m[o + N_FLAGS] |= DUE
        list_append(m, S_DUE, o, X_DUE_NEXT)
        m[H_NEXT_EXPIRY] = lesser(m[H_NEXT_EXPIRY], time)
    if terms & (PEGS | WAITS):
        m[H_SPECIAL] += 1
    if terms & PEGS:
        m[H_PEGS] += 1
        list_append(m, S_PEGS, o, X_NEXT)
    if terms & WAITS:
        m[o + N_FLAGS] |= WAITING
    if terms & TRAILS:
        list_append(m, S_TRAIL, o, X_NEXT)


@outline
def wait(m: Any, t: Any, o: int, stop: int) -> None:
    """Put a stop order where it waits, or, when the last trade triggers it already, into the queue."""
    side, last = side_at(m, o), m[H_LAST]
    m[H_FIRST] = NO_PRICE  # what traded before is no concern of this order
    if last != NO_PRICE and (last - stop) * (3 - 2 * side) >= 0:
        enqueue(m, o)
    else:
        link(m, t, side + 2, stop, o)


@outline
def refuse(m: Any, t: Any, execution: int, side: int, why: int, key: int, price: int, qty: int) -> Any:
    """Report a refusal; nothing is left to do."""
    leaves = qty if execution == EX_CANCEL_REJECTED else 0
    what = execution | (side << R_SIDE_SHIFT) | (why << R_REASON_SHIFT)
    write(m, t, what, key, 0, price, qty, leaves, 0)
    return QUIET


@inline
def objection(m: Any, t: Any, commands: Any, c: int, side: int, kind: int, limit: int, stop: int) -> Any:
    """What the state of the book has against a new order; GROW_WINDOW when that must grow first to tell."""
    what, time = commands[c + C_WHAT], commands[c + C_TIME]
    if (what >> TIF_SHIFT) & 15 == GTD and time <= m[H_NOW]:
        return WHY_LATE
    if find(m, t, commands[c + C_ID]) != 0:
        return WHY_DUPLICATE
    waits = TERMS[kind] & WAITS
    if waits and stop == NO_PRICE:
        return WHY_NO_REFERENCE
    price = stop if waits else limit
    if kind != MARKET and price != NO_PRICE:
        fits = fit(m, price)
        if fits != FITS:
            return WHY_SPAN if fits == NO_FIT else GROW_WINDOW
        if (what >> INST_SHIFT) & POST_ONLY and not waits and crosses(m, side, limit):
            return WHY_POST_ONLY
    return WHY_NONE


@outline
def new_order(m: Any, t: Any, commands: Any, c: int) -> Any:
    """NEW, in full: an order's node that has to match, QUIET, GROW_ORDERS or GROW_WINDOW."""
    what, key, qty = commands[c + C_WHAT], commands[c + C_ID], commands[c + C_QTY]
    price, stop, extra = commands[c + C_PRICE], commands[c + C_STOP], commands[c + C_EXTRA]
    side, kind = (what >> SIDE_SHIFT) & 15, (what >> TYPE_SHIFT) & 15
    terms, limit = TERMS[kind], price
    why = bad_terms(what, kind, qty, price, stop, extra)
    if why == WHY_NONE:
        if m[H_LIVE] >= m[H_ROOM]:
            return GROW_ORDERS
        if terms & TRAILS:
            stop = start_of_trail(m, side, stop, extra)
        if terms & PEGS:
            look_at_references(m, t)
            limit = peg_target(m, side, what >> INST_SHIFT, extra, price)
        why = objection(m, t, commands, c, side, kind, limit, stop)
        if why == GROW_WINDOW:
            return why
    if why != WHY_NONE:
        return refuse(m, t, EX_REJECTED, side, why, key, price, qty)
    return admit(m, t, commands, c, side, kind, limit, stop)


@inline
def admit(m: Any, t: Any, commands: Any, c: int, side: int, kind: int, limit: int, stop: int) -> Any:
    """Take in an order that nothing speaks against."""
    what, qty, terms = commands[c + C_WHAT], commands[c + C_QTY], TERMS[kind]
    worst = commands[c + C_PRICE]
    if terms & (LIMITED | PEGS) == 0:
        limit = worst = NO_PRICE
    o = accept(m, t, what, commands[c + C_ID], commands[c + C_OWNER], qty)
    report(m, t, o, EX_NEW, WHY_NONE, stop if terms & WAITS else 0, limit, qty, qty)
    if terms & SPECIAL or (what >> TIF_SHIFT) & 15 == GTD:
        held = stop if terms & WAITS else 0
        add_extra(m, o, terms, commands[c + C_EXTRA], held, worst, commands[c + C_TIME])
    if terms & WAITS:
        wait(m, t, o, stop)
        return QUIET
    if terms & PEGS and limit == NO_PRICE:
        return QUIET
    return begin(m, t, o, (3 - 2 * side) * SWEEP if kind == MARKET else limit)
