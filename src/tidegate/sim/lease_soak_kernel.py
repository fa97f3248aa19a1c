"""A lane's orders in little, compiled: they are charged as the gate charges them, and every one is looked at.

One scope has `fields` limits: open orders, their value, and then of each instrument the longest and the shortest worst
case (`risk.leases.fields`). A lane's orders are under two scopes, the firm and a desk, and use the same of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, types

from tidegate.kernel.jit import inline, kernel

ORDERS, VALUE, LONG = 0, 1, 2
"""Fields of a scope; of instrument i the long side is LONG + 2·i, the short side one more."""
CAPACITY = 4096
"""Open orders a lane holds at most."""
R_SIDE, R_INSTRUMENT, R_QTY, R_PRICE = range(4)
OPEN, PASSED, REFUSED, FALSELY, DONE = range(5)
COUNTS = 8
PRICE, LOTS = 100, 9

_INTS, _TABLE, _DRAWS = types.int64[::1], types.int64[:, ::1], types.uint64[::1]


@inline
def draw(rng: Any, most: Any) -> Any:
    """A number from 0 to `most` − 1."""
    x = rng[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    rng[0] = x
    return np.int64(x >> np.uint64(12)) % most


@inline
def charge(used: Any, totals: Any, field: int, more: int) -> None:
    """What the lane uses of a field changes, and so what all use of the lane's scopes."""
    before = max(0, used[field])
    used[field] += more
    for s in range(totals.shape[0]):
        totals[s, field] += max(0, used[field]) - before


@inline
def ask(
    counts: Any, rng: Any, used: Any, leases: Any, rows: Any, totals: Any, limits: Any, lacking: Any
) -> None:
    """A new order: charged if it fits into every lease, else refused; falsely if it would have fit into the limits."""
    instrument = draw(rng, (used.shape[0] - LONG) // 2)
    long = LONG + 2 * instrument
    side = 1 if draw(rng, 10) < (4 if used[long] > used[long + 1] else 6) else -1
    qty, price = 1 + draw(rng, LOTS), PRICE + draw(rng, 16)
    position = long if side > 0 else long + 1
    refused = room = 0
    for s in range(leases.shape[0]):
        for n in range(3):
            field, need = ORDERS, 1
            if n == 1:
                field, need = VALUE, qty * price
            elif n == 2:
                field, need = position, qty
            after = used[field] + need
            if after > leases[s, field] and not (n == 2 and after <= 0):
                refused = 1
                lacking[s, field] = max(lacking[s, field], after - leases[s, field])
            if totals[s, field] + max(0, after) - max(0, used[field]) > limits[s, field]:
                room += 1
    if refused != 0:
        counts[REFUSED] += 1
        counts[FALSELY] += 1 if room == 0 else 0
        return
    row = rows[counts[OPEN]]
    row[R_SIDE], row[R_INSTRUMENT], row[R_QTY], row[R_PRICE] = side, instrument, qty, price
    counts[OPEN] += 1
    counts[PASSED] += 1
    charge(used, totals, ORDERS, 1)
    charge(used, totals, VALUE, qty * price)
    charge(used, totals, position, qty)


@inline
def end(counts: Any, rng: Any, used: Any, rows: Any, totals: Any) -> None:
    """An open order fills in part or whole, or is canceled."""
    k = draw(rng, counts[OPEN])
    row = rows[k]
    side, qty = row[R_SIDE], row[R_QTY]
    own = LONG + 2 * row[R_INSTRUMENT] + (0 if side > 0 else 1)
    other = own + 1 if side > 0 else own - 1
    done = qty
    if draw(rng, 2) != 0:  # a fill moves its charge into the position, and eases the other side
        done = 1 + draw(rng, qty)
        charge(used, totals, other, -done)
    else:
        charge(used, totals, own, -done)
    charge(used, totals, VALUE, -done * row[R_PRICE])
    row[R_QTY] -= done
    if row[R_QTY] == 0:
        charge(used, totals, ORDERS, -1)
        counts[OPEN] -= 1
        for n in range(4):
            rows[k, n] = rows[counts[OPEN], n]


@kernel(int64(_INTS, _DRAWS, _INTS, _TABLE, _TABLE, _TABLE, _TABLE, _TABLE, _TABLE, int64, int64, int64))
def play(
    counts: Any,
    rng: Any,
    used: Any,
    leases: Any,
    rows: Any,
    totals: Any,
    limits: Any,
    ceilings: Any,
    lacking: Any,
    steps: int,
    demand: int,
    span: int,
) -> int:
    """So many steps of a lane: an order, or the end of one, so that what is used hovers about `demand` (a value).

    `leases` are the lane's by scope and field, `totals` what all lanes use, `limits` what people set and `ceilings` what
    is in force while a lowered limit is being returned. Returns the first step after which somebody uses more than is
    allowed, −1 for none.
    """
    for step in range(steps):
        lean = min(max((demand - used[VALUE]) * 500 // span, -300), 300)
        if counts[OPEN] == 0 or (counts[OPEN] < CAPACITY and draw(rng, 1000) < 500 + lean):
            ask(counts, rng, used, leases, rows, totals, limits, lacking)
        else:
            end(counts, rng, used, rows, totals)
        counts[DONE] += 1
        for s in range(leases.shape[0]):
            for field in range(used.shape[0]):
                if max(0, used[field]) > leases[s, field] or totals[s, field] > ceilings[s, field]:
                    return step
    return -1


def seeded(number: int) -> Any:
    """A generator's state."""
    rng = np.zeros(1, np.uint64)
    rng[0] = (number * 0x9E3779B97F4A7C15 + 1) % (1 << 64) or 1
    return rng
