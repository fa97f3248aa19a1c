"""Two quotes in a market: moved, shrunk, pulled and held back by the rules at the top of `quoting`."""

from decimal import Decimal

import msgspec
import pytest
from hosting import INVERSE, LINEAR, SPOT, World
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.quoting import Minimum, QuotePair, quote_sizes
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams


class QuoterParams(StrategyParams, frozen=True):
    move: int = 2
    pause: int = 0


class Quoter(Strategy):
    Params = QuoterParams

    def on_start(self) -> None:
        self.m = self.market_number(0)
        self.pair = QuotePair(self, self.m, self.params.move, self.params.pause)
        self.pair.recover()

    def on_order(self, order: StrategyOrder) -> None:
        self.pair.on_order(order)


def quoter(latency: int = 0, **params):
    world = World(LINEAR, latency=latency)
    world.quote(0, 1000, 1001)
    return world, world.add(Quoter, **params)


def prices(strategy) -> tuple[int, int]:
    pair = strategy.pair
    return tuple(side.order.price if side.order else 0 for side in (pair.bid, pair.ask))


def test_quotes_are_placed_post_only_at_their_targets():
    world, s = quoter()
    s.pair.aim(990, 5, 1011, 6)
    world.settle()
    assert prices(s) == (990, 1011)
    assert [(m.side, m.qty, m.exec_inst) for m in world.sent] == [(Side.SELL, 6, 1), (Side.BUY, 5, 1)]
    assert all(order.status is OrdStatus.NEW for order in s.orders.values())


def test_a_quote_is_moved_only_by_its_least_distance():
    world, s = quoter(move=3)
    s.pair.aim(990, 5, 1011, 5)
    world.settle()
    s.pair.aim(992, 5, 1014, 5)
    world.settle()
    assert prices(s) == (990, 1014)
    assert len(world.sent) == 2  # moved by a replace, not by a new order


def test_nothing_is_asked_while_an_answer_is_outstanding():
    world, s = quoter(latency=5 * MS)
    s.pair.aim(990, 5, 1011, 5)
    for price in (985, 980, 975):
        s.pair.aim(price, 5, 1011, 5)
    assert world.requests == 2
    world.advance(20 * MS)  # acknowledged after 10 ms, and moved to the last target then
    assert world.requests == 3
    world.advance(20 * MS)
    assert prices(s) == (975, 1011)


def test_a_pull_reaches_orders_that_are_still_in_flight_and_asks_once():
    world, s = quoter(latency=5 * MS)
    s.pair.aim(990, 5, 1011, 5)
    world.advance(1 * MS)
    s.pair.pull()
    s.pair.pull()
    world.advance(1 * MS)
    s.pair.pull()
    assert world.requests == 4
    world.advance(SECOND)
    assert not s.orders
    assert not world.resting


def test_moves_keep_their_distance_in_time_and_cancels_do_not():
    world, s = quoter(pause=100 * MS)
    s.pair.aim(990, 5, 1011, 5)
    world.advance(10 * MS)
    s.pair.aim(980, 5, 1021, 5)
    world.advance(10 * MS)
    assert prices(s) == (990, 1011)
    world.advance(100 * MS)
    s.pair.work()
    world.settle()
    assert prices(s) == (980, 1021)
    s.pair.pull()
    world.settle()
    assert prices(s) == (0, 0)


def test_a_fill_rests_its_side_for_the_pause():
    world, s = quoter(pause=100 * MS)
    s.pair.aim(990, 5, 1011, 5)
    world.advance(SECOND)
    world.quote(0, 980, 990)
    assert s.pair.bid.order is None
    s.pair.aim(970, 5, 1011, 5)
    world.settle()
    assert s.pair.bid.order is None
    world.advance(100 * MS)
    s.pair.work()
    world.settle()
    assert prices(s) == (970, 1011)


def test_a_partly_filled_quote_keeps_its_place_and_is_filled_up_by_a_move():
    world, s = quoter()
    s.pair.aim(990, 10, 1011, 10)
    world.settle()
    world.trade(0, 990, 4, Side.SELL)
    s.pair.aim(990, 10, 1011, 10)
    world.settle()
    assert s.pair.bid.order.leaves_qty == 6
    assert world.requests == 2
    s.pair.aim(985, 10, 1011, 10)
    world.settle()
    order = s.pair.bid.order
    assert (order.price, order.leaves_qty, order.qty, order.cum_qty) == (985, 10, 14, 4)


def test_a_quote_larger_than_its_target_shrinks_where_it_stands():
    world, s = quoter()
    s.pair.aim(990, 10, 1011, 10)
    world.settle()
    s.pair.aim(991, 3, 1011, 10)
    world.settle()
    assert (s.pair.bid.order.price, s.pair.bid.order.leaves_qty) == (990, 3)


def test_prices_that_would_trade_go_behind_the_touch():
    world, s = quoter()
    s.pair.aim(1005, 5, 1011, 5)
    world.settle()
    assert prices(s) == (1000, 1011)
    s.pair.aim(980, 5, 990, 5)
    world.settle()
    assert prices(s) == (980, 1001)


def test_our_quotes_never_meet_each_other():
    world, s = quoter(latency=5 * MS, move=1)
    world.quote(0, 900, 1100)
    s.pair.aim(990, 5, 1010, 5)
    world.advance(SECOND)
    s.pair.aim(1015, 5, 1030, 5)  # the bid would pass our own ask, which has to move first
    assert world.requests == 3
    world.advance(10 * MS)
    assert prices(s) == (990, 1030)
    world.advance(SECOND)
    assert prices(s) == (1015, 1030)
    s.pair.aim(980, 5, 1000, 5)
    world.advance(SECOND)
    assert prices(s) == (980, 1000)


def test_a_book_without_a_touch_pulls_both_quotes():
    world, s = quoter()
    s.pair.aim(990, 5, 1011, 5)
    world.settle()
    world.gone(0)
    s.pair.aim(990, 5, 1011, 5)
    world.settle()
    assert prices(s) == (0, 0)


def test_a_denied_quote_is_tried_again_only_after_pauses_that_double():
    world, s = quoter()
    world.gate.deny = lambda order: Reason.POSITION_LIMIT
    for _ in range(600):
        s.pair.aim(990, 5, 1011, 0)
        world.advance(100 * MS)
    assert world.denied() == 6  # at 0, 1, 3, 7, 15, 31 s of the minute
    world.gate.deny = lambda order: 0
    world.advance(10 * SECOND)
    s.pair.aim(990, 5, 1011, 0)
    world.settle()
    assert prices(s) == (990, 0)
    assert s.pair.bid.backoff.count == 0


def test_a_post_only_order_that_would_cross_waits_one_pause():
    world, s = quoter(latency=5 * MS, pause=50 * MS)
    s.pair.aim(1000, 5, 1011, 0)
    world.touches[0].ask = 1000  # the market has moved, the news is not here yet
    world.advance(10 * MS)
    assert s.pair.bid.order is None
    world.touches[0].ask = 1001
    s.pair.aim(1000, 5, 1011, 0)
    assert world.requests == 1
    world.advance(50 * MS)
    s.pair.work()
    world.advance(10 * MS)
    assert prices(s) == (1000, 0)


def test_without_a_pause_a_crossing_target_is_not_repeated_until_it_is_set_anew():
    world, s = quoter()
    world.touches[0].ask = 1000
    s.pair.bid.set(1000, 5)
    s.pair.work()
    world.settle()
    for _ in range(5):
        s.pair.work()
        world.settle()
    assert world.requests == 1


def test_a_refused_move_leaves_the_order_and_the_third_in_a_row_cancels_it():
    world, s = quoter()
    s.pair.aim(990, 5, 1011, 0)
    world.settle()
    world.gate.deny = lambda order: Reason.ORDER_THROTTLE
    for _ in range(65):
        s.pair.aim(980, 5, 1011, 0)
        world.advance(100 * MS)
    assert world.denied() == 3  # at 0, 1 and 3 s
    assert prices(s) == (990, 0)
    for _ in range(10):
        s.pair.aim(980, 5, 1011, 0)
        world.advance(100 * MS)
    assert prices(s) == (0, 0)


def test_a_cancel_refused_by_the_throttle_is_tried_again_later():
    world, s = quoter()
    s.pair.aim(990, 5, 1011, 0)
    world.settle()
    world.gate.deny_cancel = lambda order: Reason.CANCEL_THROTTLE
    for _ in range(10):
        s.pair.pull()
        world.advance(10 * MS)
    assert world.denied() == 1
    world.gate.deny_cancel = lambda order: 0
    world.advance(SECOND)
    s.pair.pull()
    world.settle()
    assert prices(s) == (0, 0)


def test_a_halted_venue_is_not_hammered():
    world, s = quoter()
    world.halted = True
    for _ in range(100):
        s.pair.aim(990, 5, 1011, 5)
        world.advance(100 * MS)
    assert world.requests == 2 * 4  # at 0, 1, 3, 7 s, both sides


def test_orders_that_survive_a_restart_are_taken_over_and_spare_ones_cancelled():
    world, s = quoter()
    s.pair.aim(990, 5, 1011, 5)
    world.settle()
    spare = s.m.buy(5, 970, post_only=True)
    world.settle()
    again = world.restart(s)
    assert prices(again) == (990, 1011)
    assert spare.cmd_id not in again.orders
    again.pair.aim(985, 5, 1011, 5)
    world.settle()
    assert prices(again) == (985, 1011)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_happens_there_is_one_order_a_side_and_at_rest_it_is_on_target(data):
    world, s = quoter(latency=data.draw(st.sampled_from([0, 3 * MS])), move=1)
    mid = 1000
    for _ in range(data.draw(st.integers(5, 30))):
        act = data.draw(st.integers(0, 4))
        if act == 0:
            mid += data.draw(st.integers(-8, 8))
            world.quote(0, mid, mid + 1)
        elif act == 1:
            world.trade(0, mid + data.draw(st.integers(-10, 10)), 3, data.draw(st.sampled_from(list(Side))))
        elif act == 2:
            s.pair.pull()
        else:
            near = data.draw(st.integers(0, 6))
            s.pair.aim(mid - near, data.draw(st.integers(0, 9)), mid + near, data.draw(st.integers(0, 9)))
        world.advance(data.draw(st.sampled_from([0, MS, 7 * MS])))
        sides = [order.side for order in s.orders.values()]
        assert sides.count(Side.BUY) <= 1
        assert sides.count(Side.SELL) <= 1
    world.quote(0, 1000, 1001)
    for _ in range(5):
        s.pair.aim(995, 4, 1006, 4)
        world.advance(SECOND)
    assert prices(s) == (995, 1006)
    assert all(order.leaves_qty <= 4 for order in s.orders.values())


def test_sizes_keep_the_position_within_its_limits():
    assert quote_sizes(0, 10, -50, 50) == (10, 10)
    assert quote_sizes(45, 10, -50, 50) == (5, 10)
    assert quote_sizes(60, 10, -50, 50) == (0, 10)
    assert quote_sizes(4, 10, 0, 50) == (10, 4)
    assert quote_sizes(4, 10, 0, 50, least=5) == (10, 0)


@pytest.mark.parametrize(
    ("item", "price", "least"),
    [
        (LINEAR, 600_000, 1),
        (msgspec.structs.replace(LINEAR, min_notional=Decimal(100)), 616_303, 2),  # 61.63 a lot
        (msgspec.structs.replace(LINEAR, min_qty=Decimal("0.005")), 600_000, 5),
        (SPOT, 6_000_000, 9),  # 0.60 a lot, 5 at least
        (msgspec.structs.replace(INVERSE, min_notional=Decimal(250)), 600_000, 3),  # 100 a lot at any price
    ],
)
def test_the_least_order_is_rounded_up_from_minimum_quantity_and_notional(item, price, least):
    assert Minimum(item).at(price) == least
    assert Minimum(item).at(0) <= least
