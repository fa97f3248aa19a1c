"""What a compiled strategy calls, over the same engine as Python strategies.

A compiled strategy is a function `step(e, s, kind)`: `e` the engine's state, `s` the strategy's number, `kind`
why it was woken (`WAKE_QUOTE`, `WAKE_BOOK`, `WAKE_TRADE`, `WAKE_BAR`, `WAKE_TIMER`, `WAKE_REPORT`). It reads
`e.params[s]` (its parameters, float64) and keeps state in `e.memory[s]` (512 float64). It must not allocate.

Orders are named by handles: `buy` and `sell` return one, or minus the reason the gate denied the order for.
A handle stays valid after the order has ended: `is_open` is then false.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_ASK, B_BID, B_LAST_PRICE, B_USABLE, NO_ASK, NO_BID, level_size, trades_only
from tidegate.kernel.compiled_lane import lane_cancel, lane_new, lane_replace
from tidegate.kernel.engine import S_FREE, S_NOW
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    O_ID,
    O_LEAVES,
    O_PRICE,
    O_STATUS,
    PENDING_CANCEL,
    POST_ONLY,
    SELL,
)

_SLOT_BITS, _SEQ_MASK = 20, (1 << 40) - 1


@inline
def now(e: Any) -> int:
    """Local time, ns."""
    return e.s[S_NOW]


@inline
def event_instrument(e: Any) -> int:
    """The number of the instrument the event is of."""
    return e.cur[7] & 0xFFFFFFFF


@inline
def best_bid(e: Any, i: int) -> int:
    """The local best bid, ticks, the last trade's price where only trades are known; check `has_touch` first."""
    b = 2 * i + 1
    return e.book[b, B_LAST_PRICE] if trades_only(e, b) else e.book[b, B_BID]


@inline
def best_ask(e: Any, i: int) -> int:
    """The local best ask, ticks, the last trade's price where only trades are known; check `has_touch` first."""
    b = 2 * i + 1
    return e.book[b, B_LAST_PRICE] if trades_only(e, b) else e.book[b, B_ASK]


@inline
def has_touch(e: Any, i: int) -> Any:
    """Whether both sides of the local book have a price and it may be used."""
    b = 2 * i + 1
    there = (e.book[b, B_BID] != NO_BID and e.book[b, B_ASK] != NO_ASK) or trades_only(e, b)
    return there and e.book[b, B_USABLE] != 0


@inline
def level_qty(e: Any, i: int, side: int, price: int) -> int:
    """Lots shown at a price of the local book."""
    return level_size(e, 2 * i + 1, side, price)


@inline
def last_trade_price(e: Any, i: int) -> int:
    """The last trade's price, ticks; 0 before the first."""
    return e.book[2 * i + 1, B_LAST_PRICE]


@inline
def position(e: Any, s: int, i: int) -> int:
    """The strategy's position, lots, signed."""
    return e.pos[s, i]


@inline
def order_row(e: Any, handle: int) -> int:
    """The order's row in `e.orders`; -1 when the order has ended and its row is another's."""
    k = handle & ((1 << _SLOT_BITS) - 1)
    return k if handle > 0 and (e.orders[k, O_ID] & _SEQ_MASK) == handle >> np.int64(_SLOT_BITS) else -1


@inline
def is_open(e: Any, handle: int) -> Any:
    """Whether the order is live or on its way."""
    return order_row(e, handle) >= 0


@inline
def is_cancellable(e: Any, handle: int) -> Any:
    """Open, and no cancel is on its way."""
    k = order_row(e, handle)
    return k >= 0 and e.orders[k, O_STATUS] < PENDING_CANCEL


@inline
def order_price(e: Any, handle: int) -> int:
    """The price of an open order, ticks."""
    return e.orders[order_row(e, handle), O_PRICE]


@inline
def order_leaves(e: Any, handle: int) -> int:
    """The quantity of an open order not yet filled, lots; 0 when it has ended."""
    k = order_row(e, handle)
    return e.orders[k, O_LEAVES] if k >= 0 else np.int64(0)


@outline
def submit(e: Any, s: int, i: int, side: int, kind: int, tif: int, inst: int, qty: int, price: int) -> int:
    """Submit an order through the gate: a handle, or minus the reason of a denial."""
    k = e.free[e.s[S_FREE] - 1]
    result = lane_new(e, s, i, side, kind, tif, inst, qty, price)
    if result < 0:
        return result
    return ((result & _SEQ_MASK) << np.int64(_SLOT_BITS)) | k


@inline
def buy(e: Any, s: int, i: int, qty: int, price: int) -> int:
    """A limit order to buy, good till cancelled."""
    return submit(e, s, i, BUY, LIMIT, GTC, 0, qty, price)


@inline
def sell(e: Any, s: int, i: int, qty: int, price: int) -> int:
    """A limit order to sell, good till cancelled."""
    return submit(e, s, i, SELL, LIMIT, GTC, 0, qty, price)


@inline
def post_buy(e: Any, s: int, i: int, qty: int, price: int) -> int:
    """A post-only limit order to buy."""
    return submit(e, s, i, BUY, LIMIT, GTC, POST_ONLY, qty, price)


@inline
def post_sell(e: Any, s: int, i: int, qty: int, price: int) -> int:
    """A post-only limit order to sell."""
    return submit(e, s, i, SELL, LIMIT, GTC, POST_ONLY, qty, price)


@inline
def market_order(e: Any, s: int, i: int, side: int, qty: int) -> int:
    """A market order."""
    return submit(e, s, i, side, MARKET, IOC, 0, qty, 0)


@outline
def cancel(e: Any, handle: int) -> int:
    """Ask for the order's cancel; 0, or the reason it was not sent for."""
    k = order_row(e, handle)
    return lane_cancel(e, k) if k >= 0 else np.int64(303)


@outline
def replace(e: Any, handle: int, qty: int, price: int) -> int:
    """Ask for another total quantity and price; 0, or the reason it was not sent for."""
    k = order_row(e, handle)
    return lane_replace(e, k, qty, price) if k >= 0 else np.int64(303)
