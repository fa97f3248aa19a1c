"""The proof that a depth stream is complete, by Binance's rules, one instrument at a time.

A depth diff carries the first and the last update id it covers (`U`, `u`); on futures also the last id of the
diff before it (`pu`). A snapshot carries the id it stands at (L).

| rule          | spot                             | futures                                      |
|---------------|----------------------------------|----------------------------------------------|
| old           | u ≤ L: the snapshot has it       | u < L                                        |
| first applied | U ≤ L + 1 ≤ u                    | U ≤ L ≤ u, or pu = L                         |
| next applied  | U = last u + 1                   | pu = last u                                  |
| repeated      | u = last u: dropped              | u = last u: dropped                          |
| gap           | anything else: the book is unusable until the next snapshot joins the chain  ||

Sources: Binance spot API, "How to manage a local order book correctly"; USDⓈ-M and COIN-M futures API, the
page of the same name. (`pu = L` proves the same as the documented `U ≤ L ≤ u`: nothing lies between.) A
snapshot that arrives while the chain is whole is not needed and does not touch the book. Quotes and trades
have no chain; their order and the trades' ids are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.kernel.jit import kernel
from tidegate.marketdata.binance_shapes import DEPTH, M_FIRST, M_KIND, M_LAST, M_PREV, SNAPSHOT, TICKER
from tidegate.model.event import Words

EMPTY, JOINING, WHOLE, BROKEN = 0, 1, 2, 3
"""A chain's phase: before the first snapshot; between a snapshot and the diff that joins it; proven; after a
gap.
"""

PASS, OLD, REPEATED, HELD, GAP, ADRIFT, REDUNDANT, NEEDED = range(8)
"""A verdict on one message.

PASS: next in order. OLD, REPEATED: dropped by rule. HELD: a diff before the first snapshot, kept for it. GAP:
the diff that broke the chain. ADRIFT: a diff after it. REDUNDANT: a snapshot while the chain is whole.
NEEDED: a snapshot to take (`Chain.take`).
"""

(C_PHASE, C_LAST, C_TICKER, C_TRADE, C_OLD, C_REPEATED, C_GAPS, C_ADRIFT, C_REDUNDANT, C_LATE_QUOTES,
 C_LATE_TRADES, C_MISSING_TRADES, C_SNAPSHOTS) = range(13)  # fmt: skip
CHAIN_WORDS = 13


@kernel("int64(int64, int64[:,::1], int64, int64, int64[::1], uint8[::1])", nogil=True)
def prove(futures: int, messages: Any, start: int, stop: int, state: Any, verdicts: Any) -> int:
    """Judge messages in order, until a snapshot that is needed; returns where it stopped, or `stop`."""
    for i in range(start, stop):
        kind, first, last = messages[i, M_KIND], messages[i, M_FIRST], messages[i, M_LAST]
        verdict = PASS
        if kind == DEPTH:
            phase, at = state[C_PHASE], state[C_LAST]
            prev = messages[i, M_PREV]
            if phase == EMPTY:
                verdict = HELD
            elif phase == BROKEN:
                verdict = ADRIFT
                state[C_ADRIFT] += 1
            elif phase == JOINING and (last < at or (last == at and futures == 0)):
                verdict = OLD
                state[C_OLD] += 1
            elif phase == WHOLE and last == at:
                verdict = REPEATED
                state[C_REPEATED] += 1
            else:
                if futures != 0:
                    joined = prev == at or (phase == JOINING and first <= at)
                else:
                    joined = first == at + 1 or (phase == JOINING and first <= at)
                if joined:
                    state[C_PHASE] = WHOLE
                    state[C_LAST] = last
                else:
                    verdict = GAP
                    state[C_PHASE] = BROKEN
                    state[C_GAPS] += 1
        elif kind == SNAPSHOT:
            if state[C_PHASE] != WHOLE and state[C_PHASE] != JOINING:
                verdicts[i] = NEEDED
                return i
            verdict = REDUNDANT
            state[C_REDUNDANT] += 1
        elif kind == TICKER:
            if last <= state[C_TICKER]:
                state[C_LATE_QUOTES] += 1
            else:
                state[C_TICKER] = last
        else:
            if last <= state[C_TRADE]:
                state[C_LATE_TRADES] += 1
            else:
                if state[C_TRADE] >= 0:
                    state[C_MISSING_TRADES] += last - state[C_TRADE] - 1
                state[C_TRADE] = last
        verdicts[i] = verdict
    return stop


class Chain:
    """One instrument's chain: `prove` runs until it meets a snapshot it needs; `take` sets the chain on it."""

    def __init__(self, futures: bool) -> None:
        self.futures = futures
        self.state = np.zeros(CHAIN_WORDS, np.int64)
        self.state[[C_TICKER, C_TRADE]] = -1

    @property
    def phase(self) -> int:
        """EMPTY, JOINING, WHOLE or BROKEN."""
        return int(self.state[C_PHASE])

    @property
    def last(self) -> int:
        """The last update id the book stands at."""
        return int(self.state[C_LAST])

    def prove(self, messages: Words, start: int, stop: int, verdicts: npt.NDArray[np.uint8]) -> int:
        """Judge `messages[start:stop]`; returns the index of a snapshot that is needed, or `stop`."""
        return int(prove(int(self.futures), messages, start, stop, self.state, verdicts))

    def take(self, update_id: int) -> None:
        """A snapshot at `update_id` replaces the book; the next diff must join it."""
        self.state[[C_PHASE, C_LAST]] = JOINING, update_id
        self.state[C_SNAPSHOTS] += 1

    def count(self, word: int) -> int:
        """One of the counters C_OLD … C_SNAPSHOTS."""
        return int(self.state[word])
