"""`make bench`: tidegate alone, every benchmark in a process of its own, one after another.

    python benchmarks/run.py [--quick]

Prints what each prints; `--quick` takes a tenth of the events and few rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from environments import ROOT

HERE = Path(__file__).resolve().parent


def timed(label: str, command: list[str], **env: str) -> None:
    """Seconds of a whole command, best of three."""
    best = min(_seconds(command, env) for _ in range(3))
    print(f"{label:<46} {best:7.2f} s", flush=True)


def _seconds(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=os.environ | env, check=True, capture_output=True)
    return time.perf_counter() - started


def script(name: str, *args: str) -> None:
    """Run one benchmark and show what it prints."""
    print(f"\n$ {name} {' '.join(args)}", flush=True)
    subprocess.run([sys.executable, str(HERE / name), *args], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(machine.sentence())
    timed("import tidegate", [sys.executable, "-c", "import tidegate"])
    timed("tidegate --help", [sys.executable, "-m", "tidegate.cli", "--help"])
    with tempfile.TemporaryDirectory() as cache:
        seconds = _seconds(
            [sys.executable, "-c", "from tidegate.cli.prepare import prepare; prepare()"],
            {"TIDEGATE_CACHE": cache},
        )
        print(f"{'compile every kernel, cold':<46} {seconds:7.2f} s", flush=True)
        warm = _seconds(
            [sys.executable, "-c", "from tidegate.cli.prepare import prepare; prepare()"],
            {"TIDEGATE_CACHE": cache},
        )
        print(f"{'load them again':<46} {warm:7.2f} s", flush=True)
    events = "100000" if quick else "1000000"
    for case in ("quotes_empty", "quotes_orders", "trades_ema", "deltas", "deltas10"):
        script("bench_replay.py", case, events)
    if not quick:
        script("bench_replay.py", "quotes_empty", "5000000")  # memory must be as with one million
    rounds = "2" if quick else "5"
    script("bench_gate.py", "--rounds", rounds)
    script("bench_lane.py", "--rounds", rounds)
    script("bench_import.py", "--rounds", rounds)
    script("bench_matching.py", "--rounds", rounds, "--n", "500000" if quick else "5000000")


if __name__ == "__main__":
    main()
