"""One look over rows of events (`model.event` words, times in ns) before they are replayed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from tidegate.kernel.jit import kernel

_TWO = types.UniTuple(types.int64, 2)
_ROWS, _NUMBERS = types.int64[:, ::1], types.int64[::1]


@kernel(_TWO(_ROWS, types.int64))
def survey(rows: Any, last: int) -> Any:
    """How many rows were received before one that stands earlier, or before `last`; and how many of them have an
    exchange time after their receive time."""
    backwards, negative = np.int64(0), np.int64(0)
    for n in range(len(rows)):
        event, recv = rows[n, 0], rows[n, 1]
        backwards += 1 if recv < last else 0
        negative += 1 if event > recv else 0
        last = max(last, recv)
    return backwards, negative


@kernel(_TWO(_ROWS, types.int64, _NUMBERS, types.int64, _NUMBERS))
def number_rows(rows: Any, carried: int, pending: Any, passed: int, order: Any) -> Any:
    """Write into `order` the numbers of the rows that the exchange has yet to see, in the order they stand in:
    those `pending` among the first `carried` rows, then all others.

    Returns how many have an exchange time before that of their predecessor in `order`, and how many of the
    others have one that is not after `passed`.
    """
    unsorted, late, before = np.int64(0), np.int64(0), np.int64(-(1 << 62))
    for n in range(len(pending)):
        order[n] = pending[n]
        event = rows[pending[n], 0]
        unsorted += 1 if event < before else 0
        before = event
    place = len(pending)
    for n in range(carried, len(rows)):
        order[place] = n
        place += 1
        event = rows[n, 0]
        unsorted += 1 if event < before else 0
        late += 1 if event <= passed else 0
        before = event
    return unsorted, late
