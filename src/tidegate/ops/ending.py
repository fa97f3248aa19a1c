"""How a life of a process ended, for those who must act on it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class How(StrEnum):
    """The kinds of ends that are nobody's wish."""

    CRASHED = "crashed"
    """By itself, or by somebody's signal."""
    HUNG = "hung"
    """It gave no sign of life, or did not stop when asked, and was killed."""
    LIMIT = "limit"
    """It went over a limit of its cell and was killed."""
    CONDEMNED = "condemned"
    """Another part of the system had it stopped for good."""


class End(NamedTuple):
    """One end. `text` is for people; after a `final` one it is not started again."""

    how: How
    text: str
    final: bool
