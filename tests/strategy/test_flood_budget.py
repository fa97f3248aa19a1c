"""A strategy that sends without end is held by its own process: orders are refused, cancels wait, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk.gate_desk import SCOPES, T0, UNIVERSE, merged

from tidegate.execution.strategy_view import StrategyView
from tidegate.model.messages import CancelAll, CancelOrder, Message, NewOrder
from tidegate.model.order import OrdStatus
from tidegate.model.time import MS, SECOND
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.pace import Pace, pace_of
from tidegate.risk.reasons import Reason
from tidegate.strategy.budget import FACTOR, LEAST, Bucket, Budget, Runaway
from tidegate.strategy.live_runner import LiveRunner
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams

ORDERS, CANCELS = 100, 50


class Clock:
    """Stands still unless moved."""

    ts = T0

    def now(self) -> int:
        return self.ts


class Plain(Strategy):
    """Notes what it is told."""

    def on_start(self) -> None:
        self.told: list[tuple[OrdStatus, int]] = []

    def on_order(self, order: StrategyOrder) -> None:
        self.told.append((order.status, order.reason))


class World:
    """A strategy on a live runner over a real gate's limits."""

    def __init__(self, kind: type[Strategy] = Plain) -> None:
        limits = {"orders_per_second": ORDERS, "cancels_per_second": CANCELS}
        gate = Gate(UNIVERSE, SCOPES, Limits.load(merged({"strategies": {"*": limits}})))
        self.clock, self.sent = Clock(), list[Message]()
        self.strategy = kind("mm", 0, 0, StrategyParams())
        self.runner = LiveRunner(
            self.strategy, UNIVERSE, gate, self.clock, lambda messages, trace: self.sent.extend(messages)
        )
        self.runner.start(StrategyView(lane=0, events_at=0, last_cmd=0, orders=[], positions=[]))
        self.market = self.strategy.market_number(0)

    def passes(self, ns: int) -> None:
        """Time passes, and the runner is called when it asks to be."""
        end = self.clock.ts + ns
        while self.runner.next_due <= end:
            self.clock.ts = max(self.clock.ts, self.runner.next_due)
            self.runner.on_time()
        self.clock.ts = end

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(message, kind) for message in self.sent)


def test_the_pace_is_the_gates_own():
    gate = Gate(UNIVERSE, SCOPES, Limits.load(merged({"strategies": {"mm": {
        "orders_per_second": 40, "order_burst": 7, "cancels_per_second": "unlimited"}}})))  # fmt: skip
    assert pace_of(gate, 0) == Pace(40.0, 7.0, float("inf"), float("inf"))
    assert pace_of(gate, 1) == Pace(1000.0, 1000.0, 1000.0, 1000.0)
    assert pace_of(gate, 99) == Pace(0.0, 0.0, 0.0, 0.0)


def test_orders_beyond_the_budget_are_refused_a_little_later_as_the_gate_would():
    world = World()
    orders = [world.market.buy(10, 600_000) for _ in range(ORDERS + LEAST + 5)]
    world.runner.flush()
    assert world.count(NewOrder) == ORDERS + LEAST
    assert world.strategy.told == []  # not within the handler, nor at once
    world.passes(20 * MS)
    assert world.strategy.told == [(OrdStatus.DENIED, Reason.ORDER_THROTTLE)] * 5
    assert [order.status for order in orders[-5:]] == [OrdStatus.DENIED] * 5
    assert len(world.strategy.orders) == ORDERS + LEAST
    assert world.runner.budget.refused == 5


def test_a_refused_replace_leaves_its_order_as_it_is():
    world = World()
    order = world.market.buy(10, 600_000)
    for _ in range(ORDERS + LEAST):
        world.strategy.replace(order, price=599_000)
    world.passes(20 * MS)
    assert world.strategy.told == [(OrdStatus.CREATED, Reason.ORDER_THROTTLE)]
    assert world.strategy.orders == {order.cmd_id: order}


def test_cancels_are_never_starved_by_orders_and_none_is_lost_beyond_their_own_budget():
    world = World()
    orders = [world.market.buy(10, 600_000) for _ in range(ORDERS + LEAST + 50)]
    for order in orders[:100]:
        world.strategy.cancel(order)
        world.strategy.cancel(order)  # twice is once while it waits
    world.runner.flush()
    at_once = world.count(CancelOrder)
    assert CANCELS <= at_once <= CANCELS + LEAST
    assert world.runner.waiting > 0
    world.passes(SECOND)
    asked = [message.cmd_id for message in world.sent if isinstance(message, CancelOrder)]
    assert set(asked) == {order.cmd_id for order in orders[:100]}
    assert world.runner.waiting == 0


def test_a_cancel_of_all_waits_its_turn_too_and_goes_out_when_the_run_ends():
    world = World()
    for _ in range(CANCELS + LEAST + 3):
        world.strategy.cancel_all()
    world.runner.flush()
    assert world.count(CancelAll) == CANCELS + LEAST
    world.runner.stop()
    assert world.count(CancelAll) == CANCELS + LEAST + 1


def test_one_that_answers_each_refusal_with_another_order_leaves_the_loop_its_turns():
    class Again(Plain):
        def on_order(self, order: StrategyOrder) -> None:
            super().on_order(order)
            order.market.buy(10, 600_000)

    world = World(Again)
    for _ in range(ORDERS + LEAST + 5):
        world.market.buy(10, 600_000)
    world.runner.flush()
    calls = 0
    while calls < 50:
        world.clock.ts = world.runner.next_due
        world.runner.on_time()  # returns
        calls += 1
    assert world.runner.budget.refused <= 5 * (calls + 1)
    assert world.count(NewOrder) <= ORDERS + LEAST + FACTOR * ORDERS * 50 * 10 * MS / SECOND + 1


def test_one_that_does_not_stop_asking_is_ended_inside_its_own_loop():
    world = World()
    with pytest.raises(
        Runaway, match="it sends without end: over 2000 orders in a second beyond its limit of 100"
    ):
        while True:
            world.market.buy(10, 600_000)
    assert len(world.runner._refused) == 2000


@given(st.floats(1, 1000), st.integers(1, 500), st.lists(st.integers(0, 200 * MS), min_size=1, max_size=300))
def test_what_the_gate_would_let_through_is_never_refused_here_and_a_bound_holds(rate, burst, gaps):
    budget = Budget(Pace(rate, burst, rate, burst))
    gate = Bucket(rate, burst)  # as the gate counts
    now = passed = 0
    for gap in gaps:
        now += gap
        mine, allowed = budget.order(now), gate.take(now)
        passed += mine
        assert mine or not allowed
    assert passed <= burst + LEAST + FACTOR * rate * now / SECOND + 1


@given(st.floats(0.5, 500), st.integers(1, 50), st.integers(1, 200))
def test_a_bucket_says_when_it_has_one(rate, most, count):
    bucket = Bucket(rate, most)
    now = 1
    for _ in range(count):
        if not bucket.take(now):
            due = bucket.due()
            assert due > now
            now = due
            assert bucket.take(now)
