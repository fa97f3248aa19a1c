"""Time: nanoseconds since the Unix epoch, UTC, int64. Nothing but a `Clock` reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from tidegate.model.scale import decimal

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
_UNITS = {"ns": 1, "us": US, "µs": US, "ms": MS, "s": SECOND, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY}


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""


class RealClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns()


class SimulatedClock:
    """A clock that stands where it was put."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def set(self, now: int) -> None:
        """Move forward to `now`; time never runs backwards."""
        if now < self._now:
            raise ValueError(f"time would run backwards: from {self._now} to {now}")
        self._now = now


def duration(text: str | int) -> int:
    """`"100ms"`, `"1.5s"`, `"1m"` to nanoseconds; a bare integer is nanoseconds already."""
    if isinstance(text, int):
        return text
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzµ")
    suffix = text.strip()[len(number) :]
    try:
        return round(decimal(number.strip()) * _UNITS[suffix.strip()])
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a duration; write one like 250us, 100ms, 1.5s, 1m") from None


def iso(ts: int) -> str:
    """Nanoseconds to ISO 8601 with nine digits and a Z."""
    seconds, rest = divmod(ts, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def day(ts: int) -> str:
    """The UTC day a time falls on, `2024-08-08`."""
    return f"{datetime.fromtimestamp(ts // SECOND, UTC):%Y-%m-%d}"


def parse(text: str) -> int:
    """ISO 8601 (UTC unless it says otherwise) to nanoseconds; keeps all nine digits."""
    base, dot, rest = text.replace(",", ".").partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    moment = datetime.fromisoformat(base + zone)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + int(digits.ljust(9, "0")[:9] or 0)
