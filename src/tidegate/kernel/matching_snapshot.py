"""Every order of a book written out as rows; and ids entered into a larger table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, void

from tidegate.kernel.jit import kernel
from tidegate.kernel.layout import GTD, ICEBERG, PEGGED, TRAILING_STOP
from tidegate.kernel.matching_layout import NO_PRICE, TIF_SHIFT, TYPE_SHIFT, WHAT_BITS
from tidegate.kernel.matching_state import (
    EXTRA_SHIFT,
    H_LIVE,
    H_WALK,
    H_WALK_PLACE,
    L_PRICE,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    N_OWNER,
    NODE_SHIFT,
    WAITING,
    X_EXTRA,
    X_HIDDEN,
    X_LIMIT,
    X_STOP,
    X_TIME,
    remember,
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


@kernel(int64(int64[::1], int64[::1], int64[::1]))
def walk(m: Any, t: Any, found: Any) -> int:
    """Write (node, place) of every order in walking order (see `matching_walk`) into `found`; returns how many."""
    begin_walk(m, WALK_ALL, 0)
    n = 0
    o = next_order(m, t)
    while o != 0:
        found[2 * n] = o
        found[2 * n + 1] = m[H_WALK_PLACE]
        n += 1
        o = next_order(m, t)
    m[H_WALK] = 0
    return n


def snapshot(m: Any, t: Any) -> Any:
    """Every live order as a row of S_* words, in walking order."""
    found = np.empty(2 * int(m[H_LIVE]), np.int64)
    walk(m, t, found)
    o, place = found[::2], found[1::2]
    flags, level = m[o + N_FLAGS], m[o + N_LEVEL]
    kind, x = (
        (flags >> TYPE_SHIFT) & 15,
        flags >> EXTRA_SHIFT,
    )  # orders without a second node read the header's start
    waiting = flags & WAITING != 0
    rows = np.zeros((len(o), SNAPSHOT_WORDS), np.int64)
    rows[:, S_PLACE] = place
    rows[:, S_ID] = m[o + N_KEY]
    rows[:, S_WHAT] = flags & WHAT_BITS
    rows[:, S_OWNER] = m[o + N_OWNER]
    rows[:, S_PRICE] = np.where(waiting | (level == 0), NO_PRICE, m[level + L_PRICE])
    rows[:, S_LEAVES] = m[o + N_LEAVES]
    rows[:, S_HIDDEN] = np.where(kind == ICEBERG, m[x + X_HIDDEN], 0)
    rows[:, S_CUM] = m[o + N_CUM]
    rows[:, S_STOP] = np.where(waiting, m[x + X_STOP], 0)
    rows[:, S_LIMIT] = np.where(waiting | (kind == PEGGED), m[x + X_LIMIT], NO_PRICE)
    rows[:, S_EXTRA] = np.where(np.isin(kind, (ICEBERG, PEGGED, TRAILING_STOP)), m[x + X_EXTRA], 0)
    rows[:, S_EXPIRY] = np.where((flags >> TIF_SHIFT) & 15 == GTD, m[x + X_TIME], 0)
    return rows


@kernel(void(int64[::1], int64[::1], int64[::1]))
def enter_ids(m: Any, t: Any, old: Any) -> None:
    """Enter the orders of another table of ids into the empty one that the header describes."""
    for entry in old:
        if entry != 0:
            o = (entry & 0xFFFF_FFFF) << NODE_SHIFT
            remember(m, t, m[o + N_KEY], o)
