"""The replay: one loop over recorded events, requests, reports and timers in the order of their times.

Two clocks run at once. The exchange side takes each record at its exchange time: it moves the exchange's books
and the orders resting there. The local side takes the same record at its receive time: it moves the books a
strategy sees and wakes whoever subscribed. Requests travel from the local side to the exchange and reports
back, each with its latency; to or from one venue none overtakes another. At one instant the order is: expiries,
recorded events at the exchange, requests arriving there, reports here (both by number of the venue), timers (in
the order they were set), recorded events here (in the order of the data).

The kernel runs until something needs Python: more data, a larger table, or the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from tidegate.kernel.bits import at, prefetch
from tidegate.kernel.book import (
    B_ASK,
    B_BID,
    B_SIZE,
    NO_ASK,
    NO_BID,
    best_from,
    copy_levels,
    level_size,
)
from tidegate.kernel.compiled_lane import lane_report
from tidegate.kernel.engine import (
    A_COUNT,
    A_INSTRUMENT,
    A_STRATEGY,
    C_TIMER,
    DONE,
    G_BAR,
    G_COMPILED,
    G_REPORT,
    G_TIMER,
    G_WAKES,
    GROW_L3,
    GROW_ORDERS,
    GROW_RINGS,
    H_HEAD,
    H_TAIL,
    JOURNAL_FULL,
    NEED_DATA,
    NEVER,
    OVERFLOW,
    R_EXEC,
    R_SLOT,
    R_STRATEGY,
    R_TIME,
    S_DIRTY,
    S_EVENTS,
    S_FREE,
    S_INBOX,
    S_JOURNAL,
    S_L,
    S_LOST,
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
    WAKE_REPORT,
    WAKE_TIMER,
    allocate,
)
from tidegate.kernel.exchange_orders import oldest, pop
from tidegate.kernel.jit import inline, kernel, outline
from tidegate.kernel.l3 import l3_crowded, l3_move
from tidegate.kernel.local import (
    adopt,
    at_exchange,
    close_bar,
    drain_inbox,
    free_slot,
    is_final,
    known,
    next_due,
    report_to,
    sample_marks,
    show,
)
from tidegate.kernel.records import exchange_step, local_step
from tidegate.kernel.resting import expire
from tidegate.kernel.state import state_at, state_type
from tidegate.kernel.wake import wake
from tidegate.kernel.words import copy_words

_ROOM = 1024
AHEAD = 8_192
"""Rows that a caller gives at a time, if it can, the next ones behind them in memory: half a MiB, for the cache."""


@outline
def _deliver(e: Any, r: int, here: int) -> int:
    """The oldest report of ring `r` reaches its strategy."""
    row = e.ring[r, pop(e, r)]
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
        e.s[S_TIMERS] -= 1
        for later in range(t, e.s[S_TIMERS]):
            copy_words(e.timers[later], 0, e.timers[later + 1], 5)
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
    """What is due at `ts`: expiries, requests at venues, reports here, timers; the first of them."""
    if e.s[S_NEXT_EXPIRY] <= ts:
        expire(e, ts)
        return DONE
    venues = e.ring.shape[0] // 2
    for r in range(2 * venues):
        if e.ringh[r, H_HEAD] < e.ringh[r, H_TAIL]:
            if e.ring[r, oldest(e, r), R_TIME] == ts:
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
    if e.s[S_LOST] != 0:
        return OVERFLOW
    if e.s[S_FREE] < _ROOM:
        return GROW_ORDERS
    if e.s[S_JOURNAL] > e.journal.shape[0] - 4 * _ROOM:
        return JOURNAL_FULL
    # Every open order may be reported on in one step, a stop that is triggered several times.
    if 4 * (e.orders.shape[0] - e.s[S_FREE]) > e.ring.shape[1]:
        return GROW_RINGS
    for r in range(e.ring.shape[0]):
        if e.ringh[r, H_TAIL] - e.ringh[r, H_HEAD] > e.ring.shape[1] // 2:
            return GROW_RINGS
    if l3_crowded(e):
        return GROW_L3
    return DONE


@inline
def _exchange_time(events: Any, order: Any, x: int) -> int:
    """When the exchange saw the `x`-th record in its order; NEVER behind the last."""
    return events[at(order[at(x)]), 0] if x < len(order) else np.int64(NEVER)


@inline
def _local_time(events: Any, n: int, row: int) -> int:
    """When record `row` reached us; NEVER behind the last."""
    return events[at(row), 1] if row < n else np.int64(NEVER)


@inline
def _replay(e: Any, events: Any, order: Any, n: int, horizon: int, here: int) -> int:
    s = e.s
    status = _room(e)
    if status != DONE:
        return status
    x, row = s[S_X], s[S_L]
    tx, tl = _exchange_time(events, order, x), _local_time(events, n, row)
    while True:
        ta = s[S_NEXT]
        if tx <= ta and tx <= tl:
            if tx > horizon:
                status = NEED_DATA if tx != NEVER else DONE
                break
            if tx >= s[S_NEXT_EXPIRY]:
                expire(e, s[S_NEXT_EXPIRY])
            status = exchange_step(e, events[at(order[at(x)])])
            if status == DONE:
                x += 1
                tx = _exchange_time(events, order, x)
        elif ta <= tl:
            if ta > horizon:
                status = NEED_DATA
                break
            status = _agenda_step(e, ta, here)
            next_due(e)
        else:
            if tl > horizon:
                status = NEED_DATA
                break
            s[S_NOW] = max(s[S_NOW], tl)
            prefetch(events, 8 * (row + AHEAD))  # the next piece will be looked over before it is replayed
            status = local_step(e, events[at(row)], here)
            row += 1
            tl = _local_time(events, n, row)
        if status == DONE and s[S_DIRTY] != 0:
            status = _room(e)
        if status != DONE:
            break
    s[S_EVENTS] += row - s[S_L]
    s[S_X], s[S_L] = x, row
    return status


ENGINE = state_type(allocate(1, 1, 1))
engine_at = state_at(ENGINE)
_ROWS = types.int64[:, ::1]


@kernel(types.int64(types.int64, _ROWS, types.int64[::1], types.int64, types.int64))
def replay(table: Any, events: Any, order: Any, n: int, horizon: int) -> int:
    """Run until time passes `horizon` or Python is needed; why it came back (`kernel.engine.DONE` …).

    `table` is the address of the engine's table (`kernel.state.table`). `events` are `n` records sorted by
    receive time, `order` the numbers of those the exchange has yet to see, sorted by exchange time. Nothing later
    than `horizon` happens: records beyond it may still be missing.
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


@kernel(types.void(types.int64, types.int64[:, :, ::1]))
def move_l3(table: Any, into: Any) -> None:
    """Copy the tables of L3 orders into others, all empty."""
    l3_move(engine_at(table), into)


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
