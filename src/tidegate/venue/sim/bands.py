"""Price bands and volatility halts of the simulated exchange, as real exchanges have them. Pure: times and prices come in.

Three rules, each on where it is set, of an instrument's mark sampled once a second:

- `band` (as LULD): no limit order is priced further than `band` from the mean of the last `reference` seconds: a buy not
  above, a sell not below. A mark that stands at or beyond a band for `limit_state` seconds pauses trading for `pause`.
- `move` (as CME's dynamic circuit breaker, 3.5 % in 60 minutes): a mark further than `move` from the highest or lowest
  of the last `window` seconds halts for `move_pause`; then the window begins anew.
- `levels` (as the market-wide 7, 13 and 20 %): the mean of all instruments against where they began the UTC day. A fall
  to a level halts every instrument that has it for `level_pauses`, each level once a day; 0: for the rest of the day.

The exchange ends by itself only the halts that it began here; one that an administrator set, he ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.model.order import Side
from tidegate.model.time import DAY, SECOND


class BandRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of one instrument: fractions and seconds; 0 or empty turns a rule off."""

    band: float = 0.0
    reference: float = 300.0
    limit_state: float = 15.0
    pause: float = 300.0
    move: float = 0.0
    window: float = 3600.0
    move_pause: float = 120.0
    levels: tuple[float, ...] = ()
    level_pauses: tuple[float, ...] = (900.0, 900.0, 0.0)

    @staticmethod
    def load(raw: Mapping[str, Any]) -> BandRules:
        """Check a dict and make rules of it; raises `UserError` saying what is wrong."""
        try:
            made = msgspec.convert(raw, BandRules)
        except msgspec.ValidationError as error:
            raise UserError(f"price bands: {error}") from None
        for name in ("band", "move"):
            if not 0 <= getattr(made, name) < 1:
                raise UserError(f"price bands: {name} is {getattr(made, name)}, must be from 0 to below 1")
        for name in ("reference", "limit_state", "pause", "window", "move_pause"):
            if getattr(made, name) <= 0:
                raise UserError(f"price bands: {name} is {getattr(made, name)}, must be above 0")
        if list(made.levels) != sorted(set(made.levels)) or any(not 0 < level < 1 for level in made.levels):
            raise UserError(f"price bands: levels {made.levels}: fractions that rise, above 0 and below 1")
        if len(made.level_pauses) < len(made.levels):
            raise UserError(
                f"price bands: {len(made.levels)} levels and {len(made.level_pauses)} level_pauses"
            )
        return made


class Act(NamedTuple):
    """Trading in an instrument stops or goes on, and why."""

    number: int
    halted: bool
    why: str


class _Extremes:
    """The lowest and highest of the last `window` ns: what can become neither any more is forgotten."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._lows: deque[tuple[int, int]] = deque()
        self._highs: deque[tuple[int, int]] = deque()

    def add(self, ts: int, price: int) -> tuple[int, int]:
        """Both, with this one."""
        while self._lows and self._lows[-1][1] >= price:
            self._lows.pop()
        while self._highs and self._highs[-1][1] <= price:
            self._highs.pop()
        for marks in (self._lows, self._highs):
            marks.append((ts, price))
            while ts - marks[0][0] > self._window:
                marks.popleft()
        return self._lows[0][1], self._highs[0][1]

    def clear(self) -> None:
        self._lows.clear()
        self._highs.clear()


class _One:
    """One instrument's marks, and the halt that these rules have on it."""

    def __init__(self, rules: BandRules) -> None:
        self.rules = rules
        self.marks: deque[tuple[int, int]] = deque()
        self.extremes = _Extremes(round(rules.window * SECOND))
        self.since = 0
        """Since when the mark has been at a band; 0: it is not."""
        self.until = 0
        """When the halt ends; 0: there is none of ours."""
        self.opened = 0
        """The mark with which the day began."""

    def bounds(self, now: int) -> tuple[int, int] | None:
        """Lowest sell and highest buy, ticks; None while there is no reference or no band."""
        rules = self.rules
        if not rules.band:
            return None
        last = takewhile(lambda mark: now - mark[0] <= rules.reference * SECOND, reversed(self.marks))
        prices = [price for _, price in last]
        if not prices:
            return None
        mean = sum(prices) / len(prices)
        return int(-(-mean * (1 - rules.band) // 1)), int(mean * (1 + rules.band))


class Bands:
    """`rules` by instrument number; `look` is called with every step of time."""

    def __init__(self) -> None:
        self._each: dict[int, _One] = {}
        self._next = 0
        self._day = 0
        self._level = 0
        """Market-wide levels that were reached today."""

    def set(self, number: int, rules: BandRules) -> None:
        """The rules of an instrument from now on; its marks so far are kept."""
        known = self._each.get(number)
        self._each[number] = made = _One(rules)
        if known is not None:
            made.marks, made.until, made.opened = known.marks, known.until, known.opened
            for ts, price in made.marks:
                made.extremes.add(ts, price)

    def __bool__(self) -> bool:
        return bool(self._each)

    @property
    def next_due(self) -> int:
        """When to look again, ns; 0 where there are no rules."""
        return self._next if self._each else 0

    def admits(self, number: int, side: Side, price: int, now: int) -> bool:
        """Whether a limit order may have this price (ticks)."""
        one = self._each.get(number)
        bounds = one.bounds(now) if one is not None and price else None
        if bounds is None:
            return True
        return price <= bounds[1] if side is Side.BUY else price >= bounds[0]

    def bounds(self, number: int, now: int) -> tuple[int, int] | None:
        """Lowest sell and highest buy in an instrument, ticks."""
        one = self._each.get(number)
        return one.bounds(now) if one is not None else None

    def look(self, now: int, mark: Callable[[int], int]) -> list[Act]:
        """Sample the marks, at most once a second; what follows."""
        if not self._each or now < self._next:
            return []
        self._next = now + SECOND
        acts: list[Act] = []
        if now // DAY != self._day:
            self._day, self._level = now // DAY, 0
            for one in self._each.values():
                one.opened = 0
        for number, one in self._each.items():
            if one.until and now >= one.until:
                one.until = one.since = 0
                one.marks.clear()  # from where it reopens
                one.extremes.clear()
                acts.append(Act(number, False, "the pause is over"))
            price = mark(number)
            if price > 0:
                one.opened = one.opened or price
                acts += self._sample(number, one, price, now)
        return acts + self._market_wide(now)

    def _sample(self, number: int, one: _One, price: int, now: int) -> list[Act]:
        rules = one.rules
        if one.until:
            return []
        bounds = one.bounds(now)
        one.marks.append((now, price))
        keep = max(rules.window, rules.reference) * SECOND
        while now - one.marks[0][0] > keep:
            one.marks.popleft()
        if bounds is not None and not bounds[0] < price < bounds[1]:
            one.since = one.since or now
            if now - one.since >= rules.limit_state * SECOND:
                return [self._halt(number, one, now, rules.pause, "the mark has stood at its band")]
        else:
            one.since = 0
        if rules.move:
            low, high = one.extremes.add(now, price)
            if price >= low * (1 + rules.move) or price <= high * (1 - rules.move):
                why = f"a move of {rules.move:.1%} within {rules.window / 60:g} minutes"
                return [self._halt(number, one, now, rules.move_pause, why)]
        return []

    def _market_wide(self, now: int) -> list[Act]:
        moves = [one.marks[-1][1] / one.opened for one in self._each.values() if one.opened and one.marks]
        if not moves:
            return []
        fall, acts = 1.0 - sum(moves) / len(moves), list[Act]()
        deepest = max(
            (len([lv for lv in one.rules.levels if fall >= lv]) for one in self._each.values()), default=0
        )
        if deepest <= self._level:
            return []
        self._level = deepest
        for number, one in self._each.items():
            reached = [n for n, level in enumerate(one.rules.levels) if fall >= level]
            if reached:
                pause = one.rules.level_pauses[reached[-1]]
                rest = ((now // DAY + 1) * DAY - now) / SECOND
                why = f"the market has fallen by {one.rules.levels[reached[-1]]:.0%} today"
                acts.append(self._halt(number, one, now, pause or rest, why))
        return acts

    @staticmethod
    def _halt(number: int, one: _One, now: int, seconds: float, why: str) -> Act:
        one.until, one.since = now + round(seconds * SECOND), 0
        return Act(number, True, why)
