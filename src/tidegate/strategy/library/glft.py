"""Market making without an end: Guéant, Lehalle & Fernandez-Tapia (2013).

Guéant, O., Lehalle, C.-A. and Fernandez-Tapia, J., "Dealing with the inventory risk: a solution to the market
making problem", Mathematics and Financial Economics 7 (2013), 477-507.

**Model.** That of Avellaneda & Stoikov (see `avellaneda_stoikov`), with the inventory bounded. Far from the
end the optimal quotes no longer depend on time, and in closed form (their section 4) stand at

    δᵇ(q) = (1/γ)·ln(1 + γ/κ) + (2q + 1)/2 · C
    δᵃ(q) = (1/γ)·ln(1 + γ/κ) − (2q − 1)/2 · C
    C     = √( σ²γ/(2κA) · (1 + γ/κ)^(1 + κ/γ) )

from the mid. C is the lean a quote held: it grows with risk (σ, γ) and falls with how fast inventory can be
turned over (A, κ). The spread is the same at every inventory; no horizon has to be chosen.

**Units.** Prices in ticks, time in seconds, σ in ticks/√s, κ per tick, A per second, q in quotes of `size`
lots, γ per tick × quote. As γ → 0 the first term tends to 1/κ and C to σ·√(γe/(2κA)).

**The closed form is an approximation** of the leading eigenvector of the model's matrix by a Gaussian; it is
good while the lean changes little from one quote to the next (γσ²κ/2 well below A), and it ignores the
inventory's bounds, which are kept by the sizes of the quotes instead.

**What it does not handle, and when it loses**: as `avellaneda_stoikov`. Besides, it needs A: where trades are
so rare that A cannot be estimated it does not quote at all.
"""

from __future__ import annotations

import math

from tidegate.strategy.intensity import Intensity
from tidegate.strategy.library.maker import Distances, ModelMaker


def half_spread(gamma: float, kappa: float) -> float:
    """(1/γ)·ln(1 + γ/κ), ticks."""
    return math.log1p(gamma / kappa) / gamma


def lean(gamma: float, sigma: float, fills: Intensity) -> float:
    """C, ticks a quote held: √(σ²γ/(2κA)·(1 + γ/κ)^(1 + κ/γ))."""
    ratio = gamma / fills.kappa
    growth = math.exp((1.0 + 1.0 / ratio) * math.log1p(ratio))
    return sigma * math.sqrt(gamma / (2.0 * fills.kappa * fills.a) * growth)


class GLFT(ModelMaker):
    """See the module; parameters are `MakerParams`."""

    def distances(self, q: float, sigma: float, fills: Intensity) -> Distances:
        gamma = self.params.gamma
        base, c = half_spread(gamma, fills.kappa), lean(gamma, sigma, fills)
        return Distances(base + (2.0 * q + 1.0) / 2.0 * c, base - (2.0 * q - 1.0) / 2.0 * c)
