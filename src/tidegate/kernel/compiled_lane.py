"""The order manager of compiled strategies: the gate before a request leaves, the journal of all that happened.

A compiled strategy's orders pass the same gate kernel as everybody's, inside the loop. Every command, decision
and report is journaled; afterwards the Python lane folds that journal and must come to the same decisions and
the same states, order by order (`sim.audit`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_TS
from tidegate.kernel.engine import (
    G_ACCOUNT,
    I_VENUE,
    J_CANCEL,
    J_ORDER,
    J_REPLACE,
    J_REPORT,
    Q_CANCEL,
    Q_NEW,
    Q_REPLACE,
    R_EXEC,
    R_FEE,
    R_LAST_PX,
    R_LAST_QTY,
    R_PRICE,
    R_QTY,
    R_SLOT,
    R_TIME,
    S_DROPPED_REQUESTS,
    S_FREE,
    S_JOURNAL,
    S_LANE,
    S_NOW,
    S_SEQ,
)
from tidegate.kernel.exchange_orders import (
    E_CANCEL_REJECTED,
    E_CANCELED,
    E_EXPIRED,
    E_REJECTED,
    E_REPLACED,
    E_RESTATED,
    E_TRADE,
)
from tidegate.kernel.gate_call import ask_gate
from tidegate.kernel.gate_commands import (
    CANCEL_CHECK,
    CHECK,
    CHECK_REPLACE,
    FILL,
    RELEASE,
    REPLACE_REJECTED,
    REPLACED,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    DENIED,
    MARKET,
    NEW,
    O_ACCOUNT,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_LEAVES,
    O_PENDING_PRICE,
    O_PENDING_QTY,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STATUS,
    O_STRATEGY,
    O_TAG,
    O_TIF,
    O_TS,
    O_TYPE,
    ORDER_WORDS,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    STOP,
    TRAILING_STOP,
    UNKNOWN,
)
from tidegate.kernel.local import journal_row, request, touch
from tidegate.kernel.words import copy_words, fill_words

LANE_SHIFT = 40
J_REASON, J_BODY = 2, 3
DUPLICATE_COMMAND, ORDER_NOT_OPEN, REQUEST_PENDING, ILLEGAL_REPLACE, LANE_FULL = (
    301,
    303,
    304,
    313,
    399,
)  # risk.reasons


@inline
def _journal(e: Any, kind: int, reason: int) -> int:
    at = journal_row(e)
    e.journal[at, 0], e.journal[at, 1], e.journal[at, J_REASON] = kind, e.s[S_NOW], reason
    return at


@inline
def full(e: Any) -> Any:
    """Whether one wake has asked for more than the tables can take before they grow."""
    return e.s[S_FREE] == 0 or e.s[S_JOURNAL] >= e.journal.shape[0] - 8


@inline
def lane_new(
    e: Any, strategy: int, i: int, side: int, kind: int, tif: int, inst: int, qty: int, price: int
) -> int:
    """Submit an order; its ClOrdID, or minus the reason it was denied for."""
    if full(e):
        e.s[S_DROPPED_REQUESTS] += 1
        return np.int64(-LANE_FULL)
    k = e.free[e.s[S_FREE] - 1]
    order = e.orders[k]
    fill_words(order, 0, ORDER_WORDS, 0)
    e.s[S_SEQ] += 1
    order[O_ID] = (e.s[S_LANE] << np.int64(LANE_SHIFT)) | e.s[S_SEQ]
    order[O_TS], order[O_ACCOUNT], order[O_STRATEGY] = e.s[S_NOW], e.strat[strategy, G_ACCOUNT], strategy
    order[O_INSTRUMENT], order[O_SIDE], order[O_TYPE], order[O_TIF] = i, side, kind, tif
    order[O_INST], order[O_QTY], order[O_PRICE], order[O_LEAVES] = inst, qty, price, qty
    order[O_REF_BID], order[O_REF_ASK] = touch(e, i, 1), touch(e, i, 2)
    order[O_REF_TS] = e.book[2 * i + 1, B_TS]
    order[O_STATUS], order[O_TAG] = PENDING_NEW, order[O_ID]
    reason = ask_gate(e, CHECK, k, e.s[S_NOW], 0, 0, 0)
    at = _journal(e, J_ORDER, reason)
    copy_words(e.journal[at], J_BODY, order, ORDER_WORDS)
    if reason != 0:
        order[O_STATUS] = DENIED
        return -reason
    e.s[S_FREE] -= 1
    request(e, k, Q_NEW, order[O_ID], qty, price, strategy, e.inst[i, I_VENUE])
    return order[O_ID]


@inline
def lane_cancel(e: Any, k: int) -> int:
    """Ask for the cancel of the order in slot `k`; 0, or the reason it was not sent for."""
    order = e.orders[k]
    if full(e):
        e.s[S_DROPPED_REQUESTS] += 1
        return np.int64(LANE_FULL)
    if order[O_STATUS] > UNKNOWN or order[O_ID] == 0:
        return np.int64(ORDER_NOT_OPEN)
    if order[O_STATUS] == PENDING_CANCEL:
        return np.int64(DUPLICATE_COMMAND)
    reason = ask_gate(e, CANCEL_CHECK, k, e.s[S_NOW], 0, 0, 0)
    at = _journal(e, J_CANCEL, reason)
    e.journal[at, J_BODY] = order[O_ID]
    if reason != 0:
        return reason
    order[O_STATUS] = PENDING_CANCEL
    i = order[O_INSTRUMENT]
    request(e, k, Q_CANCEL, order[O_ID], 0, 0, order[O_STRATEGY], e.inst[i, I_VENUE])
    return np.int64(0)


@inline
def lane_replace(e: Any, k: int, qty: int, price: int) -> int:
    """Ask for another total quantity and price (0 keeps); 0, or the reason it was not sent for."""
    order = e.orders[k]
    if full(e):
        e.s[S_DROPPED_REQUESTS] += 1
        return np.int64(LANE_FULL)
    if order[O_STATUS] > UNKNOWN or order[O_ID] == 0:
        return np.int64(ORDER_NOT_OPEN)
    if order[O_STATUS] != NEW and order[O_STATUS] != PARTIALLY_FILLED:
        return np.int64(REQUEST_PENDING)
    qty = qty if qty != 0 else order[O_QTY]
    price = price if price != 0 else order[O_PRICE]
    kind = order[O_TYPE]
    if price != order[O_PRICE] and (kind == MARKET or kind == STOP or kind == TRAILING_STOP):
        return np.int64(ILLEGAL_REPLACE)
    i, now = order[O_INSTRUMENT], e.s[S_NOW]
    bid, ask, seen = touch(e, i, 1), touch(e, i, 2), e.book[2 * i + 1, B_TS]
    e.asked[0, 6], e.asked[0, 7] = seen, now
    reason = ask_gate(e, CHECK_REPLACE, k, qty, price, bid, ask)
    at = _journal(e, J_REPLACE, reason)
    row = e.journal[at]
    row[J_BODY], row[J_BODY + 1], row[J_BODY + 2] = order[O_ID], qty, price
    row[J_BODY + 3], row[J_BODY + 4], row[J_BODY + 5] = bid, ask, seen
    if reason != 0:
        return reason
    order[O_STATUS] = PENDING_REPLACE
    order[O_PENDING_QTY], order[O_PENDING_PRICE] = qty, price
    request(e, k, Q_REPLACE, order[O_ID], qty, price, order[O_STRATEGY], e.inst[i, I_VENUE])
    return np.int64(0)


@outline
def lane_report(e: Any, row: Any, known: Any) -> None:
    """Journal a report and move the gate's charges, before the owner's view of the order moves."""
    at = _journal(e, J_REPORT, 0)
    copy_words(e.journal[at], J_BODY, row, 16)
    if not known:
        return
    k, kind, ts = row[R_SLOT], row[R_EXEC], row[R_TIME]
    if kind == E_TRADE:
        ask_gate(e, FILL, k, row[R_LAST_QTY], row[R_LAST_PX], row[R_FEE], ts)
    elif kind == E_CANCELED or kind == E_EXPIRED or kind == E_REJECTED:
        ask_gate(e, RELEASE, k, e.orders[k, O_LEAVES], ts, 1 if kind == E_REJECTED else 0, 0)
    elif kind == E_REPLACED:
        ask_gate(e, REPLACED, k, row[R_QTY], row[R_PRICE], ts, 0)
    elif kind == E_RESTATED:
        qty, price = row[R_QTY], row[R_PRICE]
        asked, at_price = e.orders[k, O_PENDING_QTY], e.orders[k, O_PENDING_PRICE]
        if asked != 0:  # a replace is under way: the worse of both stays charged
            qty = max(qty, asked)
            price = max(price, at_price) if e.orders[k, O_SIDE] == BUY else min(price, at_price)
        ask_gate(e, REPLACED, k, qty, price, ts, 0)
    elif kind == E_CANCEL_REJECTED and row[R_QTY] != 0 and e.orders[k, O_PENDING_QTY] != 0:
        asked, at_price = e.orders[k, O_PENDING_QTY], e.orders[k, O_PENDING_PRICE]
        ask_gate(e, REPLACE_REJECTED, k, asked, at_price, ts, 0)
