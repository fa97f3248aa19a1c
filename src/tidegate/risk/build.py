"""The gate's arrays before its first event: instruments, rates, chains of scopes. Limits come by `risk.rules`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from tidegate.errors import UserError, nearest
from tidegate.kernel import gate_state as g
from tidegate.model import money
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.scopes import ScopeTable


def write_instrument(
    state: g.GateState, i: int, instrument: Instrument, currency: int, venue: int, memory: int
) -> None:
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
    row[g.I_CURRENCY], row[g.I_VENUE] = currency, venue
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


def venues_of(universe: Universe) -> list[str]:
    """The venues by number: in the order of their first instruments."""
    return list(dict.fromkeys(item.venue for item in universe.instruments))


def build(
    universe: Universe, scopes: ScopeTable, base: str, fx: Mapping[str, str | Decimal], capacity: int,
    day_start: int, memory: int,
) -> g.GateState:  # fmt: skip
    """The gate's state before its first event, still without limits; raises `UserError` where a rate is missing."""
    accounts, strategies, n = len(scopes.accounts), len(scopes.strategies), len(universe)
    currencies = currencies_of(universe, base, fx)
    chains = {(a, t): scopes.chain(a, t) for a in range(accounts) for t in range(strategies)}
    pairs = sum(chain.permitted for chain in chains.values())
    state = g.allocate_gate(accounts, strategies, max(1, pairs), len(scopes), n, len(currencies), capacity)
    state.slot[0, g.H_DAY_OFFSET] = day_start
    venues = venues_of(universe)
    for i, instrument in enumerate(universe.instruments):
        currency, venue = currencies.index(instrument.settle_currency), venues.index(instrument.venue)
        write_instrument(state, i, instrument, currency, venue, memory)
    write_rates(state, universe, currencies, base, fx)
    for a, account in enumerate(scopes.accounts):
        state.scope[scopes.account_scope(a), g.P_CAPITAL] = math.floor(account.capital * g.MICRO)
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
        rule += n if chain.permitted else 0
    return state
