"""What a change of limits costs a lane and the risk service, by scopes and instruments.

    python benchmarks/bench_limits.py [--scopes 1000] [--instruments 1000] [--rounds 3] [--named] [--json]

`--named` gives every strategy and account a table of its own; else the tables for all (`"*"`) speak for most. The lane
shares the firm's and the desks' limits with another. Goals at 1,000 × 1,000: a change within 50 ms in proportion to what
it changes, a factor within 1 ms, and no step of the risk service longer than 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace

from tidegate.execution import leases
from tidegate.execution.core import Lane
from tidegate.kernel.gate_state import CELL_WORDS, PLAIN_WORDS, RULE_WORDS
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Universe
from tidegate.model.messages import DynamicLimit, LimitsChange, Message
from tidegate.risk.breakers.panel import Panel
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.exposure import Exposure
from tidegate.risk.figures import Figures
from tidegate.risk.gate import Gate
from tidegate.risk.leases.lease import leased
from tidegate.risk.ledger import Ledger
from tidegate.risk.limit_changes import below_use
from tidegate.risk.limit_review import Reviewer
from tidegate.risk.limit_sheet import Sheets
from tidegate.risk.limits import Limits
from tidegate.risk.margin.file import apply, packaged
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.risk.unset import missing

T0 = 1_700_000_000 * 10**9
TICKS = ("0.1", "0.01", "0.001", "0.0001", "0.5")
LOTS = ("0.001", "0.01", "0.1", "1")
DESKS = 10


def universe(count: int) -> Universe:
    """Perpetuals with tiers, of twenty sizes of tick and lot."""
    one = apply(BINANCE[2], packaged(), "packaged")
    return Universe(
        [
            replace(one, symbol=f"C{n}", tick=Decimal(TICKS[n % 5]), lot=Decimal(LOTS[n // 5 % 4]))
            for n in range(count)
        ]
    )


def scopes(count: int) -> ScopeTable:
    """A firm, ten desks, and as many accounts as strategies, each strategy on one."""
    each = (count - 1 - DESKS) // 2
    desks = [f"d{n}" for n in range(DESKS)]
    accounts = [Account(name=f"a{n}", desk=desks[n % DESKS], capital=Decimal(10**7)) for n in range(each)]
    strategies = [StrategyScope(name=f"s{n}", accounts=(f"a{n}",)) for n in range(each)]
    return ScopeTable(accounts, strategies, desks)


def document(table: ScopeTable, named: bool) -> dict[str, Any]:
    """Limits on everything; with `named`, each strategy's and account's are its own."""
    each = {
        "position": 1_000, "gross": 50_000_000, "net": 50_000_000, "loss": 500_000, "drawdown": 500_000,
        "traded_value": 500_000_000,
    }  # fmt: skip
    more = {
        **each, "orders_per_second": 1000, "cancels_per_second": 1000, "open_orders": 100, "open_value": 50_000_000
    }  # fmt: skip
    firm = {
        **each, "trade": ["*"], "sides": ["buy", "sell"], "order_types": ["market", "limit"],
        "time_in_force": ["gtc", "ioc"], "order_qty": 90, "order_value": 10_000_000, "parent_value": 20_000_000,
        "price_collar": "5%", "price_collar_floor": "1", "dynamic_collar": 8, "period_drift": "2%", "max_age": "1s",
        "duplicate_orders": 3, "depth_share": "10%", "volume_share": "1%",
    }  # fmt: skip
    found: dict[str, Any] = {
        "firm": firm, "desks": {"*": {"gross": 40_000_000}}, "accounts": {"*": {**more, "margin_buffer": "10%"}},
        "strategies": {"*": more},
    }  # fmt: skip
    if named:
        found["accounts"] |= {a.name: {"gross": 10_000_000 + n} for n, a in enumerate(table.accounts)}
        found["strategies"] |= {
            s.name: {"order_qty": 10 + n, "position": 500 + n} for n, s in enumerate(table.strategies)
        }
    return found


def steps(base: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes, each of the document before it."""
    yield "one strategy's gross", _with(base, "strategies", "s0", gross=40_000_000)
    yield "one strategy's position", _with(base, "strategies", "s0", position=400)
    yield (
        "one instrument of one strategy",
        _with(base, "strategies", "s0", instruments={"C7.BINANCE_USDM": {"order_qty": 3}}),
    )
    yield "every strategy's gross", _with(base, "strategies", "*", gross=45_000_000)
    yield "every strategy's position", _with(base, "strategies", "*", position=900)
    yield "the firm's order size", base | {"firm": base["firm"] | {"order_qty": 5}}
    yield (
        "the firm's restricted list",
        base | {"firm": base["firm"] | {"instruments": {"C7.BINANCE_USDM": {"restricted": True}}}},
    )


def _with(base: dict[str, Any], level: str, name: str, **fields: Any) -> dict[str, Any]:
    return base | {level: base[level] | {name: base[level].get(name, {}) | fields}}


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def longest(work: Coroutine[Any, Any, Any]) -> float:
    """Milliseconds that nothing else could be done at a time."""

    async def run() -> float:
        task, worst, before = asyncio.ensure_future(work), 0.0, time.perf_counter()
        while not task.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            worst, before = max(worst, now - before), now
        task.result()
        return worst * 1e3

    return asyncio.run(run())


def measure(count: int, items: int, rounds: int, named: bool) -> dict[str, float]:
    """Milliseconds of each part."""
    found: dict[str, list[float]] = {}

    def note(name: str, ms: float) -> None:
        found.setdefault(name, []).append(ms)
        print(f"{name:60} {ms:10.2f} ms", flush=True)

    world, table = universe(items), scopes(count)
    base = document(table, named)
    limits = Limits.from_json(Limits.load(base).to_json())
    made: list[Gate] = []
    fx: dict[str, str | Decimal] = {}
    note("start: a gate", timed(lambda: made.append(Gate(world, table, limits, fx=fx))))
    gate = made[0]
    shared = range(1 + DESKS)
    lane = Lane(0, world, gate, Ledger(world, fx=fx), None, shared)
    note("start: what is unset", timed(lambda: missing(Sheets(world, table).of(limits))))
    exposure = Exposure(world, table, fx=fx)
    version, plain = 0, limits.to_json()
    sheets, panel = (
        Sheets(world, table),
        Panel(BreakerSettings(), exposure, limits, [range(len(table.accounts))]),
    )
    figures = Figures(exposure, limits)
    reviewer = Reviewer(
        world, table, sheets.ahead, lambda new: missing(sheets.of(new)), lambda new: below_use(new, exposure)
    )

    def read(new: Limits) -> Limits:
        return Limits.from_json(new.to_json())

    def into_force(new: Limits) -> None:
        panel.set_limits(new)
        figures.set_limits(new)
        leased(sheets.of(new), shared)
        below_use(new, exposure)

    def fold(message: Message) -> float:
        ms = timed(lambda: lane.apply(message))
        assert not lane.state.error, lane.state.error
        return ms

    for _ in range(rounds):
        for name, changed in steps(base):
            after = Limits.load(changed)
            for limits_now, what in ((after, name), (limits, "… and back")):
                version += 1
                ms = fold(LimitsChange(T0, version, limits_now.to_json(), 0, version - 1))
                note(f"lane, change: {what}", ms)
            note(f"risk, longest step of a review: {name}", longest(reviewer.review([plain], read(after))))
            note(f"risk, comes into force: {name}", timed(partial(into_force, read(after))))
        note("lane, leases renewed", timed(lambda: leases.renew(lane.state)))
        for number in range(1, 4):
            note(
                "lane, a factor",
                fold(DynamicLimit(T0, number, 500_000 + number + version, version * 10 + number)),
            )
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scopes", type=int, default=1000)
    parser.add_argument("--instruments", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = measure(args.scopes, args.instruments, args.rounds, args.named)
    pairs = (args.scopes - 1 - DESKS) // 2
    memory = {
        "cell": args.scopes * args.instruments * CELL_WORDS * 8 / 1e6,
        "rules": pairs * args.instruments * RULE_WORDS * 8 / 1e6,
        "plain": pairs * args.instruments * PLAIN_WORDS * 8 / 1e6,
        "process, at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }
    if args.json:
        print(json.dumps({"ms": figures, "MB": memory}))
        return
    print(
        f"\n{args.scopes} scopes, {args.instruments} instruments"
        + (", tables of their own" if args.named else "")
    )
    for name, ms in figures.items():
        print(f"  {name:60} {ms:10.2f} ms")
    for name, size in memory.items():
        print(f"  {name:60} {size:10.0f} MB")


if __name__ == "__main__":
    main()
