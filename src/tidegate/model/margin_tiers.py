"""Tiers of margin: the larger a position's value, the higher the rates a venue asks for it.

A tier holds for values above its `floor` and up to its `cap`, in whole units of the settlement currency: USDT of a
linear contract, the base coin of an inverse one. As Binance defines them (USDⓈ-M and COIN-M alike):

    initial     = value × the tier's initial rate                   (the rate of the tier for the whole value)
    maintenance = value × the tier's maintenance rate − its amount  (each part at its own tier's rate)

A tier's *amount* is what makes maintenance go on without a step at its floor:
amount = floor × (rate − rate of the tier below) + amount of the tier below.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from tidegate.model import money

ONE = Fraction(1)


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tier. Give `leverage` (the most that may be had, 20 for 5 %) or `initial` (a fraction)."""

    maintenance: Decimal
    floor: Decimal = Decimal(0)
    cap: Decimal = Decimal(0)
    """0: there is no end; only of the last tier."""
    leverage: Decimal = Decimal(0)
    initial: Decimal = Decimal(0)

    @property
    def rate(self) -> Fraction:
        """The initial rate."""
        return Fraction(self.initial) if self.initial else ONE / Fraction(self.leverage)


def problem(tiers: Sequence[Tier]) -> str:
    """What is wrong with a table of tiers, in one line; empty when nothing is."""
    if not tiers:
        return "no tiers"
    below: Tier | None = None
    for number, tier in enumerate(tiers, 1):
        wrong = _of_one(tier) or _after(below, tier)
        if not wrong and tier.cap == 0 and number < len(tiers):
            wrong = "only the last tier may have no end"
        if wrong:
            return f"tier {number}: {wrong}"
        below = tier
    return ""


def _of_one(tier: Tier) -> str:
    if not all(
        value.is_finite() for value in (tier.maintenance, tier.floor, tier.cap, tier.leverage, tier.initial)
    ):
        return "a figure is not a finite number"
    if bool(tier.leverage) == bool(tier.initial):
        return "give leverage, or initial, and not both"
    if tier.leverage < 0 or (tier.leverage and tier.leverage < 1):
        return f"leverage is {tier.leverage}, must be 1 or more"
    if not 0 < tier.rate <= 1:
        return f"the initial rate is {tier.initial}, must be above 0 and at most 1"
    if not 0 <= tier.maintenance < 1:
        return f"the maintenance rate is {tier.maintenance}, must be at least 0 and below 1"
    if Fraction(tier.maintenance) > tier.rate:
        return f"the maintenance rate {tier.maintenance} is above the initial one, {float(tier.rate):g}"
    if tier.cap and tier.cap <= tier.floor:
        return f"it ends at {tier.cap:f}, which is not above where it begins, {tier.floor:f}"
    return ""


def _after(below: Tier | None, tier: Tier) -> str:
    if below is None:
        return "" if tier.floor == 0 else f"it begins at {tier.floor:f}: the first begins at 0"
    if tier.floor < below.cap:
        return f"it begins at {tier.floor:f} and overlaps the one below, which ends at {below.cap:f}"
    if tier.floor > below.cap:
        return f"it begins at {tier.floor:f} and leaves a gap: the one below ends at {below.cap:f}"
    if tier.maintenance < below.maintenance:
        return f"the maintenance rate falls, from {below.maintenance} to {tier.maintenance}"
    if tier.rate < below.rate:
        return f"the initial rate falls, from {float(below.rate):g} to {float(tier.rate):g}"
    return ""


class TierTable:
    """A table of tiers over values in minor units of a currency. Requirements are rounded up to whole units."""

    __slots__ = ("amounts", "caps", "currency", "rates", "tiers", "upkeep")

    def __init__(self, tiers: Sequence[Tier], currency: str) -> None:
        wrong = problem(tiers)
        if wrong:
            raise ValueError(wrong)
        unit = Fraction(money.unit(currency))
        self.currency = currency
        self.tiers = tuple(tiers)
        self.caps = [int(Fraction(tier.cap) / unit) for tier in tiers]
        """Where each tier ends; 0 for no end."""
        self.rates = [tier.rate for tier in tiers]
        self.upkeep = [Fraction(tier.maintenance) for tier in tiers]
        """Maintenance rates."""
        self.amounts = [Fraction(0)]
        for n in range(1, len(tiers)):
            step = Fraction(tiers[n].floor) / unit * (self.upkeep[n] - self.upkeep[n - 1])
            self.amounts.append(self.amounts[-1] + step)

    @classmethod
    def flat(cls, initial: Decimal, maintenance: Decimal, currency: str) -> TierTable:
        """One tier without an end. An initial rate above 1 counts as 1, a maintenance rate not above the initial."""
        rate = min(max(initial, Decimal("1e-9")), Decimal(1))
        kept = min(maintenance, rate, Decimal("0.999999999"))
        return cls([Tier(initial=rate, maintenance=kept)], currency)

    def __len__(self) -> int:
        return len(self.tiers)

    @property
    def end(self) -> int:
        """The largest value the table speaks of; 0 for no end. Above it the venue takes no position."""
        return self.caps[-1]

    def tier(self, value: int | Fraction) -> int:
        """Number of the tier of a value (0 or more); the last one's beyond the table."""
        last = len(self.caps) - 1
        return bisect_left(self.caps, value, 0, last) if last else 0

    def beyond(self, value: int | Fraction) -> bool:
        """Whether a value is larger than any the table speaks of."""
        return bool(self.end) and value > self.end

    def rate(self, value: int | Fraction, leverage: int = 0) -> Fraction:
        """The initial rate of a value at the leverage chosen (0: the most the tier gives); all of it beyond the
        table."""
        if self.beyond(value):
            return ONE
        rate = self.rates[self.tier(value)]
        return max(rate, Fraction(1, leverage)) if leverage else rate

    def initial(self, value: int, leverage: int = 0) -> int:
        """Initial margin of a value."""
        return ceil(value * self.rate(value, leverage))

    def maintenance(self, value: int) -> int:
        """Maintenance margin of a value."""
        n = self.tier(value)
        return ceil(value * self.upkeep[n] - self.amounts[n])

    def floor(self, n: int) -> int:
        """Where tier `n` begins."""
        return self.caps[n - 1] if n else 0


def ceil(value: Fraction) -> int:
    """Up to the next whole number."""
    return -(-value.numerator // value.denominator)
