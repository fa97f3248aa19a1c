"""The matching engine on the order flow of `gen_match_ops.py`: one JSON line a case.

    python benchmarks/bench_matching.py [match match_deep match_single compile] [--n 5000000] [--rounds 5]

`match` and `match_deep` (1,000 and 100,000 orders wanted in the book) carry out all commands in one thread, every
report written; the time is that of the fastest of `rounds`, a fresh engine each, and the reports' trades must be
the reference book's. `match_single` hands over one command a call, from Python. `compile` is the first use on a
machine: an empty cache, a fresh process. Goals: 13.4 M commands/s, 7.9 M, 6 s.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import numpy.typing as npt
from gen_match_ops import ADD, operations
from meter import Stopwatch, emit

import tidegate
from tidegate.kernel.matching_engine import MatchingEngine
from tidegate.kernel.matching_layout import (
    C_ID,
    C_PRICE,
    C_QTY,
    C_WHAT,
    COMMAND_WORDS,
    R_WHAT,
    Command,
    exec_type,
    what,
)
from tidegate.model.order import ExecType, OrdType, TimeInForce

TARGETS = {"match": 1_000, "match_deep": 100_000}
FIRST_USE = """
import time, numba, numpy
began = time.perf_counter(), time.process_time()
import tidegate.kernel.matching_engine
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def commands(ops: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The rows of the order flow as the engine's commands."""
    rows = np.zeros((len(ops), COMMAND_WORDS), np.int64)
    new = what(Command.NEW, ops[:, 2].astype(np.int64) + 1, OrdType.LIMIT, TimeInForce.GTC)
    rows[:, C_WHAT] = np.where(ops[:, 0] == ADD, new, Command.CANCEL)
    rows[:, C_ID], rows[:, C_PRICE], rows[:, C_QTY] = ops[:, 1], ops[:, 3], ops[:, 4]
    return rows


def play(case: str, n: int, rounds: int) -> None:
    """One engine, all commands, in one thread."""
    ops, info = operations(n, TARGETS[case])
    rows = commands(ops)
    del ops
    best, trades, engine = Stopwatch(), 0, MatchingEngine()
    best.wall = float("inf")
    for _ in range(rounds):
        engine, counting = MatchingEngine(), 0.0
        trades = 0
        with Stopwatch() as watch:
            for reports in engine.stream(rows):
                began = time.perf_counter()
                trades += int(np.count_nonzero(exec_type(reports[:, R_WHAT]) == ExecType.TRADE))
                counting += time.perf_counter() - began
        watch.wall -= counting
        if watch.wall < best.wall:
            best = watch
    if (trades, engine.live) != (info["trades"], info["resting"]):
        sys.exit(f"{case}: {trades} trades and {engine.live} orders, the reference has {info}")
    emit(case, "tidegate", tidegate.__version__, n, best.wall, best.cpu, trades=trades, resting=engine.live)


def play_single(n: int) -> None:
    """One command a call: what an exchange server pays."""
    rows = commands(operations(n)[0])
    engine, took = MatchingEngine(), np.zeros(n)
    with Stopwatch() as watch:
        for k in range(n):
            began = time.perf_counter()
            engine.apply(rows[k : k + 1])
            took[k] = time.perf_counter() - began
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e6
    emit("match_single", "tidegate", tidegate.__version__, n, watch.wall, watch.cpu, p50_us=p50, p99_us=p99)


def first_use(rounds: int) -> None:
    """Compile everything the engine needs, in a process of its own."""
    best = float("inf"), float("inf")
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                [sys.executable, "-c", FIRST_USE],
                env=os.environ | {"TIDEGATE_CACHE": cache}, capture_output=True, text=True, check=True,
            )  # fmt: skip
        wall, cpu = done.stdout.split()
        best = min(best, (float(wall), float(cpu)))
    emit("compile", "tidegate", tidegate.__version__, 1, *best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=[*TARGETS, "match_single", "compile"])
    parser.add_argument("--n", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for case in args.cases:
        if case in TARGETS:
            play(case, args.n, args.rounds)
        elif case == "match_single":
            play_single(min(args.n, 100_000))
        elif case == "compile":
            first_use(args.rounds)
        else:
            parser.error(f"case {case!r} is none of {', '.join([*TARGETS, 'match_single', 'compile'])}")


if __name__ == "__main__":
    main()
