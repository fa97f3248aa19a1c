"""The simulated exchange: how an order that has arrived meets the recorded market.

The recorded market is not changed by our orders (no impact) and our orders do not trade with each other.

Arrival
- A market order, and a limit order priced at or through the best price of the other side, takes.
  `no_partial`: all of it at that best price, whatever size is shown there.
  `partial`: against the shown levels, best first, to its limit; what is left of a limit order rests.
- Where only trades are recorded, the last trade's price stands in for both best prices, of any size.
- IOC: what is left expires. FOK: all at once or it expires. POST_ONLY: rejected instead of taking.
- A market order that finds no price expires (NO_LIQUIDITY). In a halted instrument orders are rejected.
- Otherwise it rests, behind the whole size then shown at its price.

A resting order
- is filled whole at its own price when a trade goes through its price, or when the other side's best price
  reaches it;
- at a trade at its own price moves up by the traded size; once its queue is used up it fills: whole
  (`no_partial`), or by what traded beyond the queue (`partial`);
- moves up when its level shrinks, as the queue model says (`kernel.queue`);
- an ICEBERG shows `display` lots; when those are filled the next lots join the back of the queue;
- a PEGGED order follows its reference price and joins the back of the queue each time it moves.

A STOP or STOP_LIMIT waits until a trade at or beyond its stop price (without trade data: until the other side's
best price gets there), then arrives as a market or a limit order. A TRAILING_STOP moves its stop to `offset`
ticks behind the best trade since it arrived. DAY orders expire at midnight UTC, GTD at their time.
A replace that lowers the quantity at the same price keeps its place; any other goes to the back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import (
    B_ASK,
    B_BID,
    B_LAST_PRICE,
    NO_ASK,
    NO_BID,
    best_from,
    level_size,
    trades_only,
)
from tidegate.kernel.engine import (
    F_EXPONENT,
    F_MAKER,
    F_TAKER,
    F_VALUE,
    FILL_WHOLE,
    H_HEAD,
    H_LAST,
    H_TAIL,
    I_FILL,
    I_HALTED,
    I_HAS_TRADES,
    I_INVERSE,
    I_PEGS,
    I_QUEUE,
    I_REST,
    I_RESTING,
    I_VENUE,
    I_WAIT,
    I_WAITING,
    NEVER,
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
    S_NEXT,
    S_NEXT_EXPIRY,
    X_ARRIVED,
    X_CUM,
    X_DONE,
    X_EXPIRE,
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
    X_STOP,
    X_WAITING,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.latency import draw_latency
from tidegate.kernel.layout import (
    BUY,
    DAY,
    FOK,
    GTD,
    ICEBERG,
    IOC,
    LIMIT,
    MARKET,
    O_DISPLAY,
    O_EXPIRE,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_OFFSET,
    O_PRICE,
    O_QTY,
    O_SIDE,
    O_STOP,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
    PEG_MARKET,
    PEG_PRIMARY,
    PEGGED,
    POST_ONLY,
    STOP,
    STOP_LIMIT,
    TRAILING_STOP,
)
from tidegate.kernel.queue import queue_depth, queue_executable, queue_join, queue_trade
from tidegate.model.order import ExecType
from tidegate.model.time import DAY as ONE_DAY

E_NEW, E_TRADE, E_CANCELED, E_REPLACED, E_REJECTED, E_EXPIRED, E_CANCEL_REJECTED, E_RESTATED, E_TRIGGERED = (
    int(kind) for kind in list(ExecType)[:9]
)
R_WOULD_CROSS, R_UNKNOWN_ORDER, R_TOO_LATE, R_HALTED, R_NO_LIQUIDITY, R_IOC, R_FOK, R_EXPIRY = (
    201, 202, 203, 204, 205, 206, 207, 208,
)  # fmt: skip
_DAY_NS = ONE_DAY


@inline
def push(e: Any, r: int, ts: int) -> int:
    """Make an entry at the back of ring `r` that arrives a drawn latency after `ts`; its index."""
    arrives = max(ts + draw_latency(e.s, e.latency, r), e.ringh[r, H_LAST])
    e.ringh[r, H_LAST] = arrives
    at = e.ringh[r, H_TAIL] % e.ring.shape[1]
    e.ringh[r, H_TAIL] += 1
    e.ring[r, at, R_TIME] = arrives
    e.s[S_NEXT] = min(e.s[S_NEXT], arrives)
    e.s[S_DIRTY] = 1
    return at


@outline
def emit(e: Any, k: int, kind: int, ts: int, qty: int, price: int, maker: int, reason: int) -> None:
    """Send a report on the order in slot `k`; `qty` and `price` are those of a fill, else 0.

    For analytics an acknowledgement carries, as R_LAST_QTY, the size already shown at the order's price, and a
    fill, as R_QTY and R_PRICE, the exchange's best bid and ask of the moment.
    """
    i = e.orders[k, O_INSTRUMENT]
    r = e.ring.shape[0] // 2 + e.inst[i, I_VENUE]
    row = e.ring[r, push(e, r, ts)]
    row[R_EXEC], row[R_SLOT], row[R_ID], row[R_TSV] = kind, k, e.xo[k, X_ID], ts
    row[R_LAST_QTY], row[R_LAST_PX], row[R_MAKER], row[R_REASON] = qty, price, maker, reason
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
        row[R_QTY], row[R_PRICE] = e.book[2 * i, B_BID], e.book[2 * i, B_ASK]
    elif kind == E_NEW:
        row[R_LAST_QTY] = level_size(e, 2 * i, e.orders[k, O_SIDE], e.xo[k, X_PRICE])


@inline
def _link(e: Any, i: int, k: int, head: int) -> None:
    """Append slot `k` to a list of instrument `i`: head column, then tail and count columns."""
    tail = e.inst[i, head + 1]
    e.xo[k, X_PREV], e.xo[k, X_NEXT] = tail, -1
    if tail < 0:
        e.inst[i, head] = k
    else:
        e.xo[tail, X_NEXT] = k
    e.inst[i, head + 1] = k
    e.inst[i, I_RESTING if head == I_REST else I_WAITING] += 1


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
def _join(e: Any, k: int, i: int) -> None:
    """(Re-)join the back of the queue at the order's price, showing what it may show."""
    display = e.orders[k, O_DISPLAY] if e.orders[k, O_TYPE] == ICEBERG else 0
    e.xo[k, X_SHOWN] = min(display, e.xo[k, X_LEAVES]) if display > 0 else e.xo[k, X_LEAVES]
    queue_join(e.queue, k, level_size(e, 2 * i, e.orders[k, O_SIDE], e.xo[k, X_PRICE]))
    e.s[S_ARRIVED] += 1
    e.xo[k, X_ARRIVED] = e.s[S_ARRIVED]


@inline
def _rest(e: Any, k: int, i: int) -> None:
    e.xo[k, X_STATE] = X_RESTING
    _join(e, k, i)
    _link(e, i, k, I_REST)


@inline
def best_other(e: Any, i: int, side: int) -> int:
    """The best price an order of `side` could take now; NO_ASK or NO_BID when there is none."""
    if trades_only(e, 2 * i):
        return e.book[2 * i, B_LAST_PRICE]
    return e.book[2 * i, B_ASK] if side == BUY else e.book[2 * i, B_BID]


@inline
def reaches(side: int, price: int, other: int) -> Any:
    """Whether an order of `side` at `price` meets the other side's price `other`."""
    return price >= other if side == BUY else price <= other


@outline
def _available(e: Any, i: int, side: int, limit: int, want: int) -> int:
    """Lots shown on the other side from the best price to `limit`, counted up to `want`."""
    total = 0
    price, other = best_other(e, i, side), 3 - side
    while total < want and price != NO_ASK and price != NO_BID and reaches(side, limit, price):
        total += level_size(e, 2 * i, other, price)
        price = best_from(e, 2 * i, other, price + 1 if side == BUY else price - 1)
    return total


@outline
def _take(e: Any, k: int, i: int, side: int, limit: int, ts: int) -> None:
    """Trade against the other side, up to `limit`, by the instrument's fill model."""
    price, other = best_other(e, i, side), 3 - side
    if e.inst[i, I_FILL] == FILL_WHOLE or trades_only(e, 2 * i):
        fill(e, k, e.xo[k, X_LEAVES], price, 0, ts)
        return
    while e.xo[k, X_LEAVES] > 0 and price != NO_ASK and price != NO_BID and reaches(side, limit, price):
        shown = level_size(e, 2 * i, other, price)
        fill(e, k, min(shown, e.xo[k, X_LEAVES]), price, 0, ts)
        price = best_from(e, 2 * i, other, price + 1 if side == BUY else price - 1)


@outline
def execute(e: Any, k: int, ts: int) -> None:
    """An order (arrived, triggered or replaced) meets the book: takes, rests, expires or is rejected."""
    i, side = e.orders[k, O_INSTRUMENT], e.orders[k, O_SIDE]
    kind, tif = e.orders[k, O_TYPE], e.orders[k, O_TIF]
    market = kind == MARKET or kind == STOP or kind == TRAILING_STOP
    limit = (NO_ASK if side == BUY else NO_BID) if market else e.xo[k, X_PRICE]
    other = best_other(e, i, side)
    there = other != NO_ASK and other != NO_BID
    if there and reaches(side, limit, other):
        if e.orders[k, O_INST] & POST_ONLY != 0:
            end(e, k, E_REJECTED, ts, R_WOULD_CROSS)
            return
        if tif == FOK and e.inst[i, I_FILL] != FILL_WHOLE:
            if _available(e, i, side, limit, e.xo[k, X_LEAVES]) < e.xo[k, X_LEAVES]:
                end(e, k, E_EXPIRED, ts, R_FOK)
                return
        _take(e, k, i, side, limit, ts)
        if e.xo[k, X_LEAVES] == 0:
            return
    if market:
        end(e, k, E_EXPIRED, ts, R_NO_LIQUIDITY)
    elif tif == IOC:
        end(e, k, E_EXPIRED, ts, R_IOC)
    elif tif == FOK:
        end(e, k, E_EXPIRED, ts, R_FOK)
    else:
        _rest(e, k, i)


@outline
def peg_price(e: Any, k: int, i: int) -> int:
    """Where a PEGGED order should stand now; NO_BID or NO_ASK when its reference is missing."""
    side, inst, offset = e.orders[k, O_SIDE], e.orders[k, O_INST], e.orders[k, O_OFFSET]
    bid, ask = e.book[2 * i, B_BID], e.book[2 * i, B_ASK]
    if bid == NO_BID or ask == NO_ASK:
        return np.int64(NO_BID)
    if side == BUY:
        if inst & PEG_PRIMARY != 0:
            return bid - offset
        return (ask if inst & PEG_MARKET != 0 else (bid + ask) // 2) - offset
    if inst & PEG_PRIMARY != 0:
        return ask + offset
    return (bid if inst & PEG_MARKET != 0 else -((-bid - ask) // 2)) + offset


@outline
def arrive(e: Any, k: int, ts: int) -> None:
    """A new order reaches the exchange at `ts`: acknowledged first, then matched or kept."""
    i, kind = e.orders[k, O_INSTRUMENT], e.orders[k, O_TYPE]
    if e.inst[i, I_HALTED] != 0:
        end(e, k, E_REJECTED, ts, R_HALTED)
        return
    tif, expire = e.orders[k, O_TIF], np.int64(NEVER)
    if tif == DAY:
        expire = (ts // _DAY_NS + 1) * _DAY_NS
    elif tif == GTD:
        expire = e.orders[k, O_EXPIRE]
    e.xo[k, X_EXPIRE] = expire
    e.s[S_NEXT_EXPIRY] = min(e.s[S_NEXT_EXPIRY], expire)
    if kind == PEGGED:
        price = peg_price(e, k, i)
        if price == NO_BID:
            end(e, k, E_REJECTED, ts, R_NO_LIQUIDITY)
            return
        e.xo[k, X_PRICE] = price
        e.inst[i, I_PEGS] += 1
    side, other = e.orders[k, O_SIDE], best_other(e, i, e.orders[k, O_SIDE])
    if e.orders[k, O_INST] & POST_ONLY != 0 and other != NO_ASK and other != NO_BID:
        if (kind == LIMIT or kind == ICEBERG) and reaches(side, e.xo[k, X_PRICE], other):
            end(e, k, E_REJECTED, ts, R_WOULD_CROSS)
            return
    emit(e, k, E_NEW, ts, 0, 0, 0, 0)
    if kind == STOP or kind == STOP_LIMIT or kind == TRAILING_STOP:
        e.xo[k, X_STATE] = X_WAITING
        e.xo[k, X_STOP] = e.orders[k, O_STOP]
        if kind == TRAILING_STOP and e.orders[k, O_STOP] == 0:
            last = e.book[2 * i, B_LAST_PRICE]
            last = last if e.inst[i, I_HAS_TRADES] != 0 else other
            e.xo[k, X_STOP] = last + e.orders[k, O_OFFSET] if side == BUY else last - e.orders[k, O_OFFSET]
        _link(e, i, k, I_WAIT)
        return
    execute(e, k, ts)


@outline
def cancel(e: Any, k: int, ts: int) -> None:
    """A cancel reaches an order the exchange knows."""
    if e.xo[k, X_STATE] == X_RESTING or e.xo[k, X_STATE] == X_WAITING:
        end(e, k, E_CANCELED, ts, 0)
    else:
        emit(e, k, E_CANCEL_REJECTED, ts, 0, 0, 0, R_TOO_LATE)


@outline
def replace(e: Any, k: int, qty: int, price: int, ts: int) -> None:
    """A replace reaches an order the exchange knows: new total quantity and price."""
    state = e.xo[k, X_STATE]
    if state != X_RESTING and state != X_WAITING:
        emit(e, k, E_CANCEL_REJECTED, ts, 0, 0, 0, R_TOO_LATE)
        return
    i, side = e.orders[k, O_INSTRUMENT], e.orders[k, O_SIDE]
    other = best_other(e, i, side)
    if e.orders[k, O_INST] & POST_ONLY != 0 and state == X_RESTING and other != NO_ASK and other != NO_BID:
        if reaches(side, price, other):
            emit(e, k, E_CANCEL_REJECTED, ts, 0, 0, 0, R_WOULD_CROSS)
            return
    same = price == e.xo[k, X_PRICE] and qty <= e.xo[k, X_QTY]
    e.xo[k, X_QTY], e.xo[k, X_PRICE] = qty, price
    e.xo[k, X_LEAVES] = max(qty - e.xo[k, X_CUM], 0)
    emit(e, k, E_REPLACED, ts, 0, 0, 0, 0)
    if e.xo[k, X_LEAVES] == 0:
        end(e, k, E_CANCELED, ts, 0)
    elif same:
        e.xo[k, X_SHOWN] = min(e.xo[k, X_SHOWN], e.xo[k, X_LEAVES])
    elif state == X_RESTING:
        leave(e, k)
        if e.orders[k, O_TYPE] == PEGGED:
            e.inst[i, I_PEGS] += 1
        e.xo[k, X_STATE] = X_FLYING
        execute(e, k, ts)


@outline
def _fill_shown(e: Any, k: int, i: int, qty: int, ts: int) -> None:
    """Fill up to the shown part; an iceberg's next part joins the back."""
    qty = min(qty, e.xo[k, X_SHOWN])
    e.xo[k, X_SHOWN] -= qty
    fill(e, k, qty, e.xo[k, X_PRICE], 1, ts)
    if e.xo[k, X_LEAVES] > 0 and e.xo[k, X_SHOWN] == 0:
        _join(e, k, i)


@outline
def on_trade(e: Any, i: int, price: int, qty: int, aggressor: int, ts: int) -> None:
    """A recorded trade: resting orders it meets or passes fill, stops trigger."""
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
        trigger(e, i, price, price, ts)


@outline
def trigger(e: Any, i: int, for_buys: int, for_sells: int, ts: int) -> None:
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


@outline
def on_touch(e: Any, i: int, ts: int) -> None:
    """The book's best prices changed: resting orders they reach fill, pegs follow, stops may trigger."""
    k = e.inst[i, I_REST]
    bid, ask = e.book[2 * i, B_BID], e.book[2 * i, B_ASK]
    while k >= 0:
        following = e.xo[k, X_NEXT]
        side = e.orders[k, O_SIDE]
        other = ask if side == BUY else bid
        if other != NO_ASK and other != NO_BID and reaches(side, e.xo[k, X_PRICE], other):
            fill(e, k, e.xo[k, X_LEAVES], e.xo[k, X_PRICE], 1, ts)
        k = following
    if e.inst[i, I_PEGS] > 0:
        _follow_pegs(e, i, ts)
    if e.inst[i, I_WAITING] > 0 and e.inst[i, I_HAS_TRADES] == 0 and bid != NO_BID and ask != NO_ASK:
        trigger(e, i, ask, bid, ts)


@outline
def _follow_pegs(e: Any, i: int, ts: int) -> None:
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.orders[k, O_TYPE] == PEGGED:
            price = peg_price(e, k, i)
            if price != NO_BID and price != e.xo[k, X_PRICE]:
                e.xo[k, X_PRICE] = price
                _join(e, k, i)
                emit(e, k, E_RESTATED, ts, 0, 0, 0, 0)
        k = e.xo[k, X_NEXT]


@outline
def on_level(e: Any, i: int, side: int, price: int, before: int, after: int) -> None:
    """The size of a level changed: orders resting there move up as the queue model says."""
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.xo[k, X_PRICE] == price and e.orders[k, O_SIDE] == side:
            queue_depth(e.queue, k, e.inst[i, I_QUEUE], e.finst[i, F_EXPONENT], before, after)
        k = e.xo[k, X_NEXT]


@outline
def on_order_removed(e: Any, i: int, side: int, price: int, qty: int, arrived: int) -> None:
    """L3: `qty` lots of a market order that arrived as number `arrived` left the level."""
    k = e.inst[i, I_REST]
    while k >= 0:
        if e.xo[k, X_PRICE] == price and e.orders[k, O_SIDE] == side and arrived < e.xo[k, X_ARRIVED]:
            e.queue[k, 0] = max(e.queue[k, 0] - float(qty), 0.0)
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


@inline
def enter(e: Any, k: int) -> None:
    """Give the exchange its own record of the order in slot `k`, in flight until it arrives."""
    e.xo[k, X_STATE] = X_FLYING
    e.xo[k, X_LEAVES] = e.xo[k, X_QTY] = e.orders[k, O_QTY]
    e.xo[k, X_CUM] = 0
    e.xo[k, X_PRICE] = e.orders[k, O_PRICE]
    e.xo[k, X_NEXT] = e.xo[k, X_PREV] = -1
    e.xo[k, X_ID] = e.orders[k, O_ID]
