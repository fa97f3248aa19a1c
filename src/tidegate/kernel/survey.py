"""One look over a chunk of events before it is replayed: what is out of order in it, and how late it came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from tidegate.kernel.jit import kernel

_COUNTS = types.UniTuple(types.int64, 5)


@kernel(_COUNTS(types.int64[:, ::1], types.int64, types.int64))
def survey(rows: Any, last: int, passed: int) -> Any:
    """Five numbers about `rows` of events (`model.event` words, times in ns).

    Rows received before one that stands earlier, or before `last`; rows of an exchange time after their receive
    time; rows of an exchange time before that of the row above; rows of an exchange time not after `passed`; and
    the longest way a row took from the exchange (0 for none).
    """
    backwards, negative, unsorted, late, longest = (
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
    )
    before = rows[0, 0] if len(rows) > 0 else np.int64(0)
    for n in range(len(rows)):
        event, recv = rows[n, 0], rows[n, 1]
        backwards += 1 if recv < last else 0
        negative += 1 if event > recv else 0
        unsorted += 1 if event < before else 0
        late += 1 if event <= passed else 0
        last, before = max(last, recv), event
        longest = max(longest, recv - event)
    return backwards, negative, unsorted, late, longest
