"""The price at which a venue liquidates: where equity has fallen to maintenance margin, in closed form.

Only the contract's own price moves; the profit and margin of all others are held fixed, as venues do. As a function
of the position's value V (0 or more), with `sense` 1 where the position earns as V rises (a linear long, an inverse
short) and −1 else, and the tier's maintenance rate m and amount a:

    equity − maintenance = others − cost + sense·V − (m·V − a)

which is a straight line within each tier and goes on without a step from tier to tier: one root, found tier by tier.
A price is a value by lots; for a contract whose price may be below 0 the same line is drawn once more on that side.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from tidegate.model.margin_tiers import ceil
from tidegate.risk.margin.models import tiered
from tidegate.risk.margin.pool import Contract, Holding, Pool

NEVER, ALWAYS = "never", "always"


class Liquidation(NamedTuple):
    """Where a position ends. `price` is exact, in ticks; None where `kind` says never, or always."""

    kind: str
    price: Fraction | None = None
    below: bool = False
    """Whether it is liquidated at this price and below, not at it and above."""

    @property
    def ticks(self) -> int | None:
        """The price in whole ticks, rounded to the side that is reached first."""
        if self.price is None:
            return None
        return ceil(self.price) if self.below else self.price.numerator // self.price.denominator

    def reached(self, price: int) -> bool:
        """Whether the position ends at this price."""
        if self.price is None:
            return self.kind == ALWAYS
        return price <= self.price if self.below else price >= self.price


NONE = Liquidation(NEVER)


def liquidation(holding: Holding, others: int, fees: bool = False) -> Liquidation:
    """Where a position is liquidated. `others`: wallet, and of the other positions profit less maintenance.

    With `fees`, closing must be paid out of what is left, too; venues do not count that.
    """
    contract, lots = holding.contract, holding.lots
    if not lots or not tiered(contract.instrument):
        return NONE
    base = Fraction(others - holding.cost)
    extra = contract.fee if fees else Fraction(0)
    sense = contract.sense if lots > 0 else -contract.sense
    below = lots > 0
    if sense > 0:
        if base < 0:
            value = _root(contract, base, 1, extra)
            return Liquidation("at", _price(contract, lots, value), below)
        if contract.negative:  # a linear long, whose price may fall through 0
            value = _root(contract, base, -1, extra)
            return Liquidation("at", -_price(contract, lots, value), below)
        return NONE
    if base > 0:
        value = _root(contract, base, -1, extra)
        return Liquidation("at", _price(contract, lots, value), below)
    if contract.negative:  # a linear short that ends below 0
        value = _root(contract, base, 1, extra)
        return Liquidation("at", -_price(contract, lots, value), below)
    return Liquidation(ALWAYS, None, below)


def _root(contract: Contract, base: Fraction, sense: int, extra: Fraction) -> Fraction:
    """The value at which base + sense·V = (m + extra)·V − a."""
    table = contract.table
    value = Fraction(0)
    for n, (rate, amount) in enumerate(zip(table.upkeep, table.amounts, strict=True)):
        value = (base + amount) / (rate + extra - sense)
        if value >= table.floor(n) and (n == len(table) - 1 or value <= table.caps[n]):
            return value
    return value  # beyond the table: its last tier goes on


def _price(contract: Contract, lots: int, value: Fraction) -> Fraction:
    size = abs(lots) * contract.lot_value
    if contract.sense > 0:
        return value / size
    return size / value


def of_pool(pool: Pool, holding: Holding, fees: bool = False) -> Liquidation:
    """Where one position of a pool is liquidated: an isolated one against its own wallet, a cross one against all."""
    if holding.isolated is not None:
        return liquidation(holding, holding.isolated, fees)
    others = pool.wallet + pool.credit - pool.funding
    for other in pool.cross:
        if other.contract.number != holding.contract.number:
            others += other.unrealised - other.maintenance - (other.closing if fees else 0)
    return liquidation(holding, others, fees)
