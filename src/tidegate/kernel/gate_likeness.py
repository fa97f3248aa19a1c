"""What control 11 remembers: each strategy's last orders, and by likeness and by client order id how many of them.

`last` has the number of the last order of each likeness and of each id, by bucket, modulo 2¹⁶. Nearly always that one is
none of the last RING, and the ring need not be looked through.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_state import (
    ALIKE,
    NAMED,
    Q_COUNT,
    Q_ID,
    Q_KEY,
    Q_SIZE,
    Q_TS,
    RING,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import O_ACCOUNT, O_INSTRUMENT, O_SIDE, O_STOP, O_TYPE

NUMBERS = (1 << 16) - 1
SEEN_ID = 1 << 32
"""What `looked_through` counts an order with the same client order id as."""


@inline
def key_of(order: Any, price: int) -> int:
    """Price (of a stop without one, its stop), instrument, type and side in one word."""
    level = price if price != 0 else order[O_STOP]
    return (level << 22) + (order[O_INSTRUMENT] << 4) + (order[O_TYPE] << 1) + (order[O_SIDE] - 1)


@inline
def size_of(order: Any, lots: int) -> int:
    """Quantity and account in one word."""
    return (lots << 12) + (order[O_ACCOUNT] & 0xFFF)


@inline
def alike_at(key: int, size: int) -> int:
    """The bucket of a likeness: 0 … ALIKE − 1."""
    mixed = (key ^ key >> 21 ^ size ^ size >> 13) & 0x7FFFFFFF
    return (mixed * 40_503 >> 15) & (ALIKE - 1)


@inline
def named_at(name: int) -> int:
    """The bucket of a client order id, behind those of likenesses."""
    return ALIKE + (name & (NAMED - 1))


@inline
def new_here(g: Any, t: int, key: int, size: int, name: int) -> Any:
    """Whether none of the strategy's last orders can be alike, or have this id."""
    last, count = g.last[t], g.ring[t, Q_COUNT]
    ages = (count - last[alike_at(key, size)]) & NUMBERS, (count - last[named_at(name)]) & NUMBERS
    return ages[0] >= RING and ages[1] >= RING


@outline
def looked_through(g: Any, t: int, key: int, size: int, name: int, since: int) -> int:
    """How many of the strategy's last orders are alike and younger than `since`; `SEEN_ID` more for each with this id."""
    ring, same, seen = g.ring[t], 0, 0
    for j in range(RING):
        same += (ring[Q_KEY + j] == key) & (ring[Q_SIZE + j] == size) & (ring[Q_TS + j] > since)
        seen += ring[Q_ID + j] == name
    return same + (seen * SEEN_ID if name != 0 else 0)


@inline
def remember(g: Any, t: int, key: int, size: int, ts: int, name: int) -> None:
    """The order is the strategy's last, and the oldest of the ring is forgotten."""
    ring, last = g.ring[t], g.last[t]
    count = ring[Q_COUNT]
    at, count = count & (RING - 1), count + 1
    ring[Q_KEY + at], ring[Q_SIZE + at], ring[Q_TS + at], ring[Q_ID + at] = key, size, ts, name
    ring[Q_COUNT] = count
    last[alike_at(key, size)] = last[named_at(name)] = count & NUMBERS
