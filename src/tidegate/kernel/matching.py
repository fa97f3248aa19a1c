"""The price-time matching engine of one book: commands in, reports out. The rules are in docs/matching.md.

`run` is the whole engine as one kernel over the arrays of `matching_state`; `MatchingEngine` in
`matching_engine` owns those arrays. A plain limit order and a cancel take the short way through `run`;
everything else is behind one branch of its own.
"""

from __future__ import annotations

from typing import Any

from numba import int64

from tidegate.kernel.bits import at, prefetch, scatter
from tidegate.kernel.jit import inline, kernel
from tidegate.kernel.layout import LIMIT
from tidegate.kernel.matching_admit import (
    accept,
    beyond,
    known,
    new_order,
    refuse,
)
from tidegate.kernel.matching_layout import (
    ALL_OWNERS,
    C_ID,
    C_OWNER,
    C_PRICE,
    C_QTY,
    C_TIME,
    C_WHAT,
    COMMAND_WORDS,
    DO_CANCEL,
    DO_END_OF_DAY,
    DO_MASS_CANCEL,
    DO_NEW,
    DO_REPLACE,
    DO_TIME,
    EX_CANCEL_REJECTED,
    EX_CANCELED,
    EX_NEW,
    EX_REJECTED,
    KIND_BITS,
    MAX_QTY,
    NO_PRICE,
    R_SIDE_SHIFT,
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHY_FIELD,
    WHY_LATE,
    WHY_REQUESTED,
    WHY_UNKNOWN,
)
from tidegate.kernel.matching_replace import replace_order
from tidegate.kernel.matching_settle import FULL, QUIET, settle
from tidegate.kernel.matching_state import (
    H_COMMAND,
    H_IDS,
    H_IDS_SHIFT,
    H_LIMIT,
    H_LIVE,
    H_NEXT_EXPIRY,
    H_NOW,
    H_ROOM,
    H_SEQ,
    H_SPECIAL,
    H_WALK,
    H_WORK,
    NODE_SHIFT,
    find,
    full,
    outside,
    write,
)
from tidegate.kernel.matching_trade import match, remove_here
from tidegate.kernel.matching_walk import WALK_ALL, WALK_DAYS, WALK_DUE, WALK_OWNED, begin_walk

# A plain order: LIMIT, DAY or GTC, no instructions. What may differ: side, DAY or GTC, self-trade mode.
PLAIN = DO_NEW | (LIMIT << TYPE_SHIFT)
PLAIN_BITS = ~((3 << SIDE_SHIFT) | (1 << TIF_SHIFT) | (7 << STP_SHIFT))

DEEP = 4096  # live orders from which on it pays to look ahead
AHEAD, FAR_AHEAD = 4 * COMMAND_WORDS, 8 * COMMAND_WORDS


@inline
def plain(m: Any, t: Any, commands: Any, c: int) -> Any:
    """Whether this NEW is a plain order that can be taken in without further ado."""
    what = commands[at(c + C_WHAT)]
    if what & PLAIN_BITS != PLAIN or known(what) == 0 or beyond(commands[at(c + C_QTY)], 1, MAX_QTY):
        return False
    if outside(m, commands[at(c + C_PRICE)]) or m[H_LIVE] >= m[H_ROOM]:
        return False
    return find(m, t, commands[at(c + C_ID)]) == 0


@inline
def cancel(m: Any, t: Any, key: int) -> None:
    """CANCEL."""
    o = find(m, t, key)
    if o == 0:
        refuse(m, t, EX_CANCEL_REJECTED, 0, WHY_UNKNOWN, key, NO_PRICE, 0)
    else:
        remove_here(m, t, o, EX_CANCELED, WHY_REQUESTED)


@inline
def other_command(m: Any, t: Any, commands: Any, c: int, kind: int) -> Any:
    """Whatever is neither a plain NEW nor a CANCEL: an order's node that has to match, QUIET, or a plea to grow."""
    if kind == DO_NEW:
        return new_order(m, t, commands, c)
    if kind == DO_REPLACE:
        return replace_order(m, t, commands, c)
    why = 0
    if kind == DO_TIME:
        now = commands[c + C_TIME]
        if now < m[H_NOW]:
            why = WHY_LATE
        else:
            m[H_NOW] = now
            if m[H_NEXT_EXPIRY] <= now:
                begin_walk(m, WALK_DUE, 0)
    elif kind == DO_END_OF_DAY:
        begin_walk(m, WALK_DAYS, 0)
    elif kind == DO_MASS_CANCEL:
        owner = commands[c + C_OWNER]
        begin_walk(m, WALK_ALL if owner == ALL_OWNERS else WALK_OWNED, owner)
    else:
        why = WHY_FIELD
    if why != 0:
        refuse(m, t, EX_REJECTED, 0, why, commands[c + C_ID], NO_PRICE, 0)
    return QUIET


@inline
def look_ahead(m: Any, t: Any, commands: Any, c: int) -> None:
    """In a deep book the orders to come are not in the cache: ask for their places in the table of ids early, and
    then for the orders themselves. (A hint: where the id has moved on by a probe, it is of no use and no harm.)
    """
    if m[H_LIVE] > DEEP and c + FAR_AHEAD < len(commands):
        ids, shift = m[H_IDS], m[H_IDS_SHIFT]
        prefetch(t, ids + (scatter(commands[at(c + FAR_AHEAD + C_ID)]) >> shift))
        entry = t[at(ids + (scatter(commands[at(c + AHEAD + C_ID)]) >> shift))]
        prefetch(m, (entry & 0xFFFF_FFFF) << NODE_SHIFT)


@inline
def pause(m: Any, c: int, o: int) -> None:
    """Keep the place for the next call."""
    m[H_COMMAND] = c
    m[H_WORK] = o


@kernel(int64(int64[::1], int64[::1], int64[::1]))
def run(m: Any, t: Any, commands: Any) -> Any:
    """Carry out command rows (flat) from H_COMMAND on. QUIET when all are done.

    FULL, GROW_ORDERS and GROW_WINDOW ask for room; called again with it, `run` goes on exactly where it was.
    """
    c, o = m[H_COMMAND], m[H_WORK]
    while True:
        if o != 0 and not match(m, t, o):
            pause(m, c, o)
            return FULL
        o = 0
        if m[H_SPECIAL] | m[H_WALK] != 0:
            o = settle(m, t)
            if o > 0:
                continue
            if o < 0:
                pause(m, c, 0)
                return o
        if c == len(commands) or full(m):
            pause(m, c, 0)
            return FULL if c < len(commands) else QUIET
        look_ahead(m, t, commands, c)
        m[H_SEQ] += 1
        what, key = commands[at(c + C_WHAT)], commands[at(c + C_ID)]
        kind = what & KIND_BITS
        if kind == DO_CANCEL:
            cancel(m, t, key)
        elif kind == DO_NEW and plain(m, t, commands, c):
            price, qty = commands[at(c + C_PRICE)], commands[at(c + C_QTY)]
            o = accept(m, t, what, key, commands[at(c + C_OWNER)], qty)
            m[H_LIMIT] = price
            write(m, t, EX_NEW | (((what >> SIDE_SHIFT) & 3) << R_SIDE_SHIFT), key, 0, price, qty, qty, 0)
        else:
            o = other_command(m, t, commands, c, kind)
            if o < 0:  # not begun: it comes again when there is room
                m[H_SEQ] -= 1
                pause(m, c, 0)
                return o
        c += COMMAND_WORDS
