"""The gate's open orders: slots on a free list, and the own resting prices of each account group, best first."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_state import (
    C_ASKS,
    C_BIDS,
    CH_GROUP,
    H_FREE,
    H_USED,
    L_CHAIN,
    L_FLAGS,
    L_ID,
    L_INSTRUMENT,
    L_NEXT,
    L_PREV,
    L_PRICE,
    L_SIDE,
    RESTS,
)
from tidegate.kernel.jit import inline
from tidegate.kernel.layout import BUY, O_CHARGE, O_ID


@inline
def find(g: Any, orders: Any, k: int) -> int:
    """The slot that holds the order's charge, 0 for none."""
    h = orders[k, O_CHARGE]
    if h <= 0 or h >= g.slot.shape[0] or g.slot[h, L_ID] != orders[k, O_ID]:
        return 0
    return h


@inline
def _head(g: Any, h: int) -> Any:
    """Row and column of `cell` that hold the first own order of the slot's instrument, group and side."""
    row = g.chain[g.slot[h, L_CHAIN], CH_GROUP] * g.inst.shape[0] + g.slot[h, L_INSTRUMENT]
    return row, C_BIDS if g.slot[h, L_SIDE] == BUY else C_ASKS


@inline
def rest(g: Any, h: int) -> None:
    """Put a slot into its list of own resting orders, before those of the same price."""
    slot = g.slot
    row, col = _head(g, h)
    sign = 1 if slot[h, L_SIDE] == BUY else -1
    price, before, after = sign * slot[h, L_PRICE], 0, g.cell[row, col]
    while after != 0 and sign * slot[after, L_PRICE] > price:
        before, after = after, slot[after, L_NEXT]
    slot[h, L_PREV], slot[h, L_NEXT] = before, after
    if before != 0:
        slot[before, L_NEXT] = h
    else:
        g.cell[row, col] = h
    if after != 0:
        slot[after, L_PREV] = h
    slot[h, L_FLAGS] |= RESTS


@inline
def unrest(g: Any, h: int) -> None:
    """Take a slot out of its list; nothing happens when it is in none."""
    slot = g.slot
    if slot[h, L_FLAGS] & RESTS == 0:
        return
    before, after = slot[h, L_PREV], slot[h, L_NEXT]
    if before != 0:
        slot[before, L_NEXT] = after
    else:
        row, col = _head(g, h)
        g.cell[row, col] = after
    if after != 0:
        slot[after, L_PREV] = before
    slot[h, L_FLAGS] &= ~RESTS


@inline
def move_resting(g: Any, h: int, price: int) -> None:
    """The own order in slot `h` rests, or may soon rest, at another price."""
    if g.slot[h, L_PRICE] == price:
        return
    if g.slot[h, L_FLAGS] & RESTS:
        unrest(g, h)
        g.slot[h, L_PRICE] = price
        rest(g, h)
    else:
        g.slot[h, L_PRICE] = price


@inline
def take_slot(g: Any) -> int:
    """A free slot; the caller has seen that H_FREE is not 0."""
    h = g.slot[0, H_FREE]
    g.slot[0, H_FREE] = g.slot[h, L_NEXT]
    g.slot[0, H_USED] += 1
    return h


@inline
def drop_slot(g: Any, h: int) -> None:
    """Free a slot whose lots have all been released."""
    unrest(g, h)
    g.slot[h, L_ID] = 0
    g.slot[h, L_NEXT] = g.slot[0, H_FREE]
    g.slot[0, H_FREE] = h
    g.slot[0, H_USED] -= 1
