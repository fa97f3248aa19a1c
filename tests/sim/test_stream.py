"""Sources checked and merged by receive time, in chunks, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.merge import merged
from oracle.replay import plain

from tidegate.model.event import META, TS_EVENT, TS_RECV, empty, from_words, meta
from tidegate.sim.stream import Merged, Source


def rows(times: list[int], tag: int = 0) -> np.ndarray:
    """Events received at these times, told apart by their sequence."""
    out = np.zeros((len(times), 8), np.int64)
    out[:, TS_EVENT] = out[:, TS_RECV] = times
    out[:, 2] = tag * 1_000_000 + np.arange(len(times))
    out[:, META] = meta(tag, 2)
    return out


def cut(data: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(data, sorted(min(c, len(data)) for c in cuts))


STREAMS = st.lists(
    st.tuples(st.lists(st.integers(0, 12), max_size=30).map(sorted), st.lists(st.integers(0, 30), max_size=6)),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(STREAMS)
def test_sources_merge_as_heapq_merges_them_wherever_they_cut_their_chunks(streams):
    data = [rows(times, n) for n, (times, _) in enumerate(streams)]
    sources = [Source(cut(part, cuts)) for part, (_, cuts) in zip(data, streams, strict=True)]
    chunks = list(Merged(sources))
    assert all(len(chunk) for chunk in chunks)
    got = plain(np.concatenate(chunks)) if chunks else []
    assert got == merged([plain(part) for part in data], TS_RECV)


def test_memory_is_bounded_by_the_chunks():
    pieces = [rows(list(range(1_000 * n, 1_000 * (n + 1))), 0) for n in range(20)]
    others = [rows(list(range(500 * n, 500 * (n + 1))), 1) for n in range(40)]
    chunks = list(Merged([Source(pieces), Source(others)]))
    assert sum(len(chunk) for chunk in chunks) == 40_000
    assert max(len(chunk) for chunk in chunks) <= 2_100


def test_a_source_that_ends_at_once_or_is_empty_is_left_out():
    chunks = list(Merged([Source([]), Source([rows([1, 2])]), Source([rows([])])]))
    assert [row[TS_RECV] for chunk in chunks for row in chunk] == [1, 2]
    assert list(Merged([])) == []


def test_a_chunk_that_ends_at_an_instant_that_goes_on_is_read_on():
    first = Source([rows([1, 5, 9], 0)])
    second = Source([rows([5, 5], 1), rows([5, 5], 1), rows([5, 7], 1)])
    got = np.concatenate(list(Merged([first, second])))
    assert [(int(r[TS_RECV]), int(r[META]) & 0xFF) for r in got] == [
        (1, 0), (5, 0), (5, 1), (5, 1), (5, 1), (5, 1), (5, 1), (7, 1), (9, 0),
    ]  # fmt: skip


def test_structured_events_and_words_are_the_same_source():
    events = empty(3)
    events["ts_recv"] = events["ts_event"] = [1, 2, 3]
    (chunk,) = Merged([Source([events])])
    assert from_words(chunk).tolist() == events.tolist()


def test_a_source_s_number_is_given_to_its_events_and_the_data_is_left_alone():
    data = rows([1, 2], 3)
    before = data.copy()
    (chunk,) = Merged([Source([data], number=7, extra_latency=100)])
    assert (chunk[:, META] & 0xFFFFFFFF).tolist() == [7, 7]
    assert (chunk[:, META] >> 32).tolist() == (before[:, META] >> 32).tolist()
    assert chunk[:, TS_RECV].tolist() == [101, 102]
    assert chunk[:, TS_EVENT].tolist() == [1, 2]
    assert (data == before).all()


def test_an_exchange_time_after_the_receive_time_is_clamped_and_counted():
    data = rows([10, 20, 30])
    data[:, TS_EVENT] = [10, 25, 29]
    source = Source([data])
    (chunk,) = Merged([source])
    assert chunk[:, TS_EVENT].tolist() == [10, 20, 29]
    assert source.negative == 1
    assert data[1, TS_EVENT] == 25


@pytest.mark.parametrize("extra", [0, 50])
def test_events_received_before_their_predecessor_are_delivered_with_its_time_and_counted(extra):
    source = Source([rows([10, 30, 20]), rows([25, 40])], extra_latency=extra)
    got = np.concatenate(list(Merged([source])))
    assert got[:, TS_RECV].tolist() == [10 + extra, 30 + extra, 30 + extra, 30 + extra, 40 + extra]
    assert source.backwards == 2
    assert source.rows == 5


def test_the_bound_on_delays_is_the_worst_of_all_sources():
    sources = [Source([], max_delay=10), Source([], max_delay=7, extra_latency=9), Source([])]
    assert Merged(sources).max_delay == 16
