"""The gate's state: its arrays, int64 but for `real` and `last`, and the names of their columns.

Scopes are numbered: 0 the firm, then desks, accounts, strategies. `chain` gives for each (account, strategy) the
scopes an order belongs to. Money is int64: *base* amounts in micro-units (1e-6) of the firm's base currency,
*settlement* amounts in `model.money`'s minor units of the instrument's settlement currency. A sum is always the
sum of integers that were computed once and are taken out as they went in, so it cannot drift.

One amount is held to ±2⁶⁰ (1.15e12 units of the base currency): a new order worth more is denied OUT_OF_RANGE,
a valuation beyond it saturates. A sum over positions could overflow int64 only with more than seven positions
each at that bound. Prices are held to ±2⁴⁰ ticks, quantities to 2⁵⁰ lots. Cash per position overflows beyond
9.2e18 minor units: 92 billion of a currency with eight decimals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.uint16]

UNLIMITED = 1 << 62
MAX_MONEY = 1 << 60
MAX_TICKS = 1 << 40
MAX_LOTS = 1 << 50
MICRO = 1_000_000
PPM = 1_000_000

# States of a scope, the strictest last. RECOVERING trades, on a part of its limits.
S_ACTIVE, S_WARN, S_RECOVERING, S_REDUCE_ONLY, S_CANCEL_ONLY, S_KILLED = range(6)
RECOVERING_CUT = 2  # a recovering scope has a quarter of its limits: they are shifted by so many bits

# `chain`, one row for each account × strategies + strategy: scope numbers from the strategy up (-1: none), then
# the row of `rules` for instrument 0 (-1: the strategy may not use the account), the group's account scope, whether
# any of these scopes is not ACTIVE (which follows from their states), and the first of all accounts' scopes.
CH_STRATEGY, CH_ACCOUNT, CH_DESK, CH_FIRM, CH_RULES, CH_GROUP, CH_HELD, CH_ACCOUNTS = range(8)
CHAIN_WORDS = 8

# `rules`, one row for each permitted (account, strategy) and instrument: the tightest of the limits on one order
# along the chain, and the scope each comes from.
(
    R_MISSING,  # control that has no limit, 0 when all are set, and the scope that lacks it
    R_MISSING_SCOPE,
    R_MISSING_RISK,  # the same for controls that only hold back increases of risk
    R_MISSING_RISK_SCOPE,
    R_INSTRUMENT,  # 1: the instrument may be traded
    R_SIDES,  # bit masks over the enumerations' values
    R_TYPES,
    R_TIFS,
    R_PERMIT_SCOPE,
    R_CLOSED_FROM,  # restricted: no order in [from, to), nor from `until` on
    R_CLOSED_TO,
    R_LAST_ENTRY,
    R_QTY,  # as people set it, then what is in force: held down while the market is thin or wild
    R_QTY_NOW,
    R_QTY_SCOPE,
    R_VALUE,
    R_VALUE_NOW,
    R_VALUE_SCOPE,
    R_PARENT,
    R_PARENT_SCOPE,
    R_COLLAR,  # parts per million of the reference, and at least so many ticks
    R_COLLAR_FLOOR,
    R_COLLAR_SCOPE,
    R_BAND,  # k × 1000, horizon in ns, and at least so many parts per million of the reference
    R_BAND_HORIZON,
    R_BAND_FLOOR,
    R_BAND_SCOPE,
    R_DRIFT,  # parts per million within so many ns
    R_DRIFT_WINDOW,
    R_DRIFT_SCOPE,
    R_AGE,  # ns
    R_AGE_SCOPE,
    R_SAME,  # so many of the same within so many ns
    R_SAME_WINDOW,
    R_SAME_SCOPE,
    R_SELF_MATCH,  # 1: prevent
    R_FLAGS,  # which of the following are limited (HAS_…)
    R_RATIO,  # thousandths of orders to trades less one, after so many orders; then by volume
    R_RATIO_FREE,
    R_RATIO_SCOPE,
    R_VOLUME,
    R_VOLUME_FREE,
    R_VOLUME_SCOPE,
    R_RUN,  # so many executions within so many ns
    R_RUN_WINDOW,
    R_RUN_SCOPE,
    R_DEPTH,  # parts per million of the depth; and what that is in lots, for a buy and for a sell (-1: not known)
    R_DEPTH_SCOPE,
    R_DEPTH_BUY,
    R_DEPTH_SELL,
    R_SHARE,  # parts per million of all equity at the instrument's venue
    R_SHARE_SCOPE,
    R_SKEW,  # ns
    R_SKEW_SCOPE,
) = range(54)
RULE_WORDS = 56
HAS_RATIO, HAS_RUN, HAS_SHARE, HAS_SKEW = 1, 2, 4, 8

# `plain`, one row for each row of `rules`: what its limits and warnings come to for a plain limit order
# (`kernel.gate_plain`). Follows from rules and instruments, by `risk.plain`.
(
    PL_FORMS,  # bit by time in force × 4 + POST_ONLY × 2 + side: such a limit order may be plain
    PL_LEAST_LOTS,
    PL_MOST_BUYS,
    PL_MOST_SELLS,
    PL_VALUE,  # base
    PL_CLOSED_FROM,
    PL_CLOSED_TO,
    PL_LAST_ENTRY,
    PL_COLLAR,  # parts per million
    PL_AGE,  # ns
    PL_SKEW,
    PL_RUN,
    PL_RATIO,  # thousandths of orders to trades, after so many orders; then by volume
    PL_RATIO_FREE,
    PL_VOLUME,
    PL_VOLUME_FREE,
    PL_SHARE,
    PL_SAME,
    PL_SAME_WINDOW,
    PL_SELF_MATCH,
    PL_OWN,  # rows of `cell`: the account group's
    PL_STRATEGY,  # then those of strategy, account, firm and desk (-1: none), and the scopes themselves
    PL_ACCOUNT,
    PL_FIRM,
    PL_DESK,
    PL_SCOPES,
) = range(26)
PLAIN_WORDS = 32

# `cell`, one row for each scope × instruments + instrument.
(
    C_POS,  # lots, signed
    C_BUYS,  # open lots
    C_SELLS,
    C_REDUCE_BUYS,  # of those, reduce-only
    C_REDUCE_SELLS,
    C_CASH,  # settlement: what fills, fees and funding brought in
    C_PNL,  # base: cash and position at the mark
    C_GROSS,  # base: worst case of position and open orders at the mark
    C_LONG,  # base, signed: if all buys filled; if all sells filled
    C_SHORT,
    C_MARGIN,  # account scopes, base: initial margin of the worst case
    C_MAX_LONG,  # limits, lots
    C_MAX_SHORT,
    C_BIDS,  # account scopes: the first of own resting orders (a slot)
    C_ASKS,
    C_DRIFT_TS,  # strategy scopes: the window of own aggressive fills
    C_DRIFT_BASE,  # bid + ask when it began
    C_DRIFT_HIGH,  # highest and lowest own fill in it
    C_DRIFT_LOW,
    C_MAX_SHARE,  # limits, lots: the smallest share of the market's volume and open interest (-1: not known)
    C_VOLUME_PPM,  # … as people set them
    C_INTEREST_PPM,
    C_SENT,  # account scopes: today's orders as control 14 counts them, and trades
    C_SENT_LOTS,
    C_TRADES,
    C_TRADED_LOTS,
    C_RUN_BUYS,  # strategy scopes: executions in the window that began then
    C_RUN_BUYS_TS,
    C_RUN_SELLS,
    C_RUN_SELLS_TS,
    C_LEG,  # strategy scopes: 1 where the instrument is one of its legs, and what it is worth in their balance
    C_LEG_VALUE,
) = range(32)
CELL_WORDS = 32

# `scope`, one row each.
(
    P_STATE,
    P_CAUSE,  # reason code that moved the state, its limit and value
    P_CAUSE_LIMIT,
    P_CAUSE_VALUE,
    P_ORDERS,  # open orders
    P_OPEN,  # base: their value
    P_GROSS,
    P_LONG,
    P_SHORT,
    P_MARGIN,  # accounts
    P_PNL,
    P_PEAK,
    P_DAY_PNL,  # P&L when the day began
    P_TRADED,  # base: bought + sold today
    P_CAPITAL,  # base: put in
    P_NEW_TAT,  # theoretical arrival times of the two buckets
    P_CANCEL_TAT,
    P_MAX_ORDERS,
    P_MAX_OPEN,
    P_MAX_GROSS,
    P_MAX_NET_LONG,  # the worst long and the worst short, each counted up
    P_MAX_NET_SHORT,
    P_KEEP,  # parts per million of equity that margin may use; -1: margin is not judged here
    P_MAX_LOSS,
    P_MAX_DRAWDOWN,
    P_MAX_TRADED,
    P_NEW_GAP,  # ns a message, and how far ahead of time a burst may run
    P_NEW_BURST,
    P_CANCEL_GAP,
    P_CANCEL_BURST,
    P_FILL_TAT,  # strategies, control 24: the bucket of fills, z × 1000, parts per million of rejects
    P_FILL_GAP,
    P_FILL_BURST,
    P_MAX_SLIPPAGE,
    P_MAX_REJECTS,
    P_LEG_DELTA,  # strategies, control 28: base, signed: what the legs are worth together
    P_LEG_SINCE,  # when that left its limit, 0 while it is within
    P_MAX_LEG,
    P_LEG_TIME,  # ns it may
) = range(39)
SCOPE_WORDS = 40

# `inst`, one row an instrument.
(
    I_MIN_QTY,
    I_MAX_QTY,
    I_EXPIRY,
    I_FLAGS,
    I_CURRENCY,  # settlement currency: row of `real` after the instruments
    I_BID,  # last mark
    I_ASK,
    I_MARK_TS,
    I_MARKS,  # good marks seen, and refused ones
    I_BAD_MARKS,
    I_FX,  # the currency whose rate this instrument's marks move, -1 for none
    I_FX_QUOTE,  # … as quoted in this one
    I_STATE,  # as a scope's, over all who trade it
    I_VENUE,
    I_EQUITY,  # base: the equity at its venue, -1 before the first word; parts per million of all equity
    I_SHARE,
    I_VOLUME,  # the market's lots: a day's average, open interest, depth of both sides (-1: not known)
    I_INTEREST,
    I_DEPTH_BID,
    I_DEPTH_ASK,
) = range(20)
INST_WORDS = 24
F_NEGATIVE, F_INVERSE = 1, 2

# `real`, one row an instrument, then one a currency.
(
    X_VALUE,  # settlement minor units of one lot at one tick (inverse: of one lot, × ticks)
    X_MIN_NOTIONAL,  # ticks × lots
    X_MARGIN,  # initial margin, a fraction
    X_UNIT,  # base micro-units of one lot at the mark, 0 before the first
    X_VARIANCE,  # ticks² a ns, exponentially weighted
    X_MEMORY,  # ns it remembers
    X_PRICE,  # value of one tick in the quote currency, for rates
) = range(7)
REAL_WORDS = 8
X_RATE, X_UNITS = 0, 1  # a currency's row: base micro-units of a minor unit, minor units of one whole

# `slot`, one row an open order; row 0 is the header.
(
    L_ID,
    L_CHAIN,
    L_INSTRUMENT,
    L_SIDE,
    L_OPEN,  # lots charged
    L_VALUE,  # base: charged
    L_PRICE,  # worst price: where it rests, for self-match prevention
    L_FLAGS,
    L_PREV,  # neighbours among own resting orders (`kernel.gate_slots`); L_NEXT also links free slots
    L_NEXT,
    L_MID2,  # bid + ask when it was checked
    L_SIBLING,
) = range(12)
SLOT_WORDS = 12
H_FREE, H_NEXT_DAY, H_DAY_OFFSET, H_USED, H_FACT, H_TICK, H_GAP = range(7)
RESTS, REDUCES, TAKES = 1, 2, 4

# `ring`, one row a strategy: its last orders, column by column.
RING = 64
Q_KEY, Q_SIZE, Q_TS, Q_ID, Q_COUNT = 0, RING, 2 * RING, 3 * RING, 4 * RING
# Then what control 24 remembers of it: outcomes as bits, the last lowest; slippage.
Q_OUTCOMES, Q_REJECTS, Q_JUDGED, Q_SLIPS, Q_SLIP_MEAN, Q_SLIP_VAR = range(4 * RING + 1, 4 * RING + 7)
RING_WORDS = 4 * RING + 8

# `last`, one row a strategy: the number of its last order of each likeness, and of each client order id, by bucket
# (`kernel.gate_likeness`). Follows from the ring: not part of a snapshot.
ALIKE, NAMED = 1024, 256
NO_NUMBER = (1 << 16) - RING  # of an order as far back as there can be, modulo 2¹⁶
LAST_WORDS = ALIKE + NAMED


# `work`, one row for each scope of a chain: what a check foresees of it, for the charge that follows.
W_GROSS, W_MARGIN, W_END = range(3)
WORK_WORDS = 4


class GateState(NamedTuple):
    """All the gate knows; sizes in brackets: A accounts, T strategies, P permitted pairs, S scopes, I instruments."""

    chain: Ints  # [A·T, CHAIN_WORDS]
    rules: Ints  # [P·I, RULE_WORDS]
    plain: Ints  # [P·I, PLAIN_WORDS]
    cell: Ints  # [S·I, CELL_WORDS]
    scope: Ints  # [S, SCOPE_WORDS]
    inst: Ints  # [I, INST_WORDS]
    real: Floats  # [I + currencies, REAL_WORDS]
    slot: Ints  # [1 + open orders, SLOT_WORDS]
    ring: Ints  # [T, RING_WORDS]
    last: Shorts  # [T, LAST_WORDS]
    work: Ints  # [4, WORK_WORDS]


MUTABLE = ("cell", "scope", "inst", "real", "slot", "ring")
"""The arrays that calls change: what a snapshot holds. `chain`, `rules` and `plain` are configuration."""


_LINE = 64


def _rows(kind: Any, *shape: int) -> Any:
    """Zeros that begin with a line of the processor's cache, as each row of 2ⁿ words then does."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    room = np.zeros(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size].view(kind).reshape(shape)


def allocate_gate(
    accounts: int, strategies: int, pairs: int, scopes: int, instruments: int, currencies: int, capacity: int
) -> GateState:
    """A gate that permits nothing yet and holds at most `capacity` open orders."""
    gate = GateState(
        chain=_rows(np.int64, accounts * strategies, CHAIN_WORDS),
        rules=_rows(np.int64, pairs * instruments, RULE_WORDS),
        plain=_rows(np.int64, pairs * instruments, PLAIN_WORDS),
        cell=_rows(np.int64, scopes * instruments, CELL_WORDS),
        scope=_rows(np.int64, scopes, SCOPE_WORDS),
        inst=_rows(np.int64, instruments, INST_WORDS),
        real=_rows(np.float64, instruments + currencies, REAL_WORDS),
        slot=_rows(np.int64, capacity + 1, SLOT_WORDS),
        ring=_rows(np.int64, strategies, RING_WORDS),
        last=_rows(np.uint16, strategies, LAST_WORDS),
        work=_rows(np.int64, 4, WORK_WORDS),
    )
    gate.chain[:], gate.last[:] = -1, NO_NUMBER
    gate.chain[:, CH_HELD], gate.chain[:, CH_ACCOUNTS] = 0, scopes - strategies - accounts
    gate.inst[:, I_FX] = -1
    gate.inst[:, [I_EQUITY, I_SHARE, I_VOLUME, I_INTEREST, I_DEPTH_BID, I_DEPTH_ASK]] = -1
    gate.inst[:, [I_MAX_QTY, I_EXPIRY]] = UNLIMITED
    gate.slot[1:capacity, L_NEXT] = np.arange(2, capacity + 1)
    gate.slot[0, H_FREE] = 1 if capacity else 0
    return gate


def empty_gate() -> GateState:
    """The smallest gate: one instrument, one strategy that may do nothing. Gives kernels their types."""
    return allocate_gate(1, 1, 1, 3, 1, 1, 1)
