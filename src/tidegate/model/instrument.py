"""Instruments: what is traded, on which grid, what one lot at one tick is worth, and what it costs."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property

import msgspec

from tidegate.model import money
from tidegate.model.margin_tiers import Tier, TierTable, problem
from tidegate.model.scale import ScaleError, from_steps, round_half_even, to_steps

_NOT_NEGATIVE = (
    "min_qty", "max_qty", "min_notional", "initial_margin", "maintenance_margin", "pool_fee", "expiry", "leverage",
    "margin_price",
)  # fmt: skip


class InstrumentKind(StrEnum):
    """The kinds of contract the platform trades."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    INVERSE_PERPETUAL = "inverse_perpetual"
    FUTURE = "future"
    INVERSE_FUTURE = "inverse_future"
    OPTION = "option"
    FX = "fx"
    POOL = "pool"


class Right(StrEnum):
    """An option's right."""

    CALL = "call"
    PUT = "put"


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One tradable contract. Decimal fields are text in configuration and exact ever after.

    The id is `SYMBOL.VENUE`. A linear contract of `q` lots at `p` ticks is worth
    `p·tick × q·lot × multiplier` in `settle`; an inverse one `q·lot × multiplier / (p·tick)`.
    Fees are fractions of that value (negative: a rebate). Margins are fractions too.
    """

    symbol: str
    venue: str
    kind: InstrumentKind
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    settle: str = ""
    multiplier: Decimal = Decimal(1)
    min_qty: Decimal = Decimal(0)
    max_qty: Decimal = Decimal(0)
    """Largest order the venue takes; 0 for no limit."""
    min_notional: Decimal = Decimal(0)
    """In the quote currency."""
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    initial_margin: Decimal = Decimal(1)
    maintenance_margin: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    """Margin by a position's value (`docs/margin.md`); none: the two rates above, whatever the value."""
    leverage: int = 0
    """What accounts are set to at the venue; 0: the most that each tier gives."""
    margin_price: Decimal = Decimal(0)
    """The gate's one margin rate holds up to this price, of an inverse contract down to it; 0: at any."""
    expiry: int = 0
    """Last trading time, ns; 0 for none."""
    strike: Decimal = Decimal(0)
    right: Right | None = None
    underlying: str = ""
    negative_prices: bool = False
    pool_fee: Decimal = Decimal(0)
    """An AMM pool's swap fee, a fraction of what is paid in."""

    def __post_init__(self) -> None:
        for name in ("symbol", "venue", "base", "quote"):
            if not getattr(self, name):
                raise ValueError(f"instrument {self.id}: {name} is empty")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"instrument {self.id}: {name} is {value}, not a finite number")
        for name in ("tick", "lot", "multiplier"):
            if getattr(self, name) <= 0:
                raise ValueError(f"instrument {self.id}: {name} is {getattr(self, name)}, must be above 0")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(
                    f"instrument {self.id}: {name} is {getattr(self, name)}, must not be below 0"
                )
        if 0 < self.max_qty < self.min_qty:
            raise ValueError(f"instrument {self.id}: max_qty {self.max_qty} is below min_qty {self.min_qty}")
        strikeless = self.strike <= 0 and not self.negative_prices
        if self.kind is InstrumentKind.OPTION and (self.right is None or not self.expiry or strikeless):
            raise ValueError(f"instrument {self.id}: an option needs right, strike and expiry")
        if self.kind in (InstrumentKind.FUTURE, InstrumentKind.INVERSE_FUTURE) and not self.expiry:
            raise ValueError(f"instrument {self.id}: a future needs an expiry")
        wrong = problem(self.tiers) if self.tiers else ""
        if wrong:
            raise ValueError(f"instrument {self.id}: margin {wrong}")
        if self.inverse and self.negative_prices:
            raise ValueError(f"instrument {self.id}: an inverse contract cannot have negative prices")

    @cached_property
    def id(self) -> str:
        """`SYMBOL.VENUE`."""
        return f"{self.symbol}.{self.venue}"

    @property
    def inverse(self) -> bool:
        """Quoted in one currency, settled in the other: value is `multiplier × quantity / price`."""
        return self.kind in (InstrumentKind.INVERSE_PERPETUAL, InstrumentKind.INVERSE_FUTURE)

    @property
    def cash(self) -> bool:
        """Trading exchanges the assets themselves (spot, FX, pool), not a contract on them."""
        return self.kind in (InstrumentKind.SPOT, InstrumentKind.FX, InstrumentKind.POOL)

    @cached_property
    def settle_currency(self) -> str:
        """What profit, loss and fees are paid in."""
        return self.settle or (self.base if self.inverse else self.quote)

    @cached_property
    def margin_table(self) -> TierTable:
        """Its tiers in minor units of the settlement currency; without any, one of the two rates."""
        if self.tiers:
            return TierTable(self.tiers, self.settle_currency)
        return TierTable.flat(self.initial_margin, self.maintenance_margin, self.settle_currency)

    def ticks(self, price: str | int | Decimal) -> int:
        """Decimal price to ticks; an off-tick price is an error naming the nearest ticks."""
        ticks = to_steps(price, self.tick, f"{self.id}: price")
        if ticks <= 0 and not self.negative_prices:
            raise ScaleError(f"{self.id}: price {price} is not above 0")
        return ticks

    def lots(self, qty: str | int | Decimal) -> int:
        """Decimal quantity to lots; a quantity off the lot grid is an error naming the nearest."""
        return to_steps(qty, self.lot, f"{self.id}: quantity")

    def price(self, ticks: int) -> Decimal:
        """Ticks to a decimal price."""
        return from_steps(ticks, self.tick)

    def qty(self, lots: int) -> Decimal:
        """Lots to a decimal quantity."""
        return from_steps(lots, self.lot)

    @cached_property
    def value_ratio(self) -> tuple[int, int]:
        """(numerator, denominator) of the value factor, in minor units of the settlement currency.

        Linear: value = ticks × lots × numerator / denominator.
        Inverse: value = lots × numerator / (ticks × denominator).
        """
        per = Fraction(self.lot) * Fraction(self.multiplier)
        per = per / Fraction(self.tick) if self.inverse else per * Fraction(self.tick)
        ratio = per / Fraction(money.unit(self.settle_currency))
        return ratio.numerator, ratio.denominator

    def value(self, ticks: int, lots: int) -> int:
        """Value of `lots` at `ticks`, in minor units of the settlement currency, half to even."""
        numerator, denominator = self.value_ratio
        if self.inverse:
            sign = 1 if lots >= 0 else -1
            return sign * round_half_even(abs(lots) * numerator, ticks * denominator)
        return round_half_even(ticks * lots * numerator, denominator)

    @cached_property
    def value_float(self) -> float:
        """Approximate value factor in whole settlement units, for analytics and gauges only."""
        numerator, denominator = self.value_ratio
        return numerator / denominator * float(money.unit(self.settle_currency))


class Universe:
    """The instruments of one run, numbered 0, 1, 2 … in the order given; ids are unique."""

    def __init__(self, instruments: list[Instrument]) -> None:
        self.instruments = list(instruments)
        self.index = {item.id: n for n, item in enumerate(self.instruments)}
        if len(self.index) != len(self.instruments):
            seen = [item.id for item in self.instruments]
            twice = sorted({name for name in seen if seen.count(name) > 1})
            raise ValueError(f"instrument defined twice: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.instruments)

    def __getitem__(self, number: int) -> Instrument:
        return self.instruments[number]

    def number(self, instrument_id: str) -> int:
        """The number of `SYMBOL.VENUE`; raises `KeyError` naming what is known."""
        try:
            return self.index[instrument_id]
        except KeyError:
            known = ", ".join(sorted(self.index)) or "none"
            raise KeyError(f"unknown instrument {instrument_id!r}; known: {known}") from None
