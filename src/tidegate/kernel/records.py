"""One market record applied: at the exchange, where our orders rest, and here, where strategies look.

The rules for books are in `kernel.book`, for our orders in `kernel.exchange`. A price that no window holds is
asked for first (GROW_BOOK); where the window may not grow, the record is left out of the book and counted. A
deletion there deletes nothing, for nothing can be there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import (
    B_DEPTH,
    B_LAST_PRICE,
    B_LAST_SIZE,
    B_QUOTE_ASK,
    B_QUOTE_BID,
    B_QUOTE_SEQ,
    B_TS,
    B_USABLE,
    NO_ASK,
    NO_BID,
    apply_quote,
    clear_book,
    in_window,
    level_size,
    set_level,
    stale_delta,
)
from tidegate.kernel.engine import (
    A_INSTRUMENT,
    A_INTERVAL,
    DONE,
    G_BOOK,
    G_QUOTE,
    G_TRADE,
    G_WAKES,
    GROW_BOOK,
    I_BARS,
    I_CAPPED,
    I_HALTED,
    I_HAS_TRADES,
    I_RESTING,
    I_SUBS,
    I_WAITING,
    S_FAR,
    S_GROW_INSTRUMENT,
    S_GROW_PRICE,
    S_INBOX,
    STOPPED,
    WAKE_BOOK,
    WAKE_QUOTE,
    WAKE_TRADE,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.l3 import l3_apply, l3_begin, l3_end
from tidegate.kernel.local import build_bar, drain_inbox, pay_funding, show
from tidegate.kernel.resting import on_level, on_snapshot, on_touch, on_trade
from tidegate.kernel.wake import wake
from tidegate.kernel.words import copy_words
from tidegate.model.event import Flag, Kind

_DELTA, _QUOTE, _TRADE, _BEGIN, _END = (
    int(k) for k in (Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
)
_STATUS, _FUNDING = int(Kind.STATUS), int(Kind.FUNDING)
_UNUSUAL = int(Flag.GAP | Flag.ORDER) << 48
_LAST, _ORDER, _GAP = int(Flag.LAST), int(Flag.ORDER), int(Flag.GAP)


@inline
def _fits(e: Any, i: int, price: int) -> Any:
    return in_window(e, 2 * i, price)


@inline
def _far(e: Any, i: int, price: int) -> int:
    """A price outside the window: ask for a larger one, or count the record where that may not be."""
    if e.inst[i, I_CAPPED] != 0:
        e.s[S_FAR] += 1
        return DONE
    e.s[S_GROW_INSTRUMENT], e.s[S_GROW_PRICE] = i, price
    return GROW_BOOK


@inline
def _plain(e: Any, b: int, row: Any) -> Any:
    """Whether a DELTA is nothing but the new size of a level in the window of book `b`: nearly all are."""
    return row[7] & _UNUSUAL == 0 and row[2] >= e.book[b, B_QUOTE_SEQ] and in_window(e, b, row[3])


@inline
def _exchange_level(e: Any, i: int, side: int, price: int, qty: int) -> None:
    """Set a level that the window holds, and move our orders there."""
    b = 2 * i
    e.book[b, B_DEPTH] = 1
    before = set_level(e, b, side, price, qty)
    if e.inst[i, I_RESTING] > 0 and before != qty:
        on_level(e, i, side, price, before, qty)


@inline
def _exchange_delta(e: Any, row: Any, i: int) -> int:
    b = 2 * i
    if _plain(e, b, row):
        _exchange_level(e, i, (row[7] >> 40) & 0xFF, row[3], row[4])
    elif _unusual_exchange_delta(e, row, i) != DONE:
        return GROW_BOOK
    ours = e.inst[i, I_RESTING] > 0 or e.inst[i, I_WAITING] > 0
    if (row[7] >> 48) & _LAST != 0 and ours and e.book[b, B_USABLE] != 0:
        on_touch(e, i, row[0])
    return DONE


@outline
def _unusual_exchange_delta(e: Any, row: Any, i: int) -> int:
    b, side, price, qty = 2 * i, (row[7] >> 40) & 0xFF, row[3], row[4]
    fits = _fits(e, i, price)
    if not fits and qty > 0:
        if _far(e, i, price) != DONE:
            return GROW_BOOK
    if (row[7] >> 48) & _GAP != 0:
        e.book[b, B_USABLE] = 0
    if (row[7] >> 48) & _ORDER != 0:
        # An order that moves out of reach is gone from where it was.
        l3_apply(e, 0, b, i, side, price, qty if fits else np.int64(0), row[5])
    elif not stale_delta(e, b, side, price, row[2]):
        e.book[b, B_DEPTH] = 1
        if fits:
            _exchange_level(e, i, side, price, qty)
    return DONE


@outline
def _exchange_quote(e: Any, row: Any, i: int) -> int:
    b = 2 * i
    bid = row[3] if row[4] > 0 else np.int64(NO_BID)
    ask = row[5] if row[6] > 0 else np.int64(NO_ASK)
    if row[4] > 0 and not _fits(e, i, bid):
        return _far(e, i, bid)
    if row[6] > 0 and not _fits(e, i, ask):
        return _far(e, i, ask)
    resting = e.inst[i, I_RESTING] > 0
    bid_before = ask_before = np.int64(0)
    if resting:
        bid_before = level_size(e, b, 1, bid)
        ask_before = level_size(e, b, 2, ask)
    apply_quote(e, b, row[2], bid, row[4], ask, row[6])
    if resting:
        if bid_before != row[4]:
            on_level(e, i, 1, bid, bid_before, row[4])
        if ask_before != row[6]:
            on_level(e, i, 2, ask, ask_before, row[6])
    if resting or e.inst[i, I_WAITING] > 0:
        on_touch(e, i, row[0])
    return DONE


@outline
def _begin(e: Any, which: int, i: int) -> None:
    """A snapshot begins: the book is empty and unusable until it ends."""
    b = 2 * i + which
    clear_book(e, b)
    l3_begin(e, which, i)
    e.book[b, B_USABLE] = 0
    e.book[b, B_QUOTE_SEQ] = -1
    e.book[b, B_QUOTE_BID], e.book[b, B_QUOTE_ASK] = NO_BID, NO_ASK


@outline
def _end(e: Any, which: int, i: int) -> None:
    """A snapshot has ended: the book is what it said."""
    l3_end(e, which, i)
    e.book[2 * i + which, B_USABLE] = 1


@inline
def exchange_step(e: Any, row: Any) -> int:
    """One record at the exchange; DONE, or GROW_BOOK before anything was changed."""
    meta = row[7]
    i, kind = meta & 0xFFFFFFFF, (meta >> 32) & 0xFF
    b, ts = 2 * i, row[0]
    if kind == _DELTA:
        if _exchange_delta(e, row, i) != DONE:
            return GROW_BOOK
    elif kind == _TRADE:
        e.book[b, B_LAST_PRICE], e.book[b, B_LAST_SIZE] = row[3], row[4]
        e.inst[i, I_HAS_TRADES] = 1
        if e.inst[i, I_RESTING] > 0 or e.inst[i, I_WAITING] > 0:
            on_trade(e, i, row[3], row[4], (meta >> 40) & 0xFF, ts)
    elif kind == _QUOTE:
        if _exchange_quote(e, row, i) != DONE:
            return GROW_BOOK
    elif kind == _BEGIN:
        _begin(e, 0, i)
    elif kind == _END:
        _end(e, 0, i)
        on_snapshot(e, i)
        on_touch(e, i, ts)
    elif kind == _STATUS:
        halted = e.inst[i, I_HALTED]
        e.inst[i, I_HALTED] = 1 if row[3] != 0 else 0
        if halted != 0 and row[3] == 0 and e.book[b, B_USABLE] != 0:
            on_touch(e, i, ts)
    e.book[b, B_TS] = ts
    return DONE


@outline
def _wake_all(e: Any, i: int, column: int, kind: int, here: int) -> int:
    """Wake every strategy that subscribed to this kind of event of instrument `i`."""
    show(e, i)
    for strategy in range(e.strat.shape[0]):
        if (e.subs[strategy, i] >> kind) & 1 != 0:
            e.strat[strategy, G_WAKES] += 1
            if wake(e, strategy, column, kind, here) != 0:
                return STOPPED
            if e.s[S_INBOX] > 0:
                drain_inbox(e)
    return DONE


@outline
def _unusual_local_delta(e: Any, row: Any, i: int) -> None:
    b, side, price = 2 * i + 1, (row[7] >> 40) & 0xFF, row[3]
    fits = _fits(e, i, price)
    if (row[7] >> 48) & _GAP != 0:
        e.book[b, B_USABLE] = 0
    if (row[7] >> 48) & _ORDER != 0:
        l3_apply(e, 1, b, i, side, price, row[4] if fits else np.int64(0), row[5])
    elif not stale_delta(e, b, side, price, row[2]):
        e.book[b, B_DEPTH] = 1
        if fits:
            set_level(e, b, side, price, row[4])


@inline
def local_step(e: Any, row: Any, here: int) -> int:
    """One record as it reaches us: move the local book, build bars, wake subscribers."""
    meta = row[7]
    i, kind = meta & 0xFFFFFFFF, (meta >> 32) & 0xFF
    b = 2 * i + 1
    woken, column = -1, 0
    if kind == _DELTA:
        if _plain(e, b, row):
            e.book[b, B_DEPTH] = 1
            set_level(e, b, (meta >> 40) & 0xFF, row[3], row[4])
        else:
            _unusual_local_delta(e, row, i)
        if (meta >> 48) & _LAST != 0:
            woken, column = WAKE_BOOK, G_BOOK
    elif kind == _QUOTE:
        bid = row[3] if row[4] > 0 else np.int64(NO_BID)
        ask = row[5] if row[6] > 0 else np.int64(NO_ASK)
        if (row[4] == 0 or _fits(e, i, bid)) and (row[6] == 0 or _fits(e, i, ask)):
            apply_quote(e, b, row[2], bid, row[4], ask, row[6])
        woken, column = WAKE_QUOTE, G_QUOTE
    elif kind == _TRADE:
        e.book[b, B_LAST_PRICE], e.book[b, B_LAST_SIZE] = row[3], row[4]
        if e.inst[i, I_BARS] > 0:
            for a in range(e.bars.shape[0]):
                if e.bars[a, A_INTERVAL] > 0 and e.bars[a, A_INSTRUMENT] == i:
                    build_bar(e, a, row[3], row[4])
        woken, column = WAKE_TRADE, G_TRADE
    elif kind == _BEGIN:
        _begin(e, 1, i)
    elif kind == _END:
        _end(e, 1, i)
        woken, column = WAKE_BOOK, G_BOOK
    elif kind == _FUNDING:
        pay_funding(e, i, row[3], row[1])
    e.book[b, B_TS] = row[1]
    if woken >= 0 and (e.inst[i, I_SUBS] >> woken) & 1 != 0:
        copy_words(e.cur, 0, row, 8)
        return _wake_all(e, i, column, woken, here)
    return DONE
