"""A small seeded market with real bookkeeping: makers, trend followers and takers over drifting prices.

Not a model of anything in particular, but consistent: positions are sums of fills, the ledger keeps average
cost and marks to the mid, denied orders are those that would have broken a position limit, and fills come
from orders. Tests of analytics and of the report read what it leaves behind.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.analytics.tables import RunTables, make

START = 1_723_075_200_000_000_000
MS, SECOND = 1_000_000, 1_000_000_000


@dataclass(frozen=True)
class Market:
    """One instrument of the simulation."""

    id: str
    price: float
    tick: float
    qty: float
    inverse: bool = False
    multiplier: float = 1.0
    settle: str = "USDT"
    maker_fee: float = 0.00002
    taker_fee: float = 0.0004

    def value(self, price: float, qty: float) -> float:
        return qty * self.multiplier / price if self.inverse else qty * self.multiplier * price


MARKETS = (
    Market("BTCUSDT.BINANCE", 61_250.0, 0.01, 0.02, maker_fee=0.0, taker_fee=0.0005),
    Market("BTCUSDT.BINANCE_UM", 61_230.0, 0.1, 0.05),
    Market("BTCUSD_PERP.BINANCE_CM", 61_260.0, 0.1, 25.0, True, 100.0, "BTC", 0.0001, 0.0005),
    Market("ETHUSDT.BINANCE", 2_420.0, 0.01, 0.5, maker_fee=0.0, taker_fee=0.0005),
    Market("ETHUSDT.BINANCE_UM", 2_419.0, 0.01, 1.0),
    Market("SOLUSDT.BINANCE_UM", 153.0, 0.001, 12.0),
)
STRATEGIES = (
    "maker",
    "trend",
    "imbalance",
    "pairs",
    "glft",
    "basis",
    "momentum_slow",
    "sweep",
    "twap",
    "noise",
)


@dataclass
class Account:
    """Average-cost bookkeeping of one (strategy, instrument), P&L in the settlement currency."""

    position: float = 0.0
    cost: float = 0.0
    realised: float = 0.0
    fees: float = 0.0

    def fill(self, market: Market, side: int, price: float, qty: float, fee: float) -> None:
        signed = side * qty
        sign = -1.0 if market.inverse else 1.0
        if self.position * signed < 0:
            closed = min(abs(signed), abs(self.position))
            share = closed / abs(self.position)
            out = math.copysign(market.value(price, closed), self.position)
            self.realised += sign * (out - self.cost * share)
            self.cost *= 1 - share
            self.position += math.copysign(closed, signed)
            signed = math.copysign(abs(signed) - closed, signed)
        if abs(self.position) < 1e-9:
            self.position = self.cost = 0.0
        if abs(signed) > 1e-12:
            self.position += signed
            self.cost += math.copysign(market.value(price, abs(signed)), signed)
        self.fees += fee

    def unrealised(self, market: Market, mark: float) -> float:
        if not self.position:
            return 0.0
        now = math.copysign(market.value(mark, abs(self.position)), self.position)
        return (now - self.cost) * (-1.0 if market.inverse else 1.0)


@dataclass
class Rows:
    """Columns under construction."""

    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **values: Any) -> None:
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)


def simulate(
    seed: int = 7,
    seconds: float = 300.0,
    strategies: int = 3,
    instruments: int = 3,
    step_ms: int = 100,
    activity: float = 0.25,
    sample_ms: int = 500,
    error: str = "",
) -> RunTables:
    """Run the market. `activity` is how often a strategy acts in an instrument at each step."""
    rng = np.random.default_rng(seed)
    markets = MARKETS[:instruments]
    steps = int(seconds * 1000 / step_ms)
    common = np.cumsum(rng.standard_t(4, steps) * 4e-6 * math.sqrt(step_ms))
    mids = [
        np.round(
            m.price * np.exp(common + np.cumsum(rng.normal(0, 2e-6 * math.sqrt(step_ms), steps))) / m.tick
        )
        * m.tick
        for m in markets
    ]
    spreads = [m.tick * (1 + rng.integers(0, 3, steps)) for m in markets]
    sim = _Simulation(rng, markets, STRATEGIES[:strategies], mids, spreads, step_ms)
    for step in range(2, steps):
        sim.settle(step)
        sim.act(step, activity)
        if step * step_ms % sample_ms == 0:
            sim.sample(step)
    sim.settle(steps - 1)
    sim.sample(steps - 1)
    return sim.tables(error)


class _Simulation:
    def __init__(
        self, rng: Any, markets: Any, strategies: Any, mids: Any, spreads: Any, step_ms: int
    ) -> None:
        self.rng, self.markets, self.strategies = rng, markets, strategies
        self.mids, self.spreads, self.step_ms = mids, spreads, step_ms
        self.books = {(s, i): Account() for s in range(len(strategies)) for i in range(len(markets))}
        self.fills, self.orders, self.denials, self.equity = Rows(), Rows(), Rows(), Rows()
        self.pending: list[tuple[int, int, dict[str, Any]]] = []
        self.next_id = 1
        self.next_exec = 1

    def time(self, step: int) -> int:
        return START + step * self.step_ms * MS

    def act(self, step: int, activity: float) -> None:
        chance = np.array([activity if s % 2 == 0 else activity / 8 for s in range(len(self.strategies))])
        chosen = self.rng.random((len(self.strategies), len(self.markets))) < chance[:, None]
        for s, i in zip(*np.nonzero(chosen), strict=True):
            maker = s % 2 == 0
            mids = self.mids[i]
            if maker:
                drift = np.sign(mids[min(step + 3, len(mids) - 1)] - mids[step]) or 1
                side = int(-drift if self.rng.random() < 0.57 else drift)
                if self.books[s, i].position * side > 0 and self.rng.random() < 0.3:
                    side = -side
            else:
                back = mids[max(step - 10 * (1 + s), 0)]
                side = 1 if mids[step] >= back else -1
            self.order(step, int(s), int(i), side, maker)

    def order(self, step: int, s: int, i: int, side: int, maker: bool) -> None:
        market, rng = self.markets[i], self.rng
        mid, half = float(self.mids[i][step]), float(self.spreads[i][step]) / 2
        price = mid - side * half if maker else mid + side * half
        qty = round(market.qty * float(rng.integers(1, 5)) * 0.5, 6)
        now = self.time(step)
        order_id = self.next_id
        self.next_id += 1
        who = {"strategy": self.strategies[s], "account": "main", "instrument": market.id}
        common = {
            "cl_ord_id": order_id, "ts_submit": now, **who, "side": side, "qty": qty,
            "ord_type": "LIMIT" if maker else "MARKET", "tif": "GTC" if maker else "IOC",
            "price": price if maker else math.nan, "arrival_mid": float(self.mids[i][step - 1]),
        }  # fmt: skip
        limit = market.qty * 12
        worst = abs(self.books[s, i].position + side * qty)
        if worst > limit and worst > abs(self.books[s, i].position):
            reason = "POSITION_LIMIT"
            self.orders.add(
                **common, ts_ack=0, ts_done=now, cum_qty=0.0, avg_px=math.nan, status="DENIED",
                reason=reason, queue_ahead=math.nan,
            )  # fmt: skip
            self.denials.add(
                ts=now, **who, reason=reason, control=6, scope=f"{who['strategy']}/{market.id}",
                limit=limit, value=worst,
            )  # fmt: skip
            return
        ack = now + int(rng.lognormal(math.log(2.2e6), 0.3))
        ahead = float(rng.choice([0.0, rng.exponential(market.qty * 20)])) if maker else math.nan
        chance = math.exp(-ahead / (market.qty * 25)) * 0.6 if maker else 1.0
        filled = qty if rng.random() < chance else 0.0
        if maker and filled and rng.random() < 0.3:
            filled = round(qty / 2, 6)
        wait = int(rng.exponential(3e8) + 5e7) if maker else int(2e6)
        done = ack + wait
        ends = done <= self.time(len(self.mids[i]) - 1)
        filled = filled if ends else 0.0
        self.orders.add(
            **common, ts_ack=ack, ts_done=done if ends else 0, cum_qty=filled,
            avg_px=price if filled else math.nan, reason="", queue_ahead=ahead,
            status="NEW" if not ends else "FILLED" if filled == qty else "CANCELED",
        )  # fmt: skip
        if filled:
            fill = {
                "s": s, "i": i, "who": who, "order_id": order_id, "side": side, "price": price, "qty": filled,
                "maker": maker, "arrival": common["arrival_mid"],
            }  # fmt: skip
            heapq.heappush(self.pending, (done, order_id, fill))

    def settle(self, step: int) -> None:
        """Book every fill that is due by this step."""
        while self.pending and self.pending[0][0] <= self.time(step):
            ts, _, fill = heapq.heappop(self.pending)
            self.fill(ts, **fill)

    def fill(
        self, ts: int, s: int, i: int, who: Any, order_id: int, side: int, price: float, qty: float,
        maker: bool, arrival: float,
    ) -> None:  # fmt: skip
        market = self.markets[i]
        step = (ts - START) // (self.step_ms * MS)
        value = market.value(price, qty)
        fee = value * (market.maker_fee if maker else market.taker_fee)
        self.books[s, i].fill(market, side, price, qty, fee)
        self.fills.add(
            ts=ts, ts_venue=ts - 1_200_000, **who, cl_ord_id=order_id, exec_id=self.next_exec, side=side,
            price=price, qty=qty, value=value, fee=fee, currency=market.settle,
            liquidity="maker" if maker else "taker", mid=float(self.mids[i][step]), arrival_mid=arrival,
        )  # fmt: skip
        self.next_exec += 1

    def rate(self, market: Market, step: int) -> float:
        return float(self.mids[0][step]) if market.settle == "BTC" else 1.0

    def sample(self, step: int) -> None:
        for (s, i), book in self.books.items():
            market, mark = self.markets[i], float(self.mids[i][step])
            rate = self.rate(market, step)
            side = math.copysign(1.0, book.position) if book.position else 0.0
            self.equity.add(
                ts=self.time(step), strategy=self.strategies[s], account="main", instrument=market.id,
                position=book.position, mark=mark,
                exposure=side * market.value(mark, abs(book.position)) * rate,
                realised=book.realised * rate, unrealised=book.unrealised(market, mark) * rate,
                fees=book.fees * rate, funding=0.0,
            )  # fmt: skip

    def tables(self, error: str) -> RunTables:
        steps = len(self.mids[0])
        stamps = START + np.arange(steps) * self.step_ms * MS
        touch = {
            "ts": np.concatenate([stamps] * len(self.markets)),
            "instrument": np.repeat([m.id for m in self.markets], steps),
            "bid": np.concatenate([m - s / 2 for m, s in zip(self.mids, self.spreads, strict=True)]),
            "ask": np.concatenate([m + s / 2 for m, s in zip(self.mids, self.spreads, strict=True)]),
        }
        return RunTables(
            fills=make("fills", self.fills.columns or None),
            orders=make("orders", self.orders.columns or None),
            denials=make("denials", self.denials.columns or None),
            equity=make("equity", self.equity.columns or None),
            touch=make("touch", touch),
            latency=make("latency", self._latency()),
            summary=self._summary(steps, error),
        )

    def _latency(self) -> dict[str, Any]:
        names = [f"feed {m.id}" for m in self.markets] + ["entry BINANCE", "response BINANCE"]
        samples = [
            (self.rng.lognormal(math.log(3e6 * (1 + n / 3)), 0.35, 2000) + self.rng.pareto(2.5, 2000) * 1e6)
            for n in range(len(names))
        ]
        return {"name": np.repeat(names, 2000), "ns": np.concatenate(samples).astype(np.int64)}

    def _summary(self, steps: int, error: str) -> dict[str, Any]:
        last = steps - 1
        summary: dict[str, Any] = {
            "run_id": "3f9c1e7ab2d4", "state_hash": "a41be07f6c3d92e8", "config": "three-markets.toml",
            "version": "0.1.0", "base_currency": "USDT", "start": START, "end": self.time(last),
            "events": 1_204_338, "wall_s": 3.41, "events_per_s": 353_178.3,
            "capital": {"main": 1_000_000.0},
            "rates": {"USDT": 1.0, "BTC": float(self.mids[0][last])},
            "inverse": [m.id for m in self.markets if m.inverse],
            "data": {
                m.id: {"rows": {"delta": 310_221, "quote": 52_118, "trade": 9_874}, "start": START,
                       "end": self.time(last)}
                for m in self.markets
            },
            "counters": {"gaps": 0, "quarantined": 2, "crossed": 0},
        }  # fmt: skip
        if error:
            summary["error"] = error
        return summary
