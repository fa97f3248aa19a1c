"""The lease soak in small: nothing is overshot; and where a core is wrong, it is found."""

from __future__ import annotations

import pytest

from tidegate.risk.leases.holding import Holding, LimitPool, PoolPolicy
from tidegate.risk.leases.lease import Lease
from tidegate.sim.lease_soak import LeaseSoak, SoakPlan, calm


@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_is_overshot_under_loss_doubling_crashes_zombies_and_changing_limits(seed):
    done = LeaseSoak(SoakPlan(orders=50_000, seed=seed, batch=25)).run()
    assert not done.violation
    assert done.orders >= 50_000
    assert min(done.passed, done.refused) > 5_000
    for what in ("lost", "grants", "recalls", "offers", "crash", "replace", "change", "haunt"):
        assert done.counts[what] > 0, what


def test_the_same_seed_takes_the_same_course():
    first, second = (LeaseSoak(SoakPlan(orders=20_000, seed=5)).run() for _ in range(2))
    assert (first.passed, first.refused, first.falsely, first.counts) == (
        second.passed, second.refused, second.falsely, second.counts
    )  # fmt: skip


def test_a_lane_that_gives_back_what_it_uses_is_found(monkeypatch):
    give_back = Lease.give_back
    monkeypatch.setattr(Lease, "give_back", lambda self, amount, used: give_back(self, amount, used - 5))
    assert LeaseSoak(SoakPlan(orders=400_000, seed=11)).run().violation


def test_an_allocator_that_believes_what_lanes_use_is_all_they_have_is_found(monkeypatch):
    free = property(lambda self: self.limit - self.used)
    monkeypatch.setattr(LimitPool, "free", free)
    assert LeaseSoak(SoakPlan(orders=400_000, seed=11)).run().violation


def test_an_allocator_that_reclaims_by_time_is_found(monkeypatch):
    """Half a second without a word, and the lease is taken for free."""
    monkeypatch.setattr(Holding, "outstanding", property(lambda self: max(0, self.used)))
    assert LeaseSoak(SoakPlan(orders=400_000, seed=11)).run().violation


def test_at_nine_tenths_of_the_limit_almost_no_order_is_refused_that_the_sum_had_room_for():
    done = LeaseSoak(calm(0.9, PoolPolicy().share)).run()
    assert 0.85 < done.utilisation < 0.93
    assert done.orders >= 100_000
    assert done.falsely < done.orders / 1000


def test_small_leases_are_asked_for_more_often():
    fair, tiny = (LeaseSoak(calm(0.9, share, 30_000)).run() for share in (0.75, 0.05))
    assert tiny.counts["grants"] > 3 * fair.counts["grants"]
    assert tiny.falsely > fair.falsely
