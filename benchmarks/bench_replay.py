"""Replay throughput of tidegate on the peers' work.   python benchmarks/bench_replay.py CASE [N]

Prints one JSON line: events a second of the run alone (data generation apart, as the peers' scripts measure),
callbacks, orders, fills and the process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from strategies import Deltas, QuotesEmpty, QuotesOrders, TradesEma  # noqa: E402
from workloads import BTCUSDT, deltas, quotes, trades  # noqa: E402

from tidegate.model.event import Events  # noqa: E402
from tidegate.model.instrument import Universe  # noqa: E402
from tidegate.model.time import SECOND  # noqa: E402
from tidegate.risk.limits import unlimited  # noqa: E402
from tidegate.risk.scopes import ScopeTable  # noqa: E402
from tidegate.sim.backtest import Backtest, Setup  # noqa: E402
from tidegate.sim.engine import VenueModel  # noqa: E402
from tidegate.sim.stream import Source  # noqa: E402

CASES: dict[str, tuple[Any, Any]] = {
    "quotes_empty": (quotes, QuotesEmpty),
    "quotes_orders": (quotes, QuotesOrders),
    "trades_ema": (trades, TradesEma),
    "deltas": (deltas, Deltas),
    "deltas10": (lambda n: deltas(n, 10), Deltas),
}


class Timed:
    """Chunks whose making is not counted: a stopwatch runs while they are being made."""

    def __init__(self, chunks: Iterator[Events]) -> None:
        self.chunks = chunks
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Events]:
        while True:
            started = time.perf_counter()
            chunk = next(self.chunks, None)
            self.seconds += time.perf_counter() - started
            if chunk is None:
                return
            yield chunk


def setup(chunks: Any, strategy: Any, sample: int = 10 * SECOND) -> Setup:
    """One strategy on one instrument with every control of the gate judging, all limits set very wide."""
    universe = Universe([BTCUSDT])
    return Setup(
        universe=universe,
        sources=[Source(chunks)],
        venues={"BINANCE": VenueModel()},
        scopes=ScopeTable.simple(1, "10000000"),
        limits=unlimited(),
        strategies=[strategy("strategy0", 0, 0, strategy.Params())],
        sample=sample,
    )


def measure(case: str, n: int) -> dict[str, Any]:
    """Run a case once."""
    make, kind = CASES[case]
    warm = Backtest(setup(make(2000), kind))
    warm.run()
    timed = Timed(make(n))
    test = Backtest(setup(timed, kind))
    cpu = time.process_time()
    result = test.run()
    cpu = time.process_time() - cpu - timed.seconds
    wall = result.wall_s - timed.seconds
    if result.error is not None:
        raise result.error
    strategy = test.setup.strategies[0]
    return {
        "name": f"tidegate.{case}",
        "n": n,
        "run_wall_s": wall,
        "run_cpu_s": cpu,
        "ev_per_s_wall": n / wall,
        "callbacks": strategy.n,
        "orders_sent": strategy.orders_sent,
        "fills": strategy.fills,
        "state_hash": result.state_hash[:12],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("n", nargs="?", type=int, default=1_000_000)
    args = parser.parse_args()
    print(json.dumps(measure(args.case, args.n)))


if __name__ == "__main__":
    main()
