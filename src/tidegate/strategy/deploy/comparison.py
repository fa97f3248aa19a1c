"""A shadow beside the live version: whose orders answer whose, and the paths of profit and position. A pure fold.

Two orders belong together when instrument and side are the same, and time and price differ by no more than `window` and
`ticks`; each belongs to one at most, the nearest in time. What has found none when the other side's time has gone on by
more than the window is an order of one side alone.
"""

from __future__ import annotations

from collections import deque
from statistics import quantiles

import msgspec

from tidegate.model.messages import NewOrder
from tidegate.model.time import SECOND
from tidegate.strategy.deploy.measure import Figures

LIVE, SHADOW = 0, 1
NAMES = ("live", "shadow")
_KEPT = 1000
_PATH = 240
_EXAMPLES = 5


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One interval of both: its end (ns), profit so far and inventory of live version and shadow, base currency."""

    ts: int
    live_pnl: float
    shadow_pnl: float
    live_inventory: float
    shadow_inventory: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the two compare since `since` (ns). `apart_ms` are median and 95 % quantile of the time between orders that belong
    together; `same_price` how many of those have the same price and quantity. `path` are the last intervals."""

    since: int
    until: int
    orders: tuple[int, int]
    fills: tuple[int, int]
    pnl: tuple[float, float]
    matched: int
    same_price: int
    alone: tuple[int, int]
    apart_ms: tuple[float, float]
    examples: list[str]
    path: list[Point]


class Comparison:
    """Folds both sides. `side` is LIVE or SHADOW; times in ns, each side's own in order."""

    def __init__(self, window: int = SECOND, ticks: int = 10) -> None:
        self._window, self._ticks = window, ticks
        self._waiting: tuple[deque[NewOrder], deque[NewOrder]] = (deque(), deque())
        self._now = [0, 0]
        self._since = 0
        self._orders, self._alone, self._fills, self._pnl = [0, 0], [0, 0], [0, 0], [0.0, 0.0]
        self._matched = self._same = 0
        self._apart: deque[int] = deque(maxlen=_KEPT)
        self._examples: deque[str] = deque(maxlen=_EXAMPLES)
        self._halves: dict[int, list[Figures | None]] = {}
        self._path: deque[Point] = deque(maxlen=_PATH)

    def asked(self, side: int, order: NewOrder) -> None:
        """One side sent an order."""
        self.pass_time(side, order.ts)
        self._orders[side] += 1
        best: NewOrder | None = None
        for other in self._waiting[1 - side]:
            if (
                other.instrument == order.instrument
                and other.side == order.side
                and abs(other.ts - order.ts) <= self._window
                and abs(other.price - order.price) <= self._ticks
                and (best is None or abs(other.ts - order.ts) < abs(best.ts - order.ts))
            ):
                best = other
        if best is None:
            self._waiting[side].append(order)
            return
        self._waiting[1 - side].remove(best)
        self._matched += 1
        self._same += (best.price, best.qty) == (order.price, order.qty)
        self._apart.append(abs(best.ts - order.ts))

    def pass_time(self, side: int, ts: int) -> None:
        """One side's time has come to `ts`."""
        self._since = self._since or ts
        self._now[side] = max(self._now[side], ts)
        waiting = self._waiting[1 - side]
        while waiting and waiting[0].ts + self._window < self._now[side]:
            order = waiting.popleft()
            self._alone[1 - side] += 1
            self._examples.append(
                f"{NAMES[1 - side]} alone: {order.side.name.lower()} {order.qty} at {order.price} "
                f"(instrument {order.instrument}, {order.ts})"
            )

    def ended(self, side: int, figures: Figures) -> None:
        """One side's interval has ended."""
        self._fills[side] += figures.fills
        halves = self._halves.setdefault(figures.ts, [None, None])
        halves[side] = figures
        while len(self._halves) > _PATH:  # the other side tells nothing
            del self._halves[min(self._halves)]
        live, shadow = halves
        if live is None or shadow is None:
            return
        del self._halves[figures.ts]
        self._pnl[LIVE] += live.pnl
        self._pnl[SHADOW] += shadow.pnl
        self._path.append(
            Point(figures.ts, self._pnl[LIVE], self._pnl[SHADOW], live.inventory, shadow.inventory)
        )

    def report(self) -> Report:
        """How they compare so far."""
        apart = sorted(self._apart)
        cuts = quantiles(apart, n=20) if len(apart) > 1 else [float(sum(apart))] * 19
        return Report(
            since=self._since, until=max(self._now), orders=_two(self._orders), fills=_two(self._fills),
            pnl=(self._pnl[LIVE], self._pnl[SHADOW]), matched=self._matched, same_price=self._same,
            alone=_two(self._alone), apart_ms=(cuts[9] / 1e6, cuts[18] / 1e6), examples=list(self._examples),
            path=list(self._path),
        )  # fmt: skip


def _two(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]
