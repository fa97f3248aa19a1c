"""L3 books from order-by-order feeds: each record names an order and its size; 0 takes it away.

Orders live in an open-addressing table (linear probing, tombstones) per side of the replay: 0 the exchange's,
1 the local one. Levels are the sums of their orders, kept in the same L2 book everything else reads. An order
whose size grows or whose price or side changes goes to the back of its queue, as on the exchanges that publish
L3; a smaller one keeps its place. A removal counts whatever price it carries.

A snapshot says which orders there are: those it repeats keep their place, the others of the instrument are gone
when it ends.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bits import scatter
from tidegate.kernel.book import B_DEPTH, level_size, set_level
from tidegate.kernel.engine import (
    I_QUEUE,
    I_RESTING,
    L3_WORDS,
    L_ARRIVED,
    L_INSTRUMENT,
    L_KEY,
    L_PRICE,
    L_SIDE,
    L_SIZE,
    L_STATE,
    S_ARRIVED,
    S_DIRTY,
    S_L3,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.queue import L3_FIFO
from tidegate.kernel.resting import on_level, on_order_removed
from tidegate.kernel.words import copy_words

_EMPTY, _LIVE, _GONE, _DOUBT = 0, 1, 2, 3


@inline
def _find(table: Any, i: int, key: int) -> int:
    """The slot of order `key` of instrument `i`, or where it would go. The table has an empty slot."""
    mask = table.shape[0] - 1
    at = scatter(key ^ i) & mask
    hole = -1
    while table[at, L_STATE] != _EMPTY:
        if table[at, L_STATE] == _GONE:
            if hole < 0:
                hole = at
        elif table[at, L_KEY] == key and table[at, L_INSTRUMENT] == i:
            return at
        at = (at + 1) & mask
    return hole if hole >= 0 else at


@outline
def _shift(e: Any, which: int, b: int, i: int, side: int, price: int, by: int) -> None:
    before = level_size(e, b, side, price)
    after = max(before + by, 0)
    if after == before:
        return
    set_level(e, b, side, price, after)
    if which == 0 and e.inst[i, I_RESTING] > 0 and e.inst[i, I_QUEUE] != L3_FIFO:
        on_level(e, i, side, price, before, after)


@inline
def _removed(e: Any, which: int, i: int, row: Any, qty: int) -> None:
    """Tell our resting orders that `qty` lots of the order in `row` are gone from its place."""
    if which == 0 and qty > 0 and e.inst[i, I_RESTING] > 0 and e.inst[i, I_QUEUE] == L3_FIFO:
        on_order_removed(e, i, row[L_SIDE], row[L_PRICE], qty, row[L_ARRIVED])


@outline
def l3_apply(e: Any, which: int, b: int, i: int, side: int, price: int, qty: int, order_id: int) -> None:
    """One order of instrument `i` is now `qty` lots at `price`; 0 lots: it is gone."""
    table = e.l3[which]
    at = _find(table, i, order_id)
    row = table[at]
    e.book[b, B_DEPTH] = 1
    state = row[L_STATE]
    if state == _LIVE or state == _DOUBT:
        old = row[L_SIZE]
        keeps = price == row[L_PRICE] and side == row[L_SIDE] and qty <= old and qty > 0
        left = qty if keeps else 0
        if state == _LIVE:
            _shift(e, which, b, i, row[L_SIDE], row[L_PRICE], left - old)
        elif keeps:
            _shift(e, which, b, i, side, price, qty)
        _removed(e, which, i, row, old - left)
        if keeps:
            row[L_SIZE], row[L_STATE] = qty, _LIVE
            return
        row[L_STATE] = _GONE
    if qty > 0:
        at = _find(table, i, order_id)
        if table[at, L_STATE] == _EMPTY:
            e.s[S_L3 + which] += 1
            e.s[S_DIRTY] = 1
        e.s[S_ARRIVED] += 1
        row = table[at]
        row[L_KEY], row[L_INSTRUMENT], row[L_SIDE], row[L_PRICE] = order_id, i, side, price
        row[L_SIZE], row[L_ARRIVED], row[L_STATE] = qty, e.s[S_ARRIVED], _LIVE
        _shift(e, which, b, i, side, price, qty)


@outline
def l3_begin(e: Any, which: int, i: int) -> None:
    """A snapshot of instrument `i` begins, its levels have been cleared: every order is in doubt."""
    if e.s[S_L3 + which] == 0:
        return
    table = e.l3[which]
    for at in range(table.shape[0]):
        if table[at, L_STATE] == _LIVE and table[at, L_INSTRUMENT] == i:
            table[at, L_STATE] = _DOUBT


@outline
def l3_end(e: Any, which: int, i: int) -> None:
    """The snapshot has ended: what it did not name is gone."""
    if e.s[S_L3 + which] == 0:
        return
    table = e.l3[which]
    for at in range(table.shape[0]):
        if table[at, L_STATE] == _DOUBT and table[at, L_INSTRUMENT] == i:
            table[at, L_STATE] = _GONE
            _removed(e, which, i, table[at], table[at, L_SIZE])


@inline
def l3_crowded(e: Any) -> Any:
    """Whether a table of orders is three quarters full, counting what is gone."""
    limit = 3 * e.l3.shape[1]
    return 4 * e.s[S_L3] >= limit or 4 * e.s[S_L3 + 1] >= limit


@outline
def l3_move(e: Any, into: Any) -> None:
    """Copy what is not gone into other tables, all empty, and count it."""
    for which in range(2):
        table, target = e.l3[which], into[which]
        e.s[S_L3 + which] = 0
        for at in range(table.shape[0]):
            if table[at, L_STATE] == _LIVE or table[at, L_STATE] == _DOUBT:
                to = _find(target, table[at, L_INSTRUMENT], table[at, L_KEY])
                copy_words(target[to], 0, table[at], L3_WORDS)
                e.s[S_L3 + which] += 1
