"""Market making with inventory skew: Avellaneda & Stoikov (2008).

Avellaneda, M. and Stoikov, S., "High-frequency trading in a limit order book", Quantitative Finance 8 (2008),
217-224.

**Model.** The mid follows dS = σ dW. A quote δ from the mid is filled at Poisson rate λ(δ) = A·e^(−κδ). The
maker maximises the expected exponential utility −e^(−γ·wealth) of wealth at a time T, holding q.

**Quotes** (their equations 3.17 and 3.18, with τ = T − t):

    reservation price   r = s − q·γσ²τ
    spread              δᵃ + δᵇ = γσ²τ + (2/γ)·ln(1 + γ/κ)

r is where the maker is indifferent between buying and selling one quote; the quotes stand half the spread
either side of it. Long inventory lowers both: the ask is more likely to fill than the bid.

**Units.** Prices in ticks, time in seconds, σ in ticks/√s, κ per tick, q in quotes of `size` lots, so γ is
per tick × quote. The last term tends to 2/κ as γ → 0: that is the spread of a maker who does not mind risk.

**Estimates.** σ from the mid (`indicators.Volatility`), A and κ from how far trades reach (`intensity`), both
online; or fixed by parameters. A drops out of these quotes; it matters in the stationary form (`glft`).

**Horizon.** With `rolling` (the default) τ is `horizon` at all times: inventory is always that far from being
marked. Without, τ falls from `horizon` to 0 and starts again: the lean fades towards the end of each session.

**What it does not handle.** Drift and short-term alpha (combine it with a signal: see `imbalance`); jumps;
fees (a maker's fee is to be added to `min_spread`: 2·fee·price/tick); the queue (a quote at the touch is not
a fill); the place of the touch (a quote inside it is pulled behind it by post-only).

**When it loses.** When fills are informed: the mid moves through the quote and goes on (negative markouts),
in trends longer than 1/(γσ²) lets inventory breathe, and whenever spread earned is less than fees paid. On
major coins at retail fees (0.02 % a side is 124 ticks of 0.1 at 62,000) it earns less than it pays.
"""

from __future__ import annotations

import math

from tidegate.model.time import SECOND, duration
from tidegate.strategy.intensity import Intensity
from tidegate.strategy.library.checks import durations
from tidegate.strategy.library.maker import Distances, MakerParams, ModelMaker


def reservation_shift(q: float, gamma: float, sigma: float, tau: float) -> float:
    """r − s, ticks: −q·γσ²τ (`tau` in seconds)."""
    return -q * gamma * sigma * sigma * tau


def optimal_spread(gamma: float, sigma: float, tau: float, kappa: float) -> float:
    """δᵃ + δᵇ, ticks: γσ²τ + (2/γ)·ln(1 + γ/κ)."""
    return gamma * sigma * sigma * tau + 2.0 / gamma * math.log1p(gamma / kappa)


class AvellanedaStoikovParams(MakerParams, frozen=True):
    """`MakerParams`, and the horizon."""

    horizon: str = "60s"
    """T: how long inventory is carried in the model's mind; 10 s to 10 min."""
    rolling: bool = True
    """τ stays at the horizon; else it runs down to 0 and starts again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        durations(horizon=self.horizon)


class AvellanedaStoikov(ModelMaker):
    """See the module."""

    Params = AvellanedaStoikovParams
    params: AvellanedaStoikovParams

    def on_start(self) -> None:
        self._horizon = duration(self.params.horizon)
        super().on_start()

    @property
    def tau(self) -> float:
        """T − t, seconds."""
        if self.params.rolling:
            return self._horizon / SECOND
        return (self._horizon - (self.now - self.started) % self._horizon) / SECOND

    def distances(self, q: float, sigma: float, fills: Intensity) -> Distances:
        gamma, tau = self.params.gamma, self.tau
        half = optimal_spread(gamma, sigma, tau, fills.kappa) / 2
        shift = reservation_shift(q, gamma, sigma, tau)
        return Distances(half - shift, half + shift)
