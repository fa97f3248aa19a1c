"""One Parquet file of the lake: written whole beside the glob, read by row groups, described in its footer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.errors import UserError
from tidegate.model.event import (
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    TS_EVENT,
    TS_RECV,
    Events,
    Flag,
    Kind,
    Words,
    words,
)
from tidegate.model.instrument import Instrument
from tidegate.store.schema import LOW_32, ROW_GROUP, SCHEMA, WRITER_OPTIONS, to_events, to_table

FORMAT = 1
METADATA_KEY = b"tidegate"


class Source(msgspec.Struct, frozen=True):
    """A capture that a part was made from."""

    name: str
    sha256: str
    lines: int


class Clock(msgspec.Struct, frozen=True):
    """What was taken out of the recorder's times."""

    offset: int
    """In the middle of the session, ns."""
    drift_ppm: float
    floor: int
    """The smallest latency, assumed, ns."""


class PartInfo(msgspec.Struct, kw_only=True):
    """A part's footer. Times in ns; `sha256` is that of its events as 64-byte records, instrument number 0."""

    format: int = FORMAT
    instrument: Instrument
    day: str
    rows: int = 0
    kinds: dict[str, int] = {}
    first_recv: int = 0
    last_recv: int = 0
    first_event: int = 0
    """The smallest exchange time."""
    last_event: int = 0
    """The largest exchange time."""
    min_delay: int = 0
    max_delay: int = 0
    """The largest receive time less exchange time: how far a replay by exchange time must look ahead."""
    gaps: int = 0
    snapshots: list[int] = []
    """Receive times of the snapshots: where a book can be started."""
    sources: list[Source] = []
    clock: Clock | None = None
    sha256: str = ""
    code: str = ""


def read_info(path: Path) -> PartInfo:
    """A part's footer; a file that is not one of the lake's is a user's error."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return msgspec.json.decode(metadata[METADATA_KEY], type=PartInfo)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({error}); delete it and import again"
        ) from None
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} was not written by tidegate ({error}); keep other files out of the lake"
        ) from None


class Tally:
    """What a footer says of its rows, kept while they pass: by the writer, and again by whoever verifies."""

    def __init__(self, info: PartInfo) -> None:
        self.info = info
        self._kinds = np.zeros(256, np.int64)
        self._digest = hashlib.sha256()

    def add(self, rows: Words) -> None:
        """Take in the next rows (not none), their instrument number 0."""
        info = self.info
        recv, event = rows[:, TS_RECV], rows[:, TS_EVENT]
        delay = recv - event
        if not info.rows:
            info.first_recv, info.first_event = int(recv[0]), int(event[0])
            info.min_delay = info.max_delay = int(delay[0])
        info.rows += len(rows)
        info.last_recv = int(recv[-1])
        info.first_event = min(info.first_event, int(event.min()))
        info.last_event = max(info.last_event, int(event.max()))
        info.min_delay = min(info.min_delay, int(delay.min()))
        info.max_delay = max(info.max_delay, int(delay.max()))
        kinds = rows[:, META] >> KIND_SHIFT & 0xFF
        self._kinds += np.bincount(kinds, minlength=256)
        info.gaps += int(np.count_nonzero(rows[:, META] >> FLAGS_SHIFT & int(Flag.GAP)))
        info.snapshots += recv[kinds == int(Kind.SNAPSHOT_BEGIN)].tolist()
        self._digest.update(rows.data)

    def close(self) -> PartInfo:
        """The footer, complete."""
        self.info.kinds = {kind.name: int(self._kinds[kind]) for kind in Kind if self._kinds[kind]}
        self.info.sha256 = self._digest.hexdigest()
        return self.info


class PartWriter:
    """Writes one part. Events come in receive order; `close` writes the footer and returns what it says."""

    def __init__(self, path: Path, info: PartInfo) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, SCHEMA, **WRITER_OPTIONS)
        self._buffer = np.zeros((ROW_GROUP, 8), np.int64)
        self._filled = 0
        self._tally = Tally(info)

    def write(self, events: Events) -> None:
        """Add some events."""
        rows, done = words(events), 0
        while done < len(rows):
            take = min(len(rows) - done, ROW_GROUP - self._filled)
            self._buffer[self._filled : self._filled + take] = rows[done : done + take]
            self._filled += take
            done += take
            if self._filled == ROW_GROUP:
                self._flush()

    def close(self) -> PartInfo:
        """Write what is left and the footer."""
        self._flush()
        info = self._tally.close()
        self._writer.add_key_value_metadata({METADATA_KEY: msgspec.json.encode(info)})
        self._writer.close()
        return info

    def abandon(self) -> None:
        """Let go of a file that will not be finished; its folder is deleted by whoever gave up."""
        with suppress(OSError):
            self._writer.close()

    def _flush(self) -> None:
        if self._filled:
            rows = self._buffer[: self._filled]
            rows[:, META] &= ~LOW_32  # the instrument's number means nothing outside its run
            self._tally.add(rows)
            self._writer.write_table(to_table(rows), row_group_size=ROW_GROUP)
            self._filled = 0


def read_groups(path: Path, start: int = 0, end: int = 2**63 - 1) -> Iterator[Events]:
    """A part's events, a row group (≤ 65,536 rows) at a time; groups outside start ≤ ts_recv < end are not
    read.
    """
    with pq.ParquetFile(path, memory_map=True) as file:
        column = SCHEMA.get_field_index("ts_recv")
        for number in range(file.num_row_groups):
            limits = file.metadata.row_group(number).column(column).statistics
            if limits is not None and (limits.max < start or limits.min >= end):
                continue
            yield to_events(file.read_row_group(number, use_threads=False))
