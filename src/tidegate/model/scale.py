"""Exact conversion between decimal text and integers: ticks, lots, minor units of a currency."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction


class ScaleError(ValueError):
    """A number that does not lie on its grid; the message names the nearest values that do."""


def decimal(text: str | int | Decimal, what: str = "number") -> Decimal:
    """`text` as a finite decimal. Floats are not accepted: they have already lost the answer."""
    if isinstance(text, float):
        raise TypeError(f"{what} {text!r} is a float; give it as text or Decimal")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ScaleError(f"{what} {text!r} is not a decimal number") from None
    if not value.is_finite():
        raise ScaleError(f"{what} {text!r} is not finite")
    return value


def to_steps(text: str | int | Decimal, step: Decimal, what: str = "value") -> int:
    """How many steps `text` is, exactly; raises `ScaleError` naming the two nearest steps otherwise."""
    value = decimal(text, what)
    ratio = Fraction(value) / Fraction(step)
    if ratio.denominator != 1:
        low = ratio.numerator // ratio.denominator
        raise ScaleError(
            f"{what} {plain(value)} is not a multiple of {plain(step)}: "
            f"nearest are {plain(low * step)} and {plain((low + 1) * step)}"
        )
    return ratio.numerator


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even. The denominator is positive."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and whole & 1):
        return whole + 1
    return whole


def plain(value: Decimal) -> str:
    """Decimal text without exponent or trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
