"""Estimators that strategies feed one observation at a time: averages, ranges, volatility.

Each takes constant time and memory an observation. `state` gives what must survive a restart as plain values,
`restore` takes it back. Nothing here knows of orders; prices may be ticks or anything else, times are ns.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tidegate.model.time import SECOND


class Estimator:
    """Base: `_kept` names the attributes that are the estimator's memory."""

    __slots__ = ()
    _kept: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Any]:
        """The memory, as plain values."""
        return {name: getattr(self, name) for name in self._kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; parameters stay those of this object."""
        for name in self._kept:
            if name in state:
                setattr(self, name, state[name])


class Ema(Estimator):
    """Exponential moving average over samples: value += α·(x − value) with α = 2/(period + 1).

    The first sample is the first value. `ready` once `period` samples have been seen: by then the first one
    weighs (1 − α)^(period − 1), about e⁻² = 14 %.
    """

    __slots__ = ("_alpha", "count", "period", "value")
    _kept = ("count", "value")

    def __init__(self, period: int) -> None:
        if period < 1:
            raise ValueError(f"period is {period}, must be at least 1")
        self.period = period
        self.value = 0.0
        self.count = 0
        self._alpha = 2.0 / (period + 1)

    @property
    def ready(self) -> bool:
        """Whether `period` samples have been seen."""
        return self.count >= self.period

    def add(self, x: float) -> float:
        """Take one sample; the new value."""
        self.value = x if self.count == 0 else self.value + self._alpha * (x - self.value)
        self.count += 1
        return self.value


class HeldMean(Estimator):
    """Exponentially weighted mean over time of a quantity that holds between its updates.

    The value at time t is ∫ x(u)·2^(−(t−u)/h) du over the weight's own integral, from the first update on,
    with x the step function of the updates and h the half-life (ns). A new update weighs nothing until time
    passes: the mean is of what was, so a deviation from it is not diluted by itself.
    """

    __slots__ = ("_weight", "half_life", "held", "ts", "value")
    _kept = ("held", "ts", "value", "_weight")

    def __init__(self, half_life: int) -> None:
        if half_life <= 0:
            raise ValueError(f"half_life is {half_life} ns, must be above 0")
        self.half_life = half_life
        self.value = 0.0
        self.held = 0.0
        self.ts = 0
        self._weight = 0.0

    @property
    def weight(self) -> float:
        """How much of an endless history has been seen, 0 … 1: ½ after one half-life."""
        return self._weight

    def add(self, ts: int, x: float) -> float:
        """The quantity is `x` from `ts` on; the mean up to `ts`."""
        if self.ts == 0:
            self.value = x
        else:
            keep = 0.5 ** (max(ts - self.ts, 0) / self.half_life)
            total = keep * self._weight + (1.0 - keep)
            if total > 0.0:
                self.value += (1.0 - keep) / total * (self.held - self.value)
            self._weight = total
        self.held = x
        self.ts = max(ts, self.ts)
        return self.value


class Atr(Estimator):
    """Average true range (Wilder, New Concepts in Technical Trading Systems, 1978).

    True range = max(high, previous close) − min(low, previous close). The first `period` ranges are averaged,
    then value += (range − value)/period. In the unit of the prices.
    """

    __slots__ = ("close", "count", "period", "value")
    _kept = ("close", "count", "value")

    def __init__(self, period: int = 14) -> None:
        if period < 1:
            raise ValueError(f"period is {period}, must be at least 1")
        self.period = period
        self.value = 0.0
        self.close = 0.0
        self.count = 0

    @property
    def ready(self) -> bool:
        """Whether `period` bars have been seen."""
        return self.count >= self.period

    def add(self, high: float, low: float, close: float) -> float:
        """Take one bar; the new value."""
        if self.count:
            high, low = max(high, self.close), min(low, self.close)
        self.close = close
        self.count += 1
        self.value += (high - low - self.value) / min(self.count, self.period)
        return self.value


class Volatility(Estimator):
    """σ per √second of a price from its changes over steps of at least `sample` ns.

    σ² = Σ w·r² / Σ w·Δt with w = 2^(−age/half_life): the maximum-likelihood estimate for an arithmetic
    Brownian motion without drift, forgotten exponentially. `sample` is to be longer than the bounce between
    bid and ask lives (0.1 s or more on a busy market): shorter steps read the bounce as volatility. `ready`
    after `WARM` steps, when the standard error is about 1/√(2·WARM) of the value.
    """

    WARM: ClassVar[int] = 20
    __slots__ = ("_squares", "_time", "count", "half_life", "price", "sample", "ts")
    _kept = ("count", "price", "ts", "_squares", "_time")

    def __init__(self, half_life: int, sample: int) -> None:
        if half_life <= 0 or sample <= 0:
            raise ValueError(f"half_life {half_life} ns and sample {sample} ns must be above 0")
        self.half_life = half_life
        self.sample = sample
        self.price = 0.0
        self.ts = 0
        self.count = 0
        self._squares = 0.0
        self._time = 0.0

    @property
    def ready(self) -> bool:
        """Whether the estimate rests on `WARM` steps."""
        return self.count >= self.WARM

    @property
    def value(self) -> float:
        """σ in price units per √s; 0.0 before the first step."""
        return math.sqrt(self._squares / self._time) if self._time > 0.0 else 0.0

    def add(self, ts: int, price: float) -> None:
        """The price at `ts`; looked at only when `sample` has passed since the last step."""
        step = ts - self.ts
        if step < self.sample:
            return
        if self.ts:
            keep = 0.5 ** (step / self.half_life)
            change = price - self.price
            self._squares = keep * self._squares + change * change
            self._time = keep * self._time + step / SECOND
            self.count += 1
        self.ts, self.price = ts, price

    def restart(self) -> None:
        """The next price starts a step of its own: after a gap in the data the jump is not volatility."""
        self.ts = 0
