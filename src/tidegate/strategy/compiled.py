"""Strategies whose step is compiled: the same engine, gate and orders, without Python between events.

    @compiled
    def step(e, s, kind):
        i = int(e.params[s, 0])
        ...

    class Maker(CompiledStrategy):
        class Params(StrategyParams): ...
        step = step

        def on_start(self) -> None:
            market = self.market(self.params.market)
            self.set_params(market.number, self.params.size)
            self.subscribe_book(market)

Functions a step may call are in `kernel.compiled_api`. Only subscriptions, timers and `set_params` are used from
Python; other handlers are not called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tidegate.strategy.strategy import Strategy

MAX_PARAMS = 64


class CompiledStep:
    """A step function and, once a run needs it, the address of its machine code."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._keep: Any = None

    def address(self) -> int:
        """Compile (first use; cached after) and return what the replay kernel calls."""
        from tidegate.kernel.compiled_entry import entry

        if self._keep is None:
            self._keep = entry(self.function)
        return int(self._keep.address)


def compiled(function: Callable[..., Any]) -> CompiledStep:
    """Mark `step(e, s, kind)` as a compiled strategy's step; its return value is ignored."""
    return CompiledStep(function)


class CompiledStrategy(Strategy):
    """Base of strategies with a compiled `step`."""

    step: ClassVar[CompiledStep]

    def set_params(self, *values: float) -> None:
        """What the step reads in `e.params[s]`: numbers, in this order, at most 64."""
        if len(values) > MAX_PARAMS:
            raise ValueError(f"{type(self).__name__}: {len(values)} parameters, at most {MAX_PARAMS}")
        self.step_params = tuple(float(value) for value in values)
