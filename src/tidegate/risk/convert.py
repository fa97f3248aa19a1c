"""Limits in the units of the gate's kernels: whole lots, micro-units of the base currency, parts per million."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Instrument


def lots(limit: Decimal, instrument: Instrument) -> int:
    """A quantity in base units as whole lots, rounded down."""
    if not limit.is_finite():
        return g.UNLIMITED
    return min(math.floor(Fraction(limit) / Fraction(instrument.lot)), g.UNLIMITED)


def micro(limit: Decimal) -> int:
    """Money in the base currency as micro-units, rounded down."""
    return min(math.floor(limit * g.MICRO), g.UNLIMITED) if limit.is_finite() else g.UNLIMITED


def parts(limit: Decimal) -> int:
    """A fraction as parts per million; a hundredfold and more is no limit."""
    return math.floor(limit * g.PPM) if limit < 100 else g.UNLIMITED


def count(limit: Decimal) -> int:
    """A plain number, rounded down."""
    return math.floor(limit) if limit.is_finite() else g.UNLIMITED


def thousandths(limit: Decimal) -> int:
    """A plain number in thousandths, rounded down; a billion and more is no limit."""
    return math.floor(limit * 1000) if limit < 10**9 else g.UNLIMITED


def bucket(rate: Decimal | None, burst: int) -> tuple[int, int]:
    """(ns a message, ns that a burst may run ahead) of a token bucket."""
    if rate is None or not rate.is_finite():
        return 0, g.UNLIMITED
    if rate == 0:
        return 0, -g.UNLIMITED
    gap = math.ceil(Fraction(1_000_000_000) / Fraction(rate))
    return gap, gap * (max(1, burst or math.floor(rate)) - 1)
