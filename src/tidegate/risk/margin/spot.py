"""Spot bought with borrowed money, or sold after borrowing it: debts, interest, and the margin level.

    margin level = worth of all assets ÷ worth of all debts with their interest

as Binance defines it for its cross margin account. The venue sells the assets when the level falls to its
liquidation level; it lends no more below its initial one. In the words of contracts, initial and maintenance margin
are (level − 1) × debts, against equity = assets − debts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tidegate.model import money
from tidegate.model.margin_tiers import ceil
from tidegate.risk.margin.collateral import Rates

SIDE_EFFECTS = ("NO_SIDE_EFFECT", "MARGIN_BUY", "AUTO_REPAY", "AUTO_BORROW_REPAY")
"""What an order may do to an account's debts, as Binance calls it: nothing; borrow what it lacks; repay from what it
brings; both."""
HOUR = 3_600_000_000_000


class Levels(NamedTuple):
    """A venue's margin levels."""

    initial: Fraction
    """Nothing more is lent at or below it."""
    call: Fraction
    liquidation: Fraction


CROSS_3X = Levels(Fraction(3, 2), Fraction(13, 10), Fraction(11, 10))
"""Binance cross margin, 3x (https://www.binance.com/en/support/faq/360030493931)."""
CROSS_5X = Levels(Fraction(5, 4), Fraction(116, 100), Fraction(11, 10))
"""Binance cross margin, 5x (the same)."""


def interest(units: int, hourly: Decimal, since: int, now: int) -> int:
    """Interest on a debt in minor units, from `since` to `now` (ns): by the hour begun, rounded up."""
    hours = max(0, -(-(now - since) // HOUR))
    return ceil(units * Fraction(hourly) * hours)


@dataclass(frozen=True, slots=True)
class Debt:
    """What is owed of one currency, minor units."""

    borrowed: int
    interest: int = 0

    @property
    def owed(self) -> int:
        """All of it."""
        return self.borrowed + self.interest


@dataclass(frozen=True, slots=True)
class SpotMargin:
    """A spot margin account: assets and debts by currency, in minor units."""

    assets: Mapping[str, int]
    debts: Mapping[str, Debt] = field(default_factory=dict)
    levels: Levels = CROSS_3X

    def figures(self, rates: Rates, currency: str) -> SpotFigures:
        """In minor units of `currency`, which `rates` count in; assets rounded down, debts up. Raises `LookupError`
        for a rate that is missing."""
        unit = Fraction(money.unit(currency))
        assets = sum((_worth(n, name, rates) for name, n in self.assets.items() if n), Fraction(0)) / unit
        debts = sum((_worth(d.owed, name, rates) for name, d in self.debts.items()), Fraction(0)) / unit
        owed = ceil(debts)
        return SpotFigures(
            assets=assets.numerator // assets.denominator,
            debts=owed,
            initial=ceil(owed * (self.levels.initial - 1)),
            maintenance=ceil(owed * (self.levels.liquidation - 1)),
        )

    def liquidation(self, asset: str, rates: Rates) -> Fraction | None:
        """What one whole unit of `asset` is worth when the account is liquidated, all other rates as they are; None
        where no worth above 0 does it."""
        level = self.levels.liquidation
        each = Fraction(money.unit(asset))
        held = self.assets.get(asset, 0) - level * (self.debts[asset].owed if asset in self.debts else 0)
        rest = sum((_worth(n, name, rates) for name, n in self.assets.items() if name != asset), Fraction(0))
        rest -= level * sum(
            (_worth(d.owed, name, rates) for name, d in self.debts.items() if name != asset), Fraction(0)
        )
        if not held or not any(d.owed for d in self.debts.values()):
            return None
        price = -rest / (held * each)
        return price if price > 0 else None


class SpotFigures(NamedTuple):
    """A spot margin account in one currency, minor units."""

    assets: int
    debts: int
    initial: int
    maintenance: int

    @property
    def equity(self) -> int:
        """What would be left."""
        return self.assets - self.debts

    @property
    def level(self) -> Fraction | None:
        """The margin level; None without debts."""
        return Fraction(self.assets, self.debts) if self.debts else None

    @property
    def ratio(self) -> Fraction:
        """Maintenance margin over equity: at 1 the venue liquidates."""
        if not self.debts:
            return Fraction(0)
        return Fraction(self.maintenance, self.equity) if self.equity > 0 else Fraction(10**9)


def _worth(units: int, currency: str, rates: Rates) -> Fraction:
    if currency not in rates:
        raise LookupError(f"no rate for {currency}: what is held or owed of it cannot be valued")
    return units * Fraction(money.unit(currency)) * rates[currency]
