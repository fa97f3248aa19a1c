"""The gate's open orders: slots on a free list, and of each account group the own resting orders, the first at hand.

Own resting orders of an instrument and side are a pairing heap by price: putting one in takes a comparison, however
many there are, and taking one out a few (the logarithm of their number, on average). In a slot, L_NEXT is its first
child, L_SIBLING the next child of its parent, L_PREV the child before it, or the parent.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_state import (
    C_BIDS,
    CH_GROUP,
    H_FREE,
    H_USED,
    L_CHAIN,
    L_FLAGS,
    L_ID,
    L_INSTRUMENT,
    L_MID2,
    L_NEXT,
    L_OPEN,
    L_PREV,
    L_PRICE,
    L_SIBLING,
    L_SIDE,
    L_VALUE,
    RESTS,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY, O_CHARGE, O_ID, O_INSTRUMENT, O_SIDE


@inline
def find(g: Any, orders: Any, k: int) -> int:
    """The slot that holds the order's charge, 0 for none."""
    h = orders[k, O_CHARGE]
    if h <= 0 or h >= g.slot.shape[0] or g.slot[h, L_ID] != orders[k, O_ID]:
        return 0
    return h


@inline
def _row(g: Any, h: int) -> int:
    """The row of `cell` of the slot's instrument and account group."""
    return g.chain[g.slot[h, L_CHAIN], CH_GROUP] * g.inst.shape[0] + g.slot[h, L_INSTRUMENT]


@inline
def _before(slot: Any, a: int, b: int) -> Any:
    """Whether own order `a` is reached no later than `b`, of the same side."""
    if slot[a, L_SIDE] == BUY:
        return slot[a, L_PRICE] >= slot[b, L_PRICE]
    return slot[a, L_PRICE] <= slot[b, L_PRICE]


@inline
def _below(slot: Any, a: int, b: int) -> None:
    """Make the heap of `b` the first child of `a`."""
    child = slot[a, L_NEXT]
    slot[b, L_SIBLING], slot[b, L_PREV] = child, a
    if child != 0:
        slot[child, L_PREV] = b
    slot[a, L_NEXT] = b


@inline
def _joined(slot: Any, a: int, b: int) -> int:
    """Two heaps as one: its first."""
    if _before(slot, a, b):
        _below(slot, a, b)
        return a
    _below(slot, b, a)
    return b


@outline
def _gathered(g: Any, h: int) -> int:
    """The heaps below slot `h` as one, its first: joined two by two, then the pairs from the last to the first."""
    slot, pairs, a = g.slot, 0, g.slot[h, L_NEXT]
    while a != 0:
        b = slot[a, L_SIBLING]
        if b == 0:
            slot[a, L_SIBLING], pairs = pairs, a
            break
        after = slot[b, L_SIBLING]
        pair = _joined(slot, a, b)
        slot[pair, L_SIBLING], pairs, a = pairs, pair, after
    first, pairs = pairs, slot[pairs, L_SIBLING]
    while pairs != 0:
        after = slot[pairs, L_SIBLING]
        first, pairs = _joined(slot, first, pairs), after
    return first


@inline
def rest(g: Any, h: int) -> None:
    """Put a slot among its own resting orders."""
    rest_on(g, h, _row(g, h), g.slot[h, L_SIDE])


@inline
def rest_on(g: Any, h: int, row: int, side: int) -> None:
    """`rest`, where the row of `cell` and the side are at hand; the slot's price is set."""
    slot, col = g.slot, C_BIDS + side - BUY
    first = g.cell[row, col]
    slot[h, L_PREV], slot[h, L_NEXT], slot[h, L_SIBLING] = 0, 0, 0
    slot[h, L_FLAGS] |= RESTS
    if first == 0 or _before(slot, h, first):
        slot[h, L_NEXT], g.cell[row, col] = first, h
        if first != 0:
            slot[first, L_PREV] = h
    else:
        _below(slot, first, h)


@inline
def unrest(g: Any, h: int) -> None:
    """Take a slot out of its heap; nothing happens when it is in none."""
    slot = g.slot
    if slot[h, L_FLAGS] & RESTS == 0:
        return
    up, beside, below = slot[h, L_PREV], slot[h, L_SIBLING], 0
    if slot[h, L_NEXT] != 0:
        below = _gathered(g, h)
        slot[below, L_PREV], slot[below, L_SIBLING] = up, beside
    instead = below if below != 0 else beside
    if up == 0:
        g.cell[_row(g, h), C_BIDS + slot[h, L_SIDE] - BUY] = instead
    elif slot[up, L_NEXT] == h:
        slot[up, L_NEXT] = instead
    else:
        slot[up, L_SIBLING] = instead
    if beside != 0:
        slot[beside, L_PREV] = below if below != 0 else up
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
def open_slot(
    g: Any, order: Any, chain: int, own: int, lots: int, value: int, price: int, mid2: int, flags: int, rests: Any
) -> int:  # fmt: skip
    """Give a new order a slot, and a place among its own resting orders (row `own` of `cell`) where it `rests`."""
    h, side = take_slot(g), order[O_SIDE]
    slot = g.slot[h]
    slot[L_ID], slot[L_CHAIN], slot[L_INSTRUMENT], slot[L_SIDE] = (
        order[O_ID],
        chain,
        order[O_INSTRUMENT],
        side,
    )
    slot[L_OPEN], slot[L_VALUE], slot[L_PRICE], slot[L_MID2], slot[L_FLAGS] = lots, value, price, mid2, flags
    if rests:
        rest_on(g, h, own, side)
    return h


@inline
def drop_slot(g: Any, h: int) -> None:
    """Free a slot whose lots have all been released."""
    unrest(g, h)
    g.slot[h, L_ID] = 0
    g.slot[h, L_NEXT] = g.slot[0, H_FREE]
    g.slot[0, H_FREE] = h
    g.slot[0, H_USED] -= 1
