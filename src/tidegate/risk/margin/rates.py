"""One rate for a table of tiers: what control 20 asks of every lot of an instrument, so that it never asks too little.

The gate's kernels hold one initial rate an instrument. Of the tiers that a position could come to within the limits,
the highest has the highest rate, and a flat rate of that asks at least what any of them does. How large a position may
become is what its limits say: the lots of `position` at the price that the tiers' file names, and the value of
`gross`, whichever is less. Where neither says, the whole table is in reach.

An instrument without tiers keeps its own rate. An option has no margin model (`risk.margin.models`): an account that must
keep margin may not be short of one, whatever its limits say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from tidegate.kernel import gate_state as g
from tidegate.model import money
from tidegate.model.instrument import Instrument
from tidegate.risk.convert import lots
from tidegate.risk.margin.models import model_of, tiered
from tidegate.risk.scopes import Level
from tidegate.risk.tables import Tables, find

BASIS = Fraction(5, 4)
"""What an inverse contract's value is taken to be larger by than `gross` counts it: its own price and the rate that
converts it are of two markets."""


class Reach(NamedTuple):
    """How large a position may become. None: nothing limits it."""

    lots: int | None = None
    gross: Fraction | None = None
    """Whole units of the base currency."""


def largest(item: Instrument, reach: Reach, settle_rate: Fraction | None) -> int | None:
    """The largest value a position can come to, in minor units of the settlement currency; None for any.

    `settle_rate`: what a whole unit of the settlement currency is worth in the base currency, where that is fixed.
    """
    price = Fraction(item.margin_price)
    found: list[Fraction] = []
    unit = Fraction(money.unit(item.settle_currency))
    if price and reach.lots is not None:
        size = reach.lots * Fraction(item.lot) * Fraction(item.multiplier)
        found.append((size / price if item.inverse else size * price) / unit)
    if reach.gross is not None:
        if settle_rate:
            found.append(reach.gross / settle_rate / unit)
        elif item.inverse and price:
            found.append(reach.gross / price * BASIS / unit)
    if not found:
        return None
    least = min(found)
    return -(-least.numerator // least.denominator)


def flat_rate(item: Instrument, reaches: Iterable[Reach], settle_rate: Fraction | None = None) -> Fraction:
    """The initial rate that no position within any of these reaches exceeds, at the leverage its account is set to."""
    table = item.margin_table
    rates = [Fraction(0)]
    for reach in reaches:
        value = largest(item, reach, settle_rate)
        if value is None:
            rates.append(max(Fraction(1) if table.end else table.rates[-1], _chosen(item)))
        else:
            rates.append(table.rate(value, item.leverage))
    return max(rates)


def write_margins(state: g.GateState, tables: Tables) -> None:
    """Control 20's rate of every instrument with tiers, under the limits of these tables."""
    universe, scopes = tables.universe, tables.scopes
    accounts = [
        account for account in range(len(scopes.accounts))
        if state.scope[scopes.account_scope(account), g.P_KEEP] >= 0
    ]  # fmt: skip
    for i, item in enumerate(universe.instruments):
        if item.tiers and tiered(item):
            rate = flat_rate(item, [_reach(tables, a, item) for a in accounts], _settle_rate(state, i))
            state.real[i, g.X_MARGIN] = math.nextafter(float(rate), 2.0) if rate else 0.0
        if not model_of(item).covers_short and not item.cash:
            for account in accounts:
                state.cell[scopes.account_scope(account) * len(universe) + i, g.C_MAX_SHORT] = 0


def _reach(tables: Tables, account: int, item: Instrument) -> Reach:
    """What an account's own limits, its desk's and the firm's leave it."""
    scopes = tables.scopes
    here = scopes.accounts[account]
    chain = [scopes.account_scope(account), 0]
    if here.desk:
        chain.append(scopes.number(Level.DESK, here.desk))
    sizes, gross = [], []
    for scope in chain:
        own = tables.of(scope, item)
        both = find(own, "position")[0]
        ends = [both if end is None else end for end in (find(own, "long")[0], find(own, "short")[0])]
        if all(end is not None and end.is_finite() for end in ends):
            sizes.append(max(lots(end, item) for end in ends))
        value = tables.total(scope, "gross")
        if value is not None and value.is_finite():
            gross.append(Fraction(value))
    return Reach(min(sizes, default=None), min(gross, default=None))


def _settle_rate(state: g.GateState, i: int) -> Fraction | None:
    """The fixed rate of the instrument's settlement currency to the base; None where a market moves it."""
    currency = int(state.inst[i, g.I_CURRENCY])
    if (state.inst[:, g.I_FX] == currency).any():
        return None
    row = state.real[len(state.inst) + currency]
    rate = Fraction(float(row[g.X_RATE]) * float(row[g.X_UNITS]) / g.MICRO).limit_denominator(10**9)
    return rate or None


def _chosen(item: Instrument) -> Fraction:
    return Fraction(1, item.leverage) if item.leverage else Fraction(0)
