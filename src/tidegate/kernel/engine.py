"""The state of a replay: every array that the replay kernel, the simulated exchange and strategies share.

One NamedTuple of int64 arrays (float64 where said), so that a kernel call passes it whole and helpers see
names. Rows are orders, instruments, venues, strategies by their number in the run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.kernel.book import BOOK_WORDS, NO_ASK, NO_BID, clear_header
from tidegate.kernel.gate_commands import COMMAND_WORDS
from tidegate.kernel.layout import ORDER_WORDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Scalars of the run, in `s`.
(
    S_NOW,  # the local clock, ns
    S_X,  # cursor of the exchange side in the window
    S_L,  # cursor of the local side
    S_NEXT,  # time of the next ring entry or timer
    S_NEXT_EXPIRY,  # time of the next DAY or GTD expiry at the exchange
    S_FREE,  # free slots left on the stack `free`
    S_EXEC,  # last exec id given out
    S_INBOX,  # rows waiting in `inbox`
    S_JOURNAL,  # rows waiting in `journal`
    S_TIMERS,  # rows used in `timers`
    S_RANDOM,  # state of the generator that draws latencies
    S_SEQ,  # ClOrdIDs given to compiled strategies
    S_EVENTS,  # local events seen
    S_GROW_INSTRUMENT,
    S_GROW_PRICE,
    S_FAR,  # records left out of a book because its window may not grow further
    S_ORPHANS,  # reports for orders that are no longer known
    S_LANE,  # number of the compiled lane, in the ClOrdIDs it gives out
    S_DROPPED_REQUESTS,  # requests refused because the engine's tables were full
    S_ARRIVED,  # orders that have joined a queue, ours and those of L3 feeds
    S_DIRTY,  # 1 when something was put into a table since they were last looked at for room
    S_L3,  # rows used, live or not, in the exchange's table of L3 orders; the local one's follow
    S_L3_LOCAL,
    S_LOST,  # ring entries written over because one step made more than a ring holds: the run is void
    S_UNPAID,  # funding payments left out because the local book had no touch
    S_QUEUED,  # 1 when order events wait to be delivered to Python strategies
    S_AFTER,  # the Python call that delivers them
    S_GATE,  # address of the gate's machine code
    S_GATE_PLAY,  # … and of what it is called with
) = range(29)

# Instruments, in `inst`.
(
    I_VENUE, I_FILL, I_QUEUE, I_INVERSE, I_HALTED, I_HAS_TRADES, I_CAPPED,
    I_REST, I_REST_TAIL, I_WAIT, I_WAIT_TAIL, I_RESTING, I_WAITING, I_PEGS, I_SUBS, I_BARS, I_MARK_BID, I_MARK_ASK,
    I_SEEN_BID, I_SEEN_ASK, I_BUYS_FROM, I_BUYS_TO, I_SELLS_FROM, I_SELLS_TO,
) = range(24)  # fmt: skip
F_MAKER, F_TAKER, F_VALUE, F_SHAPE = range(4)
FILL_WHOLE, FILL_PARTIAL = 0, 1
FILL_MODELS = {"no_partial": FILL_WHOLE, "partial": FILL_PARTIAL}

# The exchange's own record of an order, in `xo`.
(
    X_STATE, X_LEAVES, X_CUM, X_QTY, X_PRICE, X_NEXT, X_PREV, X_SHOWN, X_STOP, X_ARRIVED, X_EXPIRE, X_ID,
) = range(12)  # fmt: skip
X_WORDS = 12
X_NONE, X_FLYING, X_RESTING, X_WAITING, X_DONE = range(5)

# Requests to the exchange and reports from it, in `ring`.
RING_WORDS = 16
Q_TIME, Q_TYPE, Q_SLOT, Q_ID, Q_QTY, Q_PRICE, Q_TS, Q_STRATEGY = range(8)
Q_NEW, Q_CANCEL, Q_REPLACE = range(3)
(
    R_TIME, R_EXEC, R_SLOT, R_ID, R_TSV, R_EXECID, R_LAST_QTY, R_LAST_PX,
    R_FEE, R_MAKER, R_QTY, R_PRICE, R_CUM, R_LEAVES, R_REASON, R_STRATEGY,
) = range(16)  # fmt: skip
H_HEAD, H_TAIL, H_LAST = range(3)

# Timers, in `timers`.
T_TIME, T_INTERVAL, T_KIND, T_OWNER, T_ID = range(5)
TIMER_STRATEGY, TIMER_BAR, TIMER_MARK = range(3)

# Bars under construction, in `bars`.
A_INSTRUMENT, A_INTERVAL, A_OPEN, A_HIGH, A_LOW, A_CLOSE, A_VOLUME, A_COUNT, A_START, A_STRATEGY = range(10)

# Strategies, in `strat`.
(
    G_COMPILED, G_ACCOUNT, G_WAKES, G_QUOTE, G_TRADE, G_BOOK, G_BAR, G_TIMER, G_REPORT, G_STEP, G_OPEN,
) = range(11)  # fmt: skip
G_WORDS = 16

# Why a strategy was woken: also the bits of its subscriptions (1 << WAKE).
WAKE_QUOTE, WAKE_TRADE, WAKE_BOOK, WAKE_BAR, WAKE_TIMER, WAKE_REPORT = range(6)

# What a strategy is shown, in `cur`: the event (eight words), then the touch of its instrument.
C_EVENT, C_NOW, C_BID, C_BID_QTY, C_ASK, C_ASK_QTY, C_TIMER, C_STRATEGY, C_REPORT = (
    0,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    16,
)

# Journal rows: kind, time, then the words of an order, a report or a mark.
J_ORDER, J_CANCEL, J_REPLACE, J_REPORT, J_MARK, J_FUNDING = 1, 2, 3, 4, 5, 6
JOURNAL_WORDS = 30  # a head of three (`kernel.compiled_lane`), an order of 26, and one to spare

# Orders of L3 feeds, in `l3`.
L_KEY, L_INSTRUMENT, L_SIDE, L_PRICE, L_SIZE, L_ARRIVED, L_STATE = range(7)
L3_WORDS = 8

# Why the kernel came back.
DONE, NEED_DATA, GROW_BOOK, GROW_ORDERS, JOURNAL_FULL, STOPPED, GROW_RINGS, GROW_L3, OVERFLOW = range(9)
NEVER = (1 << 63) - 1


class Engine(NamedTuple):
    """All state of one replay; shapes in brackets, S strategies, I instruments, V venues."""

    s: Ints  # scalars [32]
    inst: Ints  # [I, 24]
    finst: Floats  # maker fee, taker fee, value factor, shape of the queue model [I, 4]
    book: Ints  # book headers: exchange 2·i, local 2·i+1 [2I, 24]
    levels: Ints  # sizes of all books' levels
    bits: Ints  # bitmaps of all books' levels
    orders: Ints  # orders as their owners know them [capacity, 26]
    xo: Ints  # orders as the exchange knows them [capacity, 12]
    queue: Floats  # queue positions [capacity, 2]
    free: Ints  # stack of free order slots [capacity]
    ring: Ints  # requests (venue v) and reports (venue V+v) in flight [2V, entries (a power of two), 16]
    ringh: Ints  # heads, tails, last times of the rings [2V, 4]
    latency: Ints  # quantile tables: count, then ns [2V, 257]
    timers: Ints  # [timers, 6]
    bars: Ints  # [bars, 12]
    strat: Ints  # [S, 16]
    subs: Ints  # subscriptions, bits of WAKE_* [S, I]
    pos: Ints  # positions, lots [S, I]
    cur: Ints  # what the woken strategy is shown [48]
    inbox: Ints  # requests written by Python strategies, words Q_* [4096, 8]
    journal: Ints  # [rows, JOURNAL_WORDS]
    params: Floats  # parameters of compiled strategies [S, 64]
    memory: Floats  # state of compiled strategies [S, 512]
    l3: Ints  # orders of L3 feeds, as the exchange and as we know them [2, slots, 8]
    asked: Ints  # what the gate is asked [1, 16]


def allocate(
    instruments: int,
    venues: int,
    strategies: int,
    capacity: int = 4096,
    journal: int = 65_536,
) -> Engine:
    """An engine that has seen nothing; books have no window yet and no order exists."""
    ints = lambda *shape: np.zeros(shape, np.int64)  # noqa: E731
    engine = Engine(
        s=ints(32),
        inst=ints(max(instruments, 1), 24),
        finst=np.zeros((max(instruments, 1), 4)),
        book=ints(2 * max(instruments, 1), BOOK_WORDS),
        levels=ints(1),
        bits=ints(1),
        orders=ints(capacity, ORDER_WORDS),
        xo=ints(capacity, X_WORDS),
        queue=np.zeros((capacity, 2)),
        free=np.arange(capacity, dtype=np.int64)[::-1].copy(),
        ring=ints(2 * max(venues, 1), 8192, RING_WORDS),
        ringh=ints(2 * max(venues, 1), 4),
        latency=ints(2 * max(venues, 1), 257),
        timers=ints(256, 6),
        bars=ints(64, 12),
        strat=ints(max(strategies, 1), G_WORDS),
        subs=ints(max(strategies, 1), max(instruments, 1)),
        pos=ints(max(strategies, 1), max(instruments, 1)),
        cur=ints(48),
        inbox=ints(4096, 8),
        journal=ints(journal, JOURNAL_WORDS),
        params=np.zeros((max(strategies, 1), 64)),
        memory=np.zeros((max(strategies, 1), 512)),
        l3=ints(2, 4, L3_WORDS),
        asked=ints(1, COMMAND_WORDS),
    )
    engine.s[S_FREE] = capacity
    engine.s[S_NEXT] = engine.s[S_NEXT_EXPIRY] = NEVER
    engine.s[S_NOW] = -NEVER
    engine.s[S_RANDOM] = 0x2545F491
    engine.latency[:, 0] = 1
    engine.inst[:, [I_REST, I_REST_TAIL, I_WAIT, I_WAIT_TAIL]] = -1
    engine.inst[:, [I_BUYS_FROM, I_SELLS_FROM]], engine.inst[:, [I_BUYS_TO, I_SELLS_TO]] = NO_ASK, NO_BID
    for row in engine.book:
        clear_header(row)
    return engine
