"""What an order has charged to its scopes, from its check to its last fill or release."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_money import dearer, order_value, post_foreseen, post_open, whole
from tidegate.kernel.gate_order import MAY_REST, judged_prices
from tidegate.kernel.gate_slots import drop_slot, find, move_resting, open_slot
from tidegate.kernel.gate_state import (
    C_DRIFT_BASE,
    C_DRIFT_HIGH,
    C_DRIFT_LOW,
    C_DRIFT_TS,
    CH_GROUP,
    CH_RULES,
    CH_STRATEGY,
    I_ASK,
    I_BID,
    I_MARK_TS,
    L_CHAIN,
    L_FLAGS,
    L_INSTRUMENT,
    L_MID2,
    L_OPEN,
    L_SIDE,
    L_VALUE,
    R_DRIFT_WINDOW,
    REDUCES,
    TAKES,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    IOC,
    O_CHARGE,
    O_INST,
    O_INSTRUMENT,
    O_LEAVES,
    O_SIDE,
    O_TIF,
    O_TYPE,
    REDUCE_ONLY,
)


@inline
def charged_value(
    g: Any, i: int, side: int, worst: int, plain: int, known: Any, bid: int, ask: int, lots: int
) -> int:
    """The order's value: the larger of that at its worst price and at the touch (or the price it names)."""
    other = plain
    if known:
        other = ask if side == BUY else bid
    return order_value(g, i, dearer(g, i, worst, other), lots)


@outline
def set_charge(g: Any, orders: Any, k: int, h: int, lots: int, value: int) -> None:
    """Bring what slot `h` has charged to `lots` and `value`; at no lots the slot is freed."""
    slot = g.slot[h]
    closing = -1 if lots == 0 else 0
    post_open(
        g, slot[L_CHAIN], slot[L_INSTRUMENT], slot[L_SIDE], slot[L_FLAGS] & REDUCES != 0,
        lots - slot[L_OPEN], value - slot[L_VALUE], closing,
    )  # fmt: skip
    slot[L_OPEN], slot[L_VALUE] = lots, value
    if closing != 0:
        drop_slot(g, h)
        orders[k, O_CHARGE] = 0


@inline
def take_charge(
    g: Any,
    orders: Any,
    k: int,
    chain: int,
    lots: int,
    value: int,
    worst: int,
    takes: Any,
    mid2: int,
    ts: int,
) -> None:
    """A new order passed: give it a slot, and charge it to every scope."""
    order, flags = orders[k], TAKES if takes else 0
    tif, reducing = order[O_TIF], order[O_INST] & REDUCE_ONLY != 0
    if reducing:
        flags |= REDUCES
    rests = (MAY_REST >> order[O_TYPE]) & 1 and tif != IOC and tif != FOK
    own = g.chain[chain, CH_GROUP] * g.inst.shape[0] + order[O_INSTRUMENT]
    order[O_CHARGE] = open_slot(g, order, chain, own, lots, value, worst, mid2, flags, rests)
    post_foreseen(g, chain, order[O_INSTRUMENT], order[O_SIDE], reducing, lots, value, ts)


@outline
def recharge(g: Any, orders: Any, k: int, lots: int, price: int) -> None:
    """Charge an open order anew for `lots` at `price`, valued at the gate's own mark."""
    h = find(g, orders, k)
    if h == 0:
        return
    i, value = orders[k, O_INSTRUMENT], 0
    if lots > 0:
        bid, ask, known = g.inst[i, I_BID], g.inst[i, I_ASK], g.inst[i, I_MARK_TS] != 0
        rules = g.rules[g.chain[g.slot[h, L_CHAIN], CH_RULES] + i]
        worst, plain, _ = judged_prices(g, orders, k, rules, price, bid, ask)
        value = charged_value(g, i, orders[k, O_SIDE], worst, plain, known, bid, ask, lots)
        move_resting(g, h, worst)
    set_charge(g, orders, k, h, max(0, lots), value)


@inline
def note_taking(g: Any, h: int, price: int, ts: int) -> None:
    """Control 9 remembers how far the strategy's aggressive fills went since the window began."""
    slot = g.slot[h]
    if slot[L_FLAGS] & TAKES == 0:
        return
    i, links = slot[L_INSTRUMENT], g.chain[slot[L_CHAIN]]
    cell = g.cell[links[CH_STRATEGY] * g.inst.shape[0] + i]
    began = cell[C_DRIFT_TS]
    if began == 0 or ts - began >= g.rules[links[CH_RULES] + i, R_DRIFT_WINDOW]:
        cell[C_DRIFT_TS], cell[C_DRIFT_HIGH], cell[C_DRIFT_LOW] = max(ts, 1), price, price
        cell[C_DRIFT_BASE] = slot[L_MID2] if slot[L_MID2] != 0 else 2 * price
    else:
        cell[C_DRIFT_HIGH] = max(cell[C_DRIFT_HIGH], price)
        cell[C_DRIFT_LOW] = min(cell[C_DRIFT_LOW], price)


@inline
def release(g: Any, orders: Any, k: int, h: int, qty: int) -> None:
    """Take `qty` lots out of what slot `h` has charged; all of it when the order has no more than that."""
    slot = g.slot[h]
    left = slot[L_OPEN] - qty
    if qty >= orders[k, O_LEAVES]:
        left = 0
    left = max(0, left)
    set_charge(g, orders, k, h, left, whole(float(slot[L_VALUE]) * left / slot[L_OPEN]))
