"""Market data that cannot be traded on: stale, crossed, or torn; pairs that drift apart, coins that lose their peg."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from tidegate.model.instrument import Universe
from tidegate.model.time import SECOND
from tidegate.risk.breakers.settings import DepegRule, DivergenceRule, MarketRule
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.limits import Duration
from tidegate.risk.marks import Touch

STALE, CROSSED, GAPPED, DIVERGENCE, DEPEG = "stale_data", "crossed_data", "gapped_data", "divergence", "depeg"
_NEVER = Duration(1 << 62)


class MarketBreaker:
    """An instrument's data by itself; `names` are the instruments' scopes."""

    def __init__(self, rule: MarketRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self.seen = [0] * len(self.names)
        """When data of each last came, ns by our clock; 0: never."""
        self._crossed = [0] * len(self.names)

    def touch(self, i: int, bid: int, ask: int, ts: int) -> Trip | None:
        """A touch as it came, good or not."""
        self.seen[i] = max(self.seen[i], ts)
        if not bid or not ask or bid <= ask:
            self._crossed[i] = 0
            return None
        self._crossed[i] = self._crossed[i] or ts
        for_ = ts - self._crossed[i]
        if for_ < self.rule.crossed or self.rule.crossed >= _NEVER:
            return None
        text = f"{self.names[i]} has been crossed for {for_ / SECOND:.1f} s: bid {bid} over ask {ask} ticks"
        return Trip(ts, self.names[i], self.rule.to, CROSSED, text, self.rule.crossed / SECOND, for_ / SECOND)

    def good(self, i: int, before: Touch | None, now: Touch) -> Trip | None:
        """A good touch after another."""
        if before is None or not self.rule.jump.is_finite():
            return None
        was, is_ = before[0] + before[1], now[0] + now[1]
        jump = abs(is_ - was) / max(abs(was), 1)
        if jump <= self.rule.jump:
            return None
        text = f"{self.names[i]} moved by {jump:.1%} between two touches; {float(self.rule.jump):.1%} trips"
        return Trip(now[2], self.names[i], self.rule.to, GAPPED, text, float(self.rule.jump), jump)

    def stale(self, concerned: Callable[[int], bool], now: int) -> list[Trip]:
        """Instruments that we hold, or have orders in, and hear nothing of."""
        trips = []
        for i, seen in enumerate(self.seen):
            age = now - seen
            if seen and self.rule.stale < _NEVER and age > self.rule.stale and concerned(i):
                text = f"nothing has been heard of {self.names[i]} for {age / SECOND:.0f} s, and we hold it or have orders in it"
                limit = self.rule.stale / SECOND
                trips.append(Trip(now, self.names[i], self.rule.to, STALE, text, limit, age / SECOND))
        return trips


class _Held:
    """Since when something holds, by key."""

    def __init__(self, hold: int) -> None:
        self._hold, self._since = hold, dict[object, int]()

    def __call__(self, key: object, true: bool, ts: int) -> bool:
        """Whether it has held for long enough."""
        if not true:
            self._since.pop(key, None)
            return False
        return ts - self._since.setdefault(key, ts) >= self._hold


class DivergenceBreaker:
    """The same kind of contract on the same pair at several venues."""

    def __init__(self, rule: DivergenceRule, universe: Universe, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        alike: dict[tuple[str, str, str], list[int]] = {}
        for n, item in enumerate(universe.instruments):
            alike.setdefault((item.kind, item.base, item.quote), []).append(n)
        self._peers = {n: [m for m in group if m != n] for group in alike.values() for n in group}
        self._tick = [float(item.tick) for item in universe.instruments]
        self._price = [0.0] * len(universe)
        self._held = _Held(rule.hold)

    def good(self, i: int, touch: Touch) -> list[Trip]:
        """A good touch."""
        self._price[i] = mine = (touch[0] + touch[1]) / 2 * self._tick[i]
        trips = []
        for other in self._peers[i]:
            theirs = self._price[other]
            apart = abs(mine / theirs - 1) if theirs > 0 and mine > 0 else 0.0
            if self._held((min(i, other), max(i, other)), apart > self.rule.limit, touch[2]):
                text = f"{self.names[i]} and {self.names[other]} are {apart:.1%} apart; {float(self.rule.limit):.1%} trips"
                trips += [
                    Trip(
                        touch[2], self.names[n], self.rule.to, DIVERGENCE, text, float(self.rule.limit), apart
                    )
                    for n in (i, other)
                ]
        return trips


class DepegBreaker:
    """Stablecoins against 1. What is quoted, settled or based in a coin that lost its peg only reduces."""

    def __init__(self, rule: DepegRule, universe: Universe, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self._coin: Mapping[int, str] = {universe.number(where): coin for coin, where in rule.coins.items()}
        self._tick = [item.tick for item in universe.instruments]
        self._concerned = {
            coin: [
                n for n, item in enumerate(universe.instruments)
                if coin in (item.base, item.quote, item.settle_currency)
            ]
            for coin in rule.coins
        }  # fmt: skip
        self._held = _Held(rule.hold)

    def good(self, i: int, touch: Touch) -> list[Trip]:
        """A good touch."""
        coin = self._coin.get(i)
        if coin is None:
            return []
        off = float(abs(Decimal(touch[0] + touch[1]) / 2 * self._tick[i] - 1))
        if not self._held(coin, off > self.rule.limit, touch[2]):
            return []
        text = f"{coin} is {off:.2%} from 1; {float(self.rule.limit):.2%} trips"
        return [
            Trip(touch[2], self.names[n], self.rule.to, DEPEG, text, float(self.rule.limit), off)
            for n in self._concerned[coin]
        ]
