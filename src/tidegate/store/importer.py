"""`tidegate data import`: raw captures into the lake, in one pass over the files.

1. Parse all files in parallel, spool their messages, note each second's least lag (`parse_captures`).
2. Fit the recorder's clock, once for each session: files recorded at the same time share one.
3. Assemble and write each instrument in parallel, beside the lake's glob (`write_stream`).
4. Rename the finished parts in. Until then the lake has not changed; whatever stops an import earlier (a full
   disk, Ctrl-C) leaves nothing behind.

Importing the same captures again replaces their parts with the same. Captures that overlap what the lake
holds from other captures are refused unless told to replace it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import tidegate
from tidegate.errors import UserError
from tidegate.kernel.jit import source_hash
from tidegate.marketdata import assemble
from tidegate.marketdata.binance_instruments import Directory
from tidegate.marketdata.clock import FLOOR, ClockFit, LagMinima, fit
from tidegate.model.time import SECOND, iso
from tidegate.store.import_report import ClockReport, ImportReport
from tidegate.store.lake import Lake, Part
from tidegate.store.parse_captures import Parsed, capture_files, parse_captures
from tidegate.store.part import Source
from tidegate.store.spool import Spool
from tidegate.store.write_stream import Job, Written, write_stream

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
INCOMING, QUARANTINE = ".incoming", "quarantine"
_PAUSE = 60 * SECOND
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def import_captures(
    paths: list[Path], lake: Path, directory: Directory | None = None, *, floor: int = FLOOR, replace: bool =
    False, workers: int = 0, progress: Progress | None = None,
) -> ImportReport:  # fmt: skip
    """Read captures (files, or folders of them) into the lake. See the module's text.

    `floor` is the smallest latency, assumed, ns. `workers` 0 means the cores this process may use. Raises
    `UserError` when nothing can be imported; what could not be read of a file is in the report.
    """
    started = time.perf_counter()
    directory = directory or Directory()
    files = capture_files(paths)
    workers = workers or cores()
    stop = threading.Event()
    with _incoming(lake) as folder:
        try:
            ticker = _Ticker(progress, "reading", sum(path.stat().st_size for path in files))
            parsed = parse_captures(files, directory, folder, workers, ticker, stop)
            _check_sources(parsed)
            sessions = _sessions(parsed, floor)
            jobs = _jobs(parsed, sessions, directory)
            gone = _superseded(lake, jobs, replace)
            total = sum(spool.messages for job in jobs for spool, _ in job.spools)
            ticker = _Ticker(progress, "writing", total)
            with ThreadPoolExecutor(workers, thread_name_prefix="write") as pool:
                order = sorted(jobs, key=lambda job: -sum(spool.messages for spool, _ in job.spools))
                futures = [pool.submit(write_stream, folder, job, ticker, stop) for job in order]
                try:
                    written = [future.result() for future in futures]
                except BaseException:
                    stop.set()
                    raise
            _commit(lake, folder, written, parsed, gone)
        except OSError as error:
            if _is_full(error):
                raise UserError(
                    f"no room left on the disk of {lake} ({error.strerror or error}); "
                    "nothing of this import was kept: free some space or choose another --lake"
                ) from None
            raise
    return ImportReport(
        lake=str(lake), sources=[item.report for item in parsed], clocks=[report for _, _, report in
        sessions], streams=sorted((item.report for item in written), key=lambda report: report.instrument),
        seconds=time.perf_counter() - started, replaced=[str(part.path.relative_to(lake)) for part in gone],
    )  # fmt: skip


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Ticker:
    """Counts what the workers have done and passes it on."""

    def __init__(self, progress: Progress | None, stage: str, total: int) -> None:
        self._progress, self._stage, self._total = progress, stage, total
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._stage, self._done, self._total)


@contextmanager
def _incoming(lake: Path) -> Iterator[Path]:
    """A folder beside the glob for one import, gone afterwards. One import writes to a lake at a time."""
    fresh = not lake.exists()
    try:
        folder = lake / INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to the lake {lake}: {error.strerror}; choose another --lake") from None
    with lock:
        if not _lock(lock.fileno()):
            raise UserError(f"another import is writing to {lake}; wait for it or choose another --lake")
        # What an import that was killed left behind: with the lock held, nobody works on it.
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        work = folder / f"import-{os.getpid()}"
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            (folder / "lock").unlink(missing_ok=True)
            with suppress(OSError):  # not empty: it holds something else
                folder.rmdir()
                if fresh:
                    lake.rmdir()


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_full(error: OSError) -> bool:
    return error.errno in _FULL or "No space left" in str(error)


def _check_sources(parsed: list[Parsed]) -> None:
    """Some file holds market data, and none is there twice under two names."""
    if not any(item.spools for item in parsed):
        first = parsed[0].report
        why = first.damage or "; ".join(f"{r.count} × {r.reason} ({r.first[0]})" for r in first.refusals)
        raise UserError(f"no market data in {first.name}{f' ({why})' if why else ''}; nothing was imported")
    seen: dict[str, str] = {}
    for item in parsed:
        name = seen.setdefault(item.report.sha256, item.report.name)
        if name is not item.report.name:
            raise UserError(f"{name} and {item.report.name} are the same file; name one of them")


def _sessions(parsed: list[Parsed], floor: int) -> list[tuple[list[Parsed], ClockFit, ClockReport]]:
    """Files recorded at the same time (less than a minute apart), with the clock they share."""
    groups: list[list[Parsed]] = []
    end = 0
    for item in sorted((item for item in parsed if item.spools), key=lambda item: item.first_recv):
        if not groups or item.first_recv > end + _PAUSE:
            groups.append([])
        groups[-1].append(item)
        end = max(end, item.last_recv)
    sessions = []
    for group in groups:
        minima = LagMinima()
        for item in group:
            minima.merge(item.minima)
        clock = fit(*minima.points(), floor)
        report = ClockReport(
            sources=[item.report.name for item in group], offset=clock.offset, drift_ppm=clock.drift_ppm,
            floor=clock.floor, rejected=clock.rejected, windows=len(clock.knots),
        )  # fmt: skip
        sessions.append((group, clock, report))
    return sessions


def _jobs(
    parsed: list[Parsed], sessions: list[tuple[list[Parsed], ClockFit, ClockReport]], directory: Directory
) -> list[Job]:
    """One job an instrument, its spools in order; two files of one instrument must not overlap."""
    spools: dict[int, list[tuple[Spool, ClockFit, Parsed]]] = {}
    for group, clock, _ in sessions:
        for item in group:
            for number, spool in item.spools.items():
                spools.setdefault(number, []).append((spool, clock, item))
    jobs = []
    for number, found in sorted(spools.items()):
        instrument = directory.instruments[number]
        found.sort(key=lambda entry: entry[0].first_recv)
        for (a, _, _), (b, _, _) in pairwise(found):
            if b.first_recv < a.last_recv:
                raise UserError(
                    f"{a.source} and {b.source} both hold {instrument.id} at the same time; import one"
                )
        sources = [Source(item.report.name, item.report.sha256, item.report.lines) for _, _, item in found]
        digest = hashlib.sha256("".join(source.sha256 for source in sources).encode()).hexdigest()
        spooled = [(spool, clock) for spool, clock, _ in found]
        jobs.append(Job(instrument, spooled, sources, f"part-{digest[:16]}.parquet", code_version()))
    return jobs


def code_version() -> str:
    """The version of tidegate and twelve hex digits over the sources that make events from frames."""
    return f"tidegate {tidegate.__version__} {source_hash(Path(assemble.__file__).resolve())}"


def _superseded(lake: Path, jobs: list[Job], replace: bool) -> list[Part]:
    """The parts that this import takes the place of; raises `UserError` where it must not."""
    manifest = Lake(lake).manifest
    gone: list[Part] = []
    for job in jobs:
        first = min(clock.correct(spool.first_recv) for spool, clock in job.spools)
        last = max(clock.correct(spool.last_recv) for spool, clock in job.spools)
        mine = {source.sha256 for source in job.sources}
        for part in manifest.get(job.instrument.id, []):
            info = part.info
            if info.last_recv < first or info.first_recv > last:
                grids = [(item.tick, item.lot) for item in (info.instrument, job.instrument)]
                if grids[0] != grids[1]:
                    raise UserError(
                        f"{lake} holds {job.instrument.id} with another tick or lot; use another --lake"
                    )
            elif replace or mine.issuperset(source.sha256 for source in info.sources):
                gone.append(part)
            else:
                raise UserError(
                    f"{lake} already holds {job.instrument.id} of {info.sources[0].name}, "
                    f"{iso(info.first_recv)} to {iso(info.last_recv)}; "
                    "add --replace to take its place, or choose another --lake"
                )
    return gone


def _commit(lake: Path, folder: Path, written: list[Written], parsed: list[Parsed], gone: list[Part]) -> None:
    """Rename everything in, then delete what it replaces."""
    kept = set()
    for stream in written:
        for path, _ in stream.parts:
            stream.report.size += path.stat().st_size
            target = lake / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            kept.add(target)
    for part in gone:
        if part.path not in kept:
            part.path.unlink()
            with suppress(OSError):  # the day still has other parts
                part.path.parent.rmdir()
    for item in parsed:
        name = f"{item.report.name}-{item.report.sha256[:12]}.jsonl"
        target = lake / QUARANTINE / name
        if item.quarantine is None:
            target.unlink(missing_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(item.quarantine, target)
        item.report.quarantine = f"{QUARANTINE}/{name}"
