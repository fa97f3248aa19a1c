"""Currencies and amounts of them, as integers of the currency's minor unit."""

from __future__ import annotations

from decimal import Decimal

from tidegate.model.scale import EXACT, plain, to_steps

DEFAULT_DECIMALS = 8
_DECIMALS = {"USD": 8, "EUR": 8, "JPY": 6, "BTC": 10, "ETH": 12}
"""Decimals of the internal unit: finer than what is paid out, so that inverse contracts round late."""


def decimals(currency: str) -> int:
    """Digits after the point of the currency's internal minor unit."""
    return _DECIMALS.get(currency, DEFAULT_DECIMALS)


def unit(currency: str) -> Decimal:
    """The minor unit as a decimal, such as 1E-8."""
    return Decimal(1).scaleb(-decimals(currency))


def to_units(text: str | int | Decimal, currency: str) -> int:
    """Decimal text to minor units, exactly; raises `ScaleError` when finer than the unit."""
    return to_steps(text, unit(currency), f"amount in {currency}")


def from_units(units: int, currency: str) -> Decimal:
    """Minor units to a decimal amount."""
    return EXACT.scaleb(Decimal(int(units)), -decimals(currency))


def show(units: int, currency: str, places: int | None = None) -> str:
    """An amount for people: `1234.50 USDT`."""
    amount = from_units(units, currency)
    text = plain(amount) if places is None else f"{amount:,.{places}f}"
    return f"{text} {currency}"
