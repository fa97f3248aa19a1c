"""One bad tick values nothing; a jump that is confirmed, or stands, does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.time import SECOND
from tidegate.risk.marks import Marks


def test_a_small_move_counts_at_once_and_a_jump_with_the_second_touch_near_it():
    marks = Marks(jump=20_000, stands=SECOND)
    assert marks.offer(0, 10_000, 10_002, 1) == (10_000, 10_002, 1)
    assert marks.offer(0, 10_150, 10_152, 2) is not None
    assert marks.offer(0, 12_000, 12_002, 3) is None, "18 % away: not yet"
    assert marks.offer(0, 12_010, 12_012, 4) == (12_010, 12_012, 4), "confirmed by the next"
    assert marks.counts == {"jumps": 1, "jumps_confirmed": 1}


def test_a_bad_tick_is_never_good_and_one_that_stands_is():
    marks = Marks(jump=20_000, stands=SECOND)
    marks.offer(0, 10_000, 10_002, 1)
    assert marks.offer(0, 1, 2, 2) is None
    assert marks.offer(0, 10_001, 10_003, 3) is not None
    assert marks.confirmed(10 * SECOND) == [], "it was a bad tick"
    assert marks.offer(0, 5_000, 5_002, 10 * SECOND) is None
    assert marks.confirmed(11 * SECOND - 1) == []
    assert marks.confirmed(11 * SECOND) == [(0, (5_000, 5_002, 10 * SECOND))]
    assert marks.offer(0, 5_001, 5_002, 12 * SECOND) is not None


@given(
    st.lists(st.integers(9_900, 10_100), min_size=2, max_size=30),
    st.integers(1, 1 << 40).filter(lambda p: not 8_000 < p < 12_000),
    st.data(),
)
def test_no_single_bad_tick_anywhere_moves_what_is_good(prices, bad, data):
    at = data.draw(st.integers(1, len(prices) - 1))
    marks = Marks(jump=50_000)
    for n, price in enumerate(prices):
        if n == at:
            assert marks.offer(0, bad, bad + 1, n) is None
        assert marks.offer(0, price, price + 1, n) is not None
        assert abs(marks.good[0][0] - 10_000) <= 100
