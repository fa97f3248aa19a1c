"""L3 books from order-by-order feeds: each record names an order and its size; 0 takes it away.

Orders live in an open-addressing table (linear probing, tombstones) per side of the replay: 0 the exchange's,
1 the local one. Levels are the sums of their orders, kept in the same L2 book everything else reads. An order
whose size grows or whose price changes goes to the back of its queue, as on the exchanges that publish L3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.book import B_DEPTH, level_size, set_level
from tidegate.kernel.engine import I_RESTING, S_ARRIVED
from tidegate.kernel.exchange import on_order_removed
from tidegate.kernel.jit import inline, outline

L_KEY, L_PRICE, L_SIZE, L_ARRIVED, L_SIDE, L_STATE = range(6)
_EMPTY, _LIVE, _GONE = 0, 1, 2


@inline
def _find(table: Any, key: int) -> int:
    """The slot of `key`, or where it would go."""
    mask = table.shape[0] - 1
    at = ((key ^ (key >> np.int64(29))) * np.int64(0x9E3779B1)) & mask
    hole = -1
    while table[at, L_STATE] != _EMPTY:
        if table[at, L_KEY] == key:
            return at
        if table[at, L_STATE] == _GONE and hole < 0:
            hole = at
        at = (at + 1) & mask
    return hole if hole >= 0 else at


@inline
def _shift(e: Any, b: int, side: int, price: int, by: int) -> None:
    before = level_size(e, b, side, price)
    set_level(e, b, side, price, max(before + by, 0))


@outline
def l3_apply(e: Any, which: int, b: int, i: int, side: int, price: int, qty: int, order_id: int) -> None:
    """One order of instrument `i` is now `qty` lots at `price`; 0 lots: it is gone."""
    table = e.l3[which]
    key = (order_id << np.int64(12)) | i
    at = _find(table, key)
    e.book[b, B_DEPTH] = 1
    live = table[at, L_STATE] == _LIVE and table[at, L_KEY] == key
    if live:
        old_price, old_qty, old_side = table[at, L_PRICE], table[at, L_SIZE], table[at, L_SIDE]
        keeps = price == old_price and side == old_side and qty <= old_qty and qty > 0
        lost = old_qty - qty if keeps else old_qty
        _shift(e, b, old_side, old_price, -lost)
        if which == 0 and e.inst[i, I_RESTING] > 0 and lost > 0:
            on_order_removed(e, i, old_side, old_price, lost, table[at, L_ARRIVED])
        if keeps:
            table[at, L_SIZE] = qty
            return
        table[at, L_STATE] = _GONE
        at = _find(table, key)
    if qty > 0:
        e.s[S_ARRIVED] += 1
        table[at, L_KEY], table[at, L_PRICE], table[at, L_SIZE] = key, price, qty
        table[at, L_ARRIVED], table[at, L_SIDE], table[at, L_STATE] = e.s[S_ARRIVED], side, _LIVE
        _shift(e, b, side, price, qty)
