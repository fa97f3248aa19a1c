"""Trading on imbalance: takes, quotes or waits by the strength of the signal, and leaves in time."""

from decimal import Decimal

import msgspec
import pytest
from hosting import LINEAR, World

from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.imbalance import Imbalance

BASIC = {
    "market": "BTCUSDT.LIN", "size": 5, "signal": "imbalance", "take": 0.8, "quote": 0.4, "hold": "2s",
    "warmup": "1s", "pause": "10ms", "levels": 2, "decay": 0.0,
}  # fmt: skip


def trader(latency=0, item=LINEAR, **changes):
    world = World(item, latency=latency)
    world.quote(0, 1000, 1001)
    s = world.add(Imbalance, **(BASIC | changes))
    world.advance(2 * SECOND)
    return world, s


def show(world, share, mid=1000):
    """A book whose bids hold this share of the size, at two levels a side."""
    bid, ask = round(1000 * share), round(1000 * (1 - share))
    bids = [(mid, max(bid // 2, 1)), (mid - 1, bid // 2)]
    asks = [(mid + 1, max(ask // 2, 1)), (mid + 2, ask // 2)]
    world.book(0, bids, asks)


def test_a_strong_signal_takes_the_touch():
    world, s = trader()
    show(world, 0.95)
    order = world.sent[0]
    assert (order.side, order.price, order.time_in_force) == (Side.BUY, 1001, TimeInForce.IOC)
    assert s.m.position == 5
    world, s = trader()
    show(world, 0.05)
    assert s.m.position == -5


def test_a_take_that_misses_is_not_chased():
    world, s = trader(latency=5 * MS, pause="200ms")
    show(world, 0.95)
    world.touches[0].ask = 1005
    world.advance(20 * MS)
    show(world, 0.5)
    world.advance(SECOND)
    assert s.m.position == 0
    assert len(world.sent) == 1


def test_a_leaning_book_is_quoted_on_the_side_it_leans_to():
    world, s = trader()
    show(world, 0.75)
    world.advance(100 * MS)
    order = next(iter(s.orders.values()))
    assert (order.buy, order.price) == (True, 1000)
    assert world.sent[0].exec_inst & ExecInst.POST_ONLY
    show(world, 0.5)
    world.advance(100 * MS)
    assert not s.orders
    show(world, 0.25)
    world.advance(100 * MS)
    assert [order.buy for order in s.orders.values()] == [False]


def test_a_resting_quote_is_gone_before_the_spread_is_crossed():
    world, s = trader(latency=5 * MS)
    show(world, 0.75)
    world.advance(50 * MS)
    show(world, 0.95)
    world.advance(5 * MS)
    assert [m.time_in_force for m in world.sent] == [TimeInForce.GTC]
    world.advance(200 * MS)
    assert [m.time_in_force for m in world.sent][:2] == [TimeInForce.GTC, TimeInForce.IOC]
    assert s.m.position == 5


def test_a_position_is_kept_while_the_signal_is_for_it_and_offered_when_it_fades():
    world, s = trader()
    show(world, 0.95)
    show(world, 0.85)
    world.advance(100 * MS)
    assert not s.orders
    show(world, 0.6)
    world.advance(100 * MS)
    leaving = next(iter(s.orders.values()))
    assert (leaving.buy, leaving.price, leaving.qty) == (False, 1001, 5)
    world.trade(0, 1002, 50, Side.BUY)
    assert s.m.position == 0


def test_a_position_is_closed_at_the_market_after_its_time():
    world, s = trader()
    show(world, 0.95)
    for _ in range(19):
        world.advance(100 * MS)
    assert s.m.position == 5
    world.advance(500 * MS)
    assert s.m.position == 0
    closing = world.sent[-1]
    assert closing.ord_type is OrdType.MARKET
    assert closing.exec_inst & ExecInst.REDUCE_ONLY


def test_a_signal_that_has_had_its_time_is_not_traded_on_again_until_it_was_gone():
    world, s = trader()
    for _ in range(100):
        show(world, 0.95)
        world.advance(100 * MS)
    assert s.m.position == 0
    assert sum(m.time_in_force is TimeInForce.IOC and m.ord_type is OrdType.LIMIT for m in world.sent) == 1
    show(world, 0.6)
    show(world, 0.95)
    assert s.m.position == 5


def test_the_time_of_a_position_starts_with_its_first_fill():
    world, s = trader()
    show(world, 0.75)
    world.advance(30 * SECOND)
    world.trade(0, 999, 50, Side.SELL)  # the quote that has been resting for half a minute fills
    assert s.m.position == 5
    world.advance(SECOND)
    assert s.m.position == 5
    world.advance(2 * SECOND)
    assert s.m.position == 0


def test_a_signal_against_the_position_closes_it_at_once():
    world, s = trader()
    show(world, 0.95)
    show(world, 0.2)
    world.advance(200 * MS)
    assert s.m.position == 0


def test_a_rest_too_small_to_be_closed_counts_towards_the_next_position():
    world, s = trader(item=msgspec.structs.replace(LINEAR, min_qty=Decimal("0.003")))
    show(world, 0.95)
    show(world, 0.6)
    world.trade(0, 1001, 3, Side.BUY)  # three of the five that are offered
    assert s.m.position == 2
    assert not s.orders
    world.advance(10 * SECOND)
    assert s.m.position == 2
    show(world, 0.95)
    assert s.m.position == 5
    assert world.sent[-1].qty == 3
    assert world.denied() == 0


def test_without_short_selling_a_falling_signal_is_left_alone():
    world, _ = trader(short=False)
    for share in (0.25, 0.05):
        show(world, share)
        world.advance(SECOND)
    assert not world.sent


def test_nothing_is_traded_while_warming_up_or_without_a_book():
    world = World(LINEAR)
    world.quote(0, 1000, 1001)
    world.add(Imbalance, **(BASIC | {"warmup": "10s"}))
    show(world, 0.95)
    world.advance(5 * SECOND)
    assert not world.sent
    world, s = trader()
    show(world, 0.75)
    world.gone(0)
    world.advance(SECOND)
    assert not s.orders


def test_denied_takes_back_off():
    world, _ = trader()
    world.gate.deny = lambda order: Reason.PRICE_COLLAR
    for _ in range(600):
        show(world, 0.95)
        world.advance(100 * MS)
    assert world.denied() == 6


def quotes(world, n=4000, bid=1000):
    """A book whose size tells its next move: ten quotes heavy on a side, then a tick that way."""
    for k in range(n):
        up = (k // 40) % 2 == 0
        world.quote(0, bid, bid + 1, 90 if up else 10, 10 if up else 90)
        world.advance(20 * MS)
        if k % 10 == 9:
            bid += 1 if up else -1


def test_the_micro_price_is_learned_and_traded():
    world, s = trader(signal="microprice", take=1.5, quote=0.2, fit="1s", hold="1s")
    quotes(world)
    heavy = s.micro.adjustment(1000, 90, 1001, 10)
    assert heavy > 1.5
    assert s.micro.adjustment(1000, 10, 1001, 90) == pytest.approx(-heavy)
    fills = [e for e in world.events if e.last_qty]
    assert len(fills) > 20
    assert -5 <= s.m.position <= 5


def test_what_was_learned_survives_a_restart():
    world, s = trader(signal="microprice", take=3.0, quote=2.9, fit="1s")
    quotes(world, 800)
    again = world.restart(s)
    assert again.micro.adjustment(1000, 90, 1001, 10) == s.micro.adjustment(1000, 90, 1001, 10) != 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": "micro"}, "signal is 'micro'"),
        ({"take": 0.3}, "quote is 0.4, must be below take"),
        ({"bins": 1}, "bins is 1, must be at least 2"),
        ({"hold": ""}, "hold"),
    ],
)
def test_parameters_are_checked_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        World(LINEAR).add(Imbalance, **(BASIC | changes))
