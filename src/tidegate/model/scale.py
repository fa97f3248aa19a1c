"""Exact conversion between decimal text and integers: ticks, lots, minor units of a currency."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction

EXACT = Context(prec=100)
"""Products of int64 and any step a venue has are exact in it; the default context rounds at 28 digits."""
_LARGEST_EXPONENT = 40
_INT64 = (1 << 63) - 1


class ScaleError(ValueError):
    """A number that does not lie on its grid; the message names the nearest values that do."""


def decimal(text: str | int | Decimal, what: str = "number") -> Decimal:
    """`text` as a finite decimal. Floats are not accepted: they have already lost the answer."""
    if isinstance(text, float | bool):
        raise TypeError(f"{what} {text!r} is a {type(text).__name__}; give it as text or Decimal")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ScaleError(f"{what} {text!r} is not a decimal number") from None
    if not value.is_finite():
        raise ScaleError(f"{what} {text!r} is not finite")
    if value and abs(value.adjusted()) > _LARGEST_EXPONENT:
        raise ScaleError(f"{what} {text!r} is out of range")
    return value


def to_steps(text: str | int | Decimal, step: Decimal, what: str = "value") -> int:
    """How many steps `text` is, exactly; raises `ScaleError` naming the two nearest steps otherwise.

    A count of steps that int64 does not hold is an error, too.
    """
    value = decimal(text, what)
    ratio = Fraction(value) / Fraction(step)
    if ratio.denominator != 1:
        low = ratio.numerator // ratio.denominator
        raise ScaleError(
            f"{what} {plain(value)} is not a multiple of {plain(step)}: "
            f"nearest are {plain(from_steps(low, step))} and {plain(from_steps(low + 1, step))}"
        )
    if abs(ratio.numerator) > _INT64:
        raise ScaleError(f"{what} {plain(value)} is out of range in steps of {plain(step)}")
    return ratio.numerator


def from_steps(steps: int, step: Decimal) -> Decimal:
    """`steps × step`, exactly."""
    return EXACT.multiply(Decimal(int(steps)), step)


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even. The denominator is positive."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and whole & 1):
        return whole + 1
    return whole


def plain(value: Decimal) -> str:
    """Decimal text without exponent or trailing zeros."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
