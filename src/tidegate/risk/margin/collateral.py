"""What assets count for as collateral: each at its rate, less a haircut that may grow with the amount.

A venue that takes several currencies as margin counts each asset's worth by tiers of that worth, like a tax: the
first tier at its ratio, the part above it at the next one's. What is owed counts in full, and no haircut helps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from tidegate.model import money


class HaircutTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Worth up to `cap` (0: no end) counts at `ratio`."""

    ratio: Decimal
    cap: Decimal = Decimal(0)


Haircuts = Mapping[str, Sequence[HaircutTier]]
"""By currency, caps in whole units of the currency that everything is counted in. What is not named counts for
nothing."""
Rates = Mapping[str, Fraction]
"""What one whole unit of a currency is worth in the common one."""


def problem(tiers: Sequence[HaircutTier]) -> str:
    """What is wrong with an asset's tiers, in one line; empty when nothing is."""
    if not tiers:
        return "no tiers"
    last = Decimal(0)
    for number, tier in enumerate(tiers, 1):
        if not tier.ratio.is_finite() or not 0 <= tier.ratio <= 1:
            return f"tier {number}: the ratio is {tier.ratio}, must be 0 … 1"
        if number > 1 and tier.ratio > tiers[number - 2].ratio:
            return f"tier {number}: the ratio rises, from {tiers[number - 2].ratio} to {tier.ratio}"
        if tier.cap == 0 and number == len(tiers):
            return ""
        if not tier.cap.is_finite() or tier.cap <= last:
            return f"tier {number}: it ends at {tier.cap:f}, which is not above {last:f}"
        last = tier.cap
    return ""


def counted(worth: Fraction, tiers: Sequence[HaircutTier]) -> Fraction:
    """What an asset's worth counts for; above the last tier's end nothing more does."""
    total, below = Fraction(0), Fraction(0)
    for tier in tiers:
        cap = Fraction(tier.cap) if tier.cap else worth
        part = min(worth, cap) - below
        if part <= 0:
            break
        total += part * Fraction(tier.ratio)
        below = cap
    return total


def collateral(units: int, currency: str, rates: Rates, haircuts: Haircuts) -> Fraction:
    """What so many minor units of a currency count for, in whole units of the common one; a debt counts in full.

    Raises `LookupError` for a rate that is missing where there is something to value.
    """
    if not units:
        return Fraction(0)
    if currency not in rates:
        raise LookupError(f"no rate for {currency}: what is held of it cannot be counted as collateral")
    worth = units * Fraction(money.unit(currency)) * rates[currency]
    return worth if worth < 0 else counted(worth, haircuts.get(currency, ()))


def credit(balances: Mapping[str, int], currency: str, rates: Rates, haircuts: Haircuts) -> int:
    """What balances (minor units) in other currencies are worth as collateral in minor units of `currency`, rounded
    down. `rates` are worths in that currency."""
    total = sum(
        (collateral(units, name, rates, haircuts) for name, units in balances.items() if name != currency),
        Fraction(0),
    )
    units = total / Fraction(money.unit(currency))
    return units.numerator // units.denominator


class Part(msgspec.Struct, frozen=True):
    """A pool's figures in its own currency, for an account with several: minor units."""

    currency: str
    wallet: int
    unrealised: int
    initial: int
    maintenance: int


class Whole(msgspec.Struct, frozen=True):
    """An account's figures over all currencies (multi-assets mode), in minor units of one."""

    currency: str
    equity: int
    initial: int
    maintenance: int

    @property
    def available(self) -> int:
        """What new orders may use; below 0: too little."""
        return self.equity - self.initial


def whole(
    parts: Sequence[Part], others: Mapping[str, int], currency: str, rates: Rates, haircuts: Haircuts
) -> Whole:
    """One account's equity and margin in `currency`: wallet and unrealised profit of each pool are one asset with one
    haircut, `others` are assets without contracts. Equity is rounded down, margin up."""
    held: dict[str, int] = dict(others)
    for part in parts:
        held[part.currency] = held.get(part.currency, 0) + part.wallet + part.unrealised
    unit = Fraction(money.unit(currency))
    equity = sum((collateral(n, name, rates, haircuts) for name, n in held.items()), Fraction(0)) / unit
    asked = [Fraction(0), Fraction(0)]
    for part in parts:
        if part.initial or part.maintenance:
            each = Fraction(money.unit(part.currency)) * rates[part.currency] / unit
            asked[0] += part.initial * each
            asked[1] += part.maintenance * each
    up = [-(-value.numerator // value.denominator) for value in asked]
    return Whole(currency, equity.numerator // equity.denominator, *up)
