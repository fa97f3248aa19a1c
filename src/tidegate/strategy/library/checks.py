"""Checks of parameters: each message names the parameter, its value and what it must be."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tidegate.errors import nearest
from tidegate.model.time import duration


def above(low: float, **values: float) -> None:
    """Every value is above `low`."""
    for name, value in values.items():
        if not value > low:
            raise ValueError(f"{name} is {value}, must be above {low}")


def at_least(low: float, **values: float) -> None:
    """Every value is `low` or more."""
    for name, value in values.items():
        if not value >= low:
            raise ValueError(f"{name} is {value}, must be at least {low}")


def durations(**values: str) -> None:
    """Every value reads as a duration above zero."""
    for name, value in values.items():
        try:
            length = duration(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if length <= 0:
            raise ValueError(f"{name} is {value!r}, must be above zero")


def one_of(known: Iterable[str], **values: str) -> None:
    """Every value is one of the known words."""
    known = tuple(known)
    for name, value in values.items():
        if value not in known:
            raise ValueError(f"{name} is {value!r}{nearest(value, known)}")


def ordered(**values: float) -> None:
    """The values rise strictly in the order given: `ordered(fast=12, slow=26)`."""
    names = list(values)
    for low, high in pairwise(names):
        if not values[low] < values[high]:
            raise ValueError(f"{low} is {values[low]}, must be below {high} ({values[high]})")
