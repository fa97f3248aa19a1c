"""What every stream of the lake must be: in order, its messages whole, its values possible. Counted, not
mended.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    SIZE2,
    TS_EVENT,
    TS_RECV,
    Events,
    Flag,
    Kind,
    words,
)

FAULTS = (
    "receive time runs backwards",
    "exchange time after receive time",
    "depth sequence does not rise and no gap is flagged",
    "depth message without an end",
    "snapshot begins inside another, or ends without a beginning",
    "kind or side that means nothing",
    "price or size that cannot be",
    "quote crossed or locked",
)
(F_RECV, F_EVENT, F_SEQ, F_END, F_SNAPSHOT, F_CODE, F_VALUE, F_CROSSED) = range(len(FAULTS))
_STATE = len(FAULTS)
(O_RECV, O_SEQ, O_OPEN, O_SNAPSHOT, O_FIRST) = range(_STATE, _STATE + 5)
ORDER_WORDS = _STATE + 5
_DELTA, _QUOTE, _TRADE, _BEGIN, _END = (
    int(k) for k in (Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
)
_LAST, _GAP, _TOP_KIND = int(Flag.LAST), int(Flag.GAP), max(int(k) for k in Kind)


@kernel("void(int64[:,::1], int64[::1])", nogil=True)
def check(events: Any, state: Any) -> None:
    """Count faults of the next events; `state` carries over from chunk to chunk."""
    for i in range(len(events)):
        meta, recv, seq = events[i, META], events[i, TS_RECV], events[i, SEQ]
        kind, side = (meta >> KIND_SHIFT) & 0xFF, (meta >> SIDE_SHIFT) & 0xFF
        flags = (meta >> FLAGS_SHIFT) & 0xFFFF
        price, size = events[i, PRICE], events[i, SIZE]
        state[F_RECV] += recv < state[O_RECV]
        state[O_RECV] = recv
        state[F_EVENT] += events[i, TS_EVENT] > recv
        if kind == _DELTA:
            state[F_VALUE] += price <= 0 or size < 0
            state[F_CODE] += side != 1 and side != 2
            if state[O_OPEN] == 0 and state[O_SNAPSHOT] == 0:
                # The first record of a message: after a snapshot its sequence may equal the snapshot's.
                rises = seq > state[O_SEQ] or (seq == state[O_SEQ] and state[O_FIRST] != 0)
                state[F_SEQ] += not rises and not flags & _GAP
                state[O_FIRST] = 0
            elif seq != state[O_SEQ]:
                state[F_END] += 1
            state[O_SEQ] = seq
            state[O_OPEN] = 0 if flags & _LAST else 1
        elif kind == _BEGIN:
            state[F_END] += state[O_OPEN]
            state[F_SNAPSHOT] += state[O_SNAPSHOT]
            state[O_SNAPSHOT], state[O_SEQ], state[O_OPEN] = 1, seq, 0
        elif kind == _END:
            state[F_SNAPSHOT] += state[O_SNAPSHOT] == 0
            state[O_SNAPSHOT], state[O_SEQ], state[O_OPEN], state[O_FIRST] = 0, seq, 0, 1
        elif kind == _TRADE:
            state[F_VALUE] += price <= 0 or size <= 0
            state[F_CODE] += side != 1 and side != 2
        elif kind == _QUOTE:
            ask, ask_size = events[i, PRICE2], events[i, SIZE2]
            state[F_VALUE] += price < 0 or size < 0 or ask < 0 or ask_size < 0
            state[F_CROSSED] += price > 0 and ask > 0 and price >= ask
        elif kind == 0 or kind > _TOP_KIND:
            state[F_CODE] += 1


class OrderAudit:
    """Feed it one instrument's stream; it counts the faults of `FAULTS`."""

    def __init__(self) -> None:
        self._state = np.zeros(ORDER_WORDS, np.int64)
        self._state[O_SEQ] = -1

    def feed(self, events: Events) -> None:
        """Check some events, in order."""
        check(words(events), self._state)

    def faults(self) -> dict[str, int]:
        """How often each fault was found; those that were not are left out."""
        counts = self._state[: len(FAULTS)].tolist()
        return {name: count for name, count in zip(FAULTS, counts, strict=True) if count}
