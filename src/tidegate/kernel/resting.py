"""What the recorded market does to our orders at the exchange: fills, queue positions, stops, pegs, expiries.

The rules are written at the top of `kernel.exchange`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_ASK, B_BID, NO_ASK, NO_BID, level_size
from tidegate.kernel.engine import (
    F_SHAPE,
    FILL_WHOLE,
    I_BUYS_FROM,
    I_BUYS_TO,
    I_FILL,
    I_HALTED,
    I_HAS_TRADES,
    I_PEGS,
    I_QUEUE,
    I_REST,
    I_SEEN_ASK,
    I_SEEN_BID,
    I_SELLS_FROM,
    I_WAIT,
    I_WAITING,
    NEVER,
    S_NEXT_EXPIRY,
    X_ARRIVED,
    X_EXPIRE,
    X_FLYING,
    X_LEAVES,
    X_NEXT,
    X_PRICE,
    X_SHOWN,
    X_STATE,
    X_STOP,
)
from tidegate.kernel.exchange import execute, peg_price, reaches
from tidegate.kernel.exchange_orders import (
    E_EXPIRED,
    E_RESTATED,
    E_TRIGGERED,
    R_EXPIRY,
    emit,
    end,
    fill,
    join,
    leave,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY, O_OFFSET, O_SIDE, O_TYPE, PEGGED, SELL, TRAILING_STOP
from tidegate.kernel.queue import queue_at_most, queue_depth, queue_executable, queue_removed, queue_trade


@outline
def _fill_shown(e: Any, k: int, i: int, qty: int, ts: int) -> None:
    """Fill up to the shown part; an iceberg's next part joins the back."""
    qty = min(qty, e.xo[k, X_SHOWN])
    e.xo[k, X_SHOWN] -= qty
    fill(e, k, qty, e.xo[k, X_PRICE], 1, ts)
    if e.xo[k, X_LEAVES] > 0 and e.xo[k, X_SHOWN] == 0:
        join(e, k, i)


@inline
def on_trade(e: Any, i: int, price: int, qty: int, aggressor: int, ts: int) -> None:
    """A recorded trade: resting orders it meets or passes fill, stops trigger."""
    # Without branches: which side it is cannot be predicted.
    sells = (aggressor != SELL) & (e.inst[i, I_SELLS_FROM] <= price)
    buys = (aggressor != BUY) & (e.inst[i, I_BUYS_TO] >= price)
    if sells | buys or e.inst[i, I_WAITING] > 0:
        _meet_trade(e, i, price, qty, aggressor, ts)


@outline
def _meet_trade(e: Any, i: int, price: int, qty: int, aggressor: int, ts: int) -> None:
    if e.inst[i, I_HALTED] != 0:
        return
    k = e.inst[i, I_REST]
    while k >= 0:
        following = e.xo[k, X_NEXT]
        side, own = e.orders[k, O_SIDE], e.xo[k, X_PRICE]
        if side != aggressor:
            if own == price:
                queue_trade(e.queue, k, qty)
                past = queue_executable(e.queue, k)
                if past > 0:
                    _fill_shown(e, k, i, past if e.inst[i, I_FILL] != FILL_WHOLE else e.xo[k, X_SHOWN], ts)
            elif reaches(side, own, price):
                fill(e, k, e.xo[k, X_LEAVES], own, 1, ts)
        k = following
    if e.inst[i, I_WAITING] > 0:
        _trigger(e, i, price, price, ts)


@outline
def _trigger(e: Any, i: int, for_buys: int, for_sells: int, ts: int) -> None:
    """Judge waiting stops against a price (buys rise to it, sells fall to it)."""
    k = e.inst[i, I_WAIT]
    while k >= 0:
        following = e.xo[k, X_NEXT]
        side, kind = e.orders[k, O_SIDE], e.orders[k, O_TYPE]
        price = for_buys if side == BUY else for_sells
        if kind == TRAILING_STOP:
            offset = e.orders[k, O_OFFSET]
            if side == BUY:
                e.xo[k, X_STOP] = min(e.xo[k, X_STOP], price + offset)
            else:
                e.xo[k, X_STOP] = max(e.xo[k, X_STOP], price - offset)
        if (price >= e.xo[k, X_STOP]) if side == BUY else (price <= e.xo[k, X_STOP]):
            leave(e, k)
            e.xo[k, X_STATE] = X_FLYING
            emit(e, k, E_TRIGGERED, ts, 0, 0, 0, 0)
            execute(e, k, ts)
        k = following


@inline
def on_touch(e: Any, i: int, ts: int) -> None:
    """The book may be looked at: resting orders it reaches fill, pegs follow, stops may trigger."""
    # A touch that all resting orders have met does nothing to them a second time.
    met = e.book[2 * i, B_BID] == e.inst[i, I_SEEN_BID] and e.book[2 * i, B_ASK] == e.inst[i, I_SEEN_ASK]
    if not met or e.inst[i, I_PEGS] > 0 or e.inst[i, I_WAITING] > 0:
        _meet_touch(e, i, ts)


@outline
def _meet_touch(e: Any, i: int, ts: int) -> None:
    if e.inst[i, I_HALTED] != 0:
        return
    k = e.inst[i, I_REST]
    bid, ask = e.book[2 * i, B_BID], e.book[2 * i, B_ASK]
    e.inst[i, I_SEEN_BID], e.inst[i, I_SEEN_ASK] = bid, ask
    while k >= 0:
        following = e.xo[k, X_NEXT]
        side, price = e.orders[k, O_SIDE], e.xo[k, X_PRICE]
        other = ask if side == BUY else bid
        if other != NO_ASK and other != NO_BID and reaches(side, price, other):
            fill(e, k, e.xo[k, X_LEAVES], price, 1, ts)
        elif (price > bid) if side == BUY else (price < ask):
            queue_at_most(e.queue, k, 0)
        k = following
    if e.inst[i, I_PEGS] > 0:
        _follow_pegs(e, i, ts)
    if e.inst[i, I_WAITING] > 0 and e.inst[i, I_HAS_TRADES] == 0 and bid != NO_BID and ask != NO_ASK:
        _trigger(e, i, ask, bid, ts)


@outline
def _follow_pegs(e: Any, i: int, ts: int) -> None:
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.orders[k, O_TYPE] == PEGGED:
            price = peg_price(e, k, i)
            if price != NO_BID and price != e.xo[k, X_PRICE]:
                e.xo[k, X_PRICE] = price
                join(e, k, i)
                emit(e, k, E_RESTATED, ts, 0, 0, 0, 0)
        k = e.xo[k, X_NEXT]


@inline
def on_level(e: Any, i: int, side: int, price: int, before: int, after: int) -> None:
    """The size of a level changed: orders resting there move up as the queue model says."""
    reach = I_BUYS_FROM + (I_SELLS_FROM - I_BUYS_FROM) * (side - BUY)
    if price < e.inst[i, reach] or price > e.inst[i, reach + 1]:
        return
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.xo[k, X_PRICE] == price and e.orders[k, O_SIDE] == side:
            _move_up(e, k, i, before, after)
        k = e.xo[k, X_NEXT]


@outline
def _move_up(e: Any, k: int, i: int, before: int, after: int) -> None:
    queue_depth(e.queue, k, e.inst[i, I_QUEUE], e.finst[i, F_SHAPE], before, after)


@outline
def on_snapshot(e: Any, i: int) -> None:
    """A snapshot has ended: no order has more ahead of it than its level now holds."""
    k = e.inst[i, I_REST]
    while k >= 0:
        queue_at_most(e.queue, k, level_size(e, 2 * i, e.orders[k, O_SIDE], e.xo[k, X_PRICE]))
        k = e.xo[k, X_NEXT]


@outline
def on_order_removed(e: Any, i: int, side: int, price: int, qty: int, arrived: int) -> None:
    """L3: `qty` lots of a market order that arrived as number `arrived` left the level."""
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.xo[k, X_PRICE] == price and e.orders[k, O_SIDE] == side and arrived < e.xo[k, X_ARRIVED]:
            queue_removed(e.queue, k, qty)
        k = e.xo[k, X_NEXT]


@outline
def expire(e: Any, ts: int) -> None:
    """Expire what is due at `ts` and find the next time something will be."""
    soonest = np.int64(NEVER)
    for i in range(e.inst.shape[0]):
        for head in (I_REST, I_WAIT):
            k = e.inst[i, head]
            while k >= 0:
                following = e.xo[k, X_NEXT]
                if e.xo[k, X_EXPIRE] <= ts:
                    end(e, k, E_EXPIRED, ts, R_EXPIRY)
                else:
                    soonest = min(soonest, e.xo[k, X_EXPIRE])
                k = following
    e.s[S_NEXT_EXPIRY] = soonest
