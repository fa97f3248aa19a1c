"""Trend following on bars: long while the fast average is above the slow one, short (or flat) below.

**Model.** Two exponential averages of the closes (`indicators.Ema`, α = 2/(n + 1)). The sign of their
difference is the trend; the position follows it at the market after the bar that shows it. Moving-average
rules are the oldest that held up in tests: Brock, Lakonishok & LeBaron, "Simple technical trading rules and
the stochastic properties of stock returns", Journal of Finance 47 (1992); why time-series momentum exists at
all: Moskowitz, Ooi & Pedersen, "Time series momentum", Journal of Financial Economics 104 (2012).

**Stop** (with `atr_stop` above 0). Once the position is on, a stop order rests at the venue, `atr_stop`
average true ranges (Wilder, 1978) from the fill; with `trailing` it follows the price at that distance. It is
reduce-only, so it can end the position and never turn it. After a stop the strategy stays out until the
averages cross again. A position whose stop is refused is closed: it does not run unprotected.

**Sizing.** A fixed number of lots. Volatility targeting is left to whoever sets `size`.

**What it does not handle.** Costs: nothing keeps it from crossing back and forth in a quiet market, except
longer averages. Gaps: bars without a trade do not exist, so the averages count bars that traded, not time.

**When it loses.** In ranges: each false cross costs the spread, two taker fees and the move that was given
up, about half of `slow` bars' worth of noise. It makes a few large profits and many small losses by design.
"""

from __future__ import annotations

from typing import Any

from tidegate.model.order import OrdStatus, OrdType, Side
from tidegate.strategy.indicators import Atr, Ema
from tidegate.strategy.library.checks import at_least, durations, ordered
from tidegate.strategy.library.target import PositionTarget
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Bar


class EmaCrossParams(StrategyParams, frozen=True):
    """Parameters."""

    market: str
    size: int
    """Lots of a position."""
    interval: str = "1m"
    """Length of a bar."""
    fast: int = 12
    slow: int = 26
    """Periods of the averages, bars."""
    short: bool = True
    """Go short below the cross; else flat."""
    atr_period: int = 14
    atr_stop: float = 0.0
    """Distance of the stop in average true ranges, typically 2 to 4; 0: no stop."""
    trailing: bool = False
    slippage: int = 0
    """Bound the entries by an IOC limit this many ticks through the touch; 0: market orders."""

    def __post_init__(self) -> None:
        at_least(1, size=self.size, fast=self.fast, atr_period=self.atr_period)
        at_least(0, atr_stop=self.atr_stop, slippage=self.slippage)
        ordered(fast=self.fast, slow=self.slow)
        durations(interval=self.interval)


class EmaCross(Strategy):
    """See the module."""

    Params = EmaCrossParams
    params: EmaCrossParams
    _restored: dict[str, Any] | None = None

    def on_start(self) -> None:
        p = self.params
        self.m = self.market(p.market)
        self.fast, self.slow, self.atr = Ema(p.fast), Ema(p.slow), Atr(p.atr_period)
        self.target = PositionTarget(self, self.m, p.slippage)
        self.target.recover()
        self.stop_order = next((o for o in self.m.orders if o is not self.target.order), None)
        self.stopped = 0
        """The direction that a stop has ended, until the averages cross: +1, −1, or 0."""
        self.entry = self.m.mid
        if self._restored is not None:
            self._take_back(self._restored)
        self.subscribe_bars(self.m, p.interval)
        self.every("1s", "work")

    @property
    def trend(self) -> int:
        """+1 up, −1 down, 0 before the averages are ready."""
        if not self.slow.ready:
            return 0
        return 1 if self.fast.value > self.slow.value else -1

    def on_bar(self, bar: Bar) -> None:
        self.fast.add(bar.close)
        self.slow.add(bar.close)
        self.atr.add(bar.high, bar.low, bar.close)
        self.work()

    def on_timer(self, name: str) -> None:
        self.work()

    def on_order(self, order: StrategyOrder) -> None:
        if order is self.stop_order:
            self._stop_changed(order)
        elif order.cum_qty:
            self.entry = order.avg_px
        self.target.on_order(order)
        self.work()

    def work(self) -> None:
        """Follow the trend: the stop goes first, then the position, then a stop for it."""
        trend = self.trend
        if trend == 0:
            return
        if trend != self.stopped:
            self.stopped = 0
        wanted = self._wanted(trend)
        if wanted != self.m.position and self.stop_order is not None:
            self.cancel(self.stop_order)
            return
        self.target.aim(wanted)
        if self.target.settled and self.params.atr_stop > 0 and self.m.position and self.stop_order is None:
            self._protect()

    def _wanted(self, trend: int) -> int:
        if trend == self.stopped or (trend < 0 and not self.params.short):
            return 0
        return trend * self.params.size

    def _protect(self) -> None:
        """Rest a stop for the whole position."""
        if not self.atr.ready:
            return
        lots = self.m.position
        side = Side.SELL if lots > 0 else Side.BUY
        distance = max(round(self.params.atr_stop * self.atr.value), 1)
        if self.params.trailing:
            order = self.m.submit(
                side, abs(lots), ord_type=OrdType.TRAILING_STOP, offset=distance, reduce_only=True
            )
        else:
            price = round(self.entry) + side.sign * distance
            order = self.m.submit(side, abs(lots), ord_type=OrdType.STOP, stop_price=price, reduce_only=True)
        self.stop_order = order
        if not order.open:
            self._stop_changed(order)

    def _stop_changed(self, order: StrategyOrder) -> None:
        if order.open:
            return
        self.stop_order = None
        if order.status in (OrdStatus.FILLED, OrdStatus.DENIED, OrdStatus.REJECTED):
            self.stopped = -order.side.sign

    def on_stop(self) -> None:
        self.cancel_all()

    def save_state(self) -> dict[str, Any]:
        return {
            "fast": self.fast.state(), "slow": self.slow.state(), "atr": self.atr.state(),
            "stopped": self.stopped, "entry": self.entry,
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        self._restored = state

    def _take_back(self, state: dict[str, Any]) -> None:
        self.fast.restore(state["fast"])
        self.slow.restore(state["slow"])
        self.atr.restore(state["atr"])
        self.stopped, self.entry = state["stopped"], state["entry"]
