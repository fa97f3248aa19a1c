"""Numbers and times as people read them: a true minus sign, thousands apart, a dash for what is not known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from tidegate.model.time import DAY, HOUR, MINUTE, MS, SECOND, US

NONE = "–"
MINUS = "−"


def known(value: float | None) -> bool:
    """True for a number that is finite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, decimals: int = 2, plus: bool = False) -> str:
    """`1,234.50`; a dash for None, NaN and infinity. What rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0.,"):
        return text
    return (MINUS if value < 0 else "+" if plus else "") + text


def count(value: int) -> str:
    """`1,234`."""
    return number(value, 0)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as `12.3 %`."""
    return NONE if share is None or not math.isfinite(share) else f"{number(100 * share, decimals)} %"


def significant(value: float | None, digits: int = 6, trim: bool = True) -> str:
    """`digits` significant digits, without trailing zeros unless asked: for quantities of any scale."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, min(12, digits - 1 - math.floor(math.log10(abs(value)))))
    text = number(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text and trim else text


def money_decimals(values: Iterable[float | None]) -> int:
    """Decimals for a column of amounts: cents in general, none in the millions, more for small coins."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if largest >= 1e6:
        return 0
    if largest >= 1 or largest == 0:
        return 2
    return min(8, 3 - math.floor(math.log10(largest)))


def duration(ns: float | None, trim: bool = True) -> str:
    """`850 µs`, `2.7 s`, `5 min`, `3 h 12 min`, `2 d 4 h`; untrimmed `2.70 s`, for columns."""
    if ns is None or not math.isfinite(ns):
        return NONE
    if ns < 0:
        return MINUS + duration(-ns, trim)
    if ns == 0:
        return "0 s"
    for unit, name in ((US, "ns"), (MS, "µs"), (SECOND, "ms"), (MINUTE, "s")):
        scale = {"ns": 1, "µs": US, "ms": MS, "s": SECOND}[name]
        if ns < unit:
            return f"{significant(ns / scale, 3, trim)} {name}"
    if ns < HOUR:
        return _two(round(ns / SECOND), 60, "min", "s")
    if ns < DAY:
        return _two(round(ns / MINUTE), 60, "h", "min")
    return _two(round(ns / HOUR), 24, "d", "h")


def _two(units: int, per: int, big: str, little: str) -> str:
    whole, rest = divmod(units, per)
    return f"{whole} {big} {rest} {little}" if rest else f"{whole} {big}"


def moment(ts: int, seconds: bool = True) -> str:
    """`2024-08-08 00:05:00` in UTC, to the nearest."""
    at = datetime.fromtimestamp((ts + SECOND // 2) // SECOND, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}" if seconds else f"{at:%Y-%m-%d %H:%M}"


def clock(ts: int) -> str:
    """`00:05:12.3`, UTC: the time of the day to a tenth of a second, cut off."""
    return f"{datetime.fromtimestamp(ts // SECOND, UTC):%H:%M:%S}.{ts % SECOND * 10 // SECOND}"


def window(start: int, end: int) -> str:
    """A period in UTC to the nearest second, the day written once where it has one."""
    if moment(start)[:10] == moment(end)[:10]:
        return f"{moment(start)} to {moment(end)[11:]} UTC"
    return f"{moment(start)} to {moment(end)} UTC"


def plural(n: int, word: str, several: str = "") -> str:
    """`1 fill`, `2 fills`, `3 strategies`."""
    return f"{count(n)} {word if n == 1 else several or word + 's'}"
