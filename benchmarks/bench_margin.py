"""What margin costs: one wallet, one what-if, one plan, and a second's look at a firm.

    python benchmarks/bench_margin.py [--accounts 50] [--contracts 10] [--rounds 5] [--json]

Goal: a look at 50 accounts of 10 contracts each within 100 ms, a tenth of the second it is done in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec

from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import unlimited
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.file import apply, packaged
from tidegate.risk.margin.liquidation import of_pool
from tidegate.risk.margin.plan import plan
from tidegate.risk.margin.pool import Contract, Holding, Pool, Touch
from tidegate.risk.margin.whatif import Intent, what_if
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope

TIERED = apply(BINANCE[2], packaged(), "packaged")
PRICE, T0 = 600_000, 1_700_000_000 * 10**9


def best(work: Callable[[], object], rounds: int, times: int) -> float:
    """Microseconds a call: the median of the rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - began) / times * 1e6)
    return statistics.median(found)


def contracts(count: int) -> list[Contract]:
    """So many alike, with names of their own."""
    return [Contract(n, msgspec.structs.replace(TIERED, symbol=f"C{n}")) for n in range(count)]


def book(accounts: int, count: int) -> MarginBook:
    """A firm in which every account holds every contract."""
    universe = Universe([c.instrument for c in contracts(count)])
    names = [f"a{n}" for n in range(accounts)]
    scopes = ScopeTable(
        [Account(name=name, capital=Decimal(10**7)) for name in names],
        [StrategyScope(name=f"s{n}", accounts=(name,)) for n, name in enumerate(names)],
    )
    exposure = Exposure(universe, scopes)
    number = 0
    for n in range(count):
        exposure.mark(n, PRICE, PRICE + 10, T0)
        for account in range(accounts):
            number += 1
            exposure.apply(OrderEvent(
                T0, number, number, account, account, n, OrdStatus.FILLED, ExecType.TRADE, 0, 1000, last_qty=1000,
                last_px=PRICE, side=Side.BUY if n % 2 else Side.SELL,
            ))  # fmt: skip
    return MarginBook(exposure, unlimited())


def measure(accounts: int, count: int, rounds: int) -> dict[str, float]:
    """Microseconds of each."""
    made = contracts(count)
    holdings = tuple(Holding(c, Touch(PRICE, PRICE + 10), 1000, c.terms.cost(1000, PRICE)) for c in made)
    pool = Pool("USDT", 10**13, holdings)
    account = MarginAccount("a", "X", "USDT", (pool,))
    firm = book(accounts, count)
    request = b'{"account":"a0","instrument":"C0.BINANCE_USDM","side":"buy","quantity":"1"}'
    return {
        "figures of a wallet": best(pool.figures, rounds, 100),
        "liquidation price": best(lambda: of_pool(pool, holdings[0]), rounds, 100),
        "what-if": best(lambda: what_if(account, holdings[0], Intent(0, 10)), rounds, 20),
        "what-if as a request": best(lambda: firm.what_if(request, T0), rounds, 20),
        "plan": best(lambda: plan(account, Fraction(1, 1000)), rounds, 5),
        "a look at the firm": best(lambda: firm.step(T0), rounds, 2),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--contracts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.accounts, options.contracts, options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{options.accounts} accounts, {options.contracts} contracts each")
    for name, value in found.items():
        print(f"{name:24} {value:12,.1f} µs")


if __name__ == "__main__":
    main()
