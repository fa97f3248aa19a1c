"""Rolling straight lines, and the mean-reverting process behind a spread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from tidegate.strategy.indicators import Estimator


class RollingRegression(Estimator):
    """Ordinary least squares y = intercept + slope·x over the last `window` pairs, in constant time a pair.

    Sums are kept of deviations from a reference pair, so that small changes of large numbers (log prices)
    keep their digits, and are taken anew once a window, so that rounding does not add up.
    """

    __slots__ = ("_n", "_sums", "_x0", "_y0", "pairs", "window")

    def __init__(self, window: int) -> None:
        if window < 3:
            raise ValueError(f"window is {window}, must be at least 3")
        self.window = window
        self.pairs: deque[tuple[float, float]] = deque()
        """The last pairs (x, y), oldest first."""
        self._n = 0
        self._x0 = self._y0 = 0.0
        self._sums = [0.0, 0.0, 0.0, 0.0, 0.0]

    @property
    def ready(self) -> bool:
        """Whether the window is full."""
        return len(self.pairs) == self.window

    def add(self, x: float, y: float) -> None:
        """Take one pair; the oldest leaves a full window."""
        if len(self.pairs) == self.window:
            self._move(*self.pairs.popleft(), -1.0)
        self.pairs.append((x, y))
        self._n += 1
        if self._n % self.window == 1:
            self._sum_anew()
        else:
            self._move(x, y, 1.0)

    def _sum_anew(self) -> None:
        self._x0, self._y0 = self.pairs[-1]
        self._sums = [0.0, 0.0, 0.0, 0.0, 0.0]
        for x, y in self.pairs:
            self._move(x, y, 1.0)

    def _move(self, x: float, y: float, sign: float) -> None:
        x, y, sums = x - self._x0, y - self._y0, self._sums
        sums[0] += sign * x
        sums[1] += sign * y
        sums[2] += sign * x * x
        sums[3] += sign * x * y
        sums[4] += sign * y * y

    @property
    def slope(self) -> float:
        """The slope; 0.0 while x has not varied."""
        n, (sx, sy, sxx, sxy, _) = len(self.pairs), self._sums
        spread = n * sxx - sx * sx
        return (n * sxy - sx * sy) / spread if n > 1 and spread > 1e-14 * n * max(sxx, 1e-300) else 0.0

    @property
    def intercept(self) -> float:
        """The intercept; the last fitted line passes through the means."""
        n, (sx, sy, *_) = len(self.pairs), self._sums
        return self._y0 + sy / n - self.slope * (self._x0 + sx / n) if n else 0.0

    @property
    def correlation(self) -> float:
        """Pearson's r of the pairs; 0.0 while one of them has not varied."""
        n, (sx, sy, sxx, sxy, syy) = len(self.pairs), self._sums
        product = (n * sxx - sx * sx) * (n * syy - sy * sy)
        return (n * sxy - sx * sy) / math.sqrt(product) if product > 0.0 else 0.0

    def residuals(self) -> list[float]:
        """y − (intercept + slope·x) of every pair of the window, oldest first."""
        slope, intercept = self.slope, self.intercept
        return [y - intercept - slope * x for x, y in self.pairs]

    def state(self) -> dict[str, Any]:
        """The pairs of the window."""
        return {"pairs": [list(pair) for pair in self.pairs]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the pairs in again, the last `window` of them."""
        for x, y in state.get("pairs", [])[-self.window :]:
            self.add(float(x), float(y))


class OrnsteinUhlenbeck(NamedTuple):
    """dX = θ(μ − X)dt + σ dW as seen once a step: X' = μ + φ(X − μ) + ε, φ = e^(−θ), ε of std `noise`."""

    mean: float
    phi: float
    noise: float

    @property
    def reverts(self) -> bool:
        """Whether the process returns to its mean at all, without flipping around it every step."""
        return 0.0 < self.phi < 1.0

    @property
    def half_life(self) -> float:
        """Steps until a deviation has halved, −ln 2/ln φ; infinite where it does not revert."""
        return -math.log(2.0) / math.log(self.phi) if self.reverts else math.inf

    @property
    def deviation(self) -> float:
        """Standard deviation around the mean in the long run, noise/√(1 − φ²); infinite without reversion."""
        return self.noise / math.sqrt(1.0 - self.phi**2) if abs(self.phi) < 1.0 else math.inf


def fit_ou(values: Sequence[float]) -> OrnsteinUhlenbeck | None:
    """The OU process behind equally spaced values, by regression of each on the one before.

    That is the conditional maximum likelihood; φ is biased down by about (1 + 3φ)/n (Kendall, 1954), which
    makes short windows look more mean-reverting than they are. None for fewer than 4 values or none that
    differ.
    """
    n = len(values) - 1
    if n < 3:
        return None
    before, after = values[:-1], values[1:]
    mx, my = math.fsum(before) / n, math.fsum(after) / n
    sxx = math.fsum((x - mx) ** 2 for x in before)
    if sxx <= 0.0:
        return None
    phi = math.fsum((x - mx) * (y - my) for x, y in zip(before, after, strict=True)) / sxx
    a = my - phi * mx
    squares = math.fsum((y - a - phi * x) ** 2 for x, y in zip(before, after, strict=True))
    mean = a / (1.0 - phi) if phi != 1.0 else math.fsum(values) / len(values)
    return OrnsteinUhlenbeck(mean, phi, math.sqrt(squares / n))
