"""Every order of a book written out as rows; and ids entered into a larger table."""

from __future__ import annotations

from typing import Any

from numba import int64, void

from tidegate.kernel.jit import kernel
from tidegate.kernel.layout import GTD, ICEBERG, PEGGED, TRAILING_STOP
from tidegate.kernel.matching_layout import NO_PRICE, TIF_SHIFT, WHAT_BITS
from tidegate.kernel.matching_state import (
    H_WALK,
    H_WALK_PLACE,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_OWNER,
    NODE_SHIFT,
    WAITING,
    X_EXTRA,
    X_HIDDEN,
    X_LIMIT,
    X_STOP,
    X_TIME,
    extra_at,
    price_at,
    remember,
    type_at,
)
from tidegate.kernel.matching_walk import WALK_ALL, begin_walk, next_order

# One order of a snapshot.
(
    S_PLACE,  # bids, asks, buy stops, sell stops, parked: 1 … 5
    S_ID,
    S_WHAT,  # side, type, time in force, self-trade mode, instructions, packed as in a command
    S_OWNER,
    S_PRICE,  # where it rests; NO_PRICE for a waiting stop or a parked peg
    S_LEAVES,  # displayed open quantity
    S_HIDDEN,  # the rest of an iceberg
    S_CUM,  # filled so far
    S_STOP,  # stop price of a waiting stop, else 0
    S_LIMIT,  # limit of a waiting stop limit, worst price of a peg, else NO_PRICE
    S_EXTRA,  # C_EXTRA of an iceberg, a peg, a waiting trailing stop, else 0
    S_EXPIRY,  # GTD: expiry, else 0
) = range(12)
SNAPSHOT_WORDS = 12
KEEPS_EXTRA = (1 << ICEBERG) | (1 << PEGGED) | (1 << TRAILING_STOP)


@kernel(int64(int64[::1], int64[::1], int64[::1]))
def snapshot(m: Any, t: Any, rows: Any) -> int:
    """Write every order in walking order (see `matching_walk`); returns the words written.

    `rows` is flat and has room for every live order.
    """
    begin_walk(m, WALK_ALL, 0)
    r = 0
    o = next_order(m, t)
    while o != 0:
        flags, kind = m[o + N_FLAGS], type_at(m, o)
        waiting = flags & WAITING != 0
        x = extra_at(m, o)
        rows[r + S_PLACE] = m[H_WALK_PLACE]
        rows[r + S_ID] = m[o + N_KEY]
        rows[r + S_WHAT] = flags & WHAT_BITS
        rows[r + S_OWNER] = m[o + N_OWNER]
        rows[r + S_PRICE] = NO_PRICE if waiting else price_at(m, o)
        rows[r + S_LEAVES] = m[o + N_LEAVES]
        rows[r + S_HIDDEN] = m[x + X_HIDDEN] if kind == ICEBERG else 0
        rows[r + S_CUM] = m[o + N_CUM]
        rows[r + S_STOP] = m[x + X_STOP] if waiting else 0
        rows[r + S_LIMIT] = m[x + X_LIMIT] if waiting or kind == PEGGED else NO_PRICE
        rows[r + S_EXTRA] = m[x + X_EXTRA] if (KEEPS_EXTRA >> kind) & 1 else 0
        rows[r + S_EXPIRY] = m[x + X_TIME] if (flags >> TIF_SHIFT) & 15 == GTD else 0
        r += SNAPSHOT_WORDS
        o = next_order(m, t)
    m[H_WALK] = 0
    return r


@kernel(void(int64[::1], int64[::1], int64[::1]))
def enter_ids(m: Any, t: Any, old: Any) -> None:
    """Enter the orders of another table of ids into the empty one that the header describes."""
    for entry in old:
        if entry != 0:
            o = (entry & 0xFFFF_FFFF) << NODE_SHIFT
            remember(m, t, m[o + N_KEY], o)
