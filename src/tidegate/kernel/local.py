"""The local side of a replay: requests on their way out, reports on their way in, bars, marks.

What a strategy knows is here, and it is late by the latencies of the run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_ASK, B_BID, B_LAST_PRICE, B_USABLE, NO_ASK, NO_BID, level_size, trades_only
from tidegate.kernel.engine import (
    A_CLOSE,
    A_COUNT,
    A_HIGH,
    A_INSTRUMENT,
    A_LOW,
    A_OPEN,
    A_START,
    A_VOLUME,
    C_ASK,
    C_ASK_QTY,
    C_BID,
    C_BID_QTY,
    C_NOW,
    C_REPORT,
    G_OPEN,
    H_HEAD,
    H_TAIL,
    I_MARK_ASK,
    I_MARK_BID,
    I_VENUE,
    J_FUNDING,
    J_MARK,
    JOURNAL_WORDS,
    Q_CANCEL,
    Q_ID,
    Q_NEW,
    Q_PRICE,
    Q_QTY,
    Q_SLOT,
    Q_STRATEGY,
    Q_TIME,
    Q_TS,
    Q_TYPE,
    R_EXEC,
    R_ID,
    R_LAST_PX,
    R_LAST_QTY,
    R_LEAVES,
    R_PRICE,
    R_QTY,
    R_REASON,
    R_SLOT,
    R_STRATEGY,
    R_TIME,
    R_TSV,
    S_DIRTY,
    S_FREE,
    S_INBOX,
    S_JOURNAL,
    S_NEXT,
    S_NEXT_EXPIRY,
    S_NOW,
    S_TIMERS,
    S_UNPAID,
    T_TIME,
    X_ID,
    X_NONE,
    X_STATE,
)
from tidegate.kernel.exchange import arrive, cancel, replace
from tidegate.kernel.exchange_orders import (
    E_CANCEL_REJECTED,
    E_CANCELED,
    E_EXPIRED,
    E_NEW,
    E_REJECTED,
    E_REPLACED,
    E_RESTATED,
    E_TRADE,
    R_UNKNOWN_ORDER,
    enter,
    oldest,
    pop,
    push,
)
from tidegate.kernel.gate_call import ask_gate
from tidegate.kernel.gate_commands import FUNDING, MARK
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    CANCELED,
    EXPIRED,
    FILLED,
    NEW,
    O_CUM,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_PENDING_PRICE,
    O_PENDING_QTY,
    O_PRICE,
    O_QTY,
    O_SIDE,
    O_STATUS,
    O_STRATEGY,
    O_TS,
    O_VALUE,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECTED,
)
from tidegate.kernel.words import copy_words, fill_words
from tidegate.model.event import Kind

_BAR = int(Kind.BAR)


@outline
def show(e: Any, i: int) -> None:
    """Put the time and the local touch of instrument `i` where a woken strategy looks."""
    b = 2 * i + 1
    bid, ask = e.book[b, B_BID], e.book[b, B_ASK]
    e.cur[C_NOW] = e.s[S_NOW]
    e.cur[C_BID], e.cur[C_ASK] = bid, ask
    e.cur[C_BID_QTY] = level_size(e, b, 1, bid)
    e.cur[C_ASK_QTY] = level_size(e, b, 2, ask)


@inline
def touch(e: Any, i: int, side: int) -> int:
    """The local best price of a side, ticks; 0 when there is none or the book is unusable."""
    b = 2 * i + 1
    if e.book[b, B_USABLE] == 0:
        return np.int64(0)
    if trades_only(e, b):
        return e.book[b, B_LAST_PRICE]
    price = e.book[b, B_BID] if side == BUY else e.book[b, B_ASK]
    return np.int64(0) if price == NO_BID or price == NO_ASK else price


@outline
def request(
    e: Any, k: int, kind: int, order_id: int, qty: int, price: int, strategy: int, venue: int
) -> None:
    """Send a request about slot `k` to its venue."""
    row = e.ring[venue, push(e, venue, e.s[S_NOW])]
    row[Q_TYPE], row[Q_SLOT], row[Q_ID] = kind, k, order_id
    row[Q_QTY], row[Q_PRICE], row[Q_TS], row[Q_STRATEGY] = qty, price, e.s[S_NOW], strategy
    if kind == Q_NEW:
        enter(e, k)
        e.strat[strategy, G_OPEN] += 1


@outline
def drain_inbox(e: Any) -> None:
    """Send what Python strategies wrote into the inbox while they were awake."""
    for at in range(e.s[S_INBOX]):
        row = e.inbox[at]
        k = row[Q_SLOT]
        venue = e.inst[e.orders[k, O_INSTRUMENT], I_VENUE]
        request(e, k, row[Q_TYPE], row[Q_ID], row[Q_QTY], row[Q_PRICE], row[Q_STRATEGY], venue)
    e.s[S_INBOX] = 0


@outline
def at_exchange(e: Any, venue: int) -> None:
    """The oldest request in flight to `venue` arrives."""
    row = e.ring[venue, pop(e, venue)]
    k, ts, kind = row[Q_SLOT], row[Q_TIME], row[Q_TYPE]
    if e.xo[k, X_ID] != row[Q_ID] or e.xo[k, X_STATE] == X_NONE:
        _unknown(e, venue, row, ts)
    elif kind == Q_NEW:
        arrive(e, k, ts)
    elif kind == Q_CANCEL:
        cancel(e, k, ts)
    else:
        replace(e, k, row[Q_QTY], row[Q_PRICE], ts)


@inline
def _unknown(e: Any, venue: int, row: Any, ts: int) -> None:
    """A request about an order that is gone: the exchange says it does not know it."""
    r = e.ring.shape[0] // 2 + venue
    out = e.ring[r, push(e, r, ts)]
    fill_words(out, R_EXEC, 14, 0)
    out[R_EXEC], out[R_SLOT], out[R_ID], out[R_TSV] = E_CANCEL_REJECTED, -1, row[Q_ID], ts
    out[R_QTY], out[R_PRICE] = row[Q_QTY], row[Q_PRICE]
    out[R_REASON], out[R_STRATEGY] = R_UNKNOWN_ORDER, row[Q_STRATEGY]


@inline
def known(e: Any, row: Any) -> Any:
    """Whether the report's order still has its slot."""
    return row[R_SLOT] >= 0 and e.orders[row[R_SLOT], O_ID] == row[R_ID]


@outline
def adopt(e: Any, row: Any) -> None:
    """Move the owner's view of the order by a report that has reached us."""
    k, kind = row[R_SLOT], row[R_EXEC]
    order = e.orders[k]
    order[O_TS] = row[R_TIME]
    status = order[O_STATUS]
    if kind == E_NEW:
        if status == PENDING_NEW:
            order[O_STATUS] = NEW
    elif kind == E_TRADE:
        qty = row[R_LAST_QTY]
        order[O_CUM] += qty
        order[O_LEAVES] -= qty
        order[O_VALUE] += qty * row[R_LAST_PX]
        if order[O_LEAVES] == 0:
            order[O_STATUS] = FILLED
        elif status < PENDING_REPLACE:
            order[O_STATUS] = PARTIALLY_FILLED
        e.pos[order[O_STRATEGY], order[O_INSTRUMENT]] += qty if order[O_SIDE] == BUY else -qty
    elif kind == E_CANCELED or kind == E_EXPIRED or kind == E_REJECTED:
        order[O_STATUS] = CANCELED if kind == E_CANCELED else EXPIRED if kind == E_EXPIRED else REJECTED
        order[O_LEAVES] = 0
    elif kind == E_REPLACED:
        order[O_QTY], order[O_PRICE] = row[R_QTY], row[R_PRICE]
        order[O_LEAVES] = row[R_QTY] - order[O_CUM]
        order[O_PENDING_QTY] = order[O_PENDING_PRICE] = 0
        if status != PENDING_CANCEL:
            order[O_STATUS] = NEW if order[O_CUM] == 0 else PARTIALLY_FILLED
    elif kind == E_RESTATED:
        order[O_PRICE] = row[R_PRICE]
    elif kind == E_CANCEL_REJECTED:
        if row[R_QTY] != 0:
            order[O_PENDING_QTY] = order[O_PENDING_PRICE] = 0
        if row[R_QTY] == 0 or status == PENDING_REPLACE:
            order[O_STATUS] = NEW if order[O_CUM] == 0 else PARTIALLY_FILLED


@inline
def is_final(kind: int, row: Any) -> Any:
    """Whether no further report on the order will follow."""
    if kind == E_TRADE:
        return row[R_LEAVES] == 0
    return kind == E_CANCELED or kind == E_EXPIRED or kind == E_REJECTED


@inline
def free_slot(e: Any, k: int) -> None:
    """Give the slot of a finished order back."""
    e.strat[e.orders[k, O_STRATEGY], G_OPEN] -= 1
    e.xo[k, X_STATE] = X_NONE
    e.orders[k, O_ID] = 0
    e.free[e.s[S_FREE]] = k
    e.s[S_FREE] += 1


@inline
def build_bar(e: Any, a: int, price: int, qty: int) -> None:
    """Add a trade to bar `a`."""
    if e.bars[a, A_COUNT] == 0:
        e.bars[a, A_OPEN] = e.bars[a, A_HIGH] = e.bars[a, A_LOW] = price
        e.bars[a, A_VOLUME] = 0
    e.bars[a, A_HIGH] = max(e.bars[a, A_HIGH], price)
    e.bars[a, A_LOW] = min(e.bars[a, A_LOW], price)
    e.bars[a, A_CLOSE] = price
    e.bars[a, A_VOLUME] += qty
    e.bars[a, A_COUNT] += 1


@inline
def close_bar(e: Any, a: int, ts: int) -> None:
    """Write bar `a` into `cur` as a BAR event that ends at `ts`, and begin the next."""
    bar = e.bars[a]
    e.cur[0], e.cur[1] = ts, ts
    e.cur[2], e.cur[3], e.cur[4] = bar[A_OPEN], bar[A_CLOSE], bar[A_VOLUME]
    e.cur[5], e.cur[6] = bar[A_HIGH], bar[A_LOW]
    e.cur[7] = bar[A_INSTRUMENT] | (np.int64(_BAR) << np.int64(32))
    bar[A_COUNT] = 0
    bar[A_START] = ts


@inline
def journal_row(e: Any) -> int:
    """The next row of the journal, all zero."""
    at = e.s[S_JOURNAL]
    e.s[S_JOURNAL] = at + 1
    e.s[S_DIRTY] = 1
    fill_words(e.journal[at], 0, JOURNAL_WORDS, 0)
    return at


@outline
def sample_marks(e: Any, ts: int) -> None:
    """Write the touch of every instrument that moved into the journal and the gate."""
    for i in range(e.book.shape[0] // 2):
        bid, ask = touch(e, i, 1), touch(e, i, 2)
        if bid != e.inst[i, I_MARK_BID] or ask != e.inst[i, I_MARK_ASK]:
            e.inst[i, I_MARK_BID], e.inst[i, I_MARK_ASK] = bid, ask
            ask_gate(e, MARK, i, bid, ask, ts, 0)
            row = e.journal[journal_row(e)]
            row[0], row[1], row[2], row[3], row[4] = J_MARK, ts, i, bid, ask


@outline
def pay_funding(e: Any, i: int, rate: int, ts: int) -> None:
    """A funding payment is due on positions in instrument `i`, at the middle of the local book."""
    bid, ask = touch(e, i, 1), touch(e, i, 2)
    if bid == 0 or ask == 0:
        e.s[S_UNPAID] += 1
        return
    price = (bid + ask) // 2
    ask_gate(e, FUNDING, i, rate, price, ts, 0)
    row = e.journal[journal_row(e)]
    row[0], row[1], row[2], row[3], row[4] = J_FUNDING, ts, i, rate, price


@outline
def next_due(e: Any) -> int:
    """The time of the earliest ring entry, timer or expiry, kept in S_NEXT."""
    soonest = e.s[S_NEXT_EXPIRY]
    for r in range(e.ring.shape[0]):
        if e.ringh[r, H_HEAD] < e.ringh[r, H_TAIL]:
            soonest = min(soonest, e.ring[r, oldest(e, r), R_TIME])
    for t in range(e.s[S_TIMERS]):
        soonest = min(soonest, e.timers[t, T_TIME])
    e.s[S_NEXT] = soonest
    return soonest


@inline
def report_to(e: Any, row: Any) -> None:
    """Copy a report to where the woken strategy looks."""
    copy_words(e.cur, C_REPORT, row, 16)
    e.cur[C_NOW] = e.s[S_NOW]
