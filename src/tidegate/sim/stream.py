"""Event streams for the replay: any number of sources merged by receive time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.kernel.merge import merge_order
from tidegate.model.event import META, TS_EVENT, TS_RECV, Events, Words, words


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
    _iterator: Iterator[Events | Words] | None = field(default=None, repr=False)
    _last: int = -(1 << 62)

    def read(self) -> Words | None:
        """The next chunk as words, checked; None at the end."""
        if self._iterator is None:
            self._iterator = iter(self.chunks)
        for chunk in self._iterator:
            if len(chunk) == 0:
                continue
            rows = chunk if chunk.dtype == np.int64 else words(chunk)
            return self._checked(rows)
        return None

    def _checked(self, rows: Words) -> Words:
        recv, event = rows[:, TS_RECV], rows[:, TS_EVENT]
        own = self.number is not None or self.extra_latency
        late = bool((event > recv).any())
        unsorted = bool(recv[0] < self._last or (recv[1:] < recv[:-1]).any())
        if own or late or unsorted:
            rows = rows.copy()
            recv, event = rows[:, TS_RECV], rows[:, TS_EVENT]
            if self.number is not None:
                rows[:, META] = (rows[:, META] & ~np.int64(0xFFFFFFFF)) | self.number
            recv += self.extra_latency
            if unsorted:
                running = np.maximum.accumulate(np.maximum(recv, self._last))
                self.backwards += int((running != recv).sum())
                recv[:] = running
            if late:
                self.negative += int((event > recv).sum())
                np.minimum(event, recv, out=event)
        self._last = int(recv[-1])
        self.rows += len(rows)
        return rows


class Merged:
    """Sources merged by receive time: an iterator of chunks, each sorted and complete up to its last time."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self.max_delay = max((s.max_delay + s.extra_latency for s in sources), default=0)
        self._heads: list[Words | None] = [s.read() for s in sources]

    def __iter__(self) -> Iterator[Words]:
        while True:
            live = [n for n, head in enumerate(self._heads) if head is not None]
            if not live:
                return
            if len(live) == 1:
                head = self._heads[live[0]]
                assert head is not None
                self._heads[live[0]] = self.sources[live[0]].read()
                yield head
                continue
            yield self._next(live)

    def _next(self, live: list[int]) -> Words:
        # Complete up to the time that every live source has been read to. A source whose chunk ends exactly
        # there may go on at the same instant, so only what lies before it is complete.
        heads = [h for n in live if (h := self._heads[n]) is not None]
        bound = min(int(h[-1, TS_RECV]) for h in heads)
        parts, starts = [], []
        total = 0
        for n, head in zip(live, heads, strict=True):
            side = "right" if int(head[-1, TS_RECV]) == bound else "left"
            cut = int(np.searchsorted(head[:, TS_RECV], bound, side=side))
            starts.append(total)
            total += cut
            parts.append(head[:cut])
            rest = head[cut:]
            self._heads[n] = rest if len(rest) else self.sources[n].read()
        joined = np.concatenate(parts)
        order = np.empty(total, np.int64)
        begins = np.array(starts, np.int64)
        ends = np.array([*starts[1:], total], np.int64)
        merge_order(np.ascontiguousarray(joined[:, TS_RECV]), begins, ends, order)
        return joined[order]
