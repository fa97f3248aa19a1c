"""An independent check of a stream: the L2 book rebuilt level by level, its touch compared with the quotes.

Strict on purpose: it applies depth records exactly as they come and repairs nothing, so a book that is crossed
after a message is seen, not mended. Where a quote carries the update id of a depth message's end, both describe
the same instant and must agree on prices and sizes. It lies outside the trading path (the replay has the dense
book of `kernel.book`) and shares no code with it.

Levels are two sorted arrays with the best at the end, where nearly all updates happen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import inline, kernel
from tidegate.kernel.layout import BUY
from tidegate.model.event import (
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    PRICE,
    PRICE2,
    SEQ,
    SIDE_SHIFT,
    SIZE,
    SIZE2,
    TS_RECV,
    Events,
    Flag,
    Kind,
    words,
)

(T_BIDS, T_ASKS, T_USABLE, T_CROSSED, T_FIRST_SEQ, T_FIRST_TS, T_BOOKS, T_COMPARED, T_DIFFERENT, T_DIFF_SEQ,
 T_GAPS, T_IN_SNAPSHOT) = range(12)  # fmt: skip
AUDIT_WORDS = 12
_RING = 1 << 14
_DELTA, _QUOTE, _BEGIN, _END = (
    int(k) for k in (Kind.DELTA, Kind.QUOTE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
)
_LAST, _GAP = int(Flag.LAST), int(Flag.GAP)


@inline
def _set_level(keys: Any, sizes: Any, side: int, count: int, key: int, size: int) -> int:
    """Set or delete a level of one side, sorted by key; returns the side's new count."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if keys[side, middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < count and keys[side, low] == key:
        if size == 0:
            for k in range(low, count - 1):
                keys[side, k] = keys[side, k + 1]
                sizes[side, k] = sizes[side, k + 1]
            return count - 1
        sizes[side, low] = size
        return count
    if size == 0:
        return count
    for k in range(count, low, -1):
        keys[side, k] = keys[side, k - 1]
        sizes[side, k] = sizes[side, k - 1]
    keys[side, low] = key
    sizes[side, low] = size
    return count + 1


@inline
def _compare(keys: Any, sizes: Any, seq: int, ring: Any, state: Any) -> None:
    """After a depth message: is the book crossed, and is its touch the quote of the same update id?"""
    bids, asks = state[T_BIDS], state[T_ASKS]
    state[T_BOOKS] += 1
    if bids == 0 or asks == 0:
        return
    bid, ask = keys[0, bids - 1], -keys[1, asks - 1]
    if bid >= ask:
        state[T_CROSSED] += 1
        if state[T_CROSSED] == 1:
            state[T_FIRST_SEQ] = seq
    place = seq & (_RING - 1)
    if ring[place, 0] == seq:
        state[T_COMPARED] += 1
        same = ring[place, 1] == bid and ring[place, 2] == sizes[0, bids - 1]
        if not (same and ring[place, 3] == ask and ring[place, 4] == sizes[1, asks - 1]):
            state[T_DIFFERENT] += 1
            if state[T_DIFFERENT] == 1:
                state[T_DIFF_SEQ] = seq


@kernel("int64(int64[:,::1], int64, int64[:,::1], int64[:,::1], int64[:,::1], int64[::1])", nogil=True)
def audit(events: Any, start: int, keys: Any, sizes: Any, ring: Any, state: Any) -> int:
    """Apply events until one side is full; returns where it stopped, or the number of events."""
    room = keys.shape[1]
    for i in range(start, len(events)):
        meta = events[i, META]
        kind, flags = (meta >> KIND_SHIFT) & 0xFF, (meta >> FLAGS_SHIFT) & 0xFFFF
        if kind == _QUOTE:
            place = events[i, SEQ] & (_RING - 1)
            ring[place, 0], ring[place, 1], ring[place, 2] = events[i, SEQ], events[i, PRICE], events[i, SIZE]
            ring[place, 3], ring[place, 4] = events[i, PRICE2], events[i, SIZE2]
        elif kind == _BEGIN:
            state[T_BIDS] = state[T_ASKS] = 0
            state[T_IN_SNAPSHOT] = 1
        elif kind == _DELTA:
            if state[T_BIDS] >= room or state[T_ASKS] >= room:
                return i
            if flags & _GAP:
                state[T_GAPS] += 1
                state[T_USABLE] = 0
            price, size = events[i, PRICE], events[i, SIZE]
            if ((meta >> SIDE_SHIFT) & 0xFF) == BUY:
                state[T_BIDS] = _set_level(keys, sizes, 0, state[T_BIDS], price, size)
            else:
                state[T_ASKS] = _set_level(keys, sizes, 1, state[T_ASKS], -price, size)
        if kind == _END:
            state[T_USABLE], state[T_IN_SNAPSHOT] = 1, 0
        if (kind == _DELTA or kind == _END) and flags & _LAST and state[T_USABLE] and not state[T_IN_SNAPSHOT]:
            crossed = state[T_CROSSED]
            _compare(keys, sizes, events[i, SEQ], ring, state)
            if crossed == 0 and state[T_CROSSED] == 1:
                state[T_FIRST_TS] = events[i, TS_RECV]
    return len(events)


class TouchAudit:
    """Feed it one instrument's stream; it counts what does not fit."""

    def __init__(self, levels: int = 8192) -> None:
        self._keys = np.zeros((2, levels), np.int64)
        self._sizes = np.zeros((2, levels), np.int64)
        self._ring = np.full((_RING, 5), -1, np.int64)
        self._state = np.zeros(AUDIT_WORDS, np.int64)

    def feed(self, events: Events) -> None:
        """Apply some events, in order."""
        rows, done = words(events), 0
        while done < len(rows):
            done = int(audit(rows, done, self._keys, self._sizes, self._ring, self._state))
            if done < len(rows):
                self._keys = np.concatenate([self._keys, np.zeros_like(self._keys)], axis=1)
                self._sizes = np.concatenate([self._sizes, np.zeros_like(self._sizes)], axis=1)

    def _word(self, word: int) -> int:
        return int(self._state[word])

    @property
    def books(self) -> int:
        """Depth messages after which the book was looked at."""
        return self._word(T_BOOKS)

    @property
    def crossed(self) -> int:
        """Depth messages after which the best bid was not below the best ask."""
        return self._word(T_CROSSED)

    @property
    def first_crossed(self) -> tuple[int, int]:
        """(update id, receive time) of the first crossed book; zeros when there is none."""
        return self._word(T_FIRST_SEQ), self._word(T_FIRST_TS)

    @property
    def compared(self) -> int:
        """Depth messages that ended at the update id of a quote."""
        return self._word(T_COMPARED)

    @property
    def different(self) -> int:
        """Of those, how many disagreed with the quote on a price or a size."""
        return self._word(T_DIFFERENT)

    @property
    def first_different(self) -> int:
        """The update id of the first disagreement, 0 when there is none."""
        return self._word(T_DIFF_SEQ)

    @property
    def gaps(self) -> int:
        """Records flagged GAP."""
        return self._word(T_GAPS)

    @property
    def levels(self) -> tuple[int, int]:
        """How many price levels each side holds now."""
        return self._word(T_BIDS), self._word(T_ASKS)
