"""An independent check of a stream: the L2 book rebuilt level by level, its touch compared with the quotes.

Strict on purpose: it applies depth records exactly as they come and repairs nothing, so a book that is
crossed after a message is seen, not mended. Where a quote carries the update id of a depth message's end,
both describe the same instant and must agree on prices and sizes. It lies outside the trading path, which has
the book of `kernel.book`.

Sizes lie in a hash table by price and side (a deleted level keeps its place, with size 0). Which prices hold
something is a bitmap over ticks 0 … n−1; a level above the largest bitmap is never the touch of a real
market.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.bitmap import MAX_BITS, MIN_BITS, bit_clear, bit_next, bit_prev, bit_set, bitmap_words
from tidegate.kernel.jit import inline, kernel
from tidegate.kernel.layout import BUY
from tidegate.model.event import (
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    PRICE,
    SEQ,
    SIDE_SHIFT,
    SIZE,
    TS_RECV,
    Events,
    Flag,
    Kind,
    words,
)

(T_WINDOW, T_USED, T_USABLE, T_IN_SNAPSHOT, T_BOOKS, T_CROSSED, T_CROSSED_SEQ, T_CROSSED_TS, T_COMPARED,
 T_DIFFERENT, T_DIFFERENT_SEQ, T_GAPS) = range(12)  # fmt: skip
AUDIT_WORDS = 12
_RING = 1 << 14
"""Quotes remembered for the depth message that ends at their update id; it follows within moments."""
_DELTA, _QUOTE, _BEGIN, _END = (
    int(k) for k in (Kind.DELTA, Kind.QUOTE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
)
_LAST, _GAP = int(Flag.LAST), int(Flag.GAP)
_LARGEST = MAX_BITS


@inline
def _slot(keys: Any, key: int) -> int:
    """Where `key` is, or the free place it would take (free is 0)."""
    mask = len(keys) - 1
    place = ((key & 0x7FFF_FFFF) * 0x9E37_79B1 >> 20) & mask
    while keys[place] != key and keys[place] != 0:
        place = (place + 1) & mask
    return place


@inline
def _look(keys: Any, sizes: Any, bits: Any, ring: Any, seq: int, ts: int, state: Any) -> None:
    """After a depth message: is the book crossed, and is its touch the quote of the same update id?"""
    n, half = state[T_WINDOW], len(bits) >> 1
    state[T_BOOKS] += 1
    bid, ask = bit_prev(bits, 0, n, n - 1), bit_next(bits, half, n, 0)
    if bid < 0 or ask < 0:
        return
    if bid >= ask:
        state[T_CROSSED] += 1
        if state[T_CROSSED] == 1:
            state[T_CROSSED_SEQ] = seq
            state[T_CROSSED_TS] = ts
    place = seq & (_RING - 1)
    if ring[place, 0] != seq:
        return
    state[T_COMPARED] += 1
    same = ring[place, 1] == bid and ring[place, 3] == ask
    same = (
        same
        and ring[place, 2] == sizes[_slot(keys, bid * 2)]
        and ring[place, 4] == sizes[_slot(keys, ask * 2 + 1)]
    )
    if not same:
        state[T_DIFFERENT] += 1
        if state[T_DIFFERENT] == 1:
            state[T_DIFFERENT_SEQ] = seq


@kernel(
    "int64(int64[:,::1], int64, int64[::1], int64[::1], int64[::1], int64[:,::1], int64[::1])", nogil=True
)
def audit(events: Any, start: int, keys: Any, sizes: Any, bits: Any, ring: Any, state: Any) -> int:
    """Apply events until there is no room for a level; returns where it stopped, or the number of events."""
    half, room = len(bits) >> 1, len(keys) * 3 // 4
    for i in range(start, len(events)):
        meta = events[i, META]
        kind, flags = (meta >> KIND_SHIFT) & 0xFF, (meta >> FLAGS_SHIFT) & 0xFFFF
        if kind == _QUOTE:
            place = events[i, SEQ] & (_RING - 1)
            ring[place, 0] = events[i, SEQ]
            for k in range(4):
                ring[place, 1 + k] = events[i, PRICE + k]
        elif kind == _BEGIN:
            keys[:] = 0
            sizes[:] = 0
            bits[:] = 0
            state[T_USED] = 0
            state[T_IN_SNAPSHOT] = 1
        elif kind == _DELTA:
            price, size, n = events[i, PRICE], events[i, SIZE], state[T_WINDOW]
            if state[T_USED] >= room or (price >= n and n < _LARGEST):
                return i
            if flags & _GAP:
                state[T_GAPS] += 1
                state[T_USABLE] = 0
            side = np.int64(0) if ((meta >> SIDE_SHIFT) & 0xFF) == BUY else np.int64(1)
            place = _slot(keys, price * 2 + side)
            if keys[place] == 0:
                keys[place] = price * 2 + side
                state[T_USED] += 1
            if price < n and size > 0 and sizes[place] == 0:
                bit_set(bits, side * half, n, price)
            elif price < n and size == 0 and sizes[place] > 0:
                bit_clear(bits, side * half, n, price)
            sizes[place] = size
        elif kind == _END:
            state[T_USABLE] = 1
            state[T_IN_SNAPSHOT] = 0
        if (kind in (_DELTA, _END)) and flags & _LAST and state[T_USABLE] and not state[T_IN_SNAPSHOT]:
            _look(keys, sizes, bits, ring, events[i, SEQ], events[i, TS_RECV], state)
    return len(events)


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])", nogil=True)
def rebuild(old_keys: Any, old_sizes: Any, keys: Any, sizes: Any, bits: Any, state: Any) -> None:
    """The same levels in larger, empty tables."""
    n, half = state[T_WINDOW], len(bits) >> 1
    state[T_USED] = 0
    for i in range(len(old_keys)):
        if old_sizes[i] > 0:
            place = _slot(keys, old_keys[i])
            keys[place] = old_keys[i]
            sizes[place] = old_sizes[i]
            state[T_USED] += 1
            if old_keys[i] >> 1 < n:
                bit_set(bits, (old_keys[i] & 1) * half, n, old_keys[i] >> 1)


class TouchAudit:
    """Feed it one instrument's stream; it counts what does not fit."""

    def __init__(self) -> None:
        self._state = np.zeros(AUDIT_WORDS, np.int64)
        self._ring = np.full((_RING, 5), -1, np.int64)
        self._keys, self._sizes = np.zeros(1 << 14, np.int64), np.zeros(1 << 14, np.int64)
        self._state[T_WINDOW] = MIN_BITS
        self._bits = np.zeros(2 * bitmap_words(MIN_BITS), np.int64)

    def feed(self, events: Events) -> None:
        """Apply some events, in order."""
        rows, done = words(events), 0
        while True:
            done = int(audit(rows, done, self._keys, self._sizes, self._bits, self._ring, self._state))
            if done == len(rows):
                return
            self._grow(int(rows[done, PRICE]))

    def _grow(self, price: int) -> None:
        """Room for more levels, and a window that holds `price` if any can."""
        live = int(np.count_nonzero(self._sizes))
        window = int(self._state[T_WINDOW])
        if price >= window:
            window = min(1 << max(price.bit_length(), 12), MAX_BITS)
        size = len(self._keys) * (2 if live > len(self._keys) // 4 else 1)
        keys, sizes = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._state[T_WINDOW], self._bits = window, np.zeros(2 * bitmap_words(window), np.int64)
        rebuild(self._keys, self._sizes, keys, sizes, self._bits, self._state)
        self._keys, self._sizes = keys, sizes

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
        return self._word(T_CROSSED_SEQ), self._word(T_CROSSED_TS)

    @property
    def compared(self) -> int:
        """Depth messages that ended at the update id of a quote before them."""
        return self._word(T_COMPARED)

    @property
    def different(self) -> int:
        """Of those, how many disagreed with the quote on a price or a size."""
        return self._word(T_DIFFERENT)

    @property
    def first_different(self) -> int:
        """The update id of the first disagreement; 0 when there is none."""
        return self._word(T_DIFFERENT_SEQ)

    @property
    def gaps(self) -> int:
        """Records flagged GAP."""
        return self._word(T_GAPS)

    def levels(self) -> tuple[dict[int, int], dict[int, int]]:
        """(bids, asks): size by price, of the book as it stands."""
        live = np.flatnonzero(self._sizes)
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for key, size in zip(self._keys[live].tolist(), self._sizes[live].tolist(), strict=True):
            sides[key & 1][key >> 1] = size
        return sides
