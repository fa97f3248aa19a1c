"""The price levels of one instrument as its feed last left them: what a late subscriber is given.

A hash table from price and side to size, filled by a kernel, so that a record costs tens of nanoseconds whatever its
price. Order is made when somebody asks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.kernel.jit import kernel
from tidegate.model.event import (
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    PRICE,
    PRICE2,
    SEQ,
    SIDE_SHIFT,
    SIZE,
    TS_EVENT,
    TS_RECV,
    Events,
    Flag,
    Kind,
    Words,
    empty,
    meta,
    words,
)
from tidegate.model.order import Side

(L_COUNT, L_USABLE, L_SEQ, L_EVENT, L_RECV, L_BID, L_ASK, L_TRADED) = range(8)
_FREE = np.int64(-(1 << 62))
_DELTA, _BEGIN, _END = int(Kind.DELTA), int(Kind.SNAPSHOT_BEGIN), int(Kind.SNAPSHOT_END)
_QUOTE, _TRADE = int(Kind.QUOTE), int(Kind.TRADE)
_GAP, _ORDER, _LAST = int(Flag.GAP), int(Flag.ORDER), int(Flag.LAST)
_MIX = np.int64(-7046029254386353131)  # 2^64 over the golden ratio: spreads neighbouring prices


@kernel("int64(int64[:,::1], int64, int64[::1], int64[::1], int64[::1])", nogil=True)
def apply(rows: Any, start: int, keys: Any, sizes: Any, state: Any) -> int:
    """Apply records from `start` on; returns where it stopped: at the end, or for want of room."""
    mask, room = len(keys) - 1, len(keys) // 2
    for i in range(start, len(rows)):
        word = rows[i, META]
        kind, flags = (word >> KIND_SHIFT) & 0xFF, (word >> FLAGS_SHIFT) & 0xFFFF
        if kind == _BEGIN:
            for k in range(len(keys)):
                keys[k] = _FREE
            state[L_COUNT] = state[L_USABLE] = 0
        elif kind == _END:
            state[L_USABLE] = 1
        elif kind == _QUOTE:
            state[L_BID], state[L_ASK] = rows[i, PRICE], rows[i, PRICE2]
            continue
        elif kind == _TRADE:
            state[L_TRADED] += rows[i, SIZE]
            continue
        elif kind != _DELTA or flags & _ORDER:
            continue
        else:
            if state[L_COUNT] >= room:
                return i
            if flags & _GAP:
                state[L_USABLE] = 0
            key = rows[i, PRICE] * 2 + (((word >> SIDE_SHIFT) & 0xFF) - 1)
            at = ((key * _MIX) >> 20) & mask
            while keys[at] != key and keys[at] != _FREE:
                at = (at + 1) & mask
            if keys[at] == _FREE:
                keys[at] = key
                state[L_COUNT] += 1
            sizes[at] = rows[i, SIZE]
        state[L_SEQ], state[L_EVENT], state[L_RECV] = rows[i, SEQ], rows[i, TS_EVENT], rows[i, TS_RECV]
    return len(rows)


class Levels:
    """Feed it an instrument's records in order (`apply`); ask for its book (`snapshot`)."""

    def __init__(self, instrument: int, room: int = 1 << 14) -> None:
        self.instrument = instrument
        self._state = np.zeros(8, np.int64)
        self._keys = np.full(room, _FREE, np.int64)
        self._sizes = np.zeros(room, np.int64)

    @property
    def usable(self) -> bool:
        """Whether the book is whole: a snapshot has come, and no gap since."""
        return bool(self._state[L_USABLE])

    @property
    def touch(self) -> tuple[int, int]:
        """The last quote's bid and ask, ticks; (0, 0) before the first."""
        return int(self._state[L_BID]), int(self._state[L_ASK])

    @property
    def traded(self) -> int:
        """Lots traded since the feed began."""
        return int(self._state[L_TRADED])

    def depth(self, band: int) -> tuple[int, int]:
        """Lots bid and offered within `band` parts per million of the middle; (0, 0) without a usable book or a touch."""
        bid, ask = self.touch
        if not self.usable or not bid or not ask:
            return 0, 0
        keys, sizes = self._live()
        price, buys = keys >> 1, (keys & 1) == int(Side.BUY) - 1
        near = np.abs(2 * price - (bid + ask)) * 1_000_000 <= band * abs(bid + ask)
        return int(sizes[near & buys].sum()), int(sizes[near & ~buys].sum())

    def apply(self, rows: Words) -> None:
        """Records of this instrument, in order."""
        done = 0
        while (done := int(apply(rows, done, self._keys, self._sizes, self._state))) < len(rows):
            self._rehash()

    def snapshot(self, depth: int) -> Events:
        """The book as SNAPSHOT_BEGIN, DELTAs (bids, then asks, best first) and SNAPSHOT_END, all with the source
        sequence it stands at; the best `depth` levels a side. Without a usable book, nothing."""
        if not self.usable:
            return empty(0)
        keys, sizes = self._live()
        price, side = keys >> 1, (keys & 1) + 1
        best = np.lexsort((np.where(side == Side.BUY, -price, price), side))
        bids = int((side == Side.BUY).sum())
        best = np.concatenate([best[:bids][:depth], best[bids:][:depth]])
        events = empty(len(best) + 2)
        out = words(events)
        out[:, TS_EVENT], out[:, TS_RECV], out[:, SEQ] = self._state[[L_EVENT, L_RECV, L_SEQ]]
        out[1:-1, PRICE], out[1:-1, SIZE] = price[best], sizes[best]
        out[1:-1, META] = meta(self.instrument, _DELTA, side[best])
        out[0, META] = meta(self.instrument, _BEGIN)
        out[-1, META] = meta(self.instrument, _END, 0, _LAST)
        return events

    def _live(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        live = (self._keys != _FREE) & (self._sizes > 0)
        return self._keys[live], self._sizes[live]

    def _rehash(self) -> None:
        """Forget deleted levels, and make room where the rest still fills a quarter of the table."""
        keys, sizes = self._live()
        room = len(self._keys) * (2 if 4 * len(keys) > len(self._keys) else 1)
        self._keys, self._sizes = np.full(room, _FREE, np.int64), np.zeros(room, np.int64)
        usable = self._state.copy()
        rows = np.zeros((len(keys), 8), np.int64)
        rows[:, PRICE], rows[:, SIZE] = keys >> 1, sizes
        rows[:, META] = meta(0, _DELTA, (keys & 1) + 1)
        self._state[L_COUNT] = 0
        apply(rows, 0, self._keys, self._sizes, self._state)
        usable[L_COUNT] = self._state[L_COUNT]
        self._state[:] = usable
