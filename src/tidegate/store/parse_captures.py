"""The first pass of an import: captures parsed in parallel, their messages spooled, refused lines kept.

Threads, not processes: inflating, scanning and writing all release the interpreter, so both cores work while
nothing has to be copied between them.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from tidegate.errors import UserError
from tidegate.marketdata.binance_frames import Batch, FrameParser, Quarantined
from tidegate.marketdata.binance_instruments import Directory
from tidegate.marketdata.clock import LagMinima
from tidegate.store.capture import Capture
from tidegate.store.import_report import Refusals, SourceReport
from tidegate.store.spool import Spool, Spools

_EXAMPLES = 3


class Stopped(Exception):
    """The import was given up while a worker was busy."""


@dataclass
class Parsed:
    """One capture after the first pass."""

    report: SourceReport
    spools: dict[int, Spool]
    minima: LagMinima
    first_recv: int
    last_recv: int
    quarantine: Path | None


class Quarantine:
    """Refused lines of one capture, a JSON object a line: file, line, receive time, reason, detail, raw text."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._source = source
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, refused: list[Quarantined]) -> None:
        """Keep some lines."""
        if not refused:
            return
        with self.path.open("ab") as file:
            for item in refused:
                self.counts[item.reason] += 1
                if len(self._examples[item.reason]) < _EXAMPLES:
                    self._examples[item.reason].append(f"line {item.line}: {item.detail}")
                record = {
                    "file": self._source, "line": item.line, "ts_recv": item.recv, "reason": item.reason,
                    "detail": item.detail, "raw": item.raw.decode(errors="backslashreplace"),
                }  # fmt: skip
                file.write(orjson.dumps(record) + b"\n")

    def refusals(self) -> list[Refusals]:
        """Counts and examples by reason, the most frequent first."""
        return [
            Refusals(reason, count, self._examples[reason]) for reason, count in self.counts.most_common()
        ]


def capture_files(paths: list[Path]) -> list[Path]:
    """The files named, and those in the folders named; raises `UserError` for what is not there or named
    twice.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and p.suffix in (".gz", ".txt", ".log"))
            if not inside:
                raise UserError(f"{path} holds no captures (*.gz, *.txt, *.log)")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"no capture at {path}")
    twice = [path for path, count in Counter(p.resolve() for p in found).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]} is named twice")
    return found


def parse_captures(
    files: list[Path], directory: Directory, folder: Path, workers: int,
    progress: Callable[[int], None], stop: threading.Event,
) -> list[Parsed]:  # fmt: skip
    """Parse every file, the largest first; the results are in the order of `files`."""
    with ThreadPoolExecutor(workers, thread_name_prefix="parse") as pool:
        order = sorted(range(len(files)), key=lambda i: -files[i].stat().st_size)
        jobs = {
            i: pool.submit(_parse, files[i], directory, folder / f"capture-{i}", progress, stop)
            for i in order
        }
        try:
            return [jobs[i].result() for i in range(len(files))]
        except BaseException:
            stop.set()
            raise


def _parse(
    path: Path, directory: Directory, folder: Path, progress: Callable[[int], None], stop: threading.Event
) -> Parsed:
    folder.mkdir(parents=True)
    capture, parser = Capture(path, progress), FrameParser(directory)
    spools, minima = Spools(folder, path.name), LagMinima()
    quarantine = Quarantine(folder / "quarantine.jsonl", path.name)

    def take(batch: Batch) -> None:
        quarantine.add(batch.quarantined)
        if len(batch.messages):
            minima.add(batch.messages)
            spools.add(batch)

    for buffer, end in capture.blocks():
        if stop.is_set():
            raise Stopped
        for batch in parser.read_lines(buffer, end):
            take(batch)
    if capture.rest and capture.damage:
        quarantine.add([parser.cut_short(capture.rest)])
    elif capture.rest:
        last = np.frombuffer(bytearray(capture.rest + b"\n"), np.uint8)
        for batch in parser.read_lines(last, len(last)):
            take(batch)
    spools.close()
    found = spools.by_instrument
    report = SourceReport(
        name=path.name, sha256=capture.sha256, size=capture.size, lines=parser.lines,
        instruments=[directory.instruments[number].id for number in sorted(found)],
        refusals=quarantine.refusals(), skipped=dict(parser.skipped), slow=parser.slow,
        off_lot=parser.off_lot, damage=capture.damage,
    )  # fmt: skip
    return Parsed(
        report, found, minima,
        min((spool.first_recv for spool in found.values()), default=0),
        max((spool.last_recv for spool in found.values()), default=0),
        quarantine.path if quarantine.counts else None,
    )  # fmt: skip
