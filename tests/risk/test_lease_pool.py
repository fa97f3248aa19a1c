"""The allocator's core by examples: fair sizes, recalls, lowered limits, and reports that come late."""

from __future__ import annotations

import itertools

import pytest

from tidegate.model.messages import LeaseReport
from tidegate.model.time import SECOND
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.holding import UNDER_WAY, PoolPolicy
from tidegate.risk.leases.lease import Key
from tidegate.risk.leases.pool import LeasePool

KEY = Key(0, int(Field.ORDERS))
LANES = (0, 1, 2, 3)


class Desk:
    """A pool of one limit, and lanes that do at once what they are told; `silent` ones have said nothing yet."""

    def __init__(self, limit=800, silent=()):
        self.pool = LeasePool({0: LANES}, PoolPolicy(share=0.5))
        self.pool.set_limits({KEY: limit})
        self.now = 0
        self.used = dict.fromkeys(LANES, 0)
        self.seq = dict.fromkeys(LANES, 0)
        for lane in LANES:
            if lane not in silent:
                self.says(lane)

    @property
    def one(self):
        return self.pool.pools[KEY]

    def amount(self, lane):
        return self.one.holdings[lane].outstanding

    def says(self, lane, wanted=0, refused=0, granted=None, returned=None, used=None, seq=None, version=0):
        h = self.one.holdings[lane]
        self.seq[lane] += 1
        report = LeaseReport(
            0, lane, *KEY, h.granted if granted is None else granted, h.returned if returned is None else returned,
            self.used[lane] if used is None else used, wanted, refused, version,
        )  # fmt: skip
        self.pool.report(report, self.seq[lane] if seq is None else seq)

    def decide(self, pause=10 * SECOND):
        self.now += pause
        found = self.pool.decide(self.now)
        for grant in found.grants:
            self.pool.granted(*grant)
        return found

    def carry(self, found):
        """Lanes answer recalls."""
        for recall in found.recalls:
            self.pool.recalled(recall.lane, KEY, UNDER_WAY, self.now)
            self.pool.recalled(recall.lane, KEY, self.seq[recall.lane] + 1, self.now)
            h = self.one.holdings[recall.lane]
            given = max(0, min(recall.amount, h.outstanding - self.used[recall.lane]))
            self.says(recall.lane, returned=h.returned + given)


def test_lanes_that_ask_are_given_a_share_of_what_nobody_uses_and_less_as_it_dries_up():
    desk = Desk(800)
    for lane in LANES:
        desk.says(lane, wanted=1)
    desk.decide()
    assert [desk.amount(lane) for lane in LANES] == [100] * 4, "half of 800 over four lanes"
    assert desk.one.free == 400
    for lane in LANES:
        desk.used[lane] = 100
        desk.says(lane, wanted=1)
    desk.decide()
    assert [desk.amount(lane) for lane in LANES] == [150] * 4, "half of what is left"


def test_what_is_wanted_for_one_large_order_is_granted_whole_if_it_is_there():
    desk = Desk(800)
    desk.says(0, wanted=700, refused=700)
    desk.decide()
    assert desk.amount(0) == 700


def test_an_order_larger_than_all_that_is_left_does_not_drain_the_pool():
    desk = Desk(800)
    desk.says(0, wanted=100_000, refused=100_000)
    desk.decide()
    assert desk.amount(0) == 100


def test_an_older_report_changes_nothing_of_what_was_granted_or_returned():
    desk = Desk(800)
    desk.says(0, wanted=300, refused=300)
    desk.decide()
    desk.says(0, wanted=0, returned=50, used=200)
    desk.says(0, wanted=300, refused=300, granted=0, returned=0, used=0, seq=1)
    assert (desk.amount(0), desk.one.free, desk.one.holdings[0].used) == (250, 550, 200)
    desk.decide()
    assert desk.amount(0) == 250, "what an older report wanted was granted long ago"


def test_a_want_that_crosses_its_grant_is_not_granted_twice():
    desk = Desk(800)
    desk.says(0, wanted=200, refused=200)
    desk.decide()
    desk.says(0, wanted=200, refused=200, granted=0)  # said again, before the grant had come
    desk.decide()
    assert desk.amount(0) == 200


def test_a_dry_pool_recalls_from_those_who_hold_much_and_use_little():
    desk = Desk(800)
    desk.says(1, wanted=600, refused=600)
    desk.says(2, wanted=200, refused=200)
    desk.decide()
    desk.used[2] = 190
    desk.says(1), desk.says(2)
    desk.says(3, wanted=150, refused=150)
    found = desk.decide()
    assert [r.lane for r in found.recalls] == [1]
    assert 150 <= found.recalls[0].amount < 600
    desk.carry(found)
    desk.decide()
    assert desk.amount(3) >= 150
    assert desk.one.free >= 0


def test_recalls_that_bring_nothing_come_less_and_less_often():
    desk = Desk(400)
    for lane in LANES:
        desk.says(lane, wanted=100, refused=100)
    desk.decide()
    for lane in LANES:
        desk.used[lane] = 100
    desk.pool.set_limits({KEY: 300})
    times = []
    for _ in range(3000):
        found = desk.decide(pause=SECOND // 100)
        if any(r.lane == 0 for r in found.recalls):
            times.append(desk.now)
        desk.carry(found)
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= PoolPolicy().longest
    assert len(times) < 20


def test_lanes_that_would_only_like_more_do_not_take_the_last_of_each_other():
    desk = Desk(8)
    for lane in LANES:
        desk.says(lane, wanted=2, refused=2)
    desk.decide()
    desk.used[0] = 2
    recalls = []
    for _ in range(50):
        for lane in LANES:
            desk.says(lane, wanted=int(desk.amount(lane) <= desk.used[lane]))
        found = desk.decide()
        recalls += found.recalls
        desk.carry(found)
    assert len(recalls) <= len(LANES)
    assert min(desk.amount(lane) - desk.used[lane] for lane in LANES) >= 1


def test_for_a_refused_order_others_go_halves():
    desk = Desk(100)
    desk.says(1, wanted=100, refused=100)
    desk.decide()
    desk.used[1] = 60
    desk.says(1)
    desk.says(0, wanted=35, refused=35)
    for _ in range(6):
        desk.carry(desk.decide())
    assert desk.amount(0) == 35


def test_a_lowered_limit_counts_as_lanes_return_and_is_short_where_more_is_in_use():
    desk = Desk(800)
    for lane in LANES:
        desk.says(lane, wanted=200, refused=200)
    desk.decide()
    for lane in LANES:
        desk.used[lane] = 150
        desk.says(lane)
    desk.pool.set_limits({KEY: 700})
    assert desk.one.free == -100
    found = desk.decide()
    assert not found.short, "600 are used"
    desk.carry(found)
    assert desk.one.free == 0
    desk.pool.set_limits({KEY: 500})
    found = desk.decide()
    assert not found.short, "nobody has said yet what is used now"
    desk.carry(found)
    desk.carry(desk.decide())
    (short,) = desk.decide().short
    assert (short.limit, short.used) == (500, 600)
    assert desk.one.free == -100
    assert not desk.decide().grants
    desk.pool.set_limits({KEY: 900})
    desk.says(0, wanted=50, refused=50)
    desk.decide()
    assert desk.amount(0) > 150, "raised at once"


def test_a_limit_that_is_lent_no_more_keeps_its_books():
    desk = Desk(800)
    desk.says(0, wanted=200)
    desk.decide()
    desk.pool.set_limits({})
    desk.says(0, wanted=200)
    assert not desk.decide().grants
    desk.pool.set_limits({KEY: 300})
    desk.says(1, wanted=300, refused=300)
    desk.decide()
    assert desk.amount(0) + desk.amount(1) <= 300


@pytest.mark.parametrize("late", [False, True])
def test_a_recall_is_answered_whether_or_not_its_place_was_known_before_the_answer(late):
    desk = Desk(100)
    desk.says(0, wanted=100, refused=100)
    desk.decide()
    desk.used[0] = 80
    desk.pool.set_limits({KEY: 50})
    (recall,) = desk.decide().recalls
    desk.pool.recalled(recall.lane, KEY, UNDER_WAY, desk.now)
    place = desk.seq[0] + 1
    if not late:
        desk.pool.recalled(0, KEY, place, desk.now)
    desk.says(0, returned=20)
    if late:
        desk.pool.recalled(0, KEY, place, desk.now)
    assert desk.one.holdings[0].recall == 0
    found = desk.decide()
    assert [(short.limit, short.used) for short in found.short] == [(50, 80)]
    assert [(r.lane, r.amount) for r in found.recalls] == [(0, 30)], (
        "and it is asked again for what is missing"
    )


def test_an_answer_to_an_earlier_recall_is_none_to_the_next():
    desk = Desk(100)
    desk.says(0, wanted=100, refused=100)
    desk.decide()
    desk.pool.set_limits({KEY: 50})
    desk.pool.recalled(0, KEY, UNDER_WAY, desk.now)
    desk.says(0)
    desk.pool.recalled(0, KEY, desk.seq[0] + 1, desk.now)
    assert desk.one.holdings[0].recall == desk.seq[0] + 1
    assert not desk.one.holdings[0].answered


def test_of_a_limit_that_begins_nothing_is_granted_before_every_lane_has_said_what_it_uses():
    desk = Desk(14, silent=[3])
    desk.says(1, wanted=14, refused=14)
    assert not desk.decide().grants
    assert desk.pool.unknown == {KEY}
    desk.used[3] = 12
    desk.says(3, wanted=12)
    desk.decide()
    assert [desk.amount(lane) for lane in LANES] == [0, 1, 0, 13], (
        "what is used first, then a share of the other 2"
    )
    assert not desk.pool.unknown
    desk.says(1, wanted=14, refused=14)
    for _ in range(20):
        desk.carry(desk.decide())
    assert desk.amount(1) <= 2
    assert desk.amount(3) >= 12


def test_what_lanes_said_by_earlier_limits_does_not_count_for_one_that_begins_again():
    desk = Desk(100)
    desk.pool.set_limits({}, 1)
    desk.pool.set_limits({KEY: 100}, 2)
    for lane in LANES:
        desk.says(lane, wanted=9, version=1)
    assert not desk.decide().grants
    for lane in LANES:
        desk.says(lane, wanted=9, version=2 if lane else -1)
    assert not desk.decide().grants, "lane 0 does not lend it, it says: it may use what it likes"
    desk.says(0, wanted=9, version=2)
    assert len(desk.decide().grants) == len(LANES)


def test_versions_that_were_passed_over_may_have_ended_a_limit():
    desk = Desk(100)
    desk.pool.set_limits({KEY: 100}, 1)
    desk.says(0, wanted=9)
    assert desk.decide().grants, "it was raised, or lowered: it goes on"
    desk.pool.set_limits({KEY: 100}, 3)
    desk.says(1, wanted=9)
    assert not desk.decide().grants


def test_a_limit_that_begins_below_what_is_in_use_is_short():
    desk = Desk(100)
    desk.pool.set_limits({}, 1)
    desk.pool.set_limits({KEY: 10}, 2)
    for lane in LANES[1:]:
        desk.says(lane, wanted=1, version=2)
    assert not desk.decide().short, "lane 0 has not spoken"
    desk.says(0, used=12, wanted=12, version=2)
    found = desk.decide()
    assert [(short.limit, short.used) for short in found.short] == [(10, 12)]
    assert not found.grants
    assert desk.pool.owing == {KEY}
    desk.says(0, used=9, wanted=9, version=2)
    found = desk.decide()
    assert not found.short
    assert (desk.amount(0), desk.amount(1) + desk.amount(2) + desk.amount(3)) == (9, 1)
    assert not desk.pool.owing


def test_what_marks_move_past_a_lease_is_nobody_elses_and_is_no_lowered_limit():
    desk = Desk(100)
    desk.says(0, wanted=50, refused=50)
    desk.decide()
    desk.used[0] = 80  # 30 more than it has
    desk.says(0)
    desk.says(1, wanted=60, refused=60)
    desk.decide()
    assert (desk.amount(0), desk.amount(1)) == (80, 2), (
        "the order cannot be, so it has a share of what is left"
    )
    desk.used[0] = 110
    desk.says(0)
    desk.says(1, wanted=60, refused=60)
    found = desk.decide()
    assert not found.short
    assert not found.grants
    assert [(r.lane, r.amount) for r in found.recalls] == [(1, 2)], "nobody adds to it"
    assert not desk.pool.owing


def test_a_limit_that_is_lent_no_more_comes_back_from_lanes_that_know_of_it():
    desk = Desk(800)
    for lane in LANES:
        desk.says(lane, wanted=100, refused=100)
    desk.decide()
    desk.pool.set_limits({}, 1)
    assert not desk.decide().recalls, "they judge by it still"
    desk.says(2, version=-1, used=0)
    found = desk.decide()
    assert [(r.lane, r.amount) for r in found.recalls] == [(2, 100)]
    desk.pool.recalled(2, KEY, UNDER_WAY, desk.now)
    assert not desk.decide().recalls
    desk.says(2, version=-1, used=0, returned=100)
    desk.pool.recalled(2, KEY, desk.seq[2], desk.now)
    assert not desk.decide().recalls
    assert desk.one.outstanding == 300


def test_shares_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="share"):
        PoolPolicy(share=1.5)
