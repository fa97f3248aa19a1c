"""What the risk gate and the ledger cost: a call from Python, an order in a batch, compiling, booking a fill.

All controls are on, over three scopes (strategy, account, firm). From Python each call is timed by itself, so
the quantiles include the clock's own cost (printed). In a batch, checks, releases and fills run inside one kernel
call over orders made beforehand, a hundred open at a time: limit orders of one strategy, at prices in any order, none
refused. Goals: p50 of a check from Python ≤ 5 µs; 50 ns an order in a batch; ≤ 2 µs a fill in the ledger; ≤ 5 s to
compile.

A desk's life beside it: 24 strategies on 6 accounts of 2 desks, 20 instruments (2.5 MB of the gate's state), orders of
all of them mixed, some eight hundred open, seven in a hundred taking at the touch, four market orders, four refused (too
large, too far, stale, of a strategy that is halted), and the same with the processor's own caches emptied before each
batch.

    python benchmarks/bench_gate.py [--rounds 15] [--compile]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from decimal import Decimal as D

import numpy as np

from tidegate.kernel import gate_commands as do
from tidegate.kernel.gate_play import GatePlay, Played, gate_play
from tidegate.kernel.layout import (
    O_ACCOUNT,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
    ORDER_WORDS,
)  # fmt: skip
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

OPEN, T0 = 100, 1_700_000_000_000_000_000
EACH = {
    "position": 10_000, "gross": 10**9, "net": 10**9, "loss": 10**8, "drawdown": 10**8, "traded_value": 10**12,
    "orders_per_second": 10**9, "cancels_per_second": 10**9, "open_orders": 1_000, "open_value": 10**9,
    "margin_buffer": "10%",
}  # fmt: skip
LIMITS = Limits.load(
    {
        "firm": {
            **EACH, "trade": ["*"], "sides": ["buy", "sell"], "order_types": ["limit", "market"],
            "time_in_force": ["gtc", "ioc"], "order_qty": 100, "order_value": 10**7, "parent_value": 10**7,
            "price_collar": "5%", "dynamic_collar": 8, "period_drift": "2%", "max_age": "1s", "duplicate_orders": 64,
            "order_ratio": 10**8, "volume_ratio": 10**8, "ratio_free": 0, "executions": 10**9, "volume_share": "50%",
            "interest_share": "50%", "depth_share": "90%", "volume": 10_000, "interest": 10_000, "depth": 10_000,
            "venue_share": "90%", "clock_skew": "1s",
        },
        "accounts": {"*": EACH},
        "strategies": {
            "*": {
                **EACH, "fills_per_second": 10**9, "slippage_score": 10**6, "reject_share": "100%",
                "legs": ["BTCUSDT.X", "ETHUSDT.Y"], "leg_value": 10**9,
            },
        },
    }
)  # fmt: skip


def universe() -> Universe:
    return Universe(
        [
            Instrument(
                symbol="BTCUSDT", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=D("0.1"),
                lot=D("0.001"), initial_margin=D("0.05"),
            ),
            Instrument(
                symbol="ETHUSDT", venue="Y", kind=InstrumentKind.PERPETUAL, base="ETH", quote="USDT", tick=D("0.01"),
                lot=D("0.01"), initial_margin=D("0.05"),
            ),
        ]
    )  # fmt: skip


def gate() -> Gate:
    made = Gate(universe(), ScopeTable.simple(capital="1000000000"), LIMITS)
    for venue in range(2):
        made.set_equity(venue, 10**12, T0)
    for n in range(40):
        made.mark(0, 600_000 + n % 2, 600_010 + n % 2, T0 + n * 1_000_000)
    return made


def order(n: int, chosen: random.Random) -> Order:
    side, qty = chosen.choice((Side.BUY, Side.SELL)), chosen.randint(1, 50)
    price = 600_005 - side.sign * chosen.randint(1, 500)
    return Order(
        cl_ord_id=n, cmd_id=n, account=0, strategy=0, instrument=0, side=side, ord_type=OrdType.LIMIT,
        time_in_force=TimeInForce.GTC, qty=qty, leaves_qty=qty, price=price,
    )  # fmt: skip


def rows_of(orders: list[Order]) -> np.ndarray:
    rows = np.zeros((len(orders), ORDER_WORDS), np.int64)
    for row, o in zip(rows, orders, strict=True):
        row[[O_ID, O_ACCOUNT, O_STRATEGY, O_INSTRUMENT, O_SIDE, O_TYPE]] = (
            o.cl_ord_id,
            0,
            0,
            0,
            o.side,
            o.ord_type,
        )
        row[[O_TIF, O_QTY, O_LEAVES, O_PRICE]] = o.time_in_force, o.qty, o.qty, o.price
        row[[O_REF_BID, O_REF_ASK, O_REF_TS]] = 600_000, 600_010, T0
    return rows


def chunk(first: int, chosen: random.Random) -> list[Order]:
    """OPEN orders, each at another price, in any order."""
    orders = [order(first + n, chosen) for n in range(OPEN)]
    for n, o in zip(chosen.sample(range(OPEN), OPEN), orders, strict=True):
        o.price = 600_005 - o.side.sign * (6 + n)
    return orders


def commands(op: int, rows: np.ndarray, ts: int) -> np.ndarray:
    """The same command for every row."""
    made = np.zeros((len(rows), do.COMMAND_WORDS), np.int64)
    made[:, 0], made[:, 1], made[:, 2] = op, range(len(rows)), ts
    if op in (do.RELEASE, do.FILL):
        made[:, 2], made[:, 3] = rows[:, O_QTY], ts
    if op == do.FILL:
        made[:, 3], made[:, 4], made[:, 5] = rows[:, O_PRICE], 5, ts
    if op == do.MARK:
        made[:, 1], made[:, 2], made[:, 3], made[:, 4] = 0, 600_000, 600_010, ts
    return made


def batches(rounds: int) -> dict[str, float]:
    """Best ns a command over chunks of OPEN: checks, marks while all of them are open, then their end."""
    chosen, best, first = random.Random(1), dict[str, float](), 1
    for end, name in ((do.RELEASE, "release"), (do.FILL, "fill")):
        here = gate()
        for _ in range(20 * rounds):
            rows = rows_of(chunk(first, chosen))
            ts, first = T0 + first, first + OPEN
            steps = ((do.CHECK, "check"), (do.CANCEL_CHECK, "cancel"), (do.MARK, "mark"), (end, name))
            for op, label in steps:
                todo = commands(op, rows, ts)
                nothing, all_of_it = (Played(GatePlay(here.state, rows, part)) for part in (todo[:0], todo))
                t0 = time.perf_counter_ns()
                gate_play(nothing.address)
                t1 = time.perf_counter_ns()
                gate_play(all_of_it.address)
                spent = time.perf_counter_ns() - t1
                best[label] = min(best.get(label, 9e9), spent / OPEN)
                best["empty call"] = min(best.get("empty call", 9e9), (t1 - t0) / OPEN)
                if op == do.CHECK and todo[:, do.FIGURES].any():
                    raise SystemExit(
                        f"an order was denied, so the figure says nothing: {todo[:, do.FIGURES]}"
                    )
    call = best.pop("empty call")
    return {what: taken - call for what, taken in best.items()}


def desk() -> Gate:
    """A firm of two desks, six accounts and 24 strategies, four to an account, over twenty instruments."""
    kinds = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "BNB", "TRX", "UNI")
    listed = [
        Instrument(
            symbol=f"{base}USDT", venue=venue, kind=InstrumentKind.PERPETUAL, base=base, quote="USDT", tick=D("0.1"),
            lot=D("0.001"), initial_margin=D("0.05"),
        )
        for venue in "XY" for base in kinds
    ]  # fmt: skip
    accounts = [Account(name=f"a{n}", desk=f"d{n % 2}", capital=D(10**9)) for n in range(6)]
    strategies = [StrategyScope(name=f"s{n}", accounts=(f"a{n // 4}",)) for n in range(24)]
    made = Gate(Universe(listed), ScopeTable(accounts, strategies, desks=["d0", "d1"]), LIMITS)
    for venue in range(2):
        made.set_equity(venue, 10**12, T0)
    for n in range(40):
        for i in range(len(listed)):
            made.mark(i, 600_000 + n % 2, 600_010 + n % 2, T0 + n * 1_000_000)
    made.set_state(made.scopes.strategy_scope(23), State.REDUCE_ONLY, T0)
    return made


def desk_rows(first: int, chosen: random.Random, ts: int) -> np.ndarray:
    """A batch of orders of a desk's life, as the module's head has it."""
    rows = rows_of([order(first + n, chosen) for n in range(OPEN)])
    for row in rows:
        strategy, sign, draw = chosen.randrange(24), 3 - 2 * int(row[O_SIDE]), chosen.random()
        row[O_STRATEGY], row[O_ACCOUNT], row[O_INSTRUMENT] = strategy, strategy // 4, chosen.randrange(20)
        row[O_PRICE], row[O_REF_TS] = 600_005 - sign * chosen.randint(6, 300), ts - chosen.randint(0, 10**6)
        if draw < 0.07:
            row[O_PRICE], row[O_TIF] = (600_010 if sign > 0 else 600_000), TimeInForce.IOC
        elif draw < 0.11:
            row[O_TYPE], row[O_TIF], row[O_PRICE] = OrdType.MARKET, TimeInForce.IOC, 0
        elif draw < 0.12:
            row[[O_QTY, O_LEAVES]] = 100_001
        elif draw < 0.13:
            row[O_PRICE] = 600_005 - sign * 40_000
        elif draw < 0.14:
            row[O_REF_TS] = ts - 2 * 10**9
    return rows


def desk_batches(rounds: int, cold: bool) -> tuple[float, float]:
    """(best ns an order, share refused) over batches of a desk's life; `cold` empties the processor's own caches before each."""
    here, chosen, best, first, open_now, denied = desk(), random.Random(4), 9e9, 1, list[np.ndarray](), 0
    waste = np.zeros(1 << 20)
    for _ in range(20 * rounds):
        ts = T0 + 10**9 + first * 10_000
        rows = desk_rows(first, chosen, ts)
        todo, first = commands(do.CHECK, rows, ts), first + OPEN
        nothing, all_of_it = (Played(GatePlay(here.state, rows, part)) for part in (todo[:0], todo))
        gate_play(nothing.address)
        if cold:
            waste += 1
        t0 = time.perf_counter_ns()
        gate_play(all_of_it.address)
        best = min(best, (time.perf_counter_ns() - t0) / OPEN)
        denied += int((todo[:, do.FIGURES] != 0).sum())
        open_now.append(rows)
        if len(open_now) > 8:
            over = open_now.pop(0)
            gate_play(Played(GatePlay(here.state, over, commands(do.RELEASE, over, ts))).address)
    return best, denied / (20 * rounds * OPEN)


def lives(here: Gate, orders: list[Order], ts: int, times: dict[str, list[int]]) -> None:
    """Each order's life, each call timed by itself."""
    clock = time.perf_counter_ns
    for o in orders:
        for name, call, args in (
            ("check", here.check, (o, 600_000, 600_010, ts, ts)),
            ("replace", here.check_replace, (o, o.qty + 1, 0, 600_000, 600_010, ts, ts)),
            ("cancel", here.check_cancel, (o, ts)),
            ("fill", here.fill, (o, 1, o.price, 5, ts)),
            ("release", here.release, (o, o.qty, ts)),
            ("mark", here.mark, (0, 600_000, 600_010, ts)),
            ("clock", min, (1, 2)),
        ):
            t = clock()
            call(*args)
            times.setdefault(name, []).append(clock() - t)


def calls(rounds: int) -> dict[str, tuple[float, float]]:
    """(p50, p99) in ns of calls from Python: best round by its p50."""
    chosen, best = random.Random(2), dict[str, tuple[float, float]]()
    for _ in range(rounds):
        here, times = gate(), dict[str, list[int]]()
        lives(here, [order(n, chosen) for n in range(1, 2_001)], T0, times)
        for name, taken in times.items():
            figures = float(np.percentile(taken, 50)), float(np.percentile(taken, 99))
            best[name] = min(best.get(name, figures), figures)
    return best


def ledger(rounds: int) -> float:
    """Best ns a fill in the ledger."""
    chosen = random.Random(3)
    fills = [
        (chosen.choice((1, -1)) * chosen.randint(1, 50), 600_000 + chosen.randint(-500, 500))
        for _ in range(20_000)
    ]
    best = 9e9
    for _ in range(rounds):
        books = Ledger(universe())
        t = time.perf_counter_ns()
        for lots, price in fills:
            books.apply_fill(0, 0, 0, lots, price, 7, T0)
        best = min(best, (time.perf_counter_ns() - t) / len(fills))
    return best


def compiling() -> float:
    """Processor seconds to import the gate's kernels into an empty cache, less those into a warm one."""
    code = (
        "import resource, numba, numpy; used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_utime; a = used();"
        "import tidegate.kernel.gate_play; print(used() - a)"
    )
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"TIDEGATE_CACHE": folder}
        runs = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
                for _ in range(2)]  # fmt: skip
    return float(runs[0].stdout) - float(runs[1].stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    print(f"from Python, ns a call: p50, p99 (best of {args.rounds} rounds)")
    for name, (half, most) in calls(args.rounds).items():
        print(f"  {name:8} {half:8.0f} {most:8.0f}" + ("   goal 5000" if name == "check" else ""))
    print("in a batch, ns a command")
    for name, figure in batches(args.rounds).items():
        print(f"  {name:8} {figure:8.1f}" + ("     goal 50" if name == "check" else ""))
    for cold in (False, True):
        figure, refused = desk_batches(args.rounds, cold)
        state = "cold" if cold else "warm"
        print(f"  check, a desk's life, {state}: {figure:.1f}, {100 * refused:.1f} % refused")
    print(f"ledger, ns a fill\n  apply    {ledger(args.rounds):8.0f}   goal 2000")
    if args.compile:
        print(f"compiling all of it, processor seconds\n           {compiling():8.1f}      goal 5")


if __name__ == "__main__":
    main()
