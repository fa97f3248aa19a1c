"""Replay throughput of tidegate, one case a process.   python benchmarks/bench_replay.py CASE [N]

Prints one JSON line: events a second of the run alone, what was counted on the way, and the process's peak
memory. Cases are defined in `benchmarks/README.md`. Data are made while the run goes on, off the clock, except
for the market-making cases, whose data are in memory before, as the peer's are. Every control of the gate judges
every order, all limits set very wide (`risk.limits.unlimited`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import draws
from meter import Stopwatch, Untimed, emit
from strategies import Deltas, QuotesEmpty, QuotesOrders, TradesEma
from workloads import BTCUSDT, LINEAR, LINEAR_UNIT, deltas, depth_and_trades, quotes, trades

import tidegate
from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Events
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.time import SECOND
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.strategy.library.compiled_maker import CompiledMaker
from tidegate.strategy.strategy import Strategy, StrategyParams

ORDER_DELAY = 5_000_000
WARM_UP = 2000


def in_memory(events: Events) -> list[Events]:
    """One array as chunks that share its memory."""
    return [events[low : low + draws.CHUNK] for low in range(0, len(events), draws.CHUNK)]


@dataclass(frozen=True)
class Case:
    """One piece of work: its data for N, and the strategy that meets them."""

    data: Callable[[int], Iterable[Events]]
    strategy: type[Strategy]
    params: dict[str, Any]
    instrument: Instrument = BTCUSDT
    venue: VenueModel = VenueModel()  # noqa: RUF009  (frozen)
    n: int = 1_000_000

    def setup(self, chunks: Iterable[Events]) -> Setup:
        """A run of this case over `chunks`."""
        params: StrategyParams = self.strategy.Params(**self.params)
        return Setup(
            universe=Universe([self.instrument]),
            sources=[Source(chunks, max_delay=1_000_000)],
            venues={self.instrument.venue: self.venue},
            scopes=ScopeTable.simple(1, "10000000"),
            limits=unlimited(),
            strategies=[self.strategy("strategy0", 0, 0, params)],
            sample=10 * SECOND,
        )


def _maker(interval: str) -> Case:
    return Case(
        lambda n: in_memory(depth_and_trades(n)),
        CompiledMaker,
        {
            "market": LINEAR.id, "size": LINEAR_UNIT, "max_position": 100 * LINEAR_UNIT, "offset": 1,
            "interval": interval,
        },
        LINEAR,
        VenueModel(
            fill="no_partial", queue="power", queue_exponent=2.0, entry_latency=(ORDER_DELAY,),
            response_latency=(ORDER_DELAY,),
        ),
        5_000_000,
    )  # fmt: skip


CASES = {
    "quotes_empty": Case(quotes, QuotesEmpty, {}),
    "quotes_orders": Case(quotes, QuotesOrders, {}),
    "trades_ema": Case(trades, TradesEma, {}),
    "deltas": Case(deltas, Deltas, {}),
    "deltas10": Case(lambda n: deltas(n, 10), Deltas, {}),
    "elapse_mm": _maker("100ms"),
    "feed_mm": _maker(""),
}


class LastSeen:
    """Processor time when the replay last reported progress: its end, before results are made of it."""

    cpu = 0.0

    def __call__(self, _rows: int) -> None:
        self.cpu = time.process_time()


def counts(test: Backtest, result: Any) -> dict[str, object]:
    """What the strategy counted; a compiled one cannot, so its orders and fills are counted in the run's record."""
    strategy: Any = test.setup.strategies[0]
    if not isinstance(strategy, CompiledMaker):
        return {"callbacks": strategy.n, "orders": strategy.orders_sent, "fills": strategy.fills}
    return {
        "orders": len(result.recorder.orders),
        "fills": len(result.recorder.fills),
        "position": int(test.engine.state.pos[0, 0]) / LINEAR_UNIT,
    }


def measure(name: str, n: int) -> None:
    """Run a case once, after a short run that loads what is loaded on first use; print its line."""
    case = CASES[name]
    Backtest(case.setup(case.data(WARM_UP))).run()
    source = Untimed(case.data(n))
    test = Backtest(case.setup(source))
    seen = LastSeen()
    with Stopwatch() as whole:
        began = time.process_time()
        result = test.run(seen)
    if result.error is not None:
        raise result.error
    emit(
        name, "tidegate", tidegate.__version__, n, result.wall_s - source.wall, seen.cpu - began - source.cpu,
        **counts(test, result), state_hash=result.state_hash[:12], results_s=whole.wall - result.wall_s,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("n", nargs="?", type=int)
    args = parser.parse_args()
    measure(args.case, args.n or CASES[args.case].n)


if __name__ == "__main__":
    main()
