"""Merging sorted streams against the standard library's stable merge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.merge import merged

from tidegate.kernel.merge import merge_order


def order_of(streams: list[list[int]]) -> list[tuple[int, int]]:
    """(time, stream) in merged order."""
    lengths = [len(stream) for stream in streams]
    times = np.array([t for stream in streams for t in stream], np.int64)
    owner = np.repeat(np.arange(len(streams)), lengths)
    ends = np.cumsum(lengths, dtype=np.int64)
    order = np.empty(len(times), np.int64)
    merge_order(times, ends - np.array(lengths, np.int64), ends, order)
    assert sorted(order.tolist()) == list(range(len(times)))
    for n in range(len(streams)):
        mine = order[owner[order] == n]
        assert (np.diff(mine) > 0).all(), "a stream's own order is kept"
    return [(int(times[at]), int(owner[at])) for at in order]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5)).map(sorted), min_size=1, max_size=7))
def test_streams_merge_as_heapq_merges_them(streams):
    tagged = [[(t, n) for t in stream] for n, stream in enumerate(streams)]
    assert order_of(streams) == merged(tagged, 0)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_seeded_streams_merge_as_heapq_merges_them(count):
    rng = np.random.default_rng(count)
    streams = [np.sort(rng.integers(0, 50_000, 60_000 // count)).tolist() for _ in range(count)]
    assert order_of(streams) == merged([[(t, n) for t in stream] for n, stream in enumerate(streams)], 0)


def test_at_equal_times_the_earlier_stream_goes_first():
    assert order_of([[1, 2, 2], [2, 2], [0, 2]]) == [
        (0, 2), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1), (2, 2),
    ]  # fmt: skip


def test_the_largest_time_is_a_time_like_any_other():
    last = (1 << 63) - 1
    assert order_of([[1, last], [last], []]) == [(1, 0), (last, 0), (last, 1)]


def test_nothing_merges_to_nothing():
    assert order_of([[], []]) == []
