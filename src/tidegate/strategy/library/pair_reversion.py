"""Mean reversion of a pair on bars: the spread of two markets as an Ornstein-Uhlenbeck process.

**Model.** Over a rolling window of bars, log y = a + b·log x + s by least squares
(`regression.RollingRegression`, one bar in, one bar out); b is the hedge ratio: so much notional of x against
one of y. The residual s is fitted as an OU process (`regression.fit_ou`): mean μ, half-life −ln 2/ln φ in
bars, deviation in the long run σ_eq. The signal is the z-score (s − μ)/σ_eq, Avellaneda & Lee's s-score
("Statistical arbitrage in the US equities market", Quantitative Finance 10, 2010). The latest bar is judged
by the line through the bars before it.

**Trading.** Beyond ±`entry_z`: sell the dear leg, buy the cheap one. The line and the OU process are frozen
while a position is held, so that z returns because prices do, not because the estimate has come round. Leave
within `exit_z` of the mean; at `stop_z` (the relation may have broken); or after `time_stop` half-lives: a
reversion that is late is probably not coming. After a stop of either kind nothing is entered until z has been
back within `exit_z`. Pairs are only entered while the half-life lies in [`min_half_life`, `max_half_life`]
bars and the correlation is at least `min_correlation`.

**Legs.** Both go at the market at once, y by `size` lots, x by b times its notional, to the nearest lot
(inverse contracts by their USD value). If a leg is not complete after `leg_timeout` (denied, halted) both are
closed.

**What it does not handle.** More than two legs; structural breaks other than by the stop; costs in the
signal: choose `entry_z` so that entry_z·σ_eq is well above four taker fees and spreads. In-window fits
flatter themselves: φ is biased down by about (1 + 3φ)/n, half-lives look shorter than they are. Bars in which
one of the two did not trade are left out.

**When it loses.** When the relation shifts for good, when the swing is smaller than the costs, and when both
markets gap before the legs are closed.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from tidegate.model.time import duration
from tidegate.strategy.library.checks import above, at_least, durations, ordered
from tidegate.strategy.library.target import PositionTarget
from tidegate.strategy.market import Market
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.regression import OrnsteinUhlenbeck, RollingRegression, fit_ou
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Bar


class PairReversionParams(StrategyParams, frozen=True):
    """Parameters."""

    y: str
    """The market that is traded by `size`."""
    x: str
    """The market that hedges it."""
    size: int
    """Lots of y."""
    interval: str = "1m"
    window: int = 60
    """Bars of the rolling fit: a few half-lives, 30 to 500."""
    entry_z: float = 2.0
    exit_z: float = 0.5
    stop_z: float = 4.0
    time_stop: float = 3.0
    """Half-lives after which a position is given up."""
    min_half_life: float = 0.5
    max_half_life: float = 30.0
    min_correlation: float = 0.5
    leg_timeout: str = "2s"

    def __post_init__(self) -> None:
        at_least(1, size=self.size)
        at_least(10, window=self.window)
        at_least(0, exit_z=self.exit_z, min_half_life=self.min_half_life)
        above(0, time_stop=self.time_stop)
        ordered(exit_z=self.exit_z, entry_z=self.entry_z, stop_z=self.stop_z)
        ordered(min_half_life=self.min_half_life, max_half_life=self.max_half_life)
        durations(interval=self.interval, leg_timeout=self.leg_timeout)
        if self.x == self.y:
            raise ValueError(f"x and y are both {self.x}: two markets are needed")


class Line(msgspec.Struct):
    """What a position was entered on: the hedge line, the spread's process, and how long it has been held."""

    intercept: float
    slope: float
    mean: float
    deviation: float
    half_life: float
    direction: int = 0
    """+1 long the spread (long y), −1 short."""
    bars: int = 0

    def z(self, x: float, y: float) -> float:
        """The z-score of the pair of log prices."""
        return (y - self.intercept - self.slope * x - self.mean) / self.deviation


def quote_value(market: Market, price: float) -> float:
    """Value of one lot in the quote currency at `price` ticks; an inverse contract's is fixed."""
    item = market.instrument
    size = float(item.lot * item.multiplier)
    return size if item.inverse else size * market.price(price)


class PairReversion(Strategy):
    """See the module."""

    Params = PairReversionParams
    params: PairReversionParams
    _restored: dict[str, Any] | None = None

    def on_start(self) -> None:
        p = self.params
        self.y, self.x = self.market(p.y), self.market(p.x)
        self.fit = RollingRegression(p.window)
        self.legs = PositionTarget(self, self.y), PositionTarget(self, self.x)
        for leg in self.legs:
            leg.recover()
        self.held: Line | None = None
        self.score = 0.0
        """The last z-score; 0.0 while there is no fit."""
        self.blocked = False
        self._closes: dict[int, tuple[int, int]] = {}
        self._loose_since = 0
        self._leg_timeout = duration(p.leg_timeout)
        if self._restored is not None:
            self._take_back(self._restored)
        self.subscribe_bars(self.y, p.interval)
        self.subscribe_bars(self.x, p.interval)
        self.every("100ms", "work")

    # The signal.

    def on_bar(self, bar: Bar) -> None:
        self._closes[bar.market.number] = bar.ts, bar.close
        y, x = self._closes.get(self.y.number), self._closes.get(self.x.number)
        if y is None or x is None or y[0] != x[0]:
            return
        log_x, log_y = math.log(self.x.price(x[1])), math.log(self.y.price(y[1]))
        self._judge(log_x, log_y)
        self.fit.add(log_x, log_y)

    def _line(self) -> Line | None:
        """The fit of the bars so far, where it may be traded on."""
        p = self.params
        if not self.fit.ready or self.fit.slope <= 0.0 or self.fit.correlation < p.min_correlation:
            return None
        ou = fit_ou(self.fit.residuals())
        if ou is None or not self._tradable(ou):
            return None
        return Line(self.fit.intercept, self.fit.slope, ou.mean, ou.deviation, ou.half_life)

    def _tradable(self, ou: OrnsteinUhlenbeck) -> bool:
        p = self.params
        return ou.reverts and ou.deviation > 0.0 and p.min_half_life <= ou.half_life <= p.max_half_life

    def _judge(self, log_x: float, log_y: float) -> None:
        """Enter, hold or leave by the z-score of this bar."""
        p, held = self.params, self.held
        line = held or self._line()
        if line is None:
            self.score = 0.0
            return
        z = self.score = line.z(log_x, log_y)
        if held is not None:
            held.bars += 1
            if held.direction * z >= -p.exit_z:
                self._leave()
            elif abs(z) >= p.stop_z or held.bars > p.time_stop * held.half_life:
                self._leave()
                self.blocked = True
        elif self.blocked:
            self.blocked = abs(z) > p.exit_z
        elif p.entry_z <= abs(z) < p.stop_z and self._both_flat():
            self._enter(line, -1 if z > 0 else 1)

    # The legs.

    def _both_flat(self) -> bool:
        return all(leg.settled and leg.target == 0 for leg in self.legs)

    def _enter(self, line: Line, direction: int) -> None:
        if not (self.y.has_touch and self.x.has_touch):
            return
        line.direction = direction
        self.held = line
        value = self.params.size * quote_value(self.y, self.y.mid)
        hedge = round(line.slope * value / quote_value(self.x, self.x.mid))
        self.legs[0].aim(direction * self.params.size)
        self.legs[1].aim(-direction * hedge)

    def _leave(self) -> None:
        self.held = None
        for leg in self.legs:
            leg.aim(0)

    def on_timer(self, name: str) -> None:
        for leg in self.legs:
            leg.work()
        if all(leg.settled for leg in self.legs):
            self._loose_since = 0
        elif not self._loose_since:
            self._loose_since = self.now
        elif self.held is not None and self.now - self._loose_since > self._leg_timeout:
            self._leave()
            self.blocked = True

    def on_order(self, order: StrategyOrder) -> None:
        for leg in self.legs:
            leg.on_order(order)

    def on_stop(self) -> None:
        self.cancel_all()

    # A restart.

    def save_state(self) -> dict[str, Any]:
        return {
            "fit": self.fit.state(),
            "held": msgspec.to_builtins(self.held),
            "targets": [leg.target for leg in self.legs],
            "blocked": self.blocked,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._restored = state

    def _take_back(self, state: dict[str, Any]) -> None:
        self.fit.restore(state["fit"])
        self.held = msgspec.convert(state["held"], Line | None)
        self.blocked = state["blocked"]
        for leg, target in zip(self.legs, state["targets"], strict=True):
            leg.target = target
