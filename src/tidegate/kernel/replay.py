"""The replay: one loop over recorded events, requests, reports and timers in the order of their times.

Two clocks run at once. The exchange side takes each record at its exchange time: it moves the exchange's books
and the orders resting there. The local side takes the same record at its receive time: it moves the books a
strategy sees and wakes whoever subscribed. Requests travel from the local side to the exchange and reports
back, each with its latency. At one instant the order is: recorded events at the exchange, requests arriving
there, reports and timers here, recorded events here.

The kernel runs until something needs Python: more data, a larger table, or the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from tidegate.kernel.book import (
    B_ASK,
    B_BID,
    B_DEPTH,
    B_LAST_PRICE,
    B_LAST_SIZE,
    B_QUOTE_ASK,
    B_QUOTE_BID,
    B_QUOTE_SEQ,
    B_SIZE,
    B_TS,
    B_USABLE,
    NO_ASK,
    NO_BID,
    apply_quote,
    best_from,
    clear_book,
    copy_levels,
    in_window,
    level_size,
    set_level,
    stale_delta,
)
from tidegate.kernel.engine import (
    A_COUNT,
    A_INSTRUMENT,
    A_STRATEGY,
    C_TIMER,
    DONE,
    G_BAR,
    G_BOOK,
    G_COMPILED,
    G_QUOTE,
    G_REPORT,
    G_TIMER,
    G_TRADE,
    G_WAKES,
    GROW_BOOK,
    GROW_ORDERS,
    GROW_RINGS,
    H_HEAD,
    H_TAIL,
    I_BARS,
    I_CAPPED,
    I_HALTED,
    I_HAS_TRADES,
    I_RESTING,
    I_SUBS,
    I_WAITING,
    JOURNAL_FULL,
    NEED_DATA,
    NEVER,
    R_EXEC,
    R_SLOT,
    R_STRATEGY,
    R_TIME,
    S_DIRTY,
    S_EVENTS,
    S_FAR,
    S_FREE,
    S_GROW_INSTRUMENT,
    S_GROW_PRICE,
    S_INBOX,
    S_JOURNAL,
    S_L,
    S_NEXT,
    S_NEXT_EXPIRY,
    S_NOW,
    S_ORPHANS,
    S_TIMERS,
    S_X,
    STOPPED,
    T_ID,
    T_INTERVAL,
    T_KIND,
    T_OWNER,
    T_TIME,
    TIMER_BAR,
    TIMER_MARK,
    WAKE_BAR,
    WAKE_BOOK,
    WAKE_QUOTE,
    WAKE_REPORT,
    WAKE_TIMER,
    WAKE_TRADE,
    allocate,
)
from tidegate.kernel.exchange import expire, on_level, on_touch, on_trade
from tidegate.kernel.gate import empty_gate
from tidegate.kernel.jit import inline, kernel, outline
from tidegate.kernel.l3 import l3_apply
from tidegate.kernel.local import (
    adopt,
    at_exchange,
    build_bar,
    close_bar,
    drain_inbox,
    free_slot,
    is_final,
    known,
    next_due,
    pay_funding,
    report_to,
    sample_marks,
    show,
)
from tidegate.kernel.compiled_lane import lane_report
from tidegate.kernel.state import state_at, state_type
from tidegate.kernel.wake import wake
from tidegate.kernel.words import copy_words
from tidegate.model.event import Flag, Kind

_DELTA, _QUOTE, _TRADE, _BEGIN, _END = (
    int(k) for k in (Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
)
_STATUS, _FUNDING = int(Kind.STATUS), int(Kind.FUNDING)
_LAST, _ORDER, _GAP = int(Flag.LAST), int(Flag.ORDER), int(Flag.GAP)
_ROOM = 1024


@inline
def _grow(e: Any, i: int, price: int) -> int:
    e.s[S_GROW_INSTRUMENT], e.s[S_GROW_PRICE] = i, price
    return GROW_BOOK


@inline
def _fits(e: Any, i: int, price: int) -> Any:
    return in_window(e, 2 * i, price)


@outline
def _exchange_step(e: Any, row: Any) -> int:
    """One record at the exchange; DONE, or GROW_BOOK before anything was changed."""
    meta = row[7]
    i, kind = meta & 0xFFFFFFFF, (meta >> 32) & 0xFF
    b, ts = 2 * i, row[0]
    resting = e.inst[i, I_RESTING]
    if kind == _DELTA:
        side, price, qty = (meta >> 40) & 0xFF, row[3], row[4]
        flags = meta >> 48
        if not _fits(e, i, price):
            if e.inst[i, I_CAPPED] == 0:
                return _grow(e, i, price)
            e.s[S_FAR] += 1
            return DONE
        if flags & _GAP != 0:
            e.book[b, B_USABLE] = 0
        if flags & _ORDER != 0:
            l3_apply(e, 0, b, i, side, price, qty, row[5])
        elif not stale_delta(e, b, side, price, row[2]):
            before = set_level(e, b, side, price, qty)
            e.book[b, B_DEPTH] = 1
            if resting > 0 and before != qty:
                on_level(e, i, side, price, before, qty)
        if flags & _LAST != 0 and (resting > 0 or e.inst[i, I_WAITING] > 0) and e.book[b, B_USABLE] != 0:
            on_touch(e, i, ts)
    elif kind == _TRADE:
        e.book[b, B_LAST_PRICE], e.book[b, B_LAST_SIZE] = row[3], row[4]
        e.inst[i, I_HAS_TRADES] = 1
        if resting > 0 or e.inst[i, I_WAITING] > 0:
            on_trade(e, i, row[3], row[4], (meta >> 40) & 0xFF, ts)
    elif kind == _QUOTE:
        bid = row[3] if row[4] > 0 else np.int64(NO_BID)
        ask = row[5] if row[6] > 0 else np.int64(NO_ASK)
        if (row[4] > 0 and not _fits(e, i, bid)) or (row[6] > 0 and not _fits(e, i, ask)):
            if e.inst[i, I_CAPPED] == 0:
                return _grow(e, i, bid if row[4] > 0 and not _fits(e, i, bid) else ask)
            e.s[S_FAR] += 1
            return DONE
        if resting > 0:
            bid_before = level_size(e, b, 1, bid)
            ask_before = level_size(e, b, 2, ask)
            apply_quote(e, b, row[2], bid, row[4], ask, row[6])
            if bid_before != row[4]:
                on_level(e, i, 1, bid, bid_before, row[4])
            if ask_before != row[6]:
                on_level(e, i, 2, ask, ask_before, row[6])
            on_touch(e, i, ts)
        else:
            apply_quote(e, b, row[2], bid, row[4], ask, row[6])
            if e.inst[i, I_WAITING] > 0:
                on_touch(e, i, ts)
    elif kind == _BEGIN:
        _begin(e, b)
    elif kind == _END:
        e.book[b, B_USABLE] = 1
        if resting > 0:
            on_touch(e, i, ts)
    elif kind == _STATUS:
        e.inst[i, I_HALTED] = 1 if row[3] != 0 else 0
    e.book[b, B_TS] = ts
    return DONE


@outline
def _begin(e: Any, b: int) -> None:
    """A snapshot begins: the book is empty and unusable until it ends."""
    clear_book(e, b)
    e.book[b, B_USABLE] = 0
    e.book[b, B_QUOTE_SEQ] = -1
    e.book[b, B_QUOTE_BID], e.book[b, B_QUOTE_ASK] = NO_BID, NO_ASK


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
def _local_step(e: Any, row: Any, here: int) -> int:
    """One record as it reaches us: move the local book, build bars, wake subscribers."""
    meta = row[7]
    i, kind = meta & 0xFFFFFFFF, (meta >> 32) & 0xFF
    b = 2 * i + 1
    e.s[S_EVENTS] += 1
    woken, column = -1, 0
    if kind == _DELTA:
        flags = meta >> 48
        side, price = (meta >> 40) & 0xFF, row[3]
        if flags & _GAP != 0:
            e.book[b, B_USABLE] = 0
        if _fits(e, i, price):
            if flags & _ORDER != 0:
                l3_apply(e, 1, b, i, side, price, row[4], row[5])
            elif not stale_delta(e, b, side, price, row[2]):
                set_level(e, b, side, price, row[4])
                e.book[b, B_DEPTH] = 1
        if flags & _LAST != 0:
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
                if e.bars[a, A_INSTRUMENT] == i and e.bars[a, A_STRATEGY] >= 0:
                    build_bar(e, a, row[3], row[4])
        woken, column = WAKE_TRADE, G_TRADE
    elif kind == _BEGIN:
        _begin(e, b)
    elif kind == _END:
        e.book[b, B_USABLE] = 1
        woken, column = WAKE_BOOK, G_BOOK
    elif kind == _FUNDING:
        pay_funding(e, i, row[3], row[1])
    e.book[b, B_TS] = row[1]
    if woken >= 0 and (e.inst[i, I_SUBS] >> woken) & 1 != 0:
        copy_words(e.cur, 0, row, 8)
        return _wake_all(e, i, column, woken, here)
    return DONE


@outline
def _deliver(e: Any, r: int, here: int) -> int:
    """The oldest report of ring `r` reaches its strategy."""
    at = e.ringh[r, H_HEAD] % e.ring.shape[1]
    e.ringh[r, H_HEAD] += 1
    row = e.ring[r, at]
    strategy = row[R_STRATEGY]
    mine = known(e, row)
    if not mine and row[R_SLOT] >= 0:
        e.s[S_ORPHANS] += 1
    if e.strat[strategy, G_COMPILED] != 0:
        lane_report(e, row, mine)
    if mine:
        adopt(e, row)
    report_to(e, row)
    result = DONE
    if e.strat[strategy, G_COMPILED] == 0 or (e.subs[strategy, 0] >> WAKE_REPORT) & 1 != 0:
        e.strat[strategy, G_WAKES] += 1
        if wake(e, strategy, G_REPORT, WAKE_REPORT, here) != 0:
            result = STOPPED
        if e.s[S_INBOX] > 0:
            drain_inbox(e)
    if mine and is_final(row[R_EXEC], row):
        free_slot(e, row[R_SLOT])
    return result


@outline
def _fire(e: Any, t: int, here: int) -> int:
    """Timer `t` is due: set its next time, then do what it is for."""
    kind, owner, ts = e.timers[t, T_KIND], e.timers[t, T_OWNER], e.timers[t, T_TIME]
    ident, interval = e.timers[t, T_ID], e.timers[t, T_INTERVAL]
    if interval > 0:
        e.timers[t, T_TIME] = ts + interval
    else:
        last = e.s[S_TIMERS] - 1
        copy_words(e.timers[t], 0, e.timers[last], 5)
        e.s[S_TIMERS] = last
    if kind == TIMER_MARK:
        sample_marks(e, ts)
        return DONE
    if kind == TIMER_BAR:
        if e.bars[owner, A_COUNT] == 0:
            return DONE
        i, strategy = e.bars[owner, A_INSTRUMENT], e.bars[owner, A_STRATEGY]
        close_bar(e, owner, ts)
        show(e, i)
        e.cur[C_TIMER] = owner
        result = wake(e, strategy, G_BAR, WAKE_BAR, here)
    else:
        strategy = owner
        e.cur[C_TIMER] = ident
        e.cur[8] = ts
        result = wake(e, strategy, G_TIMER, WAKE_TIMER, here)
    e.strat[strategy, G_WAKES] += 1
    if e.s[S_INBOX] > 0:
        drain_inbox(e)
    return STOPPED if result != 0 else DONE


@outline
def _agenda_step(e: Any, ts: int, here: int) -> int:
    """What is due at `ts`: requests at venues first, then reports here, then timers; one of them."""
    venues = e.ring.shape[0] // 2
    for r in range(2 * venues):
        if e.ringh[r, H_HEAD] < e.ringh[r, H_TAIL]:
            if e.ring[r, e.ringh[r, H_HEAD] % e.ring.shape[1], R_TIME] == ts:
                if r < venues:
                    at_exchange(e, r)
                    return DONE
                e.s[S_NOW] = ts
                return _deliver(e, r, here)
    for t in range(e.s[S_TIMERS]):
        if e.timers[t, T_TIME] == ts:
            e.s[S_NOW] = ts
            return _fire(e, t, here)
    return DONE


@outline
def _room(e: Any) -> int:
    """Whether the tables have room for what one step may add."""
    e.s[S_DIRTY] = 0
    if e.s[S_FREE] < _ROOM:
        return GROW_ORDERS
    if e.s[S_JOURNAL] > e.journal.shape[0] - 4 * _ROOM:
        return JOURNAL_FULL
    for r in range(e.ring.shape[0]):
        if e.ringh[r, H_TAIL] - e.ringh[r, H_HEAD] > e.ring.shape[1] // 2:
            return GROW_RINGS
    return DONE


@inline
def _replay(e: Any, events: Any, order: Any, n: int, horizon: int, here: int) -> int:
    s, nx = e.s, len(order)
    status = _room(e)
    if status != DONE:
        return status
    while True:
        x, l = s[S_X], s[S_L]  # noqa: E741
        at = order[x] if x < nx else np.int64(0)
        tx = events[at, 0] if x < nx else np.int64(NEVER)
        tl = events[l, 1] if l < n else np.int64(NEVER)
        ta = s[S_NEXT]
        if tx <= ta and tx <= tl:
            if tx > horizon:
                return NEED_DATA if tx != NEVER else DONE
            if tx >= s[S_NEXT_EXPIRY]:
                expire(e, tx)
            status = _exchange_step(e, events[at])
            if status != DONE:
                return status
            s[S_X] = x + 1
            if s[S_DIRTY] != 0:
                status = _room(e)
                if status != DONE:
                    return status
        elif ta <= tl:
            if ta > horizon:
                return NEED_DATA
            status = _agenda_step(e, ta, here)
            next_due(e)
            if status == DONE and s[S_DIRTY] != 0:
                status = _room(e)
            if status != DONE:
                return status
        else:
            if tl > horizon:
                return NEED_DATA
            s[S_NOW] = max(s[S_NOW], tl)
            status = _local_step(e, events[l], here)
            s[S_L] = l + 1
            if status == DONE and s[S_DIRTY] != 0:
                status = _room(e)
            if status != DONE:
                return status


ENGINE = state_type(allocate(1, 1, 1, empty_gate()))
engine_at = state_at(ENGINE)
_ROWS = types.int64[:, ::1]


@kernel(types.int64(types.int64, _ROWS, types.int64[::1], types.int64, types.int64))
def replay(table: Any, events: Any, order: Any, n: int, horizon: int) -> int:
    """Run until time passes `horizon` or Python is needed; why it came back (`kernel.engine.DONE` …).

    `table` is the address of the engine's table (`kernel.state.table`). `events` are `n` records sorted by
    receive time, `order` the numbers of those the exchange has yet to see, sorted by exchange time. Nothing later than `horizon` happens: records
    beyond it may still be missing.
    """
    return _replay(engine_at(table), events, order, n, horizon, table)


@kernel(types.void(types.int64, _ROWS, types.int64[::1], types.int64[::1]))
def move_books(table: Any, geometry: Any, new_levels: Any, new_bits: Any) -> None:
    """Copy every book into larger arrays; `geometry` rows are base, size, start, tree, words by book."""
    e = engine_at(table)
    for b in range(e.book.shape[0]):
        if e.book[b, B_SIZE] > 0:
            copy_levels(
                e, b, geometry[b, 0], geometry[b, 1], geometry[b, 2], geometry[b, 3],
                geometry[b, 4], new_levels, new_bits,
            )  # fmt: skip


@kernel(types.void(types.int64))
def send_inbox(table: Any) -> None:
    """Send what Python strategies wrote into the inbox outside the replay."""
    drain_inbox(engine_at(table))


@kernel(types.int64(types.int64, types.int64, types.int64, types.int64))
def local_level(table: Any, i: int, side: int, price: int) -> int:
    """Size at a price of the local book of instrument `i`, lots."""
    return level_size(engine_at(table), 2 * i + 1, side, price)


@kernel(types.int64(types.int64, types.int64, types.int64, _ROWS))
def local_depth(table: Any, i: int, side: int, out: Any) -> int:
    """Fill `out` rows with (price, size) of one side of the local book, best first; how many there were."""
    e = engine_at(table)
    b = 2 * i + 1
    price = e.book[b, B_BID] if side == 1 else e.book[b, B_ASK]
    count = 0
    while count < len(out) and price != NO_BID and price != NO_ASK:
        out[count, 0], out[count, 1] = price, level_size(e, b, side, price)
        count += 1
        price = best_from(e, b, side, price - 1 if side == 1 else price + 1)
    return count
