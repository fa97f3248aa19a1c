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
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.model import money
from tidegate.model.instrument import Instrument
from tidegate.risk.margin.models import tiered

if TYPE_CHECKING:
    from tidegate.risk.limit_sheet import Sheet

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


def write_margins(state: g.GateState, sheet: Sheet, before: Sheet | None) -> g.Ints:
    """Control 20's rate of every instrument with tiers, under these limits. Gives the instruments whose rate is another.

    What no position comes to does not matter, so of the accounts' reaches only those are asked about than which none is
    larger: a larger value has no lower rate."""
    universe, changed = sheet.frame.universe, []
    rates: dict[int, Fraction | None] = {}
    reaches = [
        [Reach(None if size >= g.UNLIMITED else size, gross) for size, gross in each]
        for each in sheet.reaches
    ]
    same = {
        (old, new): before is not None and before.reaches[old] == sheet.reaches[new]
        for old, new in set(_columns(before or sheet, sheet))
    }
    for i, columns in enumerate(_columns(before or sheet, sheet)):
        item = universe[i]
        if same[columns] or not item.tiers or not tiered(item):
            continue
        currency = int(state.inst[i, g.I_CURRENCY])
        if currency not in rates:
            rates[currency] = _settle_rate(state, i)
        rate = flat_rate(item, reaches[columns[1]], rates[currency])
        margin = math.nextafter(float(rate), 2.0) if rate else 0.0
        if state.real[i, g.X_MARGIN] != margin:
            state.real[i, g.X_MARGIN] = margin
            changed.append(i)
    return np.array(changed, np.int64)


def _columns(before: Sheet, sheet: Sheet) -> Iterator[tuple[int, int]]:
    return zip(before.column_of.tolist(), sheet.column_of.tolist(), strict=True)


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
