"""`MatchingEngine`: one instrument's book, as an object that owns the kernel's arrays and grows them on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tidegate.kernel.bitmap import MIN_BITS, bitmap_words
from tidegate.kernel.layout import BUY, SELL
from tidegate.kernel.matching import run
from tidegate.kernel.matching_layout import COMMAND_WORDS, MAX_SPAN, NO_PRICE, REPORT_WORDS
from tidegate.kernel.matching_settle import GROW_ORDERS, GROW_WINDOW, QUIET
from tidegate.kernel.matching_snapshot import SNAPSHOT_WORDS, depth, rehash, snapshot
from tidegate.kernel.matching_state import (
    ASKS,
    BIDS,
    BUY_STOPS,
    EXTRA_SHIFT,
    FAR,
    H_BASE,
    H_BEST,
    H_BITS,
    H_BUMP,
    H_COMMAND,
    H_DENIED,
    H_FIRST,
    H_LAST,
    H_LIVE,
    H_MAP,
    H_NEXT_EXPIRY,
    H_NOW,
    H_OUT,
    H_REF_ASK,
    H_REF_BID,
    H_ROOM,
    H_SEQ,
    H_SHIFT,
    H_SIZE,
    H_TOP,
    H_WANT,
    HEADER_WORDS,
    N_FLAGS,
    N_KEY,
    N_NEXT,
    N_PREV,
    NODE,
    S_DUE,
    S_PEGS,
    S_QUEUE,
    S_TRAIL,
    SELL_STOPS,
    X_DUE_NEXT,
    X_DUE_PREV,
    X_NEXT,
    X_PREV,
)

Words = npt.NDArray[np.int64]

PLACES = (BIDS, ASKS, BUY_STOPS, SELL_STOPS)
NODES_PER_ORDER = 3
"""The order, its second node, and a price level of its own."""


def _aligned(words: int) -> Words:
    """Zeroed words that start on a cache line, so that a node is never on two. Pages untouched take no memory."""
    raw = np.zeros(words + 8, np.int64)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + words]


def _table(orders: int) -> Words:
    """An empty table of ids for this many orders, at most half full."""
    return np.zeros(1 << max(6, (2 * orders - 1).bit_length()), np.int64)


class MatchingEngine:
    """One book under price-time priority; docs/matching.md has its rules.

    Commands are int64 rows of eight words (`matching_layout.C_*`), reports rows of eight words (`R_*`): prices
    in ticks, quantities in lots, times in ns. Deterministic: reports and state are a function of the commands.
    Not thread-safe. `orders` and `reports` are initial room (live orders; report rows a chunk), not limits.
    """

    def __init__(self, orders: int = 1024, reports: int = 8192) -> None:
        if orders < 1 or reports < 16:
            raise ValueError(f"room for {orders} orders and {reports} reports: needs at least 1 and 16")
        self._m = _aligned(HEADER_WORDS + NODES_PER_ORDER * NODE * orders)
        self._ids = _table(orders)
        self._out = np.zeros(reports * REPORT_WORDS, np.int64)
        self._begin(orders)
        self._w = self._window(0, MIN_BITS)

    def _begin(self, orders: int) -> None:
        m = self._m
        m[H_SEQ] = -1
        m[H_BUMP] = HEADER_WORDS
        m[H_ROOM] = orders
        m[H_SHIFT] = 31 - (len(self._ids).bit_length() - 1)
        m[[H_DENIED, H_LAST, H_FIRST, H_NOW]] = NO_PRICE
        m[[H_BEST + BIDS, H_REF_BID]] = -FAR
        m[[H_BEST + ASKS, H_REF_ASK, H_NEXT_EXPIRY]] = FAR
        m[[S_QUEUE + N_NEXT, S_QUEUE + N_PREV]] = S_QUEUE
        for sentinel in (S_TRAIL, S_PEGS, S_DUE):
            m[sentinel + N_FLAGS] = (sentinel + NODE) << EXTRA_SHIFT
            m[sentinel + NODE + np.array([X_DUE_NEXT, X_DUE_PREV, X_NEXT, X_PREV])] = sentinel

    def _window(self, base: int, size: int) -> Words:
        """A zeroed window array for `size` ticks from `base`, and the header's words that describe it."""
        m, words = self._m, bitmap_words(size)
        m[H_BASE], m[H_SIZE] = base, size
        for k, place in enumerate(PLACES):
            m[H_MAP + place] = k * size - base
            m[H_BITS + place] = len(PLACES) * size + k * words
        return np.zeros(len(PLACES) * (size + words), np.int64)

    def _levels(self) -> dict[int, Words]:
        """Per place, the offsets of its live levels in the window, ascending."""
        live = {}
        for place in PLACES:
            bits = int(self._m[H_BITS + place])
            leaves = self._w[bits : bits + (int(self._m[H_SIZE]) >> 6)]
            used = np.flatnonzero(leaves)
            flags = np.unpackbits(leaves[used].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
            row, bit = np.nonzero(flags)
            live[place] = used[row] * 64 + bit
        return live

    def _grow_window(self) -> None:
        """Move the window so that it holds the wanted price and all live ones, or deny the price."""
        m, want, base, size = self._m, int(self._m[H_WANT]), int(self._m[H_BASE]), int(self._m[H_SIZE])
        live = self._levels()
        ends = [base + int(offsets[k]) for offsets in live.values() if len(offsets) for k in (0, -1)]
        low, high = min([want, *ends]), max([want, *ends])
        span = high - low + 1
        if span > MAX_SPAN:
            m[H_DENIED] = want
            return
        wanted = min(MAX_SPAN, max(MIN_BITS, 1 << (2 * span - 1).bit_length()))
        old = self._w
        self._w = self._window(low - (wanted - span) // 2, wanted)
        shift = base - int(m[H_BASE])
        for k, (place, offsets) in enumerate(live.items()):
            self._w[k * wanted + offsets + shift] = old[k * size + offsets]
            self._mark(int(m[H_BITS + place]), wanted, offsets + shift)

    def _mark(self, bits: int, size: int, offsets: Words) -> None:
        """Set these bits in an empty bitmap of the window, on its three levels."""
        for level_bits in (size, size >> 6, size >> 12):
            np.bitwise_or.at(self._w, bits + (offsets >> 6), np.int64(1) << (offsets & 63))
            bits += level_bits >> 6
            offsets = offsets >> 6

    def _grow_orders(self) -> None:
        """Twice the room: nodes keep their offsets, ids are entered anew."""
        orders = 2 * int(self._m[H_ROOM])
        bigger = _aligned(HEADER_WORDS + NODES_PER_ORDER * NODE * orders)
        used = int(self._m[H_BUMP])
        bigger[:used] = self._m[:used]
        self._m, old = bigger, self._ids
        self._ids = _table(orders)
        bigger[H_ROOM] = orders
        bigger[H_SHIFT] = 31 - (len(self._ids).bit_length() - 1)
        rehash(bigger, old, self._ids)

    def stream(self, commands: npt.ArrayLike) -> Iterator[Words]:
        """Carry out commands, yielding reports in chunks: views that hold until the next is asked for.

        All commands take effect only when the stream is read to its end. Raises ValueError for rows of a wrong
        shape.
        """
        rows = np.ascontiguousarray(commands, np.int64)
        if rows.ndim != 2 or rows.shape[1] != COMMAND_WORDS:
            raise ValueError(f"commands have shape {rows.shape}; expected (n, {COMMAND_WORDS})")
        flat = rows.reshape(-1)
        self._m[H_COMMAND] = self._m[H_OUT] = 0
        while True:
            status = run(self._m, self._w, self._ids, self._out, flat)
            if status == GROW_ORDERS:
                self._grow_orders()
            elif status == GROW_WINDOW:
                self._grow_window()
            else:
                used = int(self._m[H_OUT])
                self._m[H_OUT] = 0
                if used:
                    yield self._out[:used].reshape(-1, REPORT_WORDS)
                if status == QUIET:
                    return

    def apply(self, commands: npt.ArrayLike) -> Words:
        """Carry out commands of shape (n, 8); returns their reports, shape (k, 8)."""
        chunks = [chunk.copy() for chunk in self.stream(commands)]
        return np.concatenate(chunks) if chunks else np.empty((0, REPORT_WORDS), np.int64)

    @property
    def live(self) -> int:
        """Orders that rest, wait or are parked."""
        return int(self._m[H_LIVE])

    @property
    def last(self) -> int | None:
        """The last trade price, None before the first trade."""
        price = int(self._m[H_LAST])
        return None if price == NO_PRICE else price

    def best(self, side: int) -> int | None:
        """The best price of BUY or SELL, None for an empty side."""
        return int(self._m[H_BEST + side]) if self._m[H_TOP + side] else None

    def depth(self, side: int, levels: int) -> Words:
        """Up to so many price levels from the best: rows of price, displayed quantity, number of orders."""
        if side not in (BUY, SELL):
            raise ValueError(f"side {side} is neither BUY (1) nor SELL (2)")
        rows = np.empty((levels, 3), np.int64)
        return rows[: depth(self._m, self._w, side, rows)]

    def orders(self) -> Words:
        """Every live order as a row of `matching_snapshot.S_*` words, in the order of `matching_walk`."""
        rows = np.empty((self.live, SNAPSHOT_WORDS), np.int64)
        snapshot(self._m, self._w, rows)
        return rows

    def _arrivals(self, sentinel: int, after: int) -> Words:
        """The nodes of a list in order of arrival, as ids."""
        m, found = self._m, []
        o = int(m[sentinel + NODE + after])
        while o != sentinel:
            found.append(m[o + N_KEY])
            o = int(m[(int(m[o + N_FLAGS]) >> EXTRA_SHIFT) + after])
        return np.array(found, np.int64)

    def state_hash(self) -> str:
        """SHA-256 (hex) over all that later behaviour rests on: equal hashes behave alike."""
        m = self._m
        digest = hashlib.sha256(np.array([m[H_LAST], m[H_NOW], m[H_SEQ] + 1, self.live], np.int64))
        digest.update(self.orders())
        for sentinel, after in ((S_TRAIL, X_NEXT), (S_PEGS, X_NEXT), (S_DUE, X_DUE_NEXT)):
            listed = self._arrivals(sentinel, after)
            digest.update(np.append(listed, len(listed)))
        return digest.hexdigest()
