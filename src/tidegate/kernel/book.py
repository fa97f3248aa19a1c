"""The L2 book: sizes by price level in a dense window of ticks, best prices by a tree of bits.

An instrument has two books of one geometry: the exchange's, as of exchange time, and the local one, as of what
has reached us. Both apply the same records by the same rules:

- a DELTA sets the size of one level; 0 deletes it;
- a level that crosses deletes what it crosses on the other side, for that is older (counted in B_CROSSED);
- a QUOTE is the touch itself: levels better than it are deleted, its own level takes its size. In a market
  without depth data only the touch is known, so the level it leaves is deleted too;
- a DELTA older than the last QUOTE (by source sequence) does not alter prices at or better than that touch;
- SNAPSHOT_BEGIN clears; a GAP makes the book unusable until the next SNAPSHOT_END;
- an L3 record (flag ORDER) moves its order's size from the level it was at to the level it is at.

A price outside the window is for the caller to see first (`in_window`): windows grow, records are not dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.bitmap import bit_clear, bit_next, bit_prev, bit_set
from tidegate.kernel.bits import at
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY

(
    B_BID,  # best bid, ticks; NO_BID when there is none
    B_ASK,  # best ask, ticks; NO_ASK when there is none
    B_BASE,  # the window's first tick
    B_SIZE,  # the window's ticks, a power of two; 0 before the first price
    B_LEVELS,  # where the bid sizes start in `levels`; asks follow
    B_BITS,  # where the bid bitmap starts in `bits`; the ask bitmap follows
    B_WORDS,  # words of one bitmap
    B_USABLE,  # 0 between a gap and the end of the next snapshot
    B_QUOTE_SEQ,  # source sequence of the last QUOTE; -1 before the first
    B_QUOTE_BID,
    B_QUOTE_ASK,
    B_DEPTH,  # 1 once a DELTA was seen: levels behind the touch mean something
    B_LAST_PRICE,  # last trade
    B_LAST_SIZE,
    B_CROSSED,  # count: levels deleted because a newer one crossed them
    B_TS,  # time of the last record
    B_QUOTED,  # 1 once a QUOTE was seen
) = range(17)
BOOK_WORDS = 24
NO_BID, NO_ASK = -(1 << 62), 1 << 62


def clear_header(row: Any) -> None:
    """The header of a book that has seen nothing."""
    row[:] = 0
    row[B_BID], row[B_ASK] = NO_BID, NO_ASK
    row[B_QUOTE_SEQ] = -1
    row[B_QUOTE_BID], row[B_QUOTE_ASK] = NO_BID, NO_ASK
    row[B_USABLE] = 1


@inline
def in_window(e: Any, b: int, price: int) -> Any:
    """Whether the window of book `b` holds `price`."""
    offset = price - e.book[b, B_BASE]
    return offset >= 0 and offset < e.book[b, B_SIZE]


@inline
def level_size(e: Any, b: int, side: int, price: int) -> int:
    """Size at a price, lots; 0 outside the window."""
    size = e.book[b, B_SIZE]
    offset = price - e.book[b, B_BASE]
    if offset < 0 or offset >= size:
        return np.int64(0)
    at = e.book[b, B_LEVELS] + offset
    return e.levels[at] if side == BUY else e.levels[at + size]


@inline
def best_from(e: Any, b: int, side: int, price: int) -> int:
    """The best price of `side` at or worse than `price`."""
    size, base = e.book[b, B_SIZE], e.book[b, B_BASE]
    if side == BUY:
        found = bit_prev(e.bits, e.book[b, B_BITS], size, price - base)
        return base + found if found >= 0 else np.int64(NO_BID)
    found = bit_next(e.bits, e.book[b, B_BITS] + e.book[b, B_WORDS], size, price - base)
    return base + found if found >= 0 else np.int64(NO_ASK)


@outline
def _drop_better(e: Any, b: int, side: int, limit: int) -> int:
    """Delete the levels of `side` strictly better than `limit`; how many there were."""
    size, base, start, tree = e.book[b, B_SIZE], e.book[b, B_BASE], e.book[b, B_LEVELS], e.book[b, B_BITS]
    count = 0
    if side == BUY:
        price = e.book[b, B_BID]
        while price > limit:
            e.levels[start + price - base] = 0
            bit_clear(e.bits, tree, size, price - base)
            count += 1
            price = best_from(e, b, side, price - 1)
        e.book[b, B_BID] = price
    else:
        price = e.book[b, B_ASK]
        while price < limit:
            e.levels[start + size + price - base] = 0
            bit_clear(e.bits, tree + e.book[b, B_WORDS], size, price - base)
            count += 1
            price = best_from(e, b, side, price + 1)
        e.book[b, B_ASK] = price
    return count


@outline
def _turn_level(e: Any, b: int, side: int, price: int, qty: int) -> None:
    """A level comes into being or ends: its bit and the best prices follow."""
    size, offset, tree = e.book[b, B_SIZE], price - e.book[b, B_BASE], e.book[b, B_BITS]
    if side == BUY:
        if qty > 0:
            bit_set(e.bits, tree, size, offset)
            if price > e.book[b, B_BID]:
                e.book[b, B_BID] = price
                if price >= e.book[b, B_ASK]:
                    e.book[b, B_CROSSED] += _drop_better(e, b, 2, price + 1)
        else:
            bit_clear(e.bits, tree, size, offset)
            if price == e.book[b, B_BID]:
                e.book[b, B_BID] = best_from(e, b, side, price - 1)
        return
    tree += e.book[b, B_WORDS]
    if qty > 0:
        bit_set(e.bits, tree, size, offset)
        if price < e.book[b, B_ASK]:
            e.book[b, B_ASK] = price
            if price <= e.book[b, B_BID]:
                e.book[b, B_CROSSED] += _drop_better(e, b, 1, price - 1)
    else:
        bit_clear(e.bits, tree, size, offset)
        if price == e.book[b, B_ASK]:
            e.book[b, B_ASK] = best_from(e, b, side, price + 1)


@inline
def set_level(e: Any, b: int, side: int, price: int, qty: int) -> int:
    """Set one level's size and keep the best prices true; the size it had. The price is in the window."""
    place = at(e.book[b, B_LEVELS] + price - e.book[b, B_BASE] + (0 if side == BUY else e.book[b, B_SIZE]))
    before = e.levels[place]
    e.levels[place] = qty
    if (before > 0) != (qty > 0):  # a level that stays moves no best price
        _turn_level(e, b, side, price, qty)
    return before


@inline
def trades_only(e: Any, b: int) -> Any:
    """Whether book `b` has seen trades but neither depth nor quotes: then the last trade stands in for the touch."""
    return e.book[b, B_DEPTH] == 0 and e.book[b, B_QUOTED] == 0 and e.book[b, B_LAST_SIZE] != 0


@inline
def stale_delta(e: Any, b: int, side: int, price: int, seq: int) -> Any:
    """Whether a DELTA is older than the last QUOTE and concerns prices the quote already settled."""
    if seq >= e.book[b, B_QUOTE_SEQ]:
        return False
    return price >= e.book[b, B_QUOTE_BID] if side == BUY else price <= e.book[b, B_QUOTE_ASK]


@outline
def apply_quote(e: Any, b: int, seq: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
    """The touch as a QUOTE states it; a side without orders is NO_BID or NO_ASK with size 0.

    The prices of sides with orders are in the window.
    """
    old_bid, old_ask = e.book[b, B_BID], e.book[b, B_ASK]
    if e.book[b, B_DEPTH] == 0:
        if old_bid != bid and old_bid != NO_BID:
            set_level(e, b, 1, old_bid, 0)
        if old_ask != ask and old_ask != NO_ASK:
            set_level(e, b, 2, old_ask, 0)
    else:
        if old_bid > bid:
            _drop_better(e, b, 1, bid)
        if old_ask < ask:
            _drop_better(e, b, 2, ask)
    if bid_qty > 0:
        set_level(e, b, 1, bid, bid_qty)
    if ask_qty > 0:
        set_level(e, b, 2, ask, ask_qty)
    e.book[b, B_QUOTE_SEQ] = seq
    e.book[b, B_QUOTED] = 1
    e.book[b, B_QUOTE_BID], e.book[b, B_QUOTE_ASK] = bid, ask


@outline
def clear_book(e: Any, b: int) -> None:
    """Delete every level; what a snapshot begins with."""
    _drop_better(e, b, 1, NO_BID)
    _drop_better(e, b, 2, NO_ASK)


@outline
def copy_levels(
    e: Any, b: int, base: int, size: int, start: int, tree: int, words: int, new_levels: Any, new_bits: Any
) -> None:  # fmt: skip
    """Move book `b` into a larger window of other arrays; its header takes the new geometry."""
    for side in (1, 2):
        price = best_from(e, b, side, NO_ASK if side == BUY else NO_BID)
        while price != NO_BID and price != NO_ASK:
            offset = price - base
            shift, wood = (0, tree) if side == BUY else (size, tree + words)
            new_levels[start + shift + offset] = level_size(e, b, side, price)
            bit_set(new_bits, wood, size, offset)
            price = best_from(e, b, side, price - 1 if side == BUY else price + 1)
    e.book[b, B_BASE], e.book[b, B_SIZE] = base, size
    e.book[b, B_LEVELS], e.book[b, B_BITS], e.book[b, B_WORDS] = start, tree, words
