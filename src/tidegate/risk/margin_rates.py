"""One rate for a table of tiers: what control 20 asks of every lot of an instrument, so that it never asks too little.

The gate's kernels hold one initial rate an instrument. Of the tiers that a position could come to within the limits,
the highest has the highest rate, and a flat rate of that asks at least what any of them does. How large a position may
become is what its limits say: the lots of `position` at the price that the tiers' file names, and the value of
`gross`, whichever is less. Where neither says, the whole table is in reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from tidegate.model import money
from tidegate.model.instrument import Instrument

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


def _chosen(item: Instrument) -> Fraction:
    return Fraction(1, item.leverage) if item.leverage else Fraction(0)
