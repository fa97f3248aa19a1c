"""A market maker compiled to machine code: two quotes at a fixed distance from the touch.

**Rule**, at every wake (a timer, or every event of the market):

1. the targets are bid = best bid − `offset` and ask = best ask + `offset` (a negative offset is inside the
   spread, at most one tick from the other side);
2. a live order that is off its target is cancelled, once;
3. a side without an order gets a post-only one of `size` lots at its target, as long as the position is below
   `max_position` on that side.

It is the rule of the benchmark against hftbacktest (`benchmarks/`), and the smallest complete example of a
compiled strategy. It has no model: it earns the spread from noise and loses to everyone who knows more;
without inventory skew it sits at its limit in a trend. `avellaneda_stoikov` and `glft` are the ones to trade.

**Handles.** An order's handle has up to 60 bits (sequence << 20 | slot); the memory of a compiled strategy is
float64, exact to 2⁵³. So it is kept as its two halves, each exact.

**Refusals.** A denied order is not tried again for `backoff`.
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
from tidegate.model.time import duration
from tidegate.strategy.compiled import CompiledStrategy, compiled
from tidegate.strategy.library.checks import at_least, durations
from tidegate.strategy.strategy import StrategyParams

# Places in `e.params[s]`.
P_MARKET, P_OFFSET, P_SIZE, P_MAX, P_BACKOFF = range(5)
# Places in `e.memory[s]`: the handles' halves, and when a denied side may try again.
BID_SEQ, BID_SLOT, ASK_SEQ, ASK_SLOT, BID_AFTER, ASK_AFTER = range(6)
SLOT_BITS = 20
SLOT_MASK = (1 << SLOT_BITS) - 1


@compiled
def step(e: Any, s: int, kind: int) -> None:
    """One wake; see the module for the rule."""
    p, m = e.params[s], e.memory[s]
    i = int(p[P_MARKET])
    if not has_touch(e, i):
        return
    offset = int(p[P_OFFSET])
    best, other = best_bid(e, i), best_ask(e, i)
    bid, ask = min(best - offset, other - 1), max(other + offset, best + 1)
    handle = (int(m[BID_SEQ]) << SLOT_BITS) | int(m[BID_SLOT])
    if is_open(e, handle):
        if order_price(e, handle) != bid and is_cancellable(e, handle):
            cancel(e, handle)
    elif position(e, s, i) < p[P_MAX] and now(e) >= m[BID_AFTER]:
        handle = post_buy(e, s, i, int(p[P_SIZE]), bid)
        if handle > 0:
            m[BID_SEQ], m[BID_SLOT] = handle >> SLOT_BITS, handle & SLOT_MASK
        else:
            m[BID_AFTER] = now(e) + p[P_BACKOFF]
    handle = (int(m[ASK_SEQ]) << SLOT_BITS) | int(m[ASK_SLOT])
    if is_open(e, handle):
        if order_price(e, handle) != ask and is_cancellable(e, handle):
            cancel(e, handle)
    elif position(e, s, i) > -p[P_MAX] and now(e) >= m[ASK_AFTER]:
        handle = post_sell(e, s, i, int(p[P_SIZE]), ask)
        if handle > 0:
            m[ASK_SEQ], m[ASK_SLOT] = handle >> SLOT_BITS, handle & SLOT_MASK
        else:
            m[ASK_AFTER] = now(e) + p[P_BACKOFF]


class CompiledMakerParams(StrategyParams, frozen=True):
    """Parameters."""

    market: str
    size: int = 1
    """Lots a quote."""
    max_position: int = 100
    """Lots either way: no new quote on a side at or beyond it."""
    offset: int = 1
    """Ticks behind the touch; 0 joins it, negative improves it."""
    interval: str = ""
    """Wake this often (`"100ms"`); empty: on every quote, trade and depth message."""
    backoff: str = "1s"
    """Rest of a side whose order was denied."""

    def __post_init__(self) -> None:
        at_least(1, size=self.size, max_position=self.max_position)
        durations(backoff=self.backoff)
        if self.interval:
            durations(interval=self.interval)


class CompiledMaker(CompiledStrategy):
    """See the module."""

    Params = CompiledMakerParams
    params: CompiledMakerParams
    step = step

    def on_start(self) -> None:
        p = self.params
        market = self.market(p.market)
        self.set_params(market.number, p.offset, p.size, p.max_position, duration(p.backoff))
        if p.interval:
            self.every(p.interval)
        else:
            self.subscribe_quotes(market)
            self.subscribe_trades(market)
            self.subscribe_book(market)
