"""Dynamic limits: by how much an instrument's limits are held down, from what its market does. Pure.

The factor is the smallest of four parts, each 1 in a calm market: usual ÷ fast volatility, depth and traded volume
against what is usual, and what margin leaves free. It falls at once and rises slowly, with a half-life; it is never
above 1 (what people set) nor below `floor`. Orders that only reduce pass whatever it is: the gate sees to that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.model.time import MINUTE, SECOND
from tidegate.risk.limits import Duration, Percent, read_table

WHOLE = 1_000_000
"""A factor of 1, in parts per million."""


class DynamicSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[risk.dynamic]`. `floor` "100%" turns it off."""

    floor: Percent = Percent("0.2")
    """The least part of a limit that is left."""
    step: Percent = Percent("0.05")
    """A factor is told when it has moved so far."""
    half_life: Duration = Duration(5 * MINUTE)
    """After a shock has passed, half of what was taken is back in so long."""
    fast: Duration = Duration(30 * SECOND)
    """What volatility is measured over …"""
    slow: Duration = Duration(30 * MINUTE)
    """… and against: what is usual, of depth and volume too."""
    volatility: float = 2.0
    """Fast over usual volatility from which on limits fall, in proportion."""
    depth: float = 0.5
    """Part of the usual depth below which they fall."""
    volume: float = 0.2
    """Part of the usual volume below which they fall."""
    margin: Percent = Percent("0.7")
    """Use of margin from which on they fall, to the floor at 100 %."""
    warm_up: int = 60
    """Looks at a market before its volatility, depth and volume count."""

    @classmethod
    def load(cls, data: Mapping[str, Any], where: str = "risk.dynamic") -> DynamicSettings:
        """From a decoded TOML table; a mistake is a `UserError` that names the place and the nearest key."""
        found = read_table(data, cls, where)
        for name in ("floor", "step", "margin"):
            if not 0 < getattr(found, name) <= 1:
                raise UserError(f"{where}.{name} is {getattr(found, name)}, must be above 0 and at most 100%")
        for name in ("half_life", "fast", "slow", "volatility", "warm_up"):
            if getattr(found, name) <= 0:
                raise UserError(f"{where}.{name} is {getattr(found, name)}, must be above 0")
        return found


class Look(NamedTuple):
    """A market at `ts` (ns): its touch (ticks), depth near it and volume traded in all (lots), and the largest use of
    margin among the accounts that hold it (1 is all)."""

    ts: int
    bid: int
    ask: int
    depth: int
    traded: int
    margin: float = 0.0


class _Mean:
    """An average in which what is `memory` ns old weighs a third; until then, all alike."""

    __slots__ = ("begun", "memory", "value")

    def __init__(self, memory: int) -> None:
        self.memory, self.begun, self.value = memory, 0, 0.0

    def add(self, x: float, gap: int) -> None:
        self.begun += gap
        self.value += (1.0 - math.exp(-gap / min(self.begun, self.memory))) * (x - self.value)


class Tightening:
    """One instrument's factor; `look` is called about once a second."""

    def __init__(self, settings: DynamicSettings) -> None:
        self.settings = settings
        self.factor = 1.0
        """What holds now."""
        self.told = WHOLE
        """Parts per million, as told last."""
        self.why = ""
        """What holds it down."""
        self._last: Look | None = None
        self._looks = 0
        self._fast, self._slow = _Mean(settings.fast), _Mean(settings.slow)
        self._depth, self._volume = _Mean(settings.slow), _Mean(settings.slow)
        self._recent = _Mean(settings.fast)

    def resume(self, told: int) -> None:
        """Go on from a factor that was told before, in parts per million."""
        self.told = min(max(told, round(float(self.settings.floor) * WHOLE)), WHOLE)
        self.factor = self.told / WHOLE

    def look(self, look: Look) -> int | None:
        """The factor to tell, in parts per million; None while it has not moved by a step."""
        last, self._last = self._last, look
        if last is None or look.ts <= last.ts:
            return None
        gap = look.ts - last.ts
        target, self.why = self._target(last, look, gap)
        s = self.settings
        if target < self.factor:
            self.factor = target
        else:
            self.factor += (target - self.factor) * (1.0 - 0.5 ** (gap / s.half_life))
        self.factor = min(1.0, max(float(s.floor), self.factor))
        return self._tell()

    def _tell(self) -> int | None:
        """Down by a step, or up by one, or all the way back."""
        step = round(float(self.settings.step) * WHOLE)
        now = round(self.factor * WHOLE)
        if WHOLE - now < step // 2:
            now = WHOLE
        at_floor = now <= round(float(self.settings.floor) * WHOLE)
        if now == self.told or (
            abs(now - self.told) < step and now != WHOLE and not (at_floor and now < self.told)
        ):
            return None
        self.told = now
        return now

    def _target(self, last: Look, look: Look, gap: int) -> tuple[float, str]:
        s = self.settings
        parts = {"margin": self._of_margin(look.margin)}
        if last.bid > 0 and last.ask > 0 and look.bid > 0 and look.ask > 0:
            move = (look.bid + look.ask) / (last.bid + last.ask) - 1.0
            variance = move * move / gap
            usual = self._slow.value
            self._fast.add(variance, gap)
            if usual > 0 and self._looks >= s.warm_up:
                fast = self._fast.value
                parts["volatility"] = min(1.0, s.volatility * math.sqrt(usual / fast)) if fast > 0 else 1.0
            # What is usual learns slowly from a shock, and not at all at once: else it would hide it.
            self._slow.add(
                min(variance, 4 * usual) if usual > 0 and self._looks >= s.warm_up else variance, gap
            )
        if self._looks >= s.warm_up:
            parts["depth"] = _part(look.depth, self._depth.value, s.depth)
        rate = max(0, look.traded - last.traded) / gap
        self._recent.add(rate, gap)
        if self._looks >= s.warm_up:
            parts["volume"] = _part(self._recent.value, self._volume.value, s.volume)
        self._depth.add(look.depth, gap)
        self._volume.add(rate, gap)
        self._looks += 1
        why = min(parts, key=lambda name: parts[name])
        return parts[why], why if parts[why] < 1 else ""

    def _of_margin(self, use: float) -> float:
        begins, floor = float(self.settings.margin), float(self.settings.floor)
        if use <= begins or begins >= 1:
            return 1.0
        return max(floor, 1.0 - (1.0 - floor) * (use - begins) / (1.0 - begins))


def _part(now: float, usual: float, least: float) -> float:
    """1 while there is at least `least` of what is usual; below, in proportion."""
    if usual <= 0 or least <= 0:
        return 1.0
    return min(1.0, now / (usual * least))
