"""The simulated exchange's own record of our orders: the lists they wait on, and the reports sent about them.

What happens to an order, and when, is `kernel.exchange` (orders that arrive) and `kernel.resting` (orders that
rest); here is how it is written down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_ASK, B_BID, NO_ASK, NO_BID, level_size
from tidegate.kernel.engine import (
    F_MAKER,
    F_TAKER,
    F_VALUE,
    H_HEAD,
    H_LAST,
    H_TAIL,
    I_BUYS_FROM,
    I_BUYS_TO,
    I_INVERSE,
    I_PEGS,
    I_REST,
    I_RESTING,
    I_SEEN_BID,
    I_SELLS_FROM,
    I_SELLS_TO,
    I_VENUE,
    I_WAIT,
    I_WAITING,
    R_CUM,
    R_EXEC,
    R_EXECID,
    R_FEE,
    R_ID,
    R_LAST_PX,
    R_LAST_QTY,
    R_LEAVES,
    R_MAKER,
    R_PRICE,
    R_QTY,
    R_REASON,
    R_SLOT,
    R_STRATEGY,
    R_TIME,
    R_TSV,
    S_ARRIVED,
    S_DIRTY,
    S_EXEC,
    S_LOST,
    S_NEXT,
    X_ARRIVED,
    X_CUM,
    X_DONE,
    X_FLYING,
    X_ID,
    X_LEAVES,
    X_NEXT,
    X_PREV,
    X_PRICE,
    X_QTY,
    X_RESTING,
    X_SHOWN,
    X_STATE,
    X_WAITING,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.latency import draw_latency
from tidegate.kernel.layout import (
    BUY,
    ICEBERG,
    O_DISPLAY,
    O_ID,
    O_INSTRUMENT,
    O_PRICE,
    O_QTY,
    O_SIDE,
    O_STRATEGY,
    O_TYPE,
    PEGGED,
)
from tidegate.kernel.queue import queue_join
from tidegate.model.order import ExecType

E_NEW, E_TRADE, E_CANCELED, E_REPLACED, E_REJECTED, E_EXPIRED, E_CANCEL_REJECTED, E_RESTATED, E_TRIGGERED = (
    int(kind) for kind in list(ExecType)[:9]
)
R_WOULD_CROSS, R_UNKNOWN_ORDER, R_TOO_LATE, R_HALTED, R_NO_LIQUIDITY, R_IOC, R_FOK, R_EXPIRY = (
    201, 202, 203, 204, 205, 206, 207, 208,
)  # fmt: skip


@inline
def push(e: Any, r: int, ts: int) -> int:
    """Make an entry at the back of ring `r` that arrives a drawn latency after `ts`; its index."""
    arrives = max(ts + draw_latency(e.s, e.latency, r), e.ringh[r, H_LAST])
    e.ringh[r, H_LAST] = arrives
    if e.ringh[r, H_TAIL] - e.ringh[r, H_HEAD] >= e.ring.shape[1]:
        e.s[S_LOST] += 1
    at = e.ringh[r, H_TAIL] & (e.ring.shape[1] - 1)
    e.ringh[r, H_TAIL] += 1
    e.ring[r, at, R_TIME] = arrives
    e.s[S_NEXT] = min(e.s[S_NEXT], arrives)
    e.s[S_DIRTY] = 1
    return at


@inline
def oldest(e: Any, r: int) -> int:
    """The index of the oldest entry of ring `r`, which has one."""
    return e.ringh[r, H_HEAD] & (e.ring.shape[1] - 1)


@inline
def pop(e: Any, r: int) -> int:
    """Take the oldest entry off ring `r`; its index. It stays to be read until something enters the ring."""
    at = oldest(e, r)
    e.ringh[r, H_HEAD] += 1
    if e.ringh[r, H_HEAD] == e.ringh[r, H_TAIL]:  # begin anew, where the cache is warm
        e.ringh[r, H_HEAD] = e.ringh[r, H_TAIL] = 0
    return at


@outline
def emit(e: Any, k: int, kind: int, ts: int, qty: int, price: int, maker: int, reason: int) -> None:
    """Send a report on the order in slot `k`. `qty` and `price` are those of a fill, or what a refused replace
    asked for; else 0.

    For analytics an acknowledgement carries, as R_LAST_QTY, the size already shown at the order's price, and a
    fill, as R_QTY and R_PRICE, the exchange's best bid and ask of the moment.
    """
    i = e.orders[k, O_INSTRUMENT]
    r = e.ring.shape[0] // 2 + e.inst[i, I_VENUE]
    row = e.ring[r, push(e, r, ts)]
    row[R_EXEC], row[R_SLOT], row[R_ID], row[R_TSV] = kind, k, e.xo[k, X_ID], ts
    row[R_LAST_QTY], row[R_LAST_PX], row[R_MAKER], row[R_REASON] = 0, 0, maker, reason
    row[R_QTY], row[R_PRICE] = e.xo[k, X_QTY], e.xo[k, X_PRICE]
    row[R_CUM], row[R_LEAVES] = e.xo[k, X_CUM], e.xo[k, X_LEAVES]
    row[R_STRATEGY] = e.orders[k, O_STRATEGY]
    row[R_EXECID] = row[R_FEE] = 0
    if kind == E_TRADE:
        e.s[S_EXEC] += 1
        row[R_EXECID] = e.s[S_EXEC]
        value = e.finst[i, F_VALUE] * qty
        value = value / price if e.inst[i, I_INVERSE] != 0 else value * price
        row[R_FEE] = np.int64(np.rint(abs(value) * e.finst[i, F_MAKER if maker != 0 else F_TAKER]))
        row[R_LAST_QTY], row[R_LAST_PX] = qty, price
        row[R_QTY], row[R_PRICE] = e.book[2 * i, B_BID], e.book[2 * i, B_ASK]
    elif kind == E_CANCEL_REJECTED:
        row[R_QTY], row[R_PRICE] = qty, price
    elif kind == E_NEW:
        row[R_LAST_QTY] = level_size(e, 2 * i, e.orders[k, O_SIDE], e.xo[k, X_PRICE])


@inline
def link(e: Any, i: int, k: int, head: int) -> None:
    """Append slot `k` to a list of instrument `i`: head column, then tail and count columns."""
    tail = e.inst[i, head + 1]
    e.xo[k, X_PREV], e.xo[k, X_NEXT] = tail, -1
    if tail < 0:
        e.inst[i, head] = k
    else:
        e.xo[tail, X_NEXT] = k
    e.inst[i, head + 1] = k
    e.inst[i, I_RESTING if head == I_REST else I_WAITING] += 1
    e.inst[i, I_SEEN_BID] = NO_ASK  # never a bid: the order has yet to meet the touch


@inline
def _unlink(e: Any, i: int, k: int, head: int) -> None:
    before, after = e.xo[k, X_PREV], e.xo[k, X_NEXT]
    if before < 0:
        e.inst[i, head] = after
    else:
        e.xo[before, X_NEXT] = after
    if after < 0:
        e.inst[i, head + 1] = before
    else:
        e.xo[after, X_PREV] = before
    e.inst[i, I_RESTING if head == I_REST else I_WAITING] -= 1
    if head == I_REST:
        _narrow_reach(e, i)


@inline
def _widen_reach(e: Any, i: int, k: int) -> None:
    """The prices between which our orders rest, a side: what happens beyond them is nothing to any order."""
    price = e.xo[k, X_PRICE]
    if e.orders[k, O_SIDE] == BUY:
        e.inst[i, I_BUYS_FROM] = min(e.inst[i, I_BUYS_FROM], price)
        e.inst[i, I_BUYS_TO] = max(e.inst[i, I_BUYS_TO], price)
    else:
        e.inst[i, I_SELLS_FROM] = min(e.inst[i, I_SELLS_FROM], price)
        e.inst[i, I_SELLS_TO] = max(e.inst[i, I_SELLS_TO], price)


@outline
def _narrow_reach(e: Any, i: int) -> None:
    """The same after an order has left."""
    e.inst[i, I_BUYS_FROM], e.inst[i, I_BUYS_TO] = NO_ASK, NO_BID
    e.inst[i, I_SELLS_FROM], e.inst[i, I_SELLS_TO] = NO_ASK, NO_BID
    k = e.inst[i, I_REST]
    while k >= 0:
        _widen_reach(e, i, k)
        k = e.xo[k, X_NEXT]


@outline
def leave(e: Any, k: int) -> None:
    """Take the order off whatever list it is on; it is done at the exchange."""
    i = e.orders[k, O_INSTRUMENT]
    if e.xo[k, X_STATE] == X_RESTING:
        _unlink(e, i, k, I_REST)
        if e.orders[k, O_TYPE] == PEGGED:
            e.inst[i, I_PEGS] -= 1
    elif e.xo[k, X_STATE] == X_WAITING:
        _unlink(e, i, k, I_WAIT)
    e.xo[k, X_STATE] = X_DONE


@outline
def end(e: Any, k: int, kind: int, ts: int, reason: int) -> None:
    """The order ends unfilled or part-filled: canceled, expired or rejected."""
    leave(e, k)
    e.xo[k, X_LEAVES] = 0
    emit(e, k, kind, ts, 0, 0, 0, reason)


@outline
def fill(e: Any, k: int, qty: int, price: int, maker: int, ts: int) -> None:
    """`qty` lots of the order trade at `price`."""
    e.xo[k, X_LEAVES] -= qty
    e.xo[k, X_CUM] += qty
    if e.xo[k, X_LEAVES] == 0:
        leave(e, k)
    emit(e, k, E_TRADE, ts, qty, price, maker, 0)


@outline
def join(e: Any, k: int, i: int) -> None:
    """(Re-)join the back of the queue at the order's price, showing what it may show."""
    display = e.orders[k, O_DISPLAY] if e.orders[k, O_TYPE] == ICEBERG else 0
    e.xo[k, X_SHOWN] = min(display, e.xo[k, X_LEAVES]) if display > 0 else e.xo[k, X_LEAVES]
    queue_join(e.queue, k, level_size(e, 2 * i, e.orders[k, O_SIDE], e.xo[k, X_PRICE]))
    e.s[S_ARRIVED] += 1
    e.xo[k, X_ARRIVED] = e.s[S_ARRIVED]
    _widen_reach(e, i, k)


@inline
def rest(e: Any, k: int, i: int) -> None:
    """The order stays, at the back of its price."""
    e.xo[k, X_STATE] = X_RESTING
    if e.orders[k, O_TYPE] == PEGGED:
        e.inst[i, I_PEGS] += 1
    join(e, k, i)
    link(e, i, k, I_REST)


@inline
def enter(e: Any, k: int) -> None:
    """Give the exchange its own record of the order in slot `k`, in flight until it arrives."""
    e.xo[k, X_STATE] = X_FLYING
    e.xo[k, X_LEAVES] = e.xo[k, X_QTY] = e.orders[k, O_QTY]
    e.xo[k, X_CUM] = 0
    e.xo[k, X_PRICE] = e.orders[k, O_PRICE]
    e.xo[k, X_NEXT] = e.xo[k, X_PREV] = -1
    e.xo[k, X_ID] = e.orders[k, O_ID]
