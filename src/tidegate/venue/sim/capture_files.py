"""Raw captures read for the server: their frames, ready to be sent again, and the records they make.

Frames and records share one clock, the exchange's, as in an import: the recorder's offset is taken out. The files
are one session (recorded at the same time), and are held in memory.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from tidegate.errors import UserError
from tidegate.marketdata.assemble import Assembler, ExchangeTimes
from tidegate.marketdata.binance_frames import FrameParser
from tidegate.marketdata.binance_instruments import Directory
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    M_EVENT,
    M_INSTRUMENT,
    M_KIND,
    M_LINE,
    M_RECV,
    M_ROWS,
    M_TRADED,
    SNAPSHOT,
    TICKER,
)
from tidegate.marketdata.clock import FLOOR, ClockFit, LagMinima, fit
from tidegate.model.event import META, TS_EVENT, TS_RECV, Words
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.time import MS

D_DEPTH, D_TICKER, D_TRADE = range(3)


class CapturedFrame(NamedTuple):
    """One public frame. Times are capture time, ns; `*_at` where its stamp's 13 digits stand, −1 for none."""

    due: int
    instrument: int
    kind: int
    data: bytes
    event_at: int
    event: int
    traded_at: int
    traded: int


class Snapshot(NamedTuple):
    """The book an instrument's diffs start from, as decimal text."""

    update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


@dataclass
class Capture:
    """One session: what was public, and what it means."""

    universe: Universe
    frames: list[CapturedFrame]
    snapshots: dict[int, Snapshot]
    rows: Words
    """The records of all instruments by receive time, as `sim.stream.Merged` merges them."""
    max_delay: int
    quarantined: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def records(self) -> Iterable[Words]:
        """The records of one run."""
        return [self.rows]


@dataclass
class _File:
    path: Path
    lines: list[bytes]
    messages: Words
    rows: Words


def load_capture(paths: list[Path], directory: Directory | None = None, emit: str = "receive") -> Capture:
    """Read captures (`<receive ns> <frame>`, gzip or plain). Raises `UserError` for what cannot be read.

    `emit` says when frames are due: when they were received (`receive`), with the latency of the feed as it was
    recorded, or when the exchange made them (`exchange`), as if the client sat beside it.
    """
    if emit not in ("receive", "exchange"):
        raise UserError(f"frames are emitted at 'receive' or at 'exchange' time, not {emit!r}")
    directory = directory or Directory()
    parser_notes: dict[str, int] = {}
    minima, files, refused = LagMinima(), [], 0
    for path in _files(paths):
        made, bad, skipped = _parse(path, directory)
        refused += bad
        for reason, count in skipped.items():
            parser_notes[reason] = parser_notes.get(reason, 0) + count
        minima.add(made.messages)
        files.append(made)
    clock = fit(*minima.points(), FLOOR)
    numbers = sorted({int(n) for item in files for n in np.unique(item.messages[:, M_INSTRUMENT])})
    if not numbers:
        raise UserError(f"no market data in {', '.join(str(path) for path in paths)}")
    universe = Universe([directory.instruments[n] for n in numbers])
    renumber = {old: new for new, old in enumerate(numbers)}
    frames: list[CapturedFrame] = []
    snapshots: dict[int, Snapshot] = {}
    for item in files:
        _take_frames(item, clock, renumber, emit, frames, snapshots)
    frames.sort(key=lambda frame: frame.due)
    rows = _records(files, clock, directory, renumber)
    delay = int((rows[:, TS_RECV] - rows[:, TS_EVENT]).max()) if len(rows) else 0
    return Capture(universe, frames, snapshots, rows, delay, refused, parser_notes)


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(item for item in path.iterdir() if item.suffix in (".gz", ".jsonl", ".txt"))
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"there is no capture {path}")
    if not found:
        raise UserError(f"no captures in {', '.join(str(path) for path in paths)}")
    return found


def _parse(path: Path, directory: Directory) -> tuple[_File, int, dict[str, int]]:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read the capture {path}: {error}; is it whole?") from None
    stop = text.rfind(b"\n") + 1
    parser = FrameParser(directory)
    messages, rows, refused = [np.zeros((0, 10), np.int64)], [np.zeros((0, 8), np.int64)], 0
    for batch in parser.read_lines(np.frombuffer(text, np.uint8), stop):
        messages.append(batch.messages.copy())
        rows.append(batch.rows.copy())
        refused += len(batch.quarantined)
    made = _File(path, text[:stop].split(b"\n"), np.concatenate(messages), np.concatenate(rows))
    return made, refused, dict(parser.skipped)


def _take_frames(
    item: _File, clock: ClockFit, renumber: dict[int, int], emit: str, frames: list[CapturedFrame],
    snapshots: dict[int, Snapshot],
) -> None:  # fmt: skip
    """A file's frames, in its order, each when it is due."""
    messages, knots = item.messages, clock.knots
    recv = messages[:, M_RECV]
    offset = np.rint(np.interp(recv - knots[0, 0], knots[:, 0] - knots[0, 0], knots[:, 1])).astype(np.int64)
    due = recv - offset
    if emit == "exchange":
        stamp = np.maximum(messages[:, M_EVENT], messages[:, M_TRADED])
        due = np.where(stamp > 0, np.minimum(stamp, due), due)
    due = np.maximum.accumulate(due) if len(due) else due
    table = np.column_stack([messages[:, [M_LINE, M_KIND, M_INSTRUMENT, M_EVENT, M_TRADED]], due]).tolist()
    for line, kind, owner, event, traded, when in table:
        body = item.lines[line - 1].partition(b" ")[2].rstrip(b"\r")
        number = renumber[owner]
        if kind == SNAPSHOT:
            if number not in snapshots:
                raw = orjson.loads(body)
                snapshots[number] = Snapshot(raw["lastUpdateId"], raw["bids"], raw["asks"])
            continue
        data = body
        if body.startswith(b'{"stream"'):
            data = body[body.index(b'"data":') + 7 : -1]
        event_at = data.find(b'"E":') + 4 if event else -1
        traded_at = data.find(b'"T":') + 4 if traded else -1
        named = D_DEPTH if kind == DEPTH else D_TICKER if kind == TICKER else D_TRADE
        frames.append(
            CapturedFrame(when, number, named, data, event_at, event // MS, traded_at, traded // MS)
        )


def _records(files: list[_File], clock: ClockFit, directory: Directory, renumber: dict[int, int]) -> Words:
    """What an import makes of the same files: one stream an instrument, merged by receive time."""
    streams = []
    for old, new in renumber.items():
        times = ExchangeTimes()
        mine: list[tuple[Words, Words, str]] = []
        for item in files:
            hit = item.messages[:, M_INSTRUMENT] == old
            if hit.any():
                rows = item.rows[np.repeat(hit, item.messages[:, M_ROWS])]
                mine.append((np.ascontiguousarray(item.messages[hit]), rows, item.path.name))
                times.add(mine[-1][0], clock)
        instrument: Instrument = directory.instruments[old]
        assembler = Assembler(instrument, directory.markets[old].futures, times)
        for messages, rows, name in mine:
            assembler.use(clock, name)
            for events in assembler.feed(messages, rows):
                made = events.view(np.int64).reshape(-1, 8)
                made[:, META] = (made[:, META] & ~np.int64(0xFFFFFFFF)) | new
                streams.append(made)
    rows = np.concatenate([np.zeros((0, 8), np.int64), *streams])
    return rows[np.argsort(rows[:, TS_RECV], kind="stable")]
