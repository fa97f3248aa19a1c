"""Strategies for comparing compiled with Python: a rule written twice, and one that asks for anything at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from oracle.replay_world import MIDNIGHT, UNIVERSE, US, events, venue_models

from tidegate.kernel.compiled_api import (
    best_ask,
    best_bid,
    cancel,
    has_touch,
    is_open,
    market_order,
    now,
    order_leaves,
    order_price,
    position,
    post_buy,
    post_sell,
    replace,
    submit,
)
from tidegate.kernel.engine import WAKE_QUOTE, WAKE_REPORT
from tidegate.kernel.layout import BUY, FOK, GTC, IOC, LIMIT, POST_ONLY, SELL
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Setup
from tidegate.sim.stream import Source
from tidegate.strategy.compiled import CompiledStrategy, compiled
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Quote

SLOT_BITS = 20
SLOT_MASK = (1 << SLOT_BITS) - 1


class PairParams(StrategyParams, frozen=True):
    """Which market, and how many lots."""

    market: str = "FULL.A"
    size: int = 3


# One rule, twice: every third quote works on the one order there may be, every eleventh turns the position.


@compiled
def pair_step(e: Any, s: int, kind: int) -> None:
    """See `PythonPair.on_quote`."""
    m, i, size = e.memory[s], int(e.params[s, 0]), int(e.params[s, 1])
    if not has_touch(e, i):
        return
    m[0] += 1
    n = int(m[0])
    handle = (int(m[1]) << SLOT_BITS) | int(m[2])
    if n % 3 == 0:
        if not is_open(e, handle):
            if n % 2 == 0:
                handle = post_buy(e, s, i, size, best_bid(e, i))
            else:
                handle = post_sell(e, s, i, size, best_ask(e, i))
            if handle > 0:
                m[1], m[2] = handle >> SLOT_BITS, handle & SLOT_MASK
        elif n % 5 == 0:
            cancel(e, handle)
        elif order_leaves(e, handle) > 1:
            replace(e, handle, size - 1, order_price(e, handle) + (1 if n % 4 == 0 else 0))
    if n % 11 == 0:
        lots = position(e, s, i)
        if lots > 0:
            market_order(e, s, i, SELL, lots + 1)
        else:
            market_order(e, s, i, BUY, 1 - lots)


class CompiledPair(CompiledStrategy):
    """The rule, compiled."""

    Params = PairParams
    step = pair_step

    def on_start(self) -> None:
        market = self.market(self.params.market)
        self.set_params(market.number, self.params.size)
        self.subscribe_quotes(market)


class PythonPair(Strategy):
    """The rule, in Python."""

    Params = PairParams

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.n = 0
        self.order: Any = None
        self.subscribe_quotes(self.m)

    def on_quote(self, quote: Quote) -> None:
        m, size = self.m, self.params.size
        if not m.has_touch:
            return
        self.n += 1
        n, order = self.n, self.order
        if n % 3 == 0:
            if order is None or not order.open:
                if n % 2 == 0:
                    self.order = m.buy(size, m.bid, post_only=True)
                else:
                    self.order = m.sell(size, m.ask, post_only=True)
            elif n % 5 == 0:
                self.cancel(order)
            elif order.leaves_qty > 1 and order.status in (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
                self.replace(order, size - 1, order.price + (1 if n % 4 == 0 else 0))
        if n % 11 == 0:
            lots = m.position
            if lots > 0:
                m.submit(Side.SELL, lots + 1, ord_type=1, tif=3)
            else:
                m.submit(Side.BUY, 1 - lots, ord_type=1, tif=3)


# Anything at all: orders, cancels and replaces drawn by a generator in the strategy's memory.

HANDLES, MARKETS = 24, 6


@compiled
def chaos_step(e: Any, s: int, kind: int) -> None:
    """Do one thing at random: to an order remembered at random, or to a new one."""
    m = e.memory[s]
    if m[0] == 0.0:
        m[0] = e.params[s, 0]
    x = (int(m[0]) * 1103515245 + 12345) & 0x7FFFFFFF
    m[0] = x
    r = x >> 8
    i = r % MARKETS
    if not has_touch(e, i):
        return
    place = 2 + 2 * ((r // 7) % HANDLES)
    handle = (int(m[place]) << SLOT_BITS) | int(m[place + 1])
    act = (r // 200) % 10
    if is_open(e, handle) and act < 6:
        if act < 3:
            cancel(e, handle)
        else:
            replace(e, handle, (r // 11) % 9, order_price(e, handle) + (r // 13) % 5 - 2)
        return
    side = BUY if (r // 3) % 2 == 0 else SELL
    price = best_bid(e, i) + (r // 17) % 9 - 5 if side == BUY else best_ask(e, i) - (r // 17) % 9 + 5
    qty = 1 + (r // 19) % 12
    tif, inst = GTC, 0
    if act == 6:
        tif = IOC
    elif act == 7:
        tif = FOK
    elif act == 8:
        inst = POST_ONLY
    if act == 9:
        handle = market_order(e, s, i, side, qty)
    else:
        handle = submit(e, s, i, side, LIMIT, tif, inst, qty, price)
    if handle > 0 and now(e) > 0:
        m[place], m[place + 1] = handle >> SLOT_BITS, handle & SLOT_MASK
    else:
        m[1] += 1


class Chaos(CompiledStrategy):
    """Anything at all, on every quote, trade, depth message and report."""

    class Params(StrategyParams, frozen=True):
        """The generator's seed."""

        seed: int = 1

    step = chaos_step

    def on_start(self) -> None:
        self.set_params(self.params.seed)
        for number in range(len(self.host.universe)):
            market = self.market_number(number)
            self.subscribe_quotes(market)
            self.subscribe_trades(market)
            self.subscribe_book(market)
        self.host.subscribe(0, WAKE_REPORT)


TIGHT = {
    "firm": {
        "trade": ["*"], "sides": ["buy", "sell"], "time_in_force": ["gtc", "ioc", "fok"],
        "order_types": ["limit", "market"], "order_qty": "0.009", "order_value": "unlimited",
        "parent_value": "unlimited", "price_collar": "50%", "dynamic_collar": "unlimited",
        "period_drift": "unlimited", "max_age": "unlimited", "duplicate_orders": "unlimited", "position": "0.06",
        "gross": "unlimited", "net": "unlimited", "loss": "unlimited", "drawdown": "unlimited",
        "traded_value": "unlimited",
        "instruments": {"INVERSE.B": {"order_qty": 9, "position": 3_000}},
    },
    "accounts": {
        "*": {
            "orders_per_second": 2_000_000, "order_burst": 40, "cancels_per_second": 1_000_000, "cancel_burst": 20,
            "open_orders": 16, "open_value": "unlimited", "margin_buffer": "unlimited", "loss": "unlimited",
            "drawdown": "unlimited", "traded_value": "unlimited", "gross": "unlimited", "net": "unlimited",
            "position": "0.06", "instruments": {"INVERSE.B": {"position": 3_000}},
        }
    },
    "strategies": {
        "*": {
            "open_orders": 14, "open_value": "unlimited", "orders_per_second": "unlimited",
            "cancels_per_second": "unlimited", "loss": "unlimited", "drawdown": "unlimited",
            "traded_value": "unlimited", "gross": "unlimited", "net": "unlimited", "position": "0.06",
            "instruments": {"INVERSE.B": {"position": 3_000}},
        }
    },
}  # fmt: skip


def setup(
    kinds: list[type[Strategy]], seed: int, n: int, limits: Limits | None = None, cuts: int = 1
) -> Setup:
    """A backtest of these strategies on a seeded world's records."""
    rows, _ = events(np.random.default_rng(seed), n, 0)
    rows[:, :2] += MIDNIGHT - int(rows[n // 2, 1])
    strategies = [kind(f"s{n}", n, 0, kind.Params()) for n, kind in enumerate(kinds)]
    return Setup(
        universe=UNIVERSE,
        sources=[Source(np.array_split(rows, cuts), max_delay=20 * US)],
        venues=venue_models(seed),
        scopes=ScopeTable.simple(len(kinds)),
        limits=limits or unlimited(),
        strategies=strategies,
        rates={"BTC": Decimal(60_000)},
        sample=50 * US,
        seed=seed,
    )


__all__ = ["TIGHT", "WAKE_QUOTE", "Chaos", "CompiledPair", "PythonPair", "setup"]
