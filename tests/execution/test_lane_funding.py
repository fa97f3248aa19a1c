"""A funding is a fact of the lane: of one time booked once, and told to its listeners."""

from __future__ import annotations

from execution.test_lane_controls import again, parts
from lane_world import SETTINGS, universe

from tidegate.execution.core import Lane
from tidegate.model.messages import Funding


def test_a_lane_books_each_time_once_and_tells_its_listeners():
    lane = Lane(3, universe(), *parts(), SETTINGS)
    paid = Funding(5, 1, 10_000, 100, due=4)
    assert lane.apply(paid) == [paid]
    assert lane.apply(Funding(6, 1, 10_000, 100, due=4)) == []
    lane = again(lane)
    assert lane.apply(Funding(7, 1, 99, 100, due=3)) == []
    later = Funding(8, 1, 10_000, 100, due=5)
    assert lane.apply(later) == [later]
    assert lane.apply(Funding(9, 0, 10_000, 100)) == [], "one without a time is booked, and nobody is told"
