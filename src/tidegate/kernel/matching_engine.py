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
from tidegate.kernel.matching_settle import FULL, GROW_ORDERS, QUIET
from tidegate.kernel.matching_snapshot import enter_ids, snapshot
from tidegate.kernel.matching_state import (
    ASKS,
    BIDS,
    BUY_STOPS,
    COUNT_BITS,
    EXTRA_SHIFT,
    FAR,
    H_BASE,
    H_BEST,
    H_BITS,
    H_BUMP,
    H_COMMAND,
    H_DENIED,
    H_FIRST,
    H_IDS,
    H_IDS_MASK,
    H_IDS_SHIFT,
    H_LAST,
    H_LIVE,
    H_MAP,
    H_NEXT_EXPIRY,
    H_NOW,
    H_OUT,
    H_OUT_FULL,
    H_REF,
    H_ROOM,
    H_SEQ,
    H_SIZE,
    H_TOP,
    H_WANT,
    HEADER_WORDS,
    L_COUNT,
    L_QTY,
    MARGIN,
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


def _zeros(words: int) -> Words:
    """Zeroed words that start on a cache line, so that no node lies on two. Untouched pages take no memory."""
    raw = np.zeros(words + 8, np.int64)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + words]


def _members(words: Words, places: Words) -> Words:
    """The set bits of words, ascending, as 64 × the word's place + the bit's."""
    used = np.flatnonzero(words)
    bits = np.unpackbits(words[used].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    row, bit = np.nonzero(bits)
    return places[used][row] * 64 + bit


class MatchingEngine:
    """One book under price-time priority; docs/matching.md has its rules.

    Commands are int64 rows of eight words (`matching_layout.C_*`), reports rows of eight words (`R_*`): prices
    in ticks, quantities in lots, times in ns. Deterministic: reports and state are a function of the commands.
    Not thread-safe. `orders` and `reports` are initial room (live orders; report rows a chunk), not limits.
    """

    def __init__(self, orders: int = 1024, reports: int = 8192) -> None:
        if orders < 1 or reports < 16:
            raise ValueError(f"room for {orders} orders and {reports} reports: needs at least 1 and 16")
        self._m = m = _zeros(HEADER_WORDS + NODES_PER_ORDER * NODE * orders)
        self._t = _zeros(reports * REPORT_WORDS)
        self._reports = reports * REPORT_WORDS
        m[H_SEQ] = -1
        m[H_BUMP] = HEADER_WORDS
        m[H_ROOM] = orders
        m[H_OUT_FULL] = self._reports - MARGIN
        m[[H_DENIED, H_LAST, H_FIRST, H_NOW]] = NO_PRICE
        m[[H_BEST + BIDS, H_REF + BIDS]] = -FAR
        m[[H_BEST + ASKS, H_REF + ASKS, H_NEXT_EXPIRY]] = FAR
        m[[S_QUEUE + N_NEXT, S_QUEUE + N_PREV]] = S_QUEUE
        for sentinel in (S_TRAIL, S_PEGS, S_DUE):
            m[sentinel + N_FLAGS] = (sentinel + NODE) << EXTRA_SHIFT
            m[sentinel + NODE + np.array([X_DUE_NEXT, X_DUE_PREV, X_NEXT, X_PREV])] = sentinel
        self._lay_out(0, MIN_BITS)

    def _lay_out(self, base: int, size: int) -> None:
        """Make `t` anew: a window of `size` ticks from `base`, a table of ids for H_ROOM; keep what it holds."""
        m, old = self._m, self._t
        live = [self._levels(place) for place in PLACES]
        old_ids = old[m[H_IDS] : m[H_IDS] + m[H_IDS_MASK] + 1] if m[H_IDS] else old[:0]
        words, at = bitmap_words(size), self._reports
        slots = 1 << max(6, (2 * int(m[H_ROOM]) - 1).bit_length())
        self._t = t = _zeros(at + len(PLACES) * (size + words) + slots)
        t[: m[H_OUT]] = old[: m[H_OUT]]
        m[H_BASE], m[H_SIZE] = base, size
        for place, (prices, levels) in zip(PLACES, live, strict=True):
            m[H_MAP + place], m[H_BITS + place] = at - base, at + size
            t[prices + m[H_MAP + place]] = levels
            self._mark(at + size, size, prices - base)
            at += size + words
        m[H_IDS], m[H_IDS_MASK], m[H_IDS_SHIFT] = at, slots - 1, 32 - slots.bit_length()
        enter_ids(m, t, old_ids)

    def _levels(self, place: int) -> tuple[Words, Words]:
        """The prices of a place's live levels, ascending, and their nodes."""
        m, t = self._m, self._t
        bits, size = int(m[H_BITS + place]), int(m[H_SIZE])
        # By the bitmap's middle level, so that an almost empty window of millions of ticks is quick.
        middle = t[bits + (size >> 6) : bits + (size >> 6) + (size >> 12)]
        words = _members(middle, np.arange(len(middle)))
        prices = _members(t[bits + words], words) + m[H_BASE]
        return prices, t[prices + m[H_MAP + place]]

    def _mark(self, bits: int, size: int, offsets: Words) -> None:
        """Set these bits in an empty bitmap of `t`, on its three levels."""
        for _ in range(3):
            np.bitwise_or.at(self._t, bits + (offsets >> 6), np.int64(1) << (offsets & 63))
            bits, size, offsets = bits + (size >> 6), size >> 6, offsets >> 6

    def _grow_window(self) -> None:
        """Move the window so that it holds the wanted price and all live ones, or deny the price."""
        want = int(self._m[H_WANT])
        prices = np.concatenate([np.array([want]), *(self._levels(place)[0] for place in PLACES)])
        low, span = int(prices.min()), int(prices.max() - prices.min()) + 1
        if span > MAX_SPAN:
            self._m[H_DENIED] = want
            return
        size = min(MAX_SPAN, max(MIN_BITS, 1 << (2 * span - 1).bit_length()))
        self._lay_out(low - (size - span) // 2, size)

    def _grow_orders(self) -> None:
        """Twice the room for orders; nodes keep their offsets."""
        m, used = self._m, int(self._m[H_BUMP])
        orders = 2 * int(m[H_ROOM])
        self._m = _zeros(HEADER_WORDS + NODES_PER_ORDER * NODE * orders)
        self._m[:used] = m[:used]
        self._m[H_ROOM] = orders
        self._lay_out(int(m[H_BASE]), int(m[H_SIZE]))

    def stream(self, commands: npt.ArrayLike) -> Iterator[Words]:
        """Carry out commands, yielding reports in chunks: views that hold until the next is asked for.

        All commands take effect only when the stream is read to its end. Raises ValueError for rows of a wrong
        shape.
        """
        rows = self._take_in(commands)
        more = True
        while more:
            more = self._advance(rows)
            if self._m[H_OUT]:
                yield self._written()

    def apply(self, commands: npt.ArrayLike) -> Words:
        """Carry out commands of shape (n, 8); returns their reports, shape (k, 8)."""
        rows = self._take_in(commands)
        more = self._advance(rows)
        first = self._written().copy()
        if not more:
            return first
        chunks = [first]
        while more:
            more = self._advance(rows)
            chunks.append(self._written().copy())
        return np.concatenate(chunks)

    def _take_in(self, commands: npt.ArrayLike) -> Words:
        """The commands as one flat row, and the header ready for the first of them."""
        rows = np.ascontiguousarray(commands, np.int64)
        if rows.ndim != 2 or rows.shape[1] != COMMAND_WORDS:
            raise ValueError(f"commands have shape {rows.shape}; expected (n, {COMMAND_WORDS})")
        self._m[H_COMMAND] = self._m[H_OUT] = 0
        return rows.reshape(-1)

    def _advance(self, rows: Words) -> bool:
        """Run on until the commands are done (False) or the reports fill up (True)."""
        while True:
            status = run(self._m, self._t, rows)
            if status == QUIET:
                return False
            if status == FULL:
                return True
            if status == GROW_ORDERS:
                self._grow_orders()
            else:
                self._grow_window()

    def _written(self) -> Words:
        """The reports written since the last look, as a view."""
        used = self._m[H_OUT]
        self._m[H_OUT] = 0
        return self._t[:used].reshape(-1, REPORT_WORDS)

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
        prices, nodes = self._levels(side)
        if side == BUY:
            prices, nodes = prices[::-1], nodes[::-1]
        best = nodes[:levels]
        return np.stack(
            [prices[:levels], self._m[best + L_QTY], self._m[best + L_COUNT] & COUNT_BITS], axis=1
        )

    def orders(self) -> Words:
        """Every live order as a row of `matching_snapshot.S_*` words, in the order of `matching_walk`."""
        return snapshot(self._m, self._t)

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
        digest = hashlib.sha256(np.array([m[H_LAST], m[H_NOW], m[H_SEQ] + 1, self.live], np.int64).tobytes())
        digest.update(self.orders().tobytes())
        for sentinel, after in ((S_TRAIL, X_NEXT), (S_PEGS, X_NEXT), (S_DUE, X_DUE_NEXT)):
            listed = self._arrivals(sentinel, after)
            digest.update(np.append(listed, len(listed)).tobytes())
        return digest.hexdigest()
