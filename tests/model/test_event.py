"""The market event: 64 bytes, the same seen as a record and as words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model import event
from tidegate.model.event import EVENT, Flag, Kind, empty, from_words, meta, words

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def test_an_event_is_64_bytes_without_gaps():
    assert EVENT.itemsize == 64
    fields = sorted((offset, dtype.itemsize) for dtype, offset in EVENT.fields.values())
    assert [offset for offset, _ in fields] == list(np.cumsum([0, *(size for _, size in fields)])[:-1])


@given(
    st.lists(INT64, min_size=7, max_size=7), st.integers(0, (1 << 32) - 1), st.sampled_from(Kind),
    st.integers(0, 2), st.integers(0, 15),
)  # fmt: skip
def test_a_record_and_its_words_are_the_same_bytes(numbers, instrument, kind, side, flags):
    record = empty(1)
    names = ("ts_event", "ts_recv", "seq", "price", "size", "price2", "size2")
    for name, number in zip(names, numbers, strict=True):
        record[name] = number
    record["instrument"], record["kind"], record["side"], record["flags"] = instrument, kind, side, flags
    row = words(record)[0]
    assert list(row[:7]) == numbers
    assert row[event.META] == meta(instrument, int(kind), side, flags)
    assert from_words(words(record)).tobytes() == record.tobytes()


def test_columns_stand_where_the_record_has_them():
    for column, name in enumerate(
        ("ts_event", "ts_recv", "seq", "price", "size", "price2", "size2", "instrument")
    ):
        assert EVENT.fields[name][1] == 8 * column
    columns = (event.TS_EVENT, event.TS_RECV, event.SEQ, event.PRICE, event.SIZE, event.PRICE2, event.SIZE2)
    assert columns == (0, 1, 2, 3, 4, 5, 6)
    assert event.META == 7


def test_words_share_the_events_memory():
    events = empty(3)
    words(events)[1, event.PRICE] = 77
    assert events["price"][1] == 77
    rows = np.zeros((2, 8), np.int64)
    from_words(rows)["size"][0] = 5
    assert rows[0, event.SIZE] == 5


def test_no_events_are_no_words():
    assert words(empty(0)).shape == (0, 8)
    assert len(from_words(np.zeros((0, 8), np.int64))) == 0


@pytest.mark.parametrize("rows", [np.zeros((2, 8)), np.zeros((2, 7), np.int64), np.zeros(8, np.int64)])
def test_rows_of_another_form_are_an_error(rows):
    with pytest.raises(ValueError, match="int64 rows of 8 words"):
        from_words(rows)


def test_events_of_another_form_are_an_error():
    with pytest.raises(ValueError, match="contiguous array of market events"):
        words(np.zeros(4))
    with pytest.raises(ValueError, match="contiguous"):
        words(empty(4)[::2])


def test_flags_combine():
    packed = meta(3, int(Kind.DELTA), 2, int(Flag.LAST | Flag.GAP))
    row = np.zeros((1, 8), np.int64)
    row[0, event.META] = packed
    record = from_words(row)[0]
    assert (record["instrument"], record["kind"], record["side"]) == (3, Kind.DELTA, 2)
    assert Flag(int(record["flags"])) == Flag.LAST | Flag.GAP
