"""Strategies that trade faster, or dearer, than they ever did."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, Side
from tidegate.model.time import SECOND
from tidegate.risk.breakers.settings import FillRule, SlippageRule
from tidegate.risk.breakers.trip import Moments, Trip

FILL_RATE, SLIPPAGE = "fill_rate", "slippage"


class FillRateBreaker:
    """Fills within a window, against the strategy's own windows before."""

    def __init__(self, rule: FillRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self._now: list[tuple[int, int]] = [(0, 0)] * len(self.names)
        self._before = [Moments(rule.memory) for _ in names]

    def apply(self, e: OrderEvent) -> Trip | None:
        """One event of a strategy that is in the table."""
        if e.exec_type != ExecType.TRADE:
            return None
        at, n = e.ts // self.rule.window, 1
        last, count = self._now[e.strategy]
        before = self._before[e.strategy]
        if at <= last:
            at, n = last, count + 1
        elif last:
            before.add(count)
            for _ in range(min(at - last - 1, self.rule.memory)):
                before.add(0)
        self._now[e.strategy] = at, n
        rule = self.rule
        if n < rule.least or before.n < rule.memory // 10 or not rule.z.is_finite():
            return None
        z = before.z(n, max(1.0, before.mean**0.5))
        if z <= rule.z:
            return None
        name, span = self.names[e.strategy], rule.window / SECOND
        text = f"{n} fills of {name} within {span:g} s, z {z:.1f} over {before.mean:.1f} on average; {float(rule.z):g} trips"
        return Trip(e.ts, name, rule.to, FILL_RATE, text, float(rule.z), z)

    def rearm(self, strategy: int) -> None:
        """People re-armed it: its present window begins anew."""
        self._now[strategy] = (self._now[strategy][0], 0)


class SlippageBreaker:
    """What taking cost against the middle, as a part of the price; the mean of the last few, against those before."""

    def __init__(self, rule: SlippageRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self._last: list[deque[float]] = [deque(maxlen=rule.of) for _ in names]
        self._before = [Moments(rule.memory) for _ in names]

    def apply(self, e: OrderEvent, bid: int, ask: int) -> Trip | None:
        """One event of a strategy that is in the table, and the touch before it (0: unknown)."""
        middle = (bid + ask) / 2
        if e.exec_type != ExecType.TRADE or e.maker or not middle:
            return None
        worse = (e.last_px - middle if e.side == Side.BUY else middle - e.last_px) / abs(middle)
        last, before, rule = self._last[e.strategy], self._before[e.strategy], self.rule
        if len(last) == rule.of:
            before.add(last[0])
        last.append(worse)
        if len(last) < rule.of:
            return None
        mean = sum(last) / rule.of
        name = self.names[e.strategy]
        if mean > rule.most:
            text = f"the last {rule.of} fills of {name} cost {mean:.3%} against the middle; {float(rule.most):.3%} trips"
            return Trip(e.ts, name, rule.to, SLIPPAGE, text, float(rule.most), mean)
        if before.n < rule.of or not rule.z.is_finite():
            return None
        z = before.z(mean, 1e-4)  # below a basis point nothing is an anomaly
        if z <= rule.z:
            return None
        text = (
            f"the last {rule.of} fills of {name} cost {mean:.3%} against {before.mean:.3%} before, "
            f"z {z:.1f}; {float(rule.z):g} trips"
        )
        return Trip(e.ts, name, rule.to, SLIPPAGE, text, float(rule.z), z)

    def rearm(self, strategy: int) -> None:
        """People re-armed it: what the last fills cost counts as before."""
        for worse in self._last[strategy]:
            self._before[strategy].add(worse)
        self._last[strategy].clear()
