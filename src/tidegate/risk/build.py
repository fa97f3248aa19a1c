"""From limits as people write them to the rows that the gate's kernels read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tidegate.errors import UserError, nearest
from tidegate.kernel import gate_state as g
from tidegate.model import money
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.controls import CONTROLS, Control
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits, bits, fraction
from tidegate.risk.scopes import Level, ScopeTable

UNSET = -1


def lots(limit: Decimal, instrument: Instrument) -> int:
    """A quantity in base units as whole lots, rounded down."""
    if not limit.is_finite():
        return g.UNLIMITED
    return min(math.floor(Fraction(limit) / Fraction(instrument.lot)), g.UNLIMITED)


def micro(limit: Decimal) -> int:
    """Money in the base currency as micro-units, rounded down."""
    return min(math.floor(limit * g.MICRO), g.UNLIMITED) if limit.is_finite() else g.UNLIMITED


def parts(limit: Decimal) -> int:
    """A fraction as parts per million; a hundredfold and more is no limit."""
    return math.floor(limit * g.PPM) if limit < 100 else g.UNLIMITED


def count(limit: Decimal) -> int:
    """A plain number, rounded down."""
    return math.floor(limit) if limit.is_finite() else g.UNLIMITED


def bucket(rate: Decimal | None, burst: int) -> tuple[int, int]:
    """(ns a message, ns that a burst may run ahead) of a token bucket."""
    if rate is None or not rate.is_finite():
        return 0, g.UNLIMITED
    if rate == 0:
        return 0, -g.UNLIMITED
    gap = math.ceil(Fraction(1_000_000_000) / Fraction(rate))
    return gap, gap * (max(1, burst or math.floor(rate)) - 1)


class Tables:
    """Which tables of limits speak for a scope, and for an instrument within it, most specific first."""

    def __init__(self, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.universe, self.scopes = universe, scopes
        self.general: list[list[ScopeLimits]] = [[limits.firm]]
        levels = {
            Level.DESK: (limits.desks, "desks"),
            Level.ACCOUNT: (limits.accounts, "accounts"),
            Level.STRATEGY: (limits.strategies, "strategies"),
        }
        for number in range(1, len(scopes)):
            named = levels[scopes.levels[number]][0]
            self.general.append([named[n] for n in (scopes.names[number], "*") if n in named])
        for strategy, slot in enumerate(scopes.strategies):
            if slot.slot_of:
                whole = [limits.strategies[n] for n in (slot.slot_of, "*") if n in limits.strategies]
                own = [limits.strategies[slot.name]] if slot.name in limits.strategies else []
                self.general[scopes.strategy_scope(strategy)] = own + [fraction(t, slot.part) for t in whole]
        for level, (named, where) in levels.items():
            known = [n for n, at in zip(scopes.names, scopes.levels, strict=True) if at is level]
            for name in named:
                if name != "*" and name not in known:
                    raise UserError(
                        f"risk.{where}: unknown {level.name.lower()} {name!r}{nearest(name, known)}"
                    )
        for tables in self.general:
            for table in tables:
                self._check_instruments(table)

    def _check_instruments(self, table: ScopeLimits) -> None:
        for name in (*table.instruments, *(table.trade or ())):
            venue = name.removeprefix("*.")
            some = name == "*" or (
                venue != name and any(item.venue == venue for item in self.universe.instruments)
            )
            if not some and name not in self.universe.index:
                raise UserError(f"risk: unknown instrument {name!r}{nearest(name, self.universe.index)}")

    def of(self, scope: int, instrument: Instrument) -> list[InstrumentLimits]:
        """Tables for an instrument of a scope: named ones for the instrument, then those for all instruments."""
        tables = self.general[scope]
        special = [t.instruments[n] for n in (instrument.id, "*") for t in tables if n in t.instruments]
        return [*special, *tables]

    def total(self, scope: int, field: str) -> Any:
        """A limit of the scope's total, None where it is not set."""
        return next((v for t in self.general[scope] if (v := getattr(t, field)) is not None), None)


def find(tables: list[InstrumentLimits], field: str) -> tuple[Any, InstrumentLimits | None]:
    """The first table that sets `field`: its value, and the table for what goes with it."""
    for table in tables:
        value = getattr(table, field)
        if value is not None:
            return value, table
    return None, None


def order_rules(
    tables: list[InstrumentLimits], trade: Any, instrument: Instrument
) -> dict[str, tuple[int, ...]]:
    """One scope's limits on an order, in kernel units, with what goes with each. Absent: not set."""
    rules: dict[str, tuple[int, ...]] = {}
    if trade is not None:
        patterns = ("*", f"*.{instrument.venue}", instrument.id)
        rules["trade"] = (int(any(name in patterns for name in trade)),)
    for field in ("sides", "order_types", "time_in_force"):
        value, _ = find(tables, field)
        if value is not None:
            rules[field] = (bits(field, value),)
    value, _ = find(tables, "order_qty")
    if value is not None:
        rules["order_qty"] = (lots(value, instrument),)
    for field in ("order_value", "parent_value"):
        value, _ = find(tables, field)
        if value is not None:
            rules[field] = (micro(value),)
    value, table = find(tables, "price_collar")
    if table is not None:
        rules["price_collar"] = (parts(value), math.floor(table.price_collar_floor / instrument.tick))
    value, table = find(tables, "dynamic_collar")
    if table is not None:
        k = math.floor(value * 1000) if value < 1000 else g.UNLIMITED
        rules["dynamic_collar"] = (k, table.dynamic_horizon, parts(table.dynamic_floor))
    value, table = find(tables, "period_drift")
    if table is not None:
        rules["period_drift"] = (parts(value), table.period_window)
    value, _ = find(tables, "max_age")
    if value is not None:
        rules["max_age"] = (value,)
    value, table = find(tables, "duplicate_orders")
    if table is not None:
        rules["duplicate_orders"] = (count(value), table.duplicate_window)
    return rules


_COLUMNS: dict[str, tuple[tuple[int, ...], int]] = {
    "order_qty": ((g.R_QTY,), g.R_QTY_SCOPE),
    "order_value": ((g.R_VALUE,), g.R_VALUE_SCOPE),
    "parent_value": ((g.R_PARENT,), g.R_PARENT_SCOPE),
    "price_collar": ((g.R_COLLAR, g.R_COLLAR_FLOOR), g.R_COLLAR_SCOPE),
    "dynamic_collar": ((g.R_BAND, g.R_BAND_HORIZON, g.R_BAND_FLOOR), g.R_BAND_SCOPE),
    "period_drift": ((g.R_DRIFT, g.R_DRIFT_WINDOW), g.R_DRIFT_SCOPE),
    "max_age": ((g.R_AGE,), g.R_AGE_SCOPE),
    "duplicate_orders": ((g.R_SAME, g.R_SAME_WINDOW), g.R_SAME_SCOPE),
}
_MASKS = {
    "trade": g.R_INSTRUMENT,
    "sides": g.R_SIDES,
    "order_types": g.R_TYPES,
    "time_in_force": g.R_TIFS,
}


def write_rule(row: g.Ints, chain: tuple[int, ...], own: dict[int, dict[str, tuple[int, ...]]]) -> None:
    """The tightest of the chain's limits on one order; the first scope from the strategy up wins a tie."""
    for field, column in _MASKS.items():
        masks = [own[s][field][0] for s in chain if field in own[s]]
        row[column] = masks[0] if masks else 0
        for mask in masks:
            row[column] &= mask
    row[g.R_PERMIT_SCOPE] = chain[0]
    for field, (columns, scope_column) in _COLUMNS.items():
        setters = [s for s in chain if field in own[s]]
        if setters:
            tightest = min(setters, key=lambda s: own[s][field][0])
            row[list(columns)] = own[tightest][field]
            row[scope_column] = tightest


def write_windows(row: g.Ints, chain: list[list[InstrumentLimits]], instrument: Instrument) -> None:
    """Controls 2 and 12: what any scope of the chain closes is closed; of several windows, their hull."""
    row[g.R_CLOSED_FROM], row[g.R_CLOSED_TO] = g.UNLIMITED, -g.UNLIMITED
    row[g.R_LAST_ENTRY], meet = g.UNLIMITED, []
    for tables in chain:
        begins, ends = find(tables, "restricted_from")[0], find(tables, "restricted_to")[0]
        if find(tables, "restricted")[0]:
            begins, ends = -g.UNLIMITED, g.UNLIMITED
        if begins is not None or ends is not None:
            row[g.R_CLOSED_FROM] = min(row[g.R_CLOSED_FROM], -g.UNLIMITED if begins is None else begins)
            row[g.R_CLOSED_TO] = max(row[g.R_CLOSED_TO], g.UNLIMITED if ends is None else ends)
        window = find(tables, "expiry_window")[0]
        if window is not None and instrument.expiry:
            row[g.R_LAST_ENTRY] = min(row[g.R_LAST_ENTRY], instrument.expiry - window)
        meet.append(find(tables, "self_match")[0])
    row[g.R_SELF_MATCH] = 0 if True in meet and False not in meet else 1


def missing(tables: Tables, chain: tuple[int, ...], instrument: Instrument, control: Control,
            own: dict[int, dict[str, tuple[int, ...]]]) -> int:  # fmt: skip
    """The scope that lacks a limit of this control, UNSET when nothing is missing."""
    if not control.levels:
        lacking = [field for field in control.fields if not any(field in own[s] for s in chain)]
        return chain[0] if lacking else UNSET
    for s in chain:
        if tables.scopes.levels[s] not in control.levels:
            continue
        if control.fields == ("position",):
            if None in position(tables.of(s, instrument), instrument):
                return s
        elif any(tables.total(s, field) is None for field in control.fields):
            return s
    return UNSET


def position(tables: list[InstrumentLimits], instrument: Instrument) -> tuple[int | None, int | None]:
    """(longest, shortest) position in lots; None where it is not set."""
    both, _ = find(tables, "position")
    ends = (find(tables, "long")[0], find(tables, "short")[0])
    return tuple(  # type: ignore[return-value]
        None if (value := both if end is None else end) is None else lots(value, instrument) for end in ends
    )


def write_scope(row: g.Ints, tables: Tables, scope: int) -> None:
    """A scope's totals; what is not set here is not judged here."""
    for field, column, convert in (
        ("open_orders", g.P_MAX_ORDERS, count),
        ("open_value", g.P_MAX_OPEN, micro),
        ("gross", g.P_MAX_GROSS, micro),
        ("net", g.P_MAX_NET_LONG, micro),
        ("net", g.P_MAX_NET_SHORT, micro),
        ("loss", g.P_MAX_LOSS, micro),
        ("drawdown", g.P_MAX_DRAWDOWN, micro),
        ("traded_value", g.P_MAX_TRADED, micro),
    ):
        value = tables.total(scope, field)
        row[column] = g.UNLIMITED if value is None else convert(value)
    buffer = tables.total(scope, "margin_buffer")
    row[g.P_KEEP] = max(0, g.PPM - parts(buffer)) if buffer is not None and buffer.is_finite() else -1
    for field, burst, columns in (
        ("orders_per_second", "order_burst", (g.P_NEW_GAP, g.P_NEW_BURST)),
        ("cancels_per_second", "cancel_burst", (g.P_CANCEL_GAP, g.P_CANCEL_BURST)),
    ):
        rate, table = find(list(tables.general[scope]), field)
        row[list(columns)] = bucket(rate, getattr(table, burst) if table is not None else 0)


def write_instrument(state: g.GateState, i: int, instrument: Instrument, currency: int, memory: int) -> None:
    """What the kernels know of an instrument."""
    row, real = state.inst[i], state.real[i]
    least = math.ceil(Fraction(instrument.min_qty) / Fraction(instrument.lot))
    notional = Fraction(instrument.min_notional) / Fraction(instrument.lot) / Fraction(instrument.multiplier)
    if instrument.inverse:
        least = max(least, math.ceil(notional))
    else:
        real[g.X_MIN_NOTIONAL] = float(notional / Fraction(instrument.tick))
    row[g.I_MIN_QTY] = max(1, least)
    if instrument.max_qty:
        row[g.I_MAX_QTY] = math.floor(Fraction(instrument.max_qty) / Fraction(instrument.lot))
    if instrument.expiry:
        row[g.I_EXPIRY] = instrument.expiry
    row[g.I_FLAGS] = g.F_NEGATIVE * instrument.negative_prices | g.F_INVERSE * instrument.inverse
    row[g.I_CURRENCY] = currency
    real[g.X_VALUE] = float(Fraction(*instrument.value_ratio))
    real[g.X_MARGIN] = float(instrument.initial_margin)
    real[g.X_MEMORY] = memory
    real[g.X_PRICE] = float(instrument.tick)


def write_rates(
    state: g.GateState, universe: Universe, currencies: list[str], base: str, fx: Mapping[str, str | Decimal]
) -> None:
    """Rates of the settlement currencies to the base: fixed, or moved by the marks of a named instrument."""
    n = len(universe)
    for c, currency in enumerate(currencies):
        row = state.real[n + c]
        row[g.X_UNITS] = float(10 ** money.decimals(currency))
        rate: str | Decimal | None = Decimal(1) if currency == base else fx.get(currency)
        if rate is None:
            raise UserError(
                f"fx: no rate from {currency} to the base currency {base}; "
                f"give fx.{currency} as a number or as the instrument whose price it is"
            )
        if isinstance(rate, str) and rate in universe.index:
            i = universe.number(rate)
            state.inst[i, g.I_FX] = c
            state.inst[i, g.I_FX_QUOTE] = currencies.index(universe[i].quote)
            continue
        try:
            row[g.X_RATE] = float(Decimal(rate)) * g.MICRO / row[g.X_UNITS]
        except ArithmeticError:
            message = f"fx.{currency}: {rate!r} is neither a number nor an instrument"
            raise UserError(message + nearest(str(rate), universe.index)) from None


def currencies_of(universe: Universe, base: str, fx: Mapping[str, str | Decimal]) -> list[str]:
    """The base, every settlement currency, and the quote currencies of the instruments that give rates."""
    names = dict.fromkeys([base, *(item.settle_currency for item in universe.instruments)])
    for rate in fx.values():
        if isinstance(rate, str) and rate in universe.index:
            names[universe[universe.number(rate)].quote] = None
    return list(names)


def build(
    universe: Universe, scopes: ScopeTable, limits: Limits, base: str, fx: Mapping[str, str | Decimal],
    capacity: int, day_start: int, memory: int,
) -> g.GateState:  # fmt: skip
    """The gate's state before its first event; raises `UserError` for names that do not exist."""
    tables = Tables(universe, scopes, limits)
    accounts, strategies, n = len(scopes.accounts), len(scopes.strategies), len(universe)
    currencies = currencies_of(universe, base, fx)
    chains = {(a, t): scopes.chain(a, t) for a in range(accounts) for t in range(strategies)}
    pairs = sum(chain.permitted for chain in chains.values())
    state = g.allocate_gate(accounts, strategies, max(1, pairs), len(scopes), n, len(currencies), capacity)
    state.slot[0, g.H_DAY_OFFSET] = day_start
    for i, instrument in enumerate(universe.instruments):
        write_instrument(state, i, instrument, currencies.index(instrument.settle_currency), memory)
    write_rates(state, universe, currencies, base, fx)
    for s in range(len(scopes)):
        write_scope(state.scope[s], tables, s)
    for a, account in enumerate(scopes.accounts):
        state.scope[scopes.account_scope(a), g.P_CAPITAL] = math.floor(account.capital * g.MICRO)
    own = [[order_rules(tables.of(s, item), tables.total(s, "trade"), item) for item in universe.instruments]
           for s in range(len(scopes))]  # fmt: skip
    for s in range(len(scopes)):
        for i, instrument in enumerate(universe.instruments):
            ends = position(tables.of(s, instrument), instrument)
            state.cell[s * n + i, [g.C_MAX_LONG, g.C_MAX_SHORT]] = [
                g.UNLIMITED if e is None else e for e in ends
            ]
    rule = 0
    for (a, t), chain in chains.items():
        row = state.chain[a * strategies + t]
        row[:6] = (
            chain.strategy,
            chain.account,
            chain.desk,
            chain.firm,
            rule if chain.permitted else -1,
            chain.group,
        )
        if not chain.permitted:
            continue
        for i, instrument in enumerate(universe.instruments):
            here = {s: own[s][i] for s in chain.scopes}
            write_rule(state.rules[rule + i], chain.scopes, here)
            write_windows(state.rules[rule + i], [tables.of(s, instrument) for s in chain.scopes], instrument)
            for control in reversed(CONTROLS):
                lacking = missing(tables, chain.scopes, instrument, control, here)
                if lacking != UNSET:
                    at = g.R_MISSING_RISK if control.risk_only else g.R_MISSING
                    state.rules[rule + i, [at, at + 1]] = control.number, lacking
        rule += n
    return state
