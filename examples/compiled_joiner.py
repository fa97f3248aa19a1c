"""A compiled strategy to copy: one post-only order at the best bid or ask, whichever reduces the position.

The step runs as machine code inside the replay; see `docs/strategies.md`. Run it with
`type = "compiled_joiner.py:Joiner"` in a configuration beside this file.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.compiled_api import (
    best_ask,
    best_bid,
    cancel,
    has_touch,
    is_cancellable,
    is_open,
    now,
    order_price,
    position,
    post_buy,
    post_sell,
)
from tidegate.strategy.compiled import CompiledStrategy, compiled
from tidegate.strategy.strategy import StrategyParams

# A handle has up to 60 bits, a float64 of memory holds 53: keep its two halves.
SEQ, SLOT, AFTER = range(3)
SLOT_BITS = 20
SLOT_MASK = (1 << SLOT_BITS) - 1
REST = 1_000_000_000


@compiled
def step(e: Any, s: int, kind: int) -> None:
    """Follow the touch with the one order; buy when flat or short, sell when long."""
    i, size = int(e.params[s, 0]), int(e.params[s, 1])
    memory = e.memory[s]
    if not has_touch(e, i):
        return
    buying = position(e, s, i) <= 0
    price = best_bid(e, i) if buying else best_ask(e, i)
    handle = (int(memory[SEQ]) << SLOT_BITS) | int(memory[SLOT])
    if is_open(e, handle):
        if order_price(e, handle) != price and is_cancellable(e, handle):
            cancel(e, handle)
        return
    if now(e) < memory[AFTER]:
        return
    handle = post_buy(e, s, i, size, price) if buying else post_sell(e, s, i, size, price)
    if handle > 0:
        memory[SEQ], memory[SLOT] = handle >> SLOT_BITS, handle & SLOT_MASK
    else:
        memory[AFTER] = now(e) + REST  # denied, for reason -handle


class Joiner(CompiledStrategy):
    """What Python does: read parameters, subscribe."""

    class Params(StrategyParams, frozen=True):
        market: str
        size: int = 1

    params: Params
    step = step

    def on_start(self) -> None:
        market = self.market(self.params.market)
        self.set_params(market.number, self.params.size)
        self.subscribe_quotes(market)
