"""Event streams for the replay: any number of sources merged by receive time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.kernel.merge import merge_order
from tidegate.kernel.replay import AHEAD
from tidegate.kernel.survey import survey
from tidegate.model.event import META, TS_EVENT, TS_RECV, Events, Words


@dataclass
class Source:
    """One stream of events: chunks sorted by receive time, all of one instrument or already numbered.

    `number` renumbers the events' instrument; None keeps what is in them. `max_delay` (ns) bounds how late after
    its exchange time an event may be received: nothing is processed before that bound has been read past.
    `extra_latency` (ns) is added to every receive time.
    """

    chunks: Iterable[Events | Words]
    number: int | None = None
    max_delay: int = 0
    extra_latency: int = 0
    expected: int = 0
    """Rows it will have, where known: for a progress bar."""
    rows: int = 0
    negative: int = 0
    """Events whose exchange time lay after their receive time; it is clamped."""
    backwards: int = 0
    """Events received before their predecessor; they are delivered with its time."""
    _pieces: Iterator[Words] | None = field(default=None, repr=False)
    _last: int = -(1 << 62)

    def read(self) -> Words | None:
        """The next rows, checked; None at the end."""
        if self._pieces is None:
            self._pieces = self._cut()
        piece = next(self._pieces, None)
        return None if piece is None else self._checked(piece)

    def _cut(self) -> Iterator[Words]:
        for chunk in self.chunks:
            rows = np.ascontiguousarray(chunk).view(np.int64).reshape(-1, 8)
            for low in range(0, len(rows), AHEAD):
                yield rows[low : low + AHEAD]

    def _checked(self, rows: Words) -> Words:
        backwards, late = survey(rows, self._last - self.extra_latency)
        if self.number is not None or self.extra_latency or backwards or late:
            rows = rows.copy()
            recv, event = rows[:, TS_RECV], rows[:, TS_EVENT]
            if self.number is not None:
                rows[:, META] = (rows[:, META] & ~np.int64(0xFFFFFFFF)) | self.number
            recv += self.extra_latency
            if backwards:
                self.backwards += backwards
                recv[:] = np.maximum.accumulate(np.maximum(recv, self._last))
            if late:
                self.negative += int((event > recv).sum())
                np.minimum(event, recv, out=event)
        self._last = int(rows[-1, TS_RECV])
        self.rows += len(rows)
        return rows


class Merged:
    """Sources merged by receive time: an iterator of sorted chunks.

    At equal times the earlier source comes first, and a source's own order is kept: where sources cut their
    chunks makes no difference.
    """

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self.max_delay = max((s.max_delay + s.extra_latency for s in sources), default=0)
        self._heads: dict[int, Words] = {}
        self._open = set(range(len(sources)))
        for n in range(len(sources)):
            self._read(n)

    def _read(self, n: int) -> None:
        """Lengthen the head of source `n` by its next chunk, or note its end."""
        chunk = self.sources[n].read()
        if chunk is None:
            self._open.discard(n)
        elif n in self._heads:
            self._heads[n] = np.concatenate([self._heads[n], chunk])
        else:
            self._heads[n] = chunk

    def __iter__(self) -> Iterator[Words]:
        while self._heads:
            if len(self._heads) == 1:
                (n,) = self._heads
                yield self._heads.pop(n)
                if n in self._open:
                    self._read(n)
                continue
            merged = self._next()
            if len(merged):
                yield merged

    def _next(self) -> Words:
        """What lies before the time that every source has been read to; sources that end there are read on."""
        heads = dict(sorted(self._heads.items()))
        ends = {n: int(heads[n][-1, TS_RECV]) for n in heads if n in self._open}
        bound = min(ends.values(), default=1 << 62)
        cuts = {n: int(np.searchsorted(head[:, TS_RECV], bound)) for n, head in heads.items()}
        parts = [head[: cuts[n]] for n, head in heads.items()]
        for n, head in heads.items():
            if cuts[n] == len(head):
                del self._heads[n]
            else:
                self._heads[n] = head[cuts[n] :]
        for n, last in ends.items():
            if last == bound:
                self._read(n)
        joined = np.concatenate(parts)
        stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])
        order = np.empty(len(joined), np.int64)
        merge_order(np.ascontiguousarray(joined[:, TS_RECV]), starts, stops, order)
        return joined[order]
