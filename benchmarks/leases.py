"""Leases of limits: what their size costs and brings, beside three other ways to hold a limit over many lanes.

    python benchmarks/leases.py [--orders 200000] [--picture docs/pictures/leases.svg]

1. Lease size against orders refused though the sum had room, and against grants and recalls a second, at 50 to 99 % use:
   four lanes under one limit of some 5,000 open orders, on virtual time, by the real cores (`tidegate.sim.lease_soak`);
   one way between lane and allocator takes 0.1 to 0.4 ms.
2. On the same demand: fixed parts, and a sum that is told every 10 ms and trips (what it overshoots).
3. The order path: a lane's fold with leases and the care for them, over the same with local limits only.
4. Checks a second: a leased gate's, with the care for its leases, on 1, 4 and 16 lanes; beside a central check that all
   lanes ask by request and reply over a real log's server, each order waiting for its answer (what synchronous means),
   32 questions under way, and 20 orders in each of those.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from decimal import Decimal
from pathlib import Path

import lease_baselines as baselines
import lease_picture
import msgspec
import uvloop
from machine import sentence

from tidegate.execution.core import Lane
from tidegate.execution.lease_desk import LeaseDesk
from tidegate.execution.state import Settings
from tidegate.log.memory import MemoryServer
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import LeaseGrant, LeaseReport, Message, NewOrder, Report
from tidegate.model.order import ExecType, Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.leases.holding import PoolPolicy
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.sim.lease_soak import calm

USES = (0.5, 0.8, 0.9, 0.95, 0.99)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
T0, OPEN, BATCH = 1_700_000_000_000_000_000, 200, 20


# Lease size.


def sizes(orders: int, picture: Path | None) -> None:
    """Print, and draw, what lease sizes come to."""
    false: dict[str, list[tuple[float, float]]] = {}
    changes: dict[str, list[tuple[float, float]]] = {}
    print("orders refused though the sum had room (grants and recalls a second), by lease size\n")
    default = PoolPolicy().share
    heads = (f"{100 * share:g} %" + " (default)" * (share == default) for share in SHARES)
    print("| use | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(SHARES))
    for use in USES:
        cells = []
        for share in SHARES:
            found = baselines.leases(calm(use, share, orders))
            false.setdefault(f"{100 * use:g} % wanted", []).append((share, 100 * found.false))
            changes.setdefault(f"{100 * use:g} % wanted", []).append((share, found.grants))
            cells.append(f"{100 * found.false:.3f} % ({found.grants:,.0f})")
        print(f"| {100 * use:g} % | " + " | ".join(cells) + " |", flush=True)
    worst = max(y for x, y in false["90 % wanted"] if x == default)
    print(f"\nat 90 % use and the default size {worst:.3f} % are refused though the sum had room: goal 0.1 %")
    if picture is not None:
        lease_picture.draw(picture, false, changes)


def others(orders: int) -> None:
    """Print what the other ways come to on the same demand."""
    share = PoolPolicy().share
    print("\n| use | leases | fixed parts | a sum told every 10 ms |")
    print("|---|---|---|---|")
    for use in USES:
        plan = calm(use, share, orders)
        leases, parts, told = baselines.leases(plan), baselines.parts(plan), baselines.told(plan)
        print(
            f"| {100 * use:g} % | {100 * leases.false:.3f} % | {100 * parts.false:.2f} % | {100 * told.false:.3f} % |"
        )
    most = baselines.told(baselines.in_vain(calm(1.0, share, orders)))
    print(
        f"\nmore wanted than there is: the told sum lets {100 * most.over:.1f} % more than the limit through; leases 0\n"
    )


# The order path.


def universe() -> Universe:
    """Four contracts: a firm's leases are then 14."""
    return Universe(
        [
            Instrument(
                symbol=f"C{n}", venue="X", kind=InstrumentKind.PERPETUAL, base="C", quote="USDT",
                tick=Decimal("0.1"), lot=Decimal("0.001"),
            )
            for n in range(4)
        ]
    )  # fmt: skip


def gate_of(items: Universe) -> Gate:
    """A gate whose firm has a limit of everything."""
    scopes = ScopeTable(
        [Account(name="a", capital=Decimal(10**9)), Account(name="b", capital=Decimal(10**9))],
        [StrategyScope(name="s", accounts=("a",))],
    )
    whole: Limits = unlimited()
    wide = {"open_orders": 10**6, "open_value": 10**11, "gross": 10**11, "net": 10**11, "traded_value": 10**11,
            "position": 10**8}  # fmt: skip
    firm = Limits.load({"firm": wide}).firm
    changed = {name: getattr(firm, name) for name in wide}
    return Gate(
        items, scopes, msgspec.structs.replace(whole, firm=msgspec.structs.replace(whole.firm, **changed))
    )


def life(n: int) -> list[Message]:
    """An order, acknowledged, then canceled."""
    ts, key = T0 + n * 1000, n
    return [
        NewOrder(
            ts, n, 0, 0, n % 4, Side.BUY if n % 2 else Side.SELL, OrdType.LIMIT, 10, 600_000 + n % 7,
            time_in_force=TimeInForce.GTC, ref_bid=600_000, ref_ask=600_001, ref_ts=ts,
        ),
        Report(ts, key, ExecType.NEW, ts_venue=ts),
        Report(ts, key, ExecType.CANCELED, ts_venue=ts),
    ]  # fmt: skip


async def path(shared: bool, orders: int) -> float:
    """µs of CPU for an order's life in a lane, with what its writer does for leases after every `BATCH` messages."""
    items, clock = universe(), SystemClock()
    lane = Lane(0, items, gate_of(items), Ledger(items), Settings(), (0,) if shared else ())
    log = MemoryServer(1, clock=clock).client("oms")
    desk = LeaseDesk(lane, 1, log, clock, lambda: 0) if shared else None
    for key in lane.state.leased:
        for said in lane.apply(LeaseGrant(T0, *key, 1 << 61)):
            if desk is not None and type(said) is LeaseReport:
                desk.told(said)
    messages = [message for n in range(1, orders + 1) for message in life(n)]
    gc.collect()
    began = time.process_time()
    for at in range(0, len(messages), BATCH):
        for message in messages[at : at + BATCH]:
            lane.apply(message)
        if desk is not None:
            desk.look()
    spent = time.process_time() - began
    refused = {code: n for code, n in lane.counts.items() if n}
    assert not refused, refused
    await asyncio.sleep(0)
    return spent / orders * 1e6


def leased_check(rounds: int = 9, count: int = 4_000) -> float:
    """µs an order of what stands in the place of a central check: a leased gate's check from Python, as the lane calls
    it, and its writer's look at the leases after every `BATCH` orders. Each passes, and is charged. By the wall's clock,
    and the median, as the central check is measured."""
    items, clock = universe(), SystemClock()
    lane = Lane(0, items, gate_of(items), Ledger(items), Settings(), (0,))
    desk = LeaseDesk(lane, 1, MemoryServer(1, clock=clock).client("oms"), clock, lambda: 0)
    for key in lane.state.leased:
        for said in lane.apply(LeaseGrant(T0, *key, 1 << 61)):
            if type(said) is LeaseReport:
                desk.told(said)
    gate, took = lane.state.gate, []
    orders = [
        Order(n, n, 0, 0, n % 4, Side.BUY, OrdType.LIMIT, TimeInForce.GTC, 10, 600_000 - n % 9, leaves_qty=10)
        for n in range(1, count + 1)
    ]
    for _ in range(rounds):
        began = time.perf_counter()
        for at in range(0, count, BATCH):
            for order in orders[at : at + BATCH]:
                assert gate.check(order, 600_000, 600_001, T0, T0) == 0
            desk.look()
        took.append(time.perf_counter() - began)
        for order in orders:
            gate.release(order, 10, T0)
    return statistics.median(took) / count * 1e6


async def _leased_check() -> float:
    return leased_check()


def throughput() -> None:
    """Print orders a second: leases on 1, 4 and 16 lanes, beside one central check for all of them."""
    central = uvloop.run(baselines.central())
    check = asyncio.run(_leased_check())
    lane = 1e6 / check
    print(
        f"\nchecks a second; a lane's own takes {check:.2f} µs, its care for the leases in it, and lanes share nothing\n"
    )
    print("| one central check for all lanes | orders/s | leases, 1 lane | 4 lanes | 16 lanes |")
    print("|---|---|---|---|---|")
    rows = (
        ("each order waits for its answer (goal 50 ×)", central.alone),
        (f"{baselines.UNDER_WAY} questions under way", central.under_way),
        (f"{baselines.UNDER_WAY} under way, {baselines.TOGETHER} orders in each", central.together),
    )
    for name, rate in rows:
        cells = " | ".join(f"{lanes * lane / rate:,.0f} ×" for lanes in (1, 4, 16))
        print(f"| {name} | {rate:,.0f} | {cells} |")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ask.add_argument("--orders", type=int, default=200_000)
    ask.add_argument("--picture", type=Path, default=None)
    chosen = ask.parse_args()
    print(sentence() + "\n")
    sizes(chosen.orders, chosen.picture)
    others(chosen.orders)
    runs = {shared: min(asyncio.run(path(shared, 5_000)) for _ in range(7)) for shared in (False, True)}
    ratio = runs[True] / runs[False]
    print(
        f"order path: {runs[True]:.2f} µs with 14 leases, {runs[False]:.2f} µs without: {ratio:.3f} ×   goal 1.1"
    )
    throughput()


if __name__ == "__main__":
    main()
