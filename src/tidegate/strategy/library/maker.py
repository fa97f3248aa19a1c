"""What the model-driven market makers share: estimates in, two quotes out, inventory within its limits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tidegate.model.time import duration
from tidegate.strategy.indicators import Volatility
from tidegate.strategy.intensity import ArrivalIntensity, Intensity
from tidegate.strategy.library.checks import above, at_least, durations
from tidegate.strategy.library.quoting import Minimum, QuotePair, quote_sizes
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Fill, Quote, Trade


class Distances(NamedTuple):
    """How far the quotes stand from the mid, ticks; negative is beyond it."""

    bid: float
    ask: float


class MakerParams(StrategyParams, frozen=True):
    """Parameters of the model makers: prices in ticks, sizes in lots, inventory in quotes of `size`."""

    market: str
    """`SYMBOL.VENUE`."""
    size: int
    """Lots a quote."""
    max_position: int
    """Longest position, lots; quotes shrink so that a fill never passes it."""
    min_position: int | None = None
    """Shortest position; −max_position when not given, 0 where short selling is impossible."""
    gamma: float = 2e-5
    """Risk aversion γ per (tick × quote of `size`): utility −e^(−γ·wealth), wealth in ticks × quotes. Larger
    leans harder on inventory and widens. With σ ticks/√s and T s, γσ²T is the lean in ticks a quote held:
    choose
    γ for a lean of 0.05 to 0.5 of the spread. In currency: divide by the value of one tick on `size`."""
    sigma: float = 0.0
    """σ, ticks per √s; 0: estimated."""
    kappa: float = 0.0
    """κ, per tick; 0: estimated from trades, with A."""
    intensity: float = 0.0
    """A, per second; 0: estimated. Given together with κ, or not at all."""
    volatility_half_life: str = "60s"
    volatility_sample: str = "500ms"
    intensity_half_life: str = "120s"
    intensity_interval: str = "250ms"
    """How long a quote is taken to stand when counting which depths trades reach."""
    warmup: str = "10s"
    """No quotes before; longer where the estimates are not ready."""
    min_spread: int = 2
    """Narrowest distance between the quotes, ticks."""
    max_distance: int = 5000
    """Farthest a quote may stand from the mid, ticks: a bound on estimates gone astray."""
    move: int = 2
    """A quote this many ticks off its target is moved."""
    pause: str = "100ms"
    """Shortest time between two moves of one side."""
    max_age: str = "5s"
    """Quotes are pulled when the book has been silent for this long."""
    flatten_on_stop: bool = False
    """Close the position with a market order when the run ends."""

    def __post_init__(self) -> None:
        at_least(1, size=self.size, max_position=self.max_position)
        at_least(1, min_spread=self.min_spread, move=self.move)
        at_least(0, sigma=self.sigma, kappa=self.kappa, intensity=self.intensity)
        above(0, gamma=self.gamma, max_distance=self.max_distance)
        durations(
            volatility_half_life=self.volatility_half_life, volatility_sample=self.volatility_sample,
            intensity_half_life=self.intensity_half_life, intensity_interval=self.intensity_interval,
            warmup=self.warmup, pause=self.pause, max_age=self.max_age,
        )  # fmt: skip
        if self.lowest > self.max_position:
            raise ValueError(f"min_position is {self.min_position}, must not be above max_position")
        if (self.kappa > 0) != (self.intensity > 0):
            raise ValueError(f"kappa is {self.kappa} and intensity {self.intensity}: give both, or neither")

    @property
    def lowest(self) -> int:
        """The shortest position, lots."""
        return -self.max_position if self.min_position is None else self.min_position


class ModelMaker(Strategy):
    """Base of makers whose quotes stand at distances from the mid that a model gives: `distances`."""

    Params = MakerParams
    params: MakerParams
    _restored: dict[str, Any] | None = None

    def distances(self, q: float, sigma: float, fills: Intensity) -> Distances:
        """Where the quotes belong, for an inventory of `q` quotes, σ in ticks/√s and λ(δ) of the market."""
        raise TypeError(f"{type(self).__name__} has no model: override `distances`")

    def on_start(self) -> None:
        p = self.params
        self.m = self.market(p.market)
        self.quotes = QuotePair(self, self.m, p.move, duration(p.pause))
        self.quotes.recover()
        self._minimum = Minimum(self.m.instrument)
        self.volatility = Volatility(duration(p.volatility_half_life), duration(p.volatility_sample))
        self.arrivals = ArrivalIntensity(duration(p.intensity_interval), duration(p.intensity_half_life))
        self.fills: Intensity | None = Intensity(p.intensity, p.kappa) if p.kappa > 0 else None
        self.started = self.now
        self._ready_at = self.now + duration(p.warmup)
        self._max_age = duration(p.max_age)
        self._next = 0
        self._stopping = False
        if self._restored is not None:
            self._take_back(self._restored)
        self.subscribe_quotes(self.m)
        if p.kappa == 0:
            self.subscribe_trades(self.m)
            self.every(p.intensity_interval, "interval")
        self.every("1s", "heartbeat")

    def on_quote(self, quote: Quote) -> None:
        if not self.m.has_touch:
            self._no_book()
            return
        now = self.now
        self.volatility.add(now, quote.mid)
        if now >= self._next:
            self._requote(now)

    def on_trade(self, trade: Trade) -> None:
        self.arrivals.trade(trade.price, trade.side)

    def on_timer(self, name: str) -> None:
        if name == "interval":
            self.arrivals.begin(self.m.mid)
            return
        if self.params.kappa == 0:
            self.fills = self.arrivals.fit() or self.fills
        now, (bid, ask, seen) = self.now, self.host.touch(self.m.number)
        if not (bid and ask):
            self._no_book()
        elif now - seen > self._max_age:
            self.quotes.pull()
        else:
            self._requote(now)

    def on_fill(self, fill: Fill) -> None:
        self._requote(self.now)

    def on_order(self, order: StrategyOrder) -> None:
        self.quotes.on_order(order)

    def on_stop(self) -> None:
        self._stopping = True
        self.quotes.pull()
        if self.params.flatten_on_stop:
            self.m.flatten()

    def _no_book(self) -> None:
        self.quotes.pull()
        self.volatility.restart()

    def _requote(self, now: int) -> None:
        p, fills, mid = self.params, self.fills, self.m.mid
        sigma = p.sigma or (self.volatility.value if self.volatility.ready else 0.0)
        if mid <= 0.0 or fills is None or sigma <= 0.0 or now < self._ready_at or self._stopping:
            return
        self._next = now + self.quotes.bid.pause
        position = self.m.position
        away = self.distances(position / p.size, sigma, fills)
        bid, ask = self._prices(mid, away)
        least = self._minimum.at(self.m.bid)
        bid_qty, ask_qty = quote_sizes(position, p.size, p.lowest, p.max_position, least)
        self.quotes.aim(bid, bid_qty, ask, ask_qty)

    def _prices(self, mid: float, away: Distances) -> tuple[int, int]:
        """The quotes' prices: distances bounded, spread at least the least, rounded away from the mid."""
        p = self.params
        short = (p.min_spread - away.bid - away.ask) / 2
        widen = max(short, 0.0)
        far = p.max_distance
        bid = mid - min(max(away.bid + widen, -far), far)
        ask = mid + min(max(away.ask + widen, -far), far)
        return math.floor(bid), math.ceil(ask)

    def save_state(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "volatility": self.volatility.state(),
            "arrivals": self.arrivals.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._restored = state

    def _take_back(self, state: dict[str, Any]) -> None:
        self.started = state["started"]
        self.volatility.restore(state["volatility"])
        self.volatility.restart()
        self.arrivals.restore(state["arrivals"])
        if self.params.kappa == 0:
            self.fills = self.arrivals.fit()
