"""All that an allocator knows, in its log over and over, a part with every entry: nobody has to read it from the start.

The table of a large firm is larger than an entry may be, and takes long to write. So every entry that the allocator
appends carries some rows more. Once all have been written, a reader may begin where that round of them began, and every
entry says where to begin (its `seq`). A row is a grant and a report, as the allocator and its lane would have said it.
"""

from __future__ import annotations

from tidegate.model.messages import LeaseGrant, LeaseReport, Message
from tidegate.risk.leases.pool import LeasePool

ROUND = 2_000
"""Entries in which the whole table is written, about."""


class LeaseTable:
    """`since` is the entry after which everything is told."""

    def __init__(self, pool: LeasePool, since: int) -> None:
        self.since = since
        self._pool, self._next, self._began = pool, 0, since

    def rows(self, read: int, now: int) -> list[Message]:
        """What the next entry carries of it; all entries up to `read` are folded in the pool."""
        rows = self._pool.rows
        if not self._next:
            self._began = read
        count = -(-len(rows) // ROUND)
        part = rows[self._next : self._next + count]
        self._next += count
        if self._next >= len(rows):
            self._next, self.since = 0, self._began
        found: list[Message] = []
        for key, lane in part:
            h = self._pool.pools[key].holdings[lane]
            if h.granted or h.wanted or h.seq:
                under_way = h.granted - h.confirmed  # a lane that does not know of it wants that too
                wanted, refused = h.wanted + under_way, h.refused + under_way
                found.append(LeaseGrant(now, *key, h.granted, lane))
                row = (h.confirmed, h.returned, h.used, wanted, refused, h.version, h.seq)
                found.append(LeaseReport(now, lane, *key, *row))
        return found
