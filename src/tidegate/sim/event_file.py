"""The Parquet of every event of a run: all messages that entered and left the lanes, in their order.

One row a message: its type, its time, the fields most questions ask for as columns (null where a message has
none), and `body`, the whole message as JSON.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.model.messages import Message

_COLUMNS = (
    "cl_ord_id", "cmd_id", "account", "strategy", "instrument", "side", "ord_type", "qty", "price", "exec_type",
    "status", "last_qty", "last_px", "fee", "exec_id", "leaves_qty", "cum_qty", "reason",
)  # fmt: skip
SCHEMA = pa.schema(
    [("ts", pa.int64()), ("type", pa.dictionary(pa.int32(), pa.string()))]
    + [(name, pa.int64()) for name in _COLUMNS]
    + [("body", pa.string())]
)


class EventFile:
    """A sink for `sim.recorder`: batches of messages appended to one Parquet file, whole when closed.

    A file that cannot be written (a full disk) does not end the run: nothing is kept of it, and `failure` says why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure = ""
        self._part = path.with_name(f".{path.name}.part")
        self._encode = msgspec.json.Encoder().encode
        self._writer = pq.ParquetWriter(self._part, SCHEMA, compression="zstd")

    def __call__(self, batch: list[Message]) -> None:
        if self.failure:
            return
        columns: dict[str, list[Any]] = {
            "ts": [m.ts for m in batch],
            "type": [type(m).__name__ for m in batch],
            "body": [self._encode(m).decode() for m in batch],
        }
        for name in _COLUMNS:
            columns[name] = [getattr(m, name, None) for m in batch]
        try:
            self._writer.write_table(pa.table(columns, schema=SCHEMA))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failure = error.strerror or str(error)
        with suppress(OSError):
            self._writer.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.failure:
            return
        try:
            self._writer.close()
            os.replace(self._part, self.path)
        except OSError as failed:
            self._give_up(failed)
