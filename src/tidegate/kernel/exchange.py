"""The simulated exchange: how an order that has arrived meets the recorded market.

The recorded market is not changed by our orders (no impact), and our orders do not see each other: each fills as
if it were alone, so two of them may trade with the same recorded lots.

Arrival
- A market order, and a limit order priced at or through the best price of the other side, takes.
  `no_partial`: all of it at that best price, whatever size is shown there.
  `partial`: against the shown levels, best first, to its limit; what is left of a limit order rests.
- Where only trades are recorded, the last trade's price stands in for both best prices, of any size.
- IOC: what is left expires. FOK: all at once or it expires. POST_ONLY: rejected instead of taking, before it is
  acknowledged. What a market order does not find expires (NO_LIQUIDITY).
- Otherwise it rests, behind the whole size then shown at its price.
- An order whose expiry has passed when it arrives expires unfilled.

A resting order
- is filled whole at its own price, hidden lots included, when a trade goes through its price, or when the other
  side's best price reaches it;
- at a trade at its own price moves up by the traded size; once more than its queue has traded it fills: whole
  (`no_partial`), or by what traded beyond the queue (`partial`). A trade meets orders of the side its aggressor
  hit; of both where the aggressor is not known;
- moves up when its level shrinks, as the queue model says (`kernel.queue`); priced better than its side's best
  it has nobody ahead;
- an ICEBERG shows `display` lots; when those are filled the next lots join the back of the queue, and what the
  same trade had beyond them is not theirs;
- a PEGGED order stands `offset` ticks behind its reference (PRIMARY: its own side's best, MARKET: the other's,
  MID: the middle, rounded to its own side) and joins the back of the queue each time it moves; it takes only on
  arrival. Without both best prices it is rejected on arrival, and later stays where it is.

A STOP or STOP_LIMIT waits until a trade at or beyond its stop price, then arrives as a market or a limit order. A
TRAILING_STOP keeps its stop `offset` ticks behind the best trade since it arrived, from the last one before it
on, or from a stop price it came with. In a market that has had no trade yet, the other side's best price is
judged instead, while both sides have one. What was before the order arrived does not trigger it.

Replace and cancel
- A replace that lowers the quantity at the same price keeps its place; any other goes to the back, and may take.
  One that leaves no more than has filled cancels the rest. A POST_ONLY order whose new price would take stays as
  it is: the replace is refused. Of a PEGGED order only the quantity changes; of an order that waits for its stop
  the quantity and the limit.
- A cancel or replace of an order that has ended is refused (TOO_LATE), or, once its owner knows, UNKNOWN_ORDER.

Time and halts
- DAY orders expire at midnight UTC, GTD at their time, before anything else that happens then.
- In a halted instrument orders and replaces are refused (HALTED), cancels and expiries go on; nothing fills,
  triggers or follows its peg until trading resumes, and then meets the book as it is.
- Between a gap and the end of the next snapshot depth changes fill nothing; trades and quotes do. Orders that
  arrive meet what is known.

The quantity shown, the price and the times of a report are the exchange's, of that moment.
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
    FILL_WHOLE,
    I_FILL,
    I_HALTED,
    I_HAS_TRADES,
    I_WAIT,
    NEVER,
    S_NEXT_EXPIRY,
    X_CUM,
    X_EXPIRE,
    X_FLYING,
    X_LEAVES,
    X_PRICE,
    X_QTY,
    X_RESTING,
    X_SHOWN,
    X_STATE,
    X_STOP,
    X_WAITING,
)
from tidegate.kernel.exchange_orders import (
    E_CANCEL_REJECTED,
    E_CANCELED,
    E_EXPIRED,
    E_NEW,
    E_REJECTED,
    E_REPLACED,
    R_EXPIRY,
    R_FOK,
    R_HALTED,
    R_IOC,
    R_NO_LIQUIDITY,
    R_TOO_LATE,
    R_WOULD_CROSS,
    emit,
    end,
    fill,
    leave,
    link,
    rest,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    DAY,
    FOK,
    GTD,
    IOC,
    MARKET,
    O_EXPIRE,
    O_INST,
    O_INSTRUMENT,
    O_OFFSET,
    O_SIDE,
    O_STOP,
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
from tidegate.model.time import DAY as ONE_DAY

_DAY_NS = ONE_DAY


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


@inline
def _would_take(e: Any, i: int, side: int, price: int) -> Any:
    """Whether a limit order of `side` at `price` would trade now."""
    other = best_other(e, i, side)
    return other != NO_ASK and other != NO_BID and reaches(side, price, other)


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
    if _would_take(e, i, side, limit):
        if e.orders[k, O_INST] & POST_ONLY != 0:
            end(e, k, E_REJECTED, ts, R_WOULD_CROSS)
            return
        if tif == FOK and e.inst[i, I_FILL] != FILL_WHOLE and not trades_only(e, 2 * i):
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
        rest(e, k, i)


@outline
def peg_price(e: Any, k: int, i: int) -> int:
    """Where a PEGGED order should stand now; NO_BID when its reference is missing."""
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
def _wait(e: Any, k: int, i: int) -> None:
    """A stop of any kind waits for its trigger."""
    side, offset = e.orders[k, O_SIDE], e.orders[k, O_OFFSET]
    e.xo[k, X_STATE] = X_WAITING
    e.xo[k, X_STOP] = e.orders[k, O_STOP]
    if e.orders[k, O_TYPE] == TRAILING_STOP and e.orders[k, O_STOP] == 0:
        last = e.book[2 * i, B_LAST_PRICE] if e.inst[i, I_HAS_TRADES] != 0 else best_other(e, i, side)
        e.xo[k, X_STOP] = last + offset if side == BUY else last - offset
    link(e, i, k, I_WAIT)


@outline
def arrive(e: Any, k: int, ts: int) -> None:
    """A new order reaches the exchange at `ts`: acknowledged first, then matched or kept."""
    i, kind = e.orders[k, O_INSTRUMENT], e.orders[k, O_TYPE]
    if e.inst[i, I_HALTED] != 0:
        end(e, k, E_REJECTED, ts, R_HALTED)
        return
    tif = e.orders[k, O_TIF]
    expire: Any = np.int64(NEVER)
    if tif == DAY:
        expire = (ts // _DAY_NS + 1) * _DAY_NS
    elif tif == GTD:
        expire = e.orders[k, O_EXPIRE]
    if expire <= ts:
        end(e, k, E_EXPIRED, ts, R_EXPIRY)
        return
    e.xo[k, X_EXPIRE] = expire
    if kind == PEGGED:
        price = peg_price(e, k, i)
        if price == NO_BID:
            end(e, k, E_REJECTED, ts, R_NO_LIQUIDITY)
            return
        e.xo[k, X_PRICE] = price
    stop = kind == STOP or kind == STOP_LIMIT or kind == TRAILING_STOP
    if e.orders[k, O_INST] & POST_ONLY != 0 and not stop and kind != MARKET:
        if _would_take(e, i, e.orders[k, O_SIDE], e.xo[k, X_PRICE]):
            end(e, k, E_REJECTED, ts, R_WOULD_CROSS)
            return
    e.s[S_NEXT_EXPIRY] = min(e.s[S_NEXT_EXPIRY], expire)
    emit(e, k, E_NEW, ts, 0, 0, 0, 0)
    if stop:
        _wait(e, k, i)
    else:
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
    i, side, state = e.orders[k, O_INSTRUMENT], e.orders[k, O_SIDE], e.xo[k, X_STATE]
    if state != X_RESTING and state != X_WAITING:
        emit(e, k, E_CANCEL_REJECTED, ts, qty, price, 0, R_TOO_LATE)
        return
    if e.inst[i, I_HALTED] != 0:
        emit(e, k, E_CANCEL_REJECTED, ts, qty, price, 0, R_HALTED)
        return
    if qty <= e.xo[k, X_CUM]:
        end(e, k, E_CANCELED, ts, 0)
        return
    new = e.xo[k, X_PRICE] if e.orders[k, O_TYPE] == PEGGED else price
    same = new == e.xo[k, X_PRICE] and qty <= e.xo[k, X_QTY]
    if e.orders[k, O_INST] & POST_ONLY != 0 and state == X_RESTING and not same:
        if _would_take(e, i, side, new):
            emit(e, k, E_CANCEL_REJECTED, ts, qty, price, 0, R_WOULD_CROSS)
            return
    e.xo[k, X_QTY], e.xo[k, X_PRICE] = qty, new
    e.xo[k, X_LEAVES] = qty - e.xo[k, X_CUM]
    emit(e, k, E_REPLACED, ts, 0, 0, 0, 0)
    if same:
        e.xo[k, X_SHOWN] = min(e.xo[k, X_SHOWN], e.xo[k, X_LEAVES])
    elif state == X_RESTING:
        leave(e, k)
        e.xo[k, X_STATE] = X_FLYING
        execute(e, k, ts)
