"""The lake's columns: EVENT's fields less the instrument's number, which the folder's name says.

Times are delta-packed, everything else plain under zstd: on the captures that takes 5.3 bytes a row, less
than delta-packing every column, and every Parquet reader knows these encodings. Small codes are dictionaries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.model.event import (
    EVENT,
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    SIDE_SHIFT,
    Events,
    Words,
    words,
)

WORD_COLUMNS = ("ts_event", "ts_recv", "seq", "price", "size", "price2", "size2")
"""The int64 columns, in the order of the event's words."""
CODE_COLUMNS = ("kind", "side", "flags")
ROW_GROUP = 65_536

SCHEMA = pa.schema(
    [pa.field(name, pa.int64(), nullable=False) for name in WORD_COLUMNS]
    + [
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("side", pa.uint8(), nullable=False),
        pa.field("flags", pa.uint16(), nullable=False),
    ]
)
WRITER_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": list(CODE_COLUMNS),
    "column_encoding": {
        name: "DELTA_BINARY_PACKED" if name.startswith("ts_") else "PLAIN" for name in WORD_COLUMNS
    },
    "write_statistics": ["ts_event", "ts_recv", "seq", "kind"],
}
LOW_32 = np.int64(0xFFFF_FFFF)
"""An event's instrument number, in its last word."""


def to_table(rows: Words) -> pa.Table:
    """Events as eight words each to the lake's columns."""
    meta = rows[:, META]
    columns = [pa.array(np.ascontiguousarray(rows[:, i])) for i in range(len(WORD_COLUMNS))]
    columns += [
        pa.array((meta >> KIND_SHIFT).astype(np.uint8)),
        pa.array((meta >> SIDE_SHIFT).astype(np.uint8)),
        pa.array((meta >> FLAGS_SHIFT).astype(np.uint16)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def to_events(table: pa.Table) -> Events:
    """The lake's columns to events, their instrument number 0."""
    events = np.empty(table.num_rows, EVENT)
    rows = words(events)
    for i, name in enumerate(WORD_COLUMNS):
        rows[:, i] = table.column(name).to_numpy()
    rows[:, META] = 0
    for name in CODE_COLUMNS:
        events[name] = table.column(name).to_numpy()
    return events
