"""Import of raw captures, and reading the lake back.

    python benchmarks/bench_import.py [--captures DIR] [--rounds 5] [--workers 0] [--json]

Goal: 200,000 lines/s on 2 cores over the six captures of 2024-08-08 (the sample when they are not here). Wall
time counts everything the import does: reading, inflating, parsing, proving, the clock, auditing the book,
hashing, writing, renaming in. CPU time beside it tells a busy machine from a slow program: lines a CPU second is
what one free core does. `command` is the whole of `tidegate data import` in a process of its own, caches warm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.store.importer import cores, import_captures
from tidegate.store.lake import Lake
from tidegate.store.verify import verify

ROOT = Path(__file__).resolve().parents[1]
FULL, SAMPLE = ROOT.parent / "shared" / "data" / "binance-2024-08-08", ROOT / "data" / "sample"


def timed(work: Any) -> tuple[float, float, Any]:
    """(wall seconds, CPU seconds, result)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def import_rounds(captures: Path, lake: Path, rounds: int, workers: int) -> dict[str, Any]:
    """Rates of several imports into fresh lakes; the last lake stays."""
    walls, cpus, report = [], [], None
    for _ in range(rounds):
        shutil.rmtree(lake, ignore_errors=True)
        wall, cpu, report = timed(lambda: import_captures([captures], lake, workers=workers))
        walls.append(wall)
        cpus.append(cpu)
    assert report is not None
    rows, size = sum(s.total for s in report.streams), sum(s.size for s in report.streams)
    return {
        "lines": report.lines, "events": rows, "best_s": min(walls), "median_s": statistics.median(walls),
        "lines_per_s": report.lines / min(walls), "lines_per_s_median": report.lines / statistics.median(walls),
        "lines_per_cpu_s": report.lines / min(cpus), "bytes_per_row": size / rows,
    }  # fmt: skip


def read_rounds(lake: Path, rounds: int) -> dict[str, Any]:
    """Events a second out of the lake, all instruments one after the other."""

    def read() -> int:
        opened = Lake(lake)
        return sum(len(events) for item in opened.instruments() for events in opened.open(item.id))

    runs = [timed(read) for _ in range(rounds)]
    return {"events_per_s": max(count / wall for wall, _, count in runs)}


def command(captures: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Wall time of the command from its start to its end."""
    base = [sys.executable, "-m", "tidegate.cli", "data", "import", str(captures), "--json", "--lake"]

    def run(lake: Path) -> None:
        subprocess.run([*base, str(lake)], check=True, stdout=subprocess.DEVNULL)

    return {"best_s": min(timed(partial(run, folder / f"lake-{n}"))[0] for n in range(rounds))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the import of captures.")
    parser.add_argument("--captures", type=Path, default=FULL if FULL.is_dir() else SAMPLE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0 means the cores there are")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        lake = folder / "lake"
        result: dict[str, Any] = {
            "machine": f"{platform.machine()}, {cores()} cores, load {os.getloadavg()[0]:.1f}",
            "captures": arguments.captures.name,
            "import": import_rounds(arguments.captures, lake, arguments.rounds, arguments.workers),
            "read": read_rounds(lake, arguments.rounds),
        }
        wall, _, proofs = timed(lambda: verify(Lake(lake)))
        result["verify_s"], result["sound"] = wall, all(proof.sound for proof in proofs)
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        result["command"] = command(arguments.captures, folder, min(arguments.rounds, 3))
    if arguments.json:
        print(json.dumps(result))
        return
    imported = result["import"]
    print(f"{result['captures']} on {result['machine']}")
    print(
        f"import  {imported['lines_per_s']:>12,.0f} lines/s best, {imported['lines_per_s_median']:,.0f} median, "
        f"{imported['lines_per_cpu_s']:,.0f} a CPU second; {imported['bytes_per_row']:.2f} bytes a row"
    )
    print(f"command {result['command']['best_s']:>12.2f} s from start to end")
    print(f"read    {result['read']['events_per_s']:>12,.0f} events/s")
    print(f"verify  {result['verify_s']:>12.2f} s, {'sound' if result['sound'] else 'NOT SOUND'}")
    print(f"memory  {result['peak_mb']:>12.0f} MB at most")


if __name__ == "__main__":
    main()
