"""Risk-adjusted return: the Sharpe ratio with an interval that admits what it does not know, and Sortino.

Returns are arithmetic: the change of P&L over a regular step (over a fixed capital, which cancels in every
ratio here). With r̄ and s the mean and standard deviation of n returns, q steps in a year:

- per-period Sharpe ratio: SR = r̄ / s.
- annual, with serial correlation: η(q)·SR, η(q) = q / √(q + 2 Σ_{k≤L} (q − k) w_k ρ_k), the ρ_k tapered by
  Bartlett's w_k = 1 − k/(L+1); without correlation η = √q. Lo (2002), "The Statistics of Sharpe Ratios",
  Financial Analysts Journal 58(4), eq. 20; Newey & West (1987) for the taper.
- its standard error: Lo's GMM form, √(∇g' Ω ∇g / n), Ω the Bartlett long-run covariance of the moment
  conditions (r − r̄, (r − r̄)² − s²), ∇g = (1/s, −r̄/2s³). With L = 0 this is exactly Mertens' (2002)
  √((1 − γ₃ SR + (γ₄ − 1)/4 · SR²)/n), which allows for skew and fat tails (Opdyke 2007).
- the interval: η(q)·(SR ± z·se), η taken as known. Near SR = 0 its half-width is z/√(years of data),
  whatever the step: sampling faster does not shorten it, only a longer record does.
- probabilistic Sharpe ratio: Φ((SR − SR*)/se), Bailey & López de Prado (2012), "The Sharpe Ratio Efficient
  Frontier", Journal of Risk 15(2).
- Sortino ratio: √q · (r̄ − T)/√(mean of min(r − T, 0)²), all n returns in the mean; Sortino & van der
  Meer (1991).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tidegate.analytics.equity import at, regular_grid
from tidegate.analytics.tables import Floats, Ints
from tidegate.model.time import DAY, HOUR, MINUTE, MS, SECOND

YEAR = 365 * DAY
"""These markets never close: a year is 365 days of 24 hours."""
LEAST_RETURNS = 20
"""With fewer returns than this no ratio is given at all."""
STEPS = (
    100 * MS, SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND,
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY,
)  # fmt: skip
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Sharpe:
    """A Sharpe ratio, annualised, and how far to trust it."""

    annual: float
    low: float
    high: float
    confidence: float
    per_period: float
    se: float
    """Standard error of the annual ratio."""
    psr: float
    """Probability that the true ratio is above 0, given this record and only its sampling noise."""
    skew: float
    kurtosis: float
    """Not in excess: 3 for normal returns."""
    n: int
    step: int
    """ns between returns."""
    lags: int


def choose_step(start: int, end: int, sampling: int, enough: int = 250) -> int:
    """The longest usual step that still gives `enough` returns, never finer than the `sampling` step."""
    usable = [step for step in STEPS if step >= sampling] or [STEPS[-1]]
    plenty = [step for step in usable if (end - start) // step >= enough]
    return plenty[-1] if plenty else usable[0]


def returns(ts: Ints, pnl: Floats, start: int, end: int, step: int) -> Floats:
    """Changes of P&L from `start` (where it is 0 or its last value so far) over each full step to `end`."""
    return np.diff(at(ts, pnl, regular_grid(start, end, step)))


def default_lags(n: int) -> int:
    """Newey & West's (1994) rule of thumb for Bartlett's kernel: ⌊4 (n/100)^(2/9)⌋."""
    return int(4 * (n / 100) ** (2 / 9)) if n else 0


def long_run_covariance(moments: Floats, lags: int) -> Floats:
    """Newey & West's covariance of an (n, k) array with zero column means: Γ₀ + Σ w_j (Γ_j + Γ_j')."""
    n = len(moments)
    total: Floats = moments.T @ moments / n
    for j in range(1, min(lags, n - 1) + 1):
        gamma = moments[j:].T @ moments[:-j] / n
        total = total + (1 - j / (lags + 1)) * (gamma + gamma.T)
    return total


def autocorrelation_factor(r: Floats, periods: float, lags: int) -> float:
    """Lo's η(q) with tapered autocorrelations: what a per-period ratio is multiplied by to annualise it."""
    x = r - r.mean()
    variance = float(x @ x)
    weighted = sum(
        (periods - k) * (1 - k / (lags + 1)) * float(x[k:] @ x[:-k]) / variance
        for k in range(1, min(lags, len(x) - 1) + 1)
        if k < periods
    )
    return periods / math.sqrt(max(periods + 2 * weighted, periods * 1e-9))


def sharpe(r: Floats, step: int, confidence: float = 0.95, lags: int | None = None) -> Sharpe | None:
    """The annual Sharpe ratio of returns `r` over `step` ns; None when too few or all alike."""
    n = len(r)
    if n < LEAST_RETURNS:
        return None
    mean, sd = float(r.mean()), float(r.std(ddof=1))
    if not sd > 1e-12 * max(abs(mean), float(np.abs(r).max())):
        return None
    lags = default_lags(n) if lags is None else lags
    x = r - mean
    moments = np.column_stack((x, x * x - (x @ x) / n))
    slope = np.array([1 / sd, -mean / (2 * sd**3)])
    se = math.sqrt(max(float(slope @ long_run_covariance(moments, lags) @ slope), 0.0) / n)
    ratio = mean / sd
    scale = autocorrelation_factor(r, YEAR / step, lags)
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    spread = float((x @ x) / n)
    return Sharpe(
        annual=scale * ratio,
        low=scale * (ratio - z * se),
        high=scale * (ratio + z * se),
        confidence=confidence,
        per_period=ratio,
        se=scale * se,
        psr=_NORMAL.cdf(ratio / se) if se > 0 else float(ratio > 0),
        skew=float((x**3).mean()) / spread**1.5,
        kurtosis=float((x**4).mean()) / spread**2,
        n=n,
        step=step,
        lags=lags,
    )


def sortino(r: Floats, step: int, target: float = 0.0) -> float | None:
    """The annual Sortino ratio; None with too few returns or none below the target."""
    if len(r) < LEAST_RETURNS:
        return None
    downside = math.sqrt(float((np.minimum(r - target, 0.0) ** 2).mean()))
    if downside == 0.0:
        return None
    return math.sqrt(YEAR / step) * (float(r.mean()) - target) / downside
