"""What the slow gate knows and how it values it: positions, open orders, marks, profit and loss."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oracle.gate_limits import LimitBook, remember, whole

from tidegate.model import money
from tidegate.model.instrument import Universe
from tidegate.model.order import ExecInst, Order, Side
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import Chain, Level, ScopeTable, State


@dataclass
class Mark:
    bid: int = 0
    ask: int = 0
    ts: int = 0
    count: int = 0
    variance: float = 0.0


@dataclass
class Open:
    order: Order
    lots: int
    value: int
    worst: int
    takes: bool
    mid2: int
    scopes: tuple[int, ...]
    rests: bool


@dataclass
class Window:
    began: int
    base: int
    high: int
    low: int


class Books:
    def __init__(
        self, universe: Universe, scopes: ScopeTable, limits: Limits, *, base_currency: str,
        fx: dict[str, Any], open_orders: int, day_start: int = 0, volatility_memory: int,
    ) -> None:  # fmt: skip
        self.universe, self.scopes, self.book_of = universe, scopes, LimitBook(universe, scopes, limits)
        self.base, self.fx, self.capacity, self.memory = base_currency, fx, open_orders, volatility_memory
        self.day_start, self.day_ends = day_start, 0
        n = len(universe)
        self.marks = [Mark() for _ in range(n)]
        self.inverse = [item.inverse for item in universe.instruments]
        self.currency = [item.settle_currency for item in universe.instruments]
        self.margin_rate = [float(item.initial_margin) for item in universe.instruments]
        self.factor = [float(Fraction(*item.value_ratio)) for item in universe.instruments]
        self.rates = {
            c: float(Decimal(r)) * 1e6 / self.units(c) for c, r in fx.items() if r not in universe.index
        }
        self.rates[base_currency] = 1e6 / self.units(base_currency)
        self.open: dict[int, Open] = {}
        self.pos: dict[tuple[int, int], int] = defaultdict(int)
        self.cash: dict[tuple[int, int], int] = defaultdict(int)
        self.buys: dict[tuple[int, int], int] = defaultdict(int)
        self.sells: dict[tuple[int, int], int] = defaultdict(int)
        self.traded = [0] * len(scopes)
        self.peak = [0] * len(scopes)
        self.day_pnl = [0] * len(scopes)
        self.state = [State.ACTIVE] * len(scopes)
        self.halted = [State.ACTIVE] * n
        self.factor_of: dict[int, int] = {}
        accounts_in = [(s, i) for s in range(len(scopes)) for i in range(n)]
        self.orders_today = dict.fromkeys(accounts_in, (0, 0))
        self.trades_today = dict.fromkeys(accounts_in, (0, 0))
        self.runs: dict[tuple[int, int, Side], tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.fill_tat = [0] * len(scopes)
        self.outcomes = [deque[int](maxlen=50) for _ in scopes.strategies]
        self.slips = [(0, 0, 0)] * len(scopes.strategies)
        self.market = [(-1, -1, -1, -1)] * n
        self.equity: dict[str, int] = {}
        self.unbalanced = [0] * len(scopes)
        self.fact = self.ticked = 0
        self.gap = False
        self.lent: dict[tuple[int, int, int], int] = {}
        self.cause: list[tuple[int, int, int]] = [(0, 0, 0)] * len(scopes)
        self.tat = {"new": [0] * len(scopes), "cancel": [0] * len(scopes)}
        self.recent = [deque[tuple[Any, ...]](maxlen=64) for _ in scopes.strategies]
        self.windows: dict[tuple[int, int], Window] = {}
        self._rules: dict[Any, Any] = {}
        self.warnings = 0
        self.unit_now: dict[int, float] = {}
        """Forgotten whenever a mark or a rate moves."""

    def units(self, currency: str) -> float:
        return float(10 ** money.decimals(currency))

    def rate(self, i: int) -> float:
        return self.rates.get(self.currency[i], 0.0)

    def settle(self, i: int, price: int, lots: int) -> float:
        if self.inverse[i]:
            return self.factor[i] * lots / price if price else 0.0
        return self.factor[i] * price * lots

    def value(self, i: int, price: int, lots: int) -> int:
        return whole(abs(self.settle(i, price, lots)) * self.rate(i))

    def unit(self, i: int, bid: int, ask: int) -> float:
        if self.inverse[i]:
            return self.factor[i] / min(abs(bid), abs(ask)) * self.rate(i) if min(abs(bid), abs(ask)) else 0.0
        return self.factor[i] * max(abs(bid), abs(ask)) * self.rate(i)

    def marked_unit(self, i: int) -> float:
        if i not in self.unit_now:
            self.unit_now[i] = self.unit(i, self.marks[i].bid, self.marks[i].ask) if self.marks[i].ts else 0.0
        return self.unit_now[i]

    def pnl(self, s: int, i: int | None = None) -> int:
        if i is None:
            return sum(self.pnl(s, j) for j in range(len(self.universe)))
        pos, mark = self.pos[s, i], self.marks[i]
        if not pos and not self.cash[s, i]:
            return 0
        worth = whole(self.settle(i, mark.bid if pos > 0 else mark.ask, pos), 1 << 61)
        return whole((self.cash[s, i] + (-worth if self.inverse[i] else worth)) * self.rate(i))

    def gross(self, s: int, i: int, lots: int = 0, side: Side = Side.BUY, unit: float | None = None) -> float:
        long = self.pos[s, i] + self.buys[s, i] + (lots if side is Side.BUY else 0)
        short = self.pos[s, i] - self.sells[s, i] - (lots if side is Side.SELL else 0)
        return (self.marked_unit(i) if unit is None else unit) * max(abs(long), abs(short))

    def all_gross(self, s: int) -> int:
        return sum(whole(self.gross(s, i)) for i in range(len(self.universe)))

    def all_margin(self, s: int) -> int:
        if self.scopes.levels[s] is not Level.ACCOUNT:  # margin is an account's
            return 0
        return sum(whole(self.gross(s, i) * self.margin_rate[i]) for i in range(len(self.universe)))

    def all_net(self, s: int, buy: bool) -> int:
        ends = [
            self.pos[s, i] + (self.buys[s, i] if buy else -self.sells[s, i])
            for i in range(len(self.universe))
        ]
        return sum(whole(self.marked_unit(i) * end) for i, end in enumerate(ends))

    def observe(self) -> dict[str, Any]:
        """Everything the kernel must agree on."""
        seen: dict[str, Any] = {}
        for s in range(len(self.scopes)):
            orders = [o for o in self.open.values() if s in o.scopes]
            seen[f"scope {s}"] = [
                int(self.state[s]), *self.cause[s], len(orders), sum(o.value for o in orders), self.all_gross(s),
                self.all_net(s, True), self.all_net(s, False), self.all_margin(s), self.pnl(s), self.peak[s],
                self.day_pnl[s], self.traded[s], self.tat["new"][s], self.tat["cancel"][s],
            ]  # fmt: skip
            for i in range(len(self.universe)):
                mine = [o for o in self.open.values() if s in o.scopes and o.order.instrument == i]
                buys = [o for o in mine if o.order.side is Side.BUY]
                sells = [o for o in mine if o.order.side is Side.SELL]
                assert self.buys[s, i] == sum(o.lots for o in buys)
                assert self.sells[s, i] == sum(o.lots for o in sells)
                reducing = [
                    sum(o.lots for o in side if o.order.exec_inst & ExecInst.REDUCE_ONLY)
                    for side in (buys, sells)
                ]
                seen[f"cell {s} {i}"] = [
                    self.pos[s, i],
                    self.buys[s, i],
                    self.sells[s, i],
                    *reducing,
                    self.cash[s, i],
                ]
        seen["open"] = sorted([n, o.lots, o.value, o.worst] for n, o in self.open.items())
        seen["marks"] = [[m.bid, m.ask, m.ts, m.count, m.variance] for m in self.marks]
        seen["conduct"] = [
            *([*self.orders_today[key], *self.trades_today[key]] for key in self.orders_today),
            *([sum(past), *slip] for past, slip in zip(self.outcomes, self.slips, strict=True)),
            self.unbalanced,
            self.fill_tat,
        ]
        seen["runs"] = {key: run[0] for key, run in self.runs.items() if run[0]}
        seen["halted"] = [int(state) for state in self.halted]
        return seen

    @remember
    def links(self, account: int, strategy: int) -> Chain:
        return self.scopes.chain(account, strategy)

    def chain(self, order: Order) -> tuple[int, ...]:
        return self.links(order.account, order.strategy).scopes
