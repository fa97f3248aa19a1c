"""Positions brought to a target with aggressive orders."""

from decimal import Decimal

import msgspec
from hosting import LINEAR, World

from tidegate.model.order import ExecInst, OrdType, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.target import PositionTarget
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams


class MoverParams(StrategyParams, frozen=True):
    slippage: int = 0


class Mover(Strategy):
    Params = MoverParams

    def on_start(self) -> None:
        self.m = self.market_number(0)
        self.goal = PositionTarget(self, self.m, self.params.slippage)
        self.goal.recover()

    def on_order(self, order: StrategyOrder) -> None:
        self.goal.on_order(order)


def mover(latency: int = 0, item=LINEAR, **params):
    world = World(item, latency=latency)
    world.quote(0, 1000, 1001, 7, 7)
    return world, world.add(Mover, **params)


def run(world, s, ns, step=50 * MS):
    for _ in range(ns // step):
        s.goal.work()
        world.advance(step)


def test_a_target_is_reached_by_one_market_order_where_there_is_size():
    world, s = mover()
    s.goal.aim(5)
    world.settle()
    assert s.m.position == 5
    assert s.goal.settled
    assert [(m.ord_type, m.qty) for m in world.sent] == [(OrdType.MARKET, 5)]


def test_what_is_left_unfilled_is_tried_again_after_the_pause():
    world, s = mover()
    s.goal.aim(20)
    world.settle()
    assert s.m.position == 7
    assert not s.goal.settled
    run(world, s, SECOND)
    assert s.m.position == 20
    assert [m.qty for m in world.sent] == [20, 13, 6]


def test_one_order_is_in_flight_at_a_time():
    world, s = mover(latency=200 * MS)
    for _ in range(10):
        s.goal.aim(5)
        world.advance(10 * MS)
    assert world.requests == 1
    s.goal.aim(2)  # changed while in flight: what was sent comes, then the rest is undone
    run(world, s, 2 * SECOND)
    assert s.m.position == 2
    assert [m.qty for m in world.sent] == [5, 3]


def test_only_orders_that_shrink_the_position_are_reduce_only():
    world, s = mover()
    for target in (5, 2, 0, 4, -3):
        s.goal.aim(target)
        run(world, s, SECOND)
    assert s.m.position == -3
    assert [bool(m.exec_inst & ExecInst.REDUCE_ONLY) for m in world.sent] == [False, True, True, False, False]


def test_slippage_bounds_the_price_with_an_ioc_limit():
    world, s = mover(slippage=2)
    s.goal.aim(5)
    world.settle()
    order = world.sent[0]
    assert (order.ord_type, order.time_in_force, order.price) == (OrdType.LIMIT, TimeInForce.IOC, 1003)


def test_beyond_its_bound_nothing_is_sent():
    world, s = mover()
    s.goal.aim(5, bound=1000)
    run(world, s, SECOND)
    assert world.requests == 0
    world.quote(0, 999, 1000)
    run(world, s, 100 * MS)
    assert s.m.position == 5
    assert world.sent[0].price == 1000


def test_an_attempt_is_one_order_and_its_fill_is_the_target():
    world, s = mover()
    assert s.goal.attempt(20, bound=1001)
    run(world, s, SECOND)
    assert (s.m.position, s.goal.target, world.requests) == (7, 7, 1)
    assert not s.goal.attempt(20, bound=1000)
    assert s.goal.target == 7


def test_a_denied_order_backs_off_and_comes_back():
    world, s = mover()
    world.gate.deny = lambda order: Reason.NET_NOTIONAL
    s.goal.aim(5)
    run(world, s, 10 * SECOND)
    assert world.denied() == 4  # at 0, 1, 3 and 7 s
    world.gate.deny = lambda order: 0
    run(world, s, 10 * SECOND)
    assert s.m.position == 5


def test_a_rest_below_the_minimum_is_left():
    item = msgspec.structs.replace(LINEAR, min_qty=Decimal("0.003"))
    world, s = mover(item=item)
    s.goal.aim(7)
    world.settle()
    s.goal.aim(9)
    run(world, s, SECOND)
    assert s.m.position == 7
    assert s.goal.settled
    assert world.requests == 1


def test_without_a_touch_nothing_is_sent():
    world, s = mover()
    world.gone(0)
    s.goal.aim(5)
    run(world, s, SECOND)
    assert world.requests == 0


def test_an_order_in_flight_over_a_restart_is_waited_for():
    world, s = mover(latency=200 * MS)
    s.goal.aim(5)
    again = world.restart(s)
    again.goal.aim(5)
    run(world, again, 2 * SECOND)
    assert again.m.position == 5
    assert world.requests == 1
