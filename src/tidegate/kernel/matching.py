"""The price-time matching engine of one book: commands in, reports out. The rules are in docs/matching.md.

`run` is the whole engine as one kernel over the arrays of `matching_state`; `MatchingEngine` in
`matching_engine` owns those arrays. A plain limit order and a cancel take the short way through `run`;
everything else is behind one branch of its own.
"""

from __future__ import annotations

from typing import Any

from numba import int64

from tidegate.kernel.jit import inline, kernel
from tidegate.kernel.layout import BUY, LIMIT, SELL, STP_DECREMENT
from tidegate.kernel.matching_admit import accept, new_order, refuse, replace_order
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
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHY_FIELD,
    WHY_LATE,
    WHY_NONE,
    WHY_REQUESTED,
    WHY_UNKNOWN,
)
from tidegate.kernel.matching_settle import FULL, QUIET, settle
from tidegate.kernel.matching_state import (
    H_COMMAND,
    H_LIMIT,
    H_LIVE,
    H_NEXT_EXPIRY,
    H_NOW,
    H_ROOM,
    H_SEQ,
    H_SPECIAL,
    H_WALK,
    H_WORK,
    N_LEVEL,
    emit,
    find,
    outside,
    room,
    side_at,
    unlink,
)
from tidegate.kernel.matching_trade import end_order, limit_of, match, open_qty, stop_of
from tidegate.kernel.matching_walk import WALK_ALL, WALK_DAYS, WALK_DUE, WALK_OWNED, begin_walk

# A plain order: LIMIT, DAY or GTC, no instructions. What may differ: side, DAY or GTC, self-trade mode.
PLAIN = DO_NEW | (LIMIT << TYPE_SHIFT)
PLAIN_BITS = ~((3 << SIDE_SHIFT) | (1 << TIF_SHIFT) | (7 << STP_SHIFT))
AHEAD = 8
DEEP = 8192


@inline
def plain(m: Any, ids: Any, commands: Any, c: int) -> Any:
    """Whether this NEW is a plain order that can be taken in without further ado."""
    what = commands[c + C_WHAT]
    side, qty = (what >> SIDE_SHIFT) & 3, commands[c + C_QTY]
    return (
        what & PLAIN_BITS == PLAIN
        and (side == BUY or side == SELL)
        and (what >> STP_SHIFT) & 7 <= STP_DECREMENT
        and 1 <= qty <= MAX_QTY
        and not outside(m, commands[c + C_PRICE])
        and m[H_LIVE] < m[H_ROOM]
        and find(m, ids, commands[c + C_ID]) == 0
    )


@inline
def cancel(m: Any, w: Any, ids: Any, out: Any, key: int) -> None:
    """CANCEL."""
    o = find(m, ids, key)
    if o == 0:
        refuse(m, out, EX_CANCEL_REJECTED, 0, WHY_UNKNOWN, key, NO_PRICE, 0)
        return
    qty, limit, stop = open_qty(m, o), limit_of(m, o), stop_of(m, o)
    emit(m, out, EX_CANCELED, side_at(m, o), WHY_REQUESTED, key, stop, limit, qty, 0, 0)
    if m[o + N_LEVEL] != 0:
        unlink(m, w, o)
    end_order(m, ids, o)


@inline
def other_command(m: Any, w: Any, ids: Any, out: Any, commands: Any, c: int, kind: int) -> Any:
    """Whatever is neither NEW nor CANCEL: an order's node that has to match, QUIET, or a request to grow."""
    if kind == DO_REPLACE:
        return replace_order(m, w, ids, out, commands, c)
    if kind == DO_TIME:
        now = commands[c + C_TIME]
        if now < m[H_NOW]:
            return refuse(m, out, EX_REJECTED, 0, WHY_LATE, commands[c + C_ID], NO_PRICE, 0)
        m[H_NOW] = now
        if m[H_NEXT_EXPIRY] <= now:
            begin_walk(m, WALK_DUE, 0)
    elif kind == DO_END_OF_DAY:
        begin_walk(m, WALK_DAYS, 0)
    elif kind == DO_MASS_CANCEL:
        owner = commands[c + C_OWNER]
        begin_walk(m, WALK_ALL if owner == ALL_OWNERS else WALK_OWNED, owner)
    else:
        return refuse(m, out, EX_REJECTED, 0, WHY_FIELD, commands[c + C_ID], NO_PRICE, 0)
    return QUIET


@kernel(int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1]))
def run(m: Any, w: Any, ids: Any, out: Any, commands: Any) -> Any:
    """Carry out command rows (flat) from H_COMMAND on. QUIET when all are done.

    FULL, GROW_ORDERS and GROW_WINDOW ask for room; called again with it, `run` goes on exactly where it was.
    """
    c, o = m[H_COMMAND], m[H_WORK]
    while True:
        if o > 0:
            if not match(m, w, ids, out, o):
                m[H_WORK] = o
                m[H_COMMAND] = c
                return FULL
        if m[H_SPECIAL] | m[H_WALK] != 0:
            o = settle(m, w, ids, out)
            if o > 0:
                continue
            if o < 0:
                m[H_WORK] = 0
                m[H_COMMAND] = c
                return o
        o = 0
        if c == len(commands) or not room(m, out):
            m[H_WORK] = 0
            m[H_COMMAND] = c
            return QUIET if c == len(commands) else FULL
        m[H_SEQ] += 1
        kind = commands[c + C_WHAT] & KIND_BITS
        if kind == DO_CANCEL:
            cancel(m, w, ids, out, commands[c + C_ID])
        elif kind == DO_NEW and plain(m, ids, commands, c):
            what, key, qty = commands[c + C_WHAT], commands[c + C_ID], commands[c + C_QTY]
            o = accept(m, ids, what, key, commands[c + C_OWNER], qty)
            price = commands[c + C_PRICE]
            emit(m, out, EX_NEW, (what >> SIDE_SHIFT) & 3, WHY_NONE, key, 0, price, qty, qty, 0)
            m[H_LIMIT] = price
        else:
            if kind == DO_NEW:
                o = new_order(m, w, ids, out, commands, c)
            else:
                o = other_command(m, w, ids, out, commands, c, kind)
            if o < 0:  # not begun yet: it comes again when there is room
                m[H_SEQ] -= 1
                m[H_WORK] = 0
                m[H_COMMAND] = c
                return o
        c += COMMAND_WORDS
