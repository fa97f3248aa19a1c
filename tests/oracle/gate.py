"""The risk gate, slow and obvious: dictionaries, decimals for the limits, sums taken afresh, rules as written.

It shares with the kernel only numbers of reasons, the rounding rule and the order of controls. State is keyed by
names of things, not by slots; `observe` gives the figures that both sides must agree on.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from tidegate.model import money
from tidegate.model.instrument import Universe
from tidegate.model.order import ExecInst, Order, OrdType, Side, TimeInForce
from tidegate.risk.controls import CONTROLS
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Chain, Level, ScopeTable, State

DAY = 86_400_000_000_000
ENDLESS = 1 << 62
STOPS = (OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP)


def whole(x: float, bound: int = 1 << 60) -> int:
    return math.floor(min(max(x, float(-bound)), float(bound)) + 0.5)


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


class Denied(Exception):
    def __init__(self, reason: R, control: int, limit: int, value: int, scope: int) -> None:
        self.figures = [int(reason), int(limit), int(value), scope, control]


def micro(x: Decimal) -> int:
    return math.floor(x * 1_000_000) if x.is_finite() else ENDLESS


def ppm(x: Decimal) -> int:
    return math.floor(x * 1_000_000) if x < 100 else ENDLESS


def number(x: Decimal) -> int:
    return math.floor(x) if x.is_finite() else ENDLESS


class LimitBook:
    """Which limit holds where: named table before "*", instrument before general."""

    def __init__(self, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.universe, self.scopes, self.limits = universe, scopes, limits

    @cache
    def tables(self, scope: int) -> list[ScopeLimits]:
        level, name = self.scopes.levels[scope], self.scopes.names[scope]
        if level is Level.FIRM:
            return [self.limits.firm]
        where = {Level.DESK: self.limits.desks, Level.ACCOUNT: self.limits.accounts}.get(level, self.limits.strategies)
        return [where[key] for key in (name, "*") if key in where]

    @cache
    def at(self, scope: int, i: int, field: str) -> tuple[Any, InstrumentLimits | None]:
        general = self.tables(scope)
        for key in (self.universe[i].id, "*"):
            for table in general:
                if key in table.instruments and getattr(table.instruments[key], field) is not None:
                    return getattr(table.instruments[key], field), table.instruments[key]
        for table in general:
            if getattr(table, field) is not None:
                return getattr(table, field), table
        return None, None

    @cache
    def total(self, scope: int, field: str) -> Any:
        return next((getattr(t, field) for t in self.tables(scope) if getattr(t, field) is not None), None)

    def tightest(self, chain: tuple[int, ...], i: int, field: str) -> tuple[Any, Any, int]:
        found = [(self.at(s, i, field), s) for s in chain]
        found = [entry for entry in found if entry[0][0] is not None]
        (value, table), scope = min(found, key=lambda entry: entry[0][0])
        return value, table, scope

    @cache
    def position(self, scope: int, i: int, end: str) -> Decimal | None:
        value = self.at(scope, i, end)[0]
        return self.at(scope, i, "position")[0] if value is None else value

    @cache
    def cap(self, scope: int, field: str) -> int:
        value = self.total(scope, field)
        if value is None:
            return ENDLESS
        return number(value) if field == "open_orders" else micro(value)

    @cache
    def room(self, scope: int, i: int, end: str) -> int:
        most = self.position(scope, i, end)
        return ENDLESS if most is None or not most.is_finite() else math.floor(most / self.universe[i].lot)

    @cache
    def bucket(self, scope: int, rate_field: str, burst_field: str) -> tuple[int, int]:
        table = next((t for t in self.tables(scope) if getattr(t, rate_field) is not None), None)
        rate = getattr(table, rate_field) if table else None
        if rate is None or not rate.is_finite():
            return 0, ENDLESS
        gap = math.ceil(Fraction(1_000_000_000) / Fraction(rate))
        return gap, gap * (max(1, getattr(table, burst_field) or math.floor(rate)) - 1)

    def lacking(self, chain: tuple[int, ...], i: int, risk_only: bool) -> tuple[int, int] | None:
        for control in CONTROLS:
            if control.risk_only is not risk_only:
                continue
            for s in chain:
                if control.levels and self.scopes.levels[s] not in control.levels:
                    continue
                for field in control.fields:
                    if not control.levels:
                        look = (lambda s, f: self.total(s, f)) if field == "trade" else (lambda s, f: self.at(s, i, f)[0])
                        if all(look(other, field) is None for other in chain):
                            return control.number, chain[0]
                    elif field == "position":
                        if self.position(s, i, "long") is None or self.position(s, i, "short") is None:
                            return control.number, s
                    elif self.total(s, field) is None:
                        return control.number, s
        return None


class OracleGate:
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
        self.rates = {c: float(Decimal(r)) * 1e6 / self.units(c) for c, r in fx.items() if r not in universe.index}
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
        self.cause: list[tuple[int, int, int]] = [(0, 0, 0)] * len(scopes)
        self.tat = {"new": [0] * len(scopes), "cancel": [0] * len(scopes)}
        self.recent = [deque[tuple[Any, ...]](maxlen=64) for _ in scopes.strategies]
        self.windows: dict[tuple[int, int], Window] = {}
        self._rules: dict[Any, Any] = {}
        self.warnings = 0
        self.unit_now: dict[int, float] = {}
        """Forgotten whenever a mark or a rate moves."""

    # Values.

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
        return sum(whole(self.gross(s, i) * self.margin_rate[i]) for i in range(len(self.universe)))

    def all_net(self, s: int, buy: bool) -> int:
        ends = [self.pos[s, i] + (self.buys[s, i] if buy else -self.sells[s, i]) for i in range(len(self.universe))]
        return sum(whole(self.marked_unit(i) * end) for i, end in enumerate(ends))

    def observe(self) -> dict[str, Any]:
        """Everything the kernel must agree on."""
        seen: dict[str, Any] = {}
        for s in range(len(self.scopes)):
            orders = [o for o in self.open.values() if s in o.scopes]
            seen[f"scope {s}"] = [
                int(self.state[s]), *self.cause[s], len(orders), sum(o.value for o in orders), self.all_gross(s),
                self.all_net(s, True), self.all_net(s, False), self.all_margin(s), self.pnl(s), self.peak[s], self.day_pnl[s], self.traded[s], self.tat["new"][s], self.tat["cancel"][s],
            ]  # fmt: skip
            for i in range(len(self.universe)):
                mine = [o for o in self.open.values() if s in o.scopes and o.order.instrument == i]
                buys = [o for o in mine if o.order.side is Side.BUY]
                sells = [o for o in mine if o.order.side is Side.SELL]
                assert self.buys[s, i] == sum(o.lots for o in buys)
                assert self.sells[s, i] == sum(o.lots for o in sells)
                reducing = [sum(o.lots for o in side if o.order.exec_inst & ExecInst.REDUCE_ONLY) for side in (buys, sells)]
                seen[f"cell {s} {i}"] = [self.pos[s, i], self.buys[s, i], self.sells[s, i], *reducing, self.cash[s, i]]
        seen["open"] = sorted([n, o.lots, o.value, o.worst] for n, o in self.open.items())
        seen["marks"] = [[m.bid, m.ask, m.ts, m.count, m.variance] for m in self.marks]
        return seen

    # Checks.

    @cache
    def links(self, account: int, strategy: int) -> Chain:
        return self.scopes.chain(account, strategy)

    def chain(self, order: Order) -> tuple[int, ...]:
        return self.links(order.account, order.strategy).scopes

    def judge(self, what: Any, *args: Any) -> list[int]:
        """(reason, limit, value, scope, control, warnings) of a check."""
        self.warnings = 0
        try:
            what(*args)
        except Denied as denied:
            return [*denied.figures, self.warnings]
        return [0, 0, 0, 0, 0, self.warnings]

    def check(self, order: Order, ref: tuple[int, int, int], ts: int) -> list[int]:
        self.roll(ts)
        return self.judge(self._judge, order, None, order.qty, order.price, ref, ts)

    def check_replace(self, order: Order, qty: int, price: int, ref: tuple[int, int, int], ts: int) -> list[int]:
        self.roll(ts)
        return self.judge(self._replace, order, qty, price, ref, ts)

    def _replace(self, order: Order, qty: int, price: int, ref: tuple[int, int, int], ts: int) -> None:
        self.known(order)
        if order.cl_ord_id not in self.open:
            raise Denied(R.NOT_CHARGED, 3, 0, order.cl_ord_id, 0)
        if (qty or order.qty) <= order.cum_qty:
            raise Denied(R.INVALID_QTY, 3, order.cum_qty + 1, qty or order.qty, 0)
        self._judge(order, self.open[order.cl_ord_id], qty or order.qty, price or order.price, ref, ts)

    def check_cancel(self, order: Order, ts: int) -> list[int]:
        return self.judge(self._cancel, order, ts)

    def _cancel(self, order: Order, ts: int) -> None:
        self.known(order)
        self.throttle(order, "cancel", R.CANCEL_THROTTLE, ts)

    def check_parent(self, legs: list[Order], refs: list[tuple[int, int, int]], ts: int) -> list[int]:
        return self.judge(self._parent, legs, refs, ts)

    def _parent(self, legs: list[Order], refs: list[tuple[int, int, int]], ts: int) -> None:
        total = 0
        for order, ref in zip(legs, refs, strict=True):
            self.known(order)
            self.valid(order, order.qty, order.price, ts)
            self.limits_set(order, risk_only=False)
            bid, ask, _, known = self.reference(order.instrument, ref)
            self.needs_reference(order, order.price, known)
            worst, plain, _ = self.prices(order, order.price, bid, ask)
            total += self.charge_value(order, worst, plain, known, bid, ask, order.qty)
            limit, scope = self.rule(order, "parent_value", micro)
            if total > limit:
                raise Denied(R.MAX_PARENT_VALUE, 6, limit, total, scope)

    def rule(self, order: Order, field: str, convert: Any) -> tuple[Any, int]:
        key = (order.account, order.strategy, order.instrument, field)
        if key not in self._rules:
            value, _, scope = self.book_of.tightest(self.chain(order), order.instrument, field)
            self._rules[key] = convert(value), scope
        return self._rules[key]

    def beside(self, order: Order, field: str, companion: str) -> Any:
        key = (order.account, order.strategy, order.instrument, field, companion)
        if key not in self._rules:
            self._rules[key] = getattr(self.book_of.tightest(self.chain(order), order.instrument, field)[1], companion)
        return self._rules[key]

    def known(self, order: Order) -> None:
        if not 0 <= order.instrument < len(self.universe):
            raise Denied(R.UNKNOWN_INSTRUMENT, 1, len(self.universe), order.instrument, 0)
        if not 0 <= order.strategy < len(self.scopes.strategies):
            raise Denied(R.UNKNOWN_STRATEGY, 1, len(self.scopes.strategies), order.strategy, 0)
        if not 0 <= order.account < len(self.scopes.accounts):
            raise Denied(R.UNKNOWN_ACCOUNT, 1, len(self.scopes.accounts), order.account, 0)
        if not self.links(order.account, order.strategy).permitted:
            scope = self.scopes.strategy_scope(order.strategy)
            raise Denied(R.ACCOUNT_NOT_PERMITTED, 1, 0, order.account, scope)

    def permitted(self, order: Order, ts: int) -> None:
        chain, i = self.chain(order), order.instrument
        for s in chain:
            if self.state[s] is State.KILLED:
                raise Denied(R.SCOPE_KILLED, 27, 0, State.KILLED, s)
            if self.state[s] is State.CANCEL_ONLY:
                raise Denied(R.SCOPE_CANCEL_ONLY, 27, 0, State.CANCEL_ONLY, s)
        item, me = self.universe[i], chain[0]
        lists = [self.book_of.total(s, "trade") for s in chain]
        lists = [names for names in lists if names is not None]
        fits = {item.id, "*", f"*.{item.venue}"}
        if not lists or any(not fits & set(names) for names in lists):
            raise Denied(R.INSTRUMENT_NOT_PERMITTED, 1, 0, i, me)
        for field, reason, value in (
            ("sides", R.SIDE_NOT_PERMITTED, order.side),
            ("order_types", R.ORD_TYPE_NOT_PERMITTED, order.ord_type),
            ("time_in_force", R.TIF_NOT_PERMITTED, order.time_in_force),
        ):
            key = (order.account, order.strategy, i, field)
            if key not in self._rules:
                allowed = [self.book_of.at(s, i, field)[0] for s in chain]
                sets = [{name.lower() for name in names} for names in allowed if names is not None]
                kept = set.intersection(*sets) if sets else set()
                self._rules[key] = sum(1 << v for v in type(value) if v.name.lower() in kept)
            if not self._rules[key] >> value & 1:
                raise Denied(reason, 1, self._rules[key], value, me)
        begins, ends = [], []
        for s in chain:
            start, end = self.book_of.at(s, i, "restricted_from")[0], self.book_of.at(s, i, "restricted_to")[0]
            if self.book_of.at(s, i, "restricted")[0]:
                raise Denied(R.RESTRICTED, 2, 0, i, 0)
            if start is not None or end is not None:
                begins.append(-ENDLESS if start is None else start)
                ends.append(ENDLESS if end is None else end)
        if begins and min(begins) <= ts < max(ends):
            if max(ends) == ENDLESS:
                raise Denied(R.RESTRICTED, 2, 0, i, 0)
            raise Denied(R.RESTRICTED_WINDOW, 2, max(ends), ts, 0)
        if item.expiry:
            windows = [self.book_of.at(s, i, "expiry_window")[0] for s in chain]
            for window in sorted((w for w in windows if w is not None), reverse=True)[:1]:
                if ts >= item.expiry - window:
                    raise Denied(R.RESTRICTED_WINDOW, 2, item.expiry - window, ts, 0)

    def valid(self, order: Order, qty: int, price: int, ts: int) -> None:
        item, kind, tif, inst = self.universe[order.instrument], order.ord_type, order.time_in_force, order.exec_inst
        least, most = self.size_range(order.instrument)
        far = max(abs(price), abs(order.stop_price), abs(order.offset))
        at_once = tif in (TimeInForce.IOC, TimeInForce.FOK)
        priced = kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.STOP_LIMIT)
        pegs = inst & (ExecInst.PEG_PRIMARY | ExecInst.PEG_MARKET | ExecInst.PEG_MID)
        passive = kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.PEGGED) and not at_once
        rules = (
            (qty <= 0, R.INVALID_QTY, 1, qty),
            (qty > 1 << 50, R.OUT_OF_RANGE, 1 << 50, qty),
            (far > 1 << 40, R.OUT_OF_RANGE, 1 << 40, far),
            (qty < least, R.BELOW_MIN_QTY, least, qty),
            (qty > most, R.ABOVE_MAX_QTY, most, qty),
            (item.expiry and ts >= item.expiry, R.INSTRUMENT_EXPIRED, item.expiry, ts),
            (at_once and kind not in (OrdType.MARKET, OrdType.LIMIT), R.INVALID_TIF, 0, tif),
            (tif is TimeInForce.GTD and kind is OrdType.MARKET, R.INVALID_TIF, 0, tif),
            (tif is TimeInForce.GTD and order.expire_ts <= ts, R.INVALID_EXPIRY, ts, order.expire_ts),
            (not item.negative_prices and priced and price <= 0, R.INVALID_PRICE, 1, price),
            (not item.negative_prices and kind is OrdType.PEGGED and price < 0, R.INVALID_PRICE, 1, price),
            (not item.negative_prices and kind in (OrdType.STOP, OrdType.STOP_LIMIT) and order.stop_price <= 0,
             R.STOP_PRICE_MISSING, 1, order.stop_price),
            (kind is OrdType.TRAILING_STOP and order.offset <= 0, R.INVALID_OFFSET, 1, order.offset),
            (not 0 <= order.display_qty <= qty, R.INVALID_DISPLAY, qty, order.display_qty),
            (kind is OrdType.ICEBERG and not order.display_qty, R.INVALID_DISPLAY, qty, order.display_qty),
            (inst & ExecInst.POST_ONLY and not passive, R.INVALID_EXEC_INST, 0, inst),
            ((kind is OrdType.PEGGED) != (pegs.bit_count() == 1), R.INVALID_EXEC_INST, 0, inst),
        )  # fmt: skip
        for broken, reason, limit, value in rules:
            if broken:
                raise Denied(reason, 3, limit, value, 0)

    @cache
    def size_range(self, i: int) -> tuple[int, int]:
        item = self.universe[i]
        least = max(1, math.ceil(item.min_qty / item.lot))
        if item.inverse:
            least = max(least, math.ceil(item.min_notional / item.lot / item.multiplier))
        return least, math.floor(item.max_qty / item.lot) if item.max_qty else ENDLESS

    @cache
    def least_notional(self, i: int) -> float:
        item = self.universe[i]
        if item.inverse:
            return 0.0
        return float(Fraction(item.min_notional) / Fraction(item.lot) / Fraction(item.multiplier) / Fraction(item.tick))

    def limits_set(self, order: Order, risk_only: bool) -> None:
        key = (order.account, order.strategy, order.instrument, "lacking", risk_only)
        if key not in self._rules:
            self._rules[key] = self.book_of.lacking(self.chain(order), order.instrument, risk_only)
        if self._rules[key]:
            control, scope = self._rules[key]
            raise Denied(R.NO_LIMIT, 30, control, 0, scope)

    def usable(self, i: int, bid: int, ask: int) -> bool:
        small = abs(bid) <= 1 << 40 and abs(ask) <= 1 << 40
        return small and (self.universe[i].negative_prices or (bid > 0 and ask > 0))

    def reference(self, i: int, ref: tuple[int, int, int]) -> tuple[int, int, int, bool]:
        bid, ask, seen = ref
        if seen and self.usable(i, bid, ask):
            return bid, ask, seen, True
        mark = self.marks[i]
        return mark.bid, mark.ask, mark.ts, mark.ts != 0

    def needs_reference(self, order: Order, price: int, known: bool) -> None:
        if not self.rate(order.instrument):
            raise Denied(R.NO_FX_RATE, 10, 0, order.instrument, 0)
        collar, scope = self.rule(order, "price_collar", ppm)
        if order.ord_type in STOPS:
            needed = order.ord_type is OrdType.TRAILING_STOP and not order.stop_price
        else:
            needed = collar < ENDLESS or not self.limited(order, price)
        if needed and not known:
            raise Denied(R.NO_REFERENCE, 7, collar, 0, scope)

    def limited(self, order: Order, price: int) -> bool:
        kind = order.ord_type
        return kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.STOP_LIMIT) or (kind is OrdType.PEGGED and price != 0)

    def width(self, order: Order, base2: int) -> int:
        collar, _ = self.rule(order, "price_collar", ppm)
        if collar == ENDLESS:
            return ENDLESS
        floor = math.floor(self.beside(order, "price_collar", "price_collar_floor") / self.universe[order.instrument].tick)
        return max(math.floor(float(collar) * abs(base2) / 1_000_000), 2 * floor)

    def prices(self, order: Order, price: int, bid: int, ask: int) -> tuple[int, int, int]:
        buy = order.side is Side.BUY
        plain, base2 = (ask if buy else bid), bid + ask
        if order.ord_type in STOPS:
            plain = order.stop_price
            if order.ord_type is OrdType.TRAILING_STOP and not plain:
                plain = ask + order.offset if buy else bid - order.offset
            base2 = 2 * plain
        if self.limited(order, price):
            return price, price, base2
        width = self.width(order, base2)
        if width == ENDLESS:
            return plain, plain, base2
        worst = -((-base2 - width) // 2) if buy else (base2 - width) // 2
        if not self.universe[order.instrument].negative_prices:
            worst = max(1, worst)
        return worst, plain, base2

    def charge_value(
        self, order: Order, worst: int, plain: int, known: bool, bid: int, ask: int, lots: int
    ) -> int:
        other = (ask if order.side is Side.BUY else bid) if known else plain
        i = order.instrument
        return max(self.value(i, worst, lots), self.value(i, other, lots))

    def reduces(self, s: int, order: Order, lots: int) -> bool:
        pos = self.pos[s, order.instrument]
        if order.side is Side.BUY:
            return pos < 0 and self.buys[s, order.instrument] + lots <= -pos
        return pos > 0 and self.sells[s, order.instrument] + lots <= pos

    def _judge(
        self, order: Order, held: Open | None, qty: int, price: int, ref: tuple[int, int, int], ts: int
    ) -> None:
        self.known(order)
        self.limits_set(order, risk_only=False)
        self.permitted(order, ts)
        self.valid(order, qty, price, ts)
        i, buy, chain = order.instrument, order.side is Side.BUY, self.chain(order)
        sign = 1 if buy else -1
        bid, ask, seen, known = self.reference(i, ref)
        leaves = qty if held is None else qty - order.cum_qty
        lots = leaves if held is None else max(0, leaves - held.lots)
        shrinks = held is not None and lots == 0 and sign * (price - order.price) <= 0
        if not shrinks and not self.reduces(chain[0], order, lots):
            self.limits_set(order, risk_only=True)
            age, scope = self.rule(order, "max_age", int)
            if not known:
                raise Denied(R.MARKET_DATA_MISSING, 10, 0, i, scope)
            if bid > ask:
                raise Denied(R.MARKET_DATA_CROSSED, 10, bid, ask, scope)
            if abs(ts - seen) > age:
                raise Denied(R.MARKET_DATA_STALE, 10, age, abs(ts - seen), scope)
        self.needs_reference(order, price, known)
        worst, plain, base2 = self.prices(order, price, bid, ask)
        value = self.charge_value(order, worst, plain, known, bid, ask, qty)
        self.sizes(order, qty, plain, value)
        stop = order.ord_type in STOPS
        if not stop or self.limited(order, price):
            collar, scope = self.rule(order, "price_collar", ppm)
            off = abs(2 * plain - base2)
            if off > self.width(order, base2):
                parts = whole(float(off) * 1_000_000 / abs(base2)) if base2 else 1 << 60
                raise Denied(R.PRICE_COLLAR, 7, collar, parts, scope)
        through = sign * (worst - (ask if buy else bid))
        takes = stop or (through >= 0 and not order.exec_inst & ExecInst.POST_ONLY)
        if known and not stop:
            if self.limited(order, price):
                self.band(order, through, bid + ask)
            if takes:
                self.drift(order, sign, ts)
        if not stop:
            self.self_match(order, worst)
        more = value
        if held is not None:
            value = self.charge_value(order, worst, plain, known, bid, ask, leaves)
            more = max(0, value - held.value)
        elif len(self.open) == self.capacity:
            raise Denied(R.GATE_FULL, 16, self.capacity, self.capacity + 1, 0)
        unit = self.marked_unit(i) or self.unit(i, bid, ask)
        for s in chain:
            self.scope(s, order, shrinks, lots, more, 1 if held is None else 0, unit)
        if held is None:
            self.duplicates(order, qty, price, ts)
        self.throttle(order, "new", R.ORDER_THROTTLE, ts)
        if not self.marks[i].ts and known:
            self.marks[i].bid, self.marks[i].ask, self.marks[i].ts = bid, ask, seen
            self.unit_now.clear()
        if held is None:
            rests = order.ord_type in (OrdType.LIMIT, OrdType.ICEBERG)
            rests = rests and order.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK)
            self.open[order.cl_ord_id] = Open(order, 0, 0, worst, takes, bid + ask, chain, rests)
            self.charge(self.open[order.cl_ord_id], lots, value)
        else:
            self.charge(held, held.lots + lots, held.value + more)
            if sign * (worst - held.worst) > 0:
                held.worst = worst

    def sizes(self, order: Order, qty: int, plain: int, value: int) -> None:
        item = self.universe[order.instrument]
        least = self.least_notional(order.instrument)
        if float(abs(plain)) * qty < least:
            raise Denied(R.BELOW_MIN_NOTIONAL, 3, whole(least), whole(float(abs(plain)) * qty), 0)
        limit, scope = self.rule(order, "order_qty", lambda q: math.floor(q / item.lot) if q.is_finite() else ENDLESS)
        if qty > limit:
            raise Denied(R.MAX_ORDER_QTY, 4, limit, qty, scope)
        limit, scope = self.rule(order, "order_value", micro)
        if value >= 1 << 60:
            raise Denied(R.OUT_OF_RANGE, 5, 1 << 60, value, 0)
        if value > limit:
            raise Denied(R.MAX_ORDER_VALUE, 5, limit, value, scope)
        if value > limit // 2:
            self.warnings |= 1 << 5
        limit, scope = self.rule(order, "parent_value", micro)
        if value > limit:
            raise Denied(R.MAX_PARENT_VALUE, 6, limit, value, scope)

    def band(self, order: Order, through: int, mid2: int) -> None:
        limit, scope = self.rule(order, "dynamic_collar", lambda k: math.floor(k * 1000) if k < 1000 else ENDLESS)
        mark = self.marks[order.instrument]
        if limit == ENDLESS or mark.count < 20:
            return
        sigma = math.sqrt(mark.variance * self.beside(order, "dynamic_collar", "dynamic_horizon"))
        floor = float(ppm(self.beside(order, "dynamic_collar", "dynamic_floor"))) * abs(mid2) / 2_000_000
        band = whole(max(sigma * limit / 1000, floor))
        if 2 * through > band:
            self.warnings |= 1 << 8
        if through > band:
            raise Denied(R.DYNAMIC_COLLAR, 8, band, through, scope)

    def drift(self, order: Order, sign: int, ts: int) -> None:
        limit, scope = self.rule(order, "period_drift", ppm)
        window = self.windows.get((order.strategy, order.instrument))
        length = self.beside(order, "period_drift", "period_window")
        if window is None or ts - window.began >= length or not window.base:
            return
        moved = sign * (2 * (window.high if sign > 0 else window.low) - window.base)
        parts = whole(float(moved) * 1_000_000 / abs(window.base)) if moved > 0 else 0
        if parts > limit:
            raise Denied(R.PERIOD_COLLAR, 9, limit, parts, scope)

    def group(self, account: int) -> int:
        return self.links(account, 0).group

    def self_match(self, order: Order, worst: int) -> None:
        says = [self.book_of.at(s, order.instrument, "self_match")[0] for s in self.chain(order)]
        if True in says and False not in says:
            return
        group, buy = self.group(order.account), order.side is Side.BUY
        own = [
            o.worst for o in self.open.values()
            if o.rests and o.order.instrument == order.instrument and o.order.side is not order.side
            and self.group(o.order.account) == group
        ]  # fmt: skip
        if own:
            best = min(own) if buy else max(own)
            if (worst >= best) if buy else (worst <= best):
                raise Denied(R.SELF_MATCH, 12, best, worst, group)

    def scope(self, s: int, order: Order, shrinks: bool, lots: int, more: int, count: int, unit: float) -> None:
        i, buy, book = order.instrument, order.side is Side.BUY, self.book_of
        pos, state = self.pos[s, i], self.state[s]
        safe = shrinks or self.reduces(s, order, lots)
        mine = [o for o in self.open.values() if s in o.scopes]
        resting = sum(o.value for o in mine)
        if state is State.WARN:
            self.warnings |= 1 << 23
        if state >= State.REDUCE_ONLY and not safe:
            if self.cause[s][0]:
                raise Denied(R(self.cause[s][0]), 23, *self.cause[s][1:], s)
            raise Denied(R.SCOPE_REDUCE_ONLY, 27, abs(pos), lots, s)
        if order.exec_inst & ExecInst.REDUCE_ONLY and lots and self.scopes.levels[s] >= Level.ACCOUNT:
            left = max(0, -pos if buy else pos)
            asked = lots + sum(
                o.lots for o in mine
                if o.order.instrument == i and o.order.side is order.side and o.order.exec_inst & ExecInst.REDUCE_ONLY
            )  # fmt: skip
            if asked > left:
                raise Denied(R.REDUCE_ONLY_EXCEEDED, 27, left, asked, s)
        if count and len(mine) + 1 > book.cap(s, "open_orders"):
            raise Denied(R.OPEN_ORDERS, 16, book.cap(s, "open_orders"), len(mine) + 1, s)
        if more and resting + more > book.cap(s, "open_value"):
            raise Denied(R.OPEN_VALUE, 16, book.cap(s, "open_value"), resting + more, s)
        if safe:
            return
        if lots:
            would = pos + self.buys[s, i] + lots if buy else self.sells[s, i] + lots - pos
            allowed = book.room(s, i, "long" if buy else "short")
            if would > allowed:
                raise Denied(R.POSITION_LIMIT, 17, allowed, would, s)
        traded = self.traded[s] + resting + more
        if more and traded > book.cap(s, "traded_value"):
            raise Denied(R.TRADED_VALUE, 25, book.cap(s, "traded_value"), traded, s)
        if not lots:
            return
        gross, net = self.all_gross(s), self.all_net(s, buy)
        # Before the first mark nothing of the instrument is in the totals, and `unit` is the reference's.
        now = self.gross(s, i) if self.marked_unit(i) else 0.0
        then = self.gross(s, i, lots, order.side, unit)
        grown = whole(then) - whole(now)
        if grown > 0 and gross + grown > book.cap(s, "gross"):
            raise Denied(R.GROSS_NOTIONAL, 18, book.cap(s, "gross"), gross + grown, s)
        end = pos + self.buys[s, i] if buy else pos - self.sells[s, i]
        after = net - whole(self.marked_unit(i) * end) + whole(unit * (end + (lots if buy else -lots)))
        if abs(after) > book.cap(s, "net") and abs(after) > abs(net):
            raise Denied(R.NET_NOTIONAL, 18, book.cap(s, "net"), abs(after), s)
        buffer = book.total(s, "margin_buffer")
        if self.scopes.levels[s] is Level.ACCOUNT and buffer is not None and buffer.is_finite():
            capital = self.scopes.accounts[order.account].capital
            allowed = (math.floor(capital * 1_000_000) + self.pnl(s)) * max(0, 1_000_000 - ppm(buffer)) // 1_000_000
            rate = self.margin_rate[i]
            grown = whole(then * rate) - whole(now * rate)
            if grown > 0 and self.all_margin(s) + grown > allowed:
                raise Denied(R.MARGIN, 20, allowed, self.all_margin(s) + grown, s)

    def duplicates(self, order: Order, qty: int, price: int, ts: int) -> None:
        limit, scope = self.rule(order, "duplicate_orders", number)
        window = self.beside(order, "duplicate_orders", "duplicate_window")
        recent, key = self.recent[order.strategy], (
            order.account, order.instrument, order.side, order.ord_type, price or order.stop_price, qty
        )
        same = 1 + sum(1 for k, when, _ in recent if k == key and when > ts - window)
        replayed = order.cl_ord_id != 0 and any(name == order.cl_ord_id for _, _, name in recent)
        recent.append((key, ts, order.cl_ord_id))
        if replayed:
            raise Denied(R.DUPLICATE_ID, 11, 0, order.cl_ord_id, scope)
        if same > limit:
            raise Denied(R.DUPLICATE_ORDER, 11, limit, same, scope)

    def throttle(self, order: Order, which: str, reason: R, ts: int) -> None:
        rate_field, burst_field = {"new": ("orders_per_second", "order_burst")}.get(
            which, ("cancels_per_second", "cancel_burst")
        )
        buckets = [(s, *self.book_of.bucket(s, rate_field, burst_field)) for s in self.chain(order)]
        tat = self.tat[which]
        for s, gap, ahead in buckets:
            if tat[s] - ahead > ts:
                raise Denied(reason, 13, gap, tat[s] - ahead - ts, s)
        for s, gap, _ in buckets:
            tat[s] = max(ts, tat[s]) + gap

    # What happens to charges and positions.

    def charge(self, held: Open, lots: int, value: int) -> None:
        side = self.buys if held.order.side is Side.BUY else self.sells
        for s in held.scopes:
            side[s, held.order.instrument] += lots - held.lots
        held.lots, held.value = lots, value
        if not lots:
            del self.open[held.order.cl_ord_id]

    def recharge(self, order: Order, lots: int, price: int) -> None:
        held = self.open.get(order.cl_ord_id)
        if held is None:
            return
        if lots <= 0:
            self.charge(held, 0, 0)
            return
        mark = self.marks[order.instrument]
        worst, plain, _ = self.prices(order, price, mark.bid, mark.ask)
        held.worst = worst
        self.charge(held, lots, self.charge_value(order, worst, plain, mark.ts != 0, mark.bid, mark.ask, lots))

    def replaced(self, order: Order, qty: int, price: int, ts: int) -> None:
        self.roll(ts)
        self.recharge(order, (qty or order.qty) - order.cum_qty, price or order.price)

    def replace_rejected(self, order: Order, qty: int, price: int, ts: int) -> None:
        self.roll(ts)
        self.recharge(order, order.leaves_qty, order.price)

    def release(self, order: Order, qty: int, ts: int) -> None:
        self.roll(ts)
        held = self.open.get(order.cl_ord_id)
        if held is not None:
            left = 0 if qty >= order.leaves_qty else max(0, held.lots - qty)
            self.charge(held, left, whole(float(held.value) * left / held.lots))

    def fill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        held = self.open.get(order.cl_ord_id)
        if held is not None:
            if held.takes:
                self.took(held, price, ts)
            self.release(order, qty, ts)
        self.book(order, qty, price, fee, ts)

    def took(self, held: Open, price: int, ts: int) -> None:
        key = (held.order.strategy, held.order.instrument)
        window = self.windows.get(key)
        if window is None or ts - window.began >= self.beside(held.order, "period_drift", "period_window"):
            self.windows[key] = Window(max(ts, 1), held.mid2 or 2 * price, price, price)
        else:
            window.high, window.low = max(window.high, price), min(window.low, price)

    def book(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        self.roll(ts)
        i, mark = order.instrument, self.marks[order.instrument]
        if not mark.ts:
            mark.bid, mark.ask, mark.ts = price, price, max(ts, 1)
            self.unit_now.clear()
        signed = qty * order.side.sign
        paid = whole(self.settle(i, price, signed), 1 << 61)
        for s in self.chain(order):
            self.pos[s, i] += signed
            self.cash[s, i] += (paid if self.inverse[i] else -paid) - fee
            self.traded[s] = max(0, self.traded[s] + self.value(i, price, qty) * (1 if qty >= 0 else -1))
            self.losses(s)

    def losses(self, s: int) -> None:
        pnl = self.pnl(s)
        self.peak[s] = max(self.peak[s], pnl)
        if self.state[s] > State.WARN:
            return
        most = [self.book_of.cap(s, "loss"), self.book_of.cap(s, "drawdown")]
        down = [self.day_pnl[s] - pnl, self.peak[s] - pnl]
        for to, share in ((State.REDUCE_ONLY, lambda x: x), (State.WARN, lambda x: x - x // 2)):
            for reason, limit, value in zip((R.LOSS_LIMIT, R.DRAWDOWN_LIMIT), most, down, strict=True):
                if value > 0 and value >= share(limit):
                    if to > self.state[s]:
                        self.state[s], self.cause[s] = to, (int(reason), limit, value)
                    return

    def mark(self, i: int, bid: int, ask: int, ts: int) -> None:
        self.roll(ts)
        if bid > ask or not self.usable(i, bid, ask):
            return
        mark, mid = self.marks[i], 0.5 * (bid + ask)
        gap = ts - mark.ts
        if mark.ts and gap > 0:
            move = mid - 0.5 * (mark.bid + mark.ask)
            mark.variance += gap / (self.memory + gap) * (move * move / gap - mark.variance)
        mark.count += 1
        for currency, source in self.fx.items():
            if source == self.universe[i].id:
                quote = self.universe[i].quote
                one = mid * float(self.universe[i].tick) * self.rates[quote] * self.units(quote)
                self.rates[currency] = one / self.units(currency)
        mark.bid, mark.ask, mark.ts = bid, ask, max(ts, 1)
        self.unit_now.clear()
        for s in range(len(self.scopes)):
            self.losses(s)

    def funding(self, i: int, rate: int, price: int, ts: int) -> None:
        self.roll(ts)
        for s in range(len(self.scopes)):
            if self.pos[s, i]:
                worth = whole(self.settle(i, price, self.pos[s, i]), 1 << 61)
                self.cash[s, i] -= whole(float(worth) * rate * 1e-8)
                self.losses(s)

    def set_state(self, s: int, state: State, ts: int) -> None:
        self.roll(ts)
        self.state[s], self.cause[s] = state, (0, 0, 0)
        if state < State.REDUCE_ONLY:
            self.peak[s] = self.pnl(s)

    def roll(self, ts: int) -> None:
        if ts >= self.day_ends:
            self.day_ends = (ts - self.day_start) // DAY * DAY + DAY + self.day_start
            self.traded = [0] * len(self.scopes)
            self.day_pnl = [self.pnl(s) for s in range(len(self.scopes))]
