"""A strategy to copy: bars, a bracket order, state that survives a restart.

Buys when a bar closes above the highest high of the last `lookback` bars. The entry is a limit order at the ask; with
it go a take-profit and a stop-loss that cancel each other, both sent for what the entry has filled, from its first
fill on. Run it with `type = "breakout.py:Breakout"` in a configuration beside this file.
"""

from __future__ import annotations

from typing import Any

from tidegate.model.order import Side
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Bar


class Breakout(Strategy):
    """Long above the recent range, out at a target or a stop."""

    class Params(StrategyParams, frozen=True):
        market: str
        size: int
        """Lots."""
        interval: str = "1m"
        lookback: int = 20
        """Bars of the range."""
        reward: float = 2.0
        """Distance of the target, in distances of the stop."""

        def __post_init__(self) -> None:
            if self.lookback < 2:
                raise ValueError(f"lookback is {self.lookback}, must be at least 2")

    params: Params

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.highs: list[int] = []
        self.lows: list[int] = []

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.entry: StrategyOrder | None = None
        self.subscribe_bars(self.m, self.params.interval)

    def on_bar(self, bar: Bar) -> None:
        full = len(self.highs) == self.params.lookback
        if full and bar.close > max(self.highs):
            self.enter(bar.close - min(self.lows))
        self.highs = [*self.highs, bar.high][-self.params.lookback :]
        self.lows = [*self.lows, bar.low][-self.params.lookback :]

    def enter(self, distance: int) -> None:
        """Open a bracket, where none is open and nothing is held."""
        m = self.m
        if m.orders or m.position or not m.has_touch:
            return
        target = m.ask + round(self.params.reward * distance)
        self.entry, _, _ = m.bracket(Side.BUY, self.params.size, m.ask, target, m.bid - distance)
        self.after("10s", "give up")

    def on_timer(self, name: str) -> None:
        if self.entry is not None and self.entry.cancellable:
            self.cancel(self.entry)  # what has filled keeps its target and its stop

    def on_stop(self) -> None:
        self.cancel_all()
        self.m.flatten()

    def save_state(self) -> dict[str, Any]:
        return {"highs": self.highs, "lows": self.lows}

    def load_state(self, state: dict[str, Any]) -> None:
        self.highs, self.lows = state["highs"], state["lows"]
