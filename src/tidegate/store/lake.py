"""The tick lake: Parquet parts by instrument and UTC day of receipt, opened as streams of event chunks.

    lake/instrument=BTCUSDT.BINANCE/day=2024-08-08/part-<sources>.parquet
    lake/quarantine/<capture>-<sha256>.jsonl
    lake/.incoming/…            an import at work; nothing reads it

Parts are written beside the glob and renamed in, so a reader sees whole parts only, and any number of readers
may read while one import writes. Any Parquet engine reads it too (`instrument` and `day` are Hive
partitions).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.errors import UserError, nearest
from tidegate.model.event import Events, Kind
from tidegate.model.instrument import Instrument
from tidegate.model.time import iso
from tidegate.store.part import PartInfo, read_groups, read_info

PARTS_GLOB = "instrument=*/day=*/part-*.parquet"
FOREVER = 2**63 - 1
_READ_AHEAD = 2


class Part(NamedTuple):
    """A part and its footer."""

    path: Path
    info: PartInfo

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size


class Lake:
    """A lake for reading. Footers are read once, when something first asks; a lake that grows is opened anew."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._manifest: dict[str, list[Part]] | None = None

    @property
    def manifest(self) -> dict[str, list[Part]]:
        """Every part by instrument id, in receive order.

        Raises `UserError` when there is no lake, or when parts of one instrument overlap in time or differ in
        grid.
        """
        if self._manifest is None:
            if not self.path.is_dir():
                raise UserError(
                    f"no lake at {self.path}; make one: tidegate data import CAPTURES --lake {self.path}"
                )
            found: dict[str, list[Part]] = {}
            for path in sorted(self.path.glob(PARTS_GLOB)):
                part = Part(path, read_info(path))
                found.setdefault(part.info.instrument.id, []).append(part)
            for parts in found.values():
                parts.sort(key=lambda part: part.info.first_recv)
                _check(parts)
            self._manifest = found
        return self._manifest

    def instruments(self) -> list[Instrument]:
        """What the lake holds, by id."""
        return [parts[0].info.instrument for _, parts in sorted(self.manifest.items())]

    def parts(self, instrument_id: str) -> list[Part]:
        """An instrument's parts in receive order; an unknown one is a user's error naming the nearest."""
        try:
            return self.manifest[instrument_id]
        except KeyError:
            hint = nearest(instrument_id, self.manifest) or "; the lake is empty"
            raise UserError(f"{self.path} holds no {instrument_id!r}{hint}") from None

    def days(self, instrument_id: str) -> list[str]:
        """The UTC days on which something of the instrument was received, `2024-08-08`."""
        return sorted({part.info.day for part in self.parts(instrument_id)})

    def max_delay(self, instrument_id: str) -> int:
        """The largest receive time less exchange time of the instrument's events, ns."""
        return max(part.info.max_delay for part in self.parts(instrument_id))

    def snapshots(self, instrument_id: str) -> list[int]:
        """Receive times at which a snapshot starts: `open` from one of these to have the whole book."""
        return [ts for part in self.parts(instrument_id) for ts in part.info.snapshots]

    def open(
        self, instrument_id: str, start: int = 0, end: int = FOREVER, kinds: Iterable[Kind] | None = None
    ) -> Iterator[Events]:
        """The instrument's events with start ≤ ts_recv < end, in receive order, in chunks of ≤ 65,536.

        The instrument column is 0. `kinds` keeps only those kinds. Memory is bounded by a few chunks,
        whatever the length: the next are decoded while one is worked on.
        """
        parts = [
            p.path for p in self.parts(instrument_id) if p.info.last_recv >= start and p.info.first_recv < end
        ]
        wanted = None if kinds is None else np.array(sorted({int(kind) for kind in kinds}), np.uint8)
        return _read_ahead(_chunks(parts, start, end, wanted))


def _check(parts: list[Part]) -> None:
    """Parts of one instrument follow one another and share one grid."""
    for earlier, later in pairwise(parts):
        a, b = earlier.info, later.info
        if b.first_recv < a.last_recv:
            raise UserError(
                f"{later.path} starts at {iso(b.first_recv)}, before {earlier.path.name} of {a.day} ends; "
                "delete one of them or import into a new lake"
            )
        if (a.instrument.tick, a.instrument.lot) != (b.instrument.tick, b.instrument.lot):
            raise UserError(
                f"{later.path} has another tick or lot than {earlier.path}; keep them in two lakes"
            )


def _chunks(
    paths: list[Path], start: int, end: int, wanted: npt.NDArray[np.uint8] | None
) -> Generator[Events, None, None]:
    for path in paths:
        for events in read_groups(path, start, end):
            recv = events["ts_recv"]
            if recv[0] < start or recv[-1] >= end:
                low, high = np.searchsorted(recv, (start, end))
                events = events[low:high]
            if wanted is not None:
                events = events[np.isin(events["kind"], wanted)]
            if len(events):
                yield events


def _read_ahead(chunks: Generator[Events, None, None]) -> Iterator[Events]:
    """The same chunks, decoded by a thread a little ahead of who works on them."""
    decoder = ThreadPoolExecutor(1, thread_name_prefix="lake")
    coming: deque[Future[Events | None]] = deque()
    try:
        for _ in range(_READ_AHEAD):
            coming.append(decoder.submit(next, chunks, None))
        while (events := coming.popleft().result()) is not None:
            coming.append(decoder.submit(next, chunks, None))
            yield events
    finally:
        decoder.shutdown(cancel_futures=True)
        chunks.close()
