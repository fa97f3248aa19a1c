"""Merging sorted streams into one, by time; earlier streams come first at equal times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from tidegate.kernel.jit import kernel
from tidegate.model.event import Words

_I = types.int64[::1]


@kernel(types.void(types.int64[:], _I, _I, _I))
def merge_order(times: Any, starts: Any, ends: Any, order: Any) -> None:
    """Write into `order` the indices of `times` in merged order.

    `times[starts[k]:ends[k]]` is stream k, each sorted. The number of streams is small: the next is found by a
    look at every head, and a stream is followed for as long as it stays in front.
    """
    heads = starts.copy()
    count = len(starts)
    at = 0
    while at < len(order):
        best, second = -1, -1
        for k in range(count):
            if heads[k] < ends[k]:
                if best < 0 or times[heads[k]] < times[heads[best]]:
                    second = best
                    best = k
                elif second < 0 or times[heads[k]] < times[heads[second]]:
                    second = k
        limit = times[heads[second]] if second >= 0 else np.int64((1 << 63) - 1)
        h = heads[best]
        while h < ends[best] and (times[h] < limit or (times[h] == limit and (second < 0 or best < second))):
            order[at] = h
            at += 1
            h += 1
        heads[best] = h


def joined(rest: Words, rows: Words) -> Words:
    """`rest` and then `rows`; without a copy where they lie so in memory, as the pieces of one chunk do."""
    if not len(rest):
        return rows
    whole, start = rows.base, rest.ctypes.data
    if whole is not None and whole is rest.base and start + rest.nbytes == rows.ctypes.data:
        shape = (len(rest) + len(rows), rows.shape[1])
        return np.ndarray(shape, rows.dtype, whole, start - whole.ctypes.data)
    return np.concatenate([rest, rows])
