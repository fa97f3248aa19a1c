"""Merging sorted streams: the standard library's merge, which is stable."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import itemgetter

Row = tuple[int, ...]


def merged(streams: Sequence[Sequence[Row]], column: int) -> list[Row]:
    """Rows of all streams by `column`; at equal values the earlier stream first."""
    return list(heapq.merge(*streams, key=itemgetter(column)))
