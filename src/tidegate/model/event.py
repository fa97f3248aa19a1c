"""The market event: one 64-byte record for every kind of market data.

The same bytes on disk, in memory and on the wire. Prices are ticks, sizes are lots, times are nanoseconds
since the Unix epoch (UTC); all int64. What a slot means depends on the kind:

| kind           | seq            | price          | size        | price2        | size2             |
|----------------|----------------|----------------|-------------|---------------|-------------------|
| QUOTE          | source seq     | bid price      | bid size    | ask price     | ask size          |
| TRADE          | source seq     | price          | size        | trade id      | 0                 |
| DELTA          | source seq     | price          | new size, 0 deletes | order id (L3) | 0         |
| SNAPSHOT_BEGIN | source seq     | 0              | 0           | 0             | 0                 |
| SNAPSHOT_END   | source seq     | 0              | 0           | 0             | 0                 |
| BAR            | open           | close          | volume      | high          | low               |
| STATUS         | source seq     | status code    | 0           | 0             | 0                 |
| FUNDING        | source seq     | rate × 1e8     | 0           | next time, ns | 0                 |
| MARK           | source seq     | mark price     | 0           | index price   | 0                 |

`side` is the side of the book for a DELTA and the aggressor's side for a TRADE. A DELTA without the flag
`ORDER` is a price level of an L2 book (absolute new size); with it, one order of an L3 book. `LAST` marks the
last record of a message: only then is a book meant to be looked at.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

EVENT = np.dtype(
    {
        "names": [
            "ts_event", "ts_recv", "seq", "price", "size", "price2", "size2",
            "instrument", "kind", "side", "flags",
        ],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u1", "<u1", "<u2"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 60, 61, 62],
        "itemsize": 64,
    }
)  # fmt: skip

Events = npt.NDArray[np.void]
Words = npt.NDArray[np.int64]

# Columns of the same record seen as eight int64 words, which is how kernels read it.
TS_EVENT, TS_RECV, SEQ, PRICE, SIZE, PRICE2, SIZE2, META = range(8)
KIND_SHIFT, SIDE_SHIFT, FLAGS_SHIFT = 32, 40, 48


class Kind(IntEnum):
    """What a market event is."""

    DELTA = 1
    QUOTE = 2
    TRADE = 3
    SNAPSHOT_BEGIN = 4
    SNAPSHOT_END = 5
    BAR = 6
    STATUS = 7
    FUNDING = 8
    MARK = 9


class Flag(IntFlag):
    """Bits of an event's `flags`."""

    LAST = 1
    """The last record of its message."""
    ORDER = 2
    """A DELTA of one order (L3), not of a price level (L2)."""
    GAP = 4
    """The source's chain broke before this record: the book is unusable until the next SNAPSHOT_END."""
    ESTIMATED_TIME = 8
    """The source gave no exchange time; `ts_event` is derived from the receive time."""


class Status(IntEnum):
    """Trading status carried by a STATUS event's price slot."""

    TRADING = 0
    HALTED = 1
    AUCTION = 2
    CLOSED = 3


def empty(n: int) -> Events:
    """`n` zeroed events."""
    return np.zeros(n, EVENT)


def words(events: Events) -> Words:
    """The events as an int64 array of shape (n, 8), sharing their memory."""
    if events.dtype != EVENT or not events.flags.c_contiguous:
        raise ValueError(f"expected a contiguous array of market events, got dtype {events.dtype}")
    return events.view(np.int64).reshape(len(events), 8)


def from_words(rows: Words) -> Events:
    """The inverse of `words`, sharing memory where the rows are contiguous."""
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != 8:
        raise ValueError(f"expected int64 rows of 8 words, got {rows.dtype} of shape {rows.shape}")
    return np.ascontiguousarray(rows).view(EVENT).reshape(len(rows))


def meta(instrument: Any, kind: Any, side: Any = 0, flags: Any = 0) -> Any:
    """Pack the last word of an event; scalars or int64 arrays."""
    return instrument | (kind << KIND_SHIFT) | (side << SIDE_SHIFT) | (flags << FLAGS_SHIFT)
