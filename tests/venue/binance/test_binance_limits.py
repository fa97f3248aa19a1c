"""Rate limits kept on our side, and what the venue says of them; the user stream's two ways."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from binance_world import CONFIG, KEY, QUICK, Session, run, server

from tidegate.model.clock import SystemClock
from tidegate.model.order import ExecType
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.limits import POLLS, Limits
from tidegate.venue.binance.products import SPOT, USDM, simulated
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.user_stream import UserStream
from tidegate.venue.port import VenueDown

NOW = 1_700_000_000 * SECOND  # the start of a window of ten seconds


def test_orders_keep_within_four_fifths_of_each_window():
    limits = Limits(SPOT)
    assert sum(limits.order(NOW + n) for n in range(200)) == 80
    assert limits.order(NOW + 10 * SECOND), "the next window is empty"


def test_what_the_venue_counts_is_adopted_and_never_forgotten_early():
    limits = Limits(USDM)
    limits.headers(NOW, {"X-MBX-USED-WEIGHT-1M": "100", "x-mbx-order-count-10s": "239", "X-Other": "9"})
    assert limits.weight.used == 100
    assert limits.order(NOW)
    assert not limits.order(NOW), "240 of 300"
    limits.headers(NOW, {"X-MBX-ORDER-COUNT-10S": "3"})
    assert not limits.order(NOW), "an older answer lowers nothing"


def test_limits_are_those_the_venue_tells():
    limits = Limits(SPOT)
    limits.told(NOW, [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 10, "count": 2},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 100, "count": 60},
        {"rateLimitType": "ORDERS", "interval": "HOUR", "intervalNum": 1, "limit": 7},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
    ])  # fmt: skip
    assert sum(limits.order(NOW) for _ in range(20)) == 5, "0.8 of 7 an hour is the tightest"
    assert limits.query(NOW, 6) > 0
    assert limits.query(NOW, 5) == 0


def test_questions_wait_for_the_next_window_and_cancels_do_not():
    limits = Limits(USDM)
    assert limits.query(NOW, 1680) == 0
    assert limits.query(NOW, 1) == 60 * SECOND - NOW % (60 * SECOND)
    assert [limits.cancel(NOW) for _ in range(1000)] == [0] * 1000


def test_polls_leave_room_for_questions_and_questions_for_orders():
    limits = Limits(SPOT)
    while not limits.query(NOW, 20, POLLS):
        pass
    assert limits.weight.used == 3_000
    while not limits.query(NOW, 20):
        pass
    assert limits.weight.used == 4_200
    assert all(limits.order(NOW + n * 10 * SECOND // 80) for n in range(80))


def test_no_question_keeps_a_futures_order_back_for_it_weighs_nothing():
    limits = Limits(USDM)
    limits.headers(NOW, {"X-MBX-USED-WEIGHT-1M": "2400"})
    assert limits.query(NOW, 1) > 0
    assert limits.order(NOW)
    assert limits.weight.used == 2_400
    limits.block(NOW, 30.0, banned=False)
    assert not limits.order(NOW), "but the venue's word holds for all"


@pytest.mark.parametrize(("banned", "pause"), [(False, SECOND // 10), (True, SECOND)])
def test_after_too_many_cancels_go_one_at_a_time(banned, pause):
    limits = Limits(USDM)
    limits.block(NOW, 30.0, banned)
    assert not limits.order(NOW)
    assert limits.query(NOW, 1) == 30 * SECOND
    assert limits.cancel(NOW) == 0
    assert limits.cancel(NOW + 1) == pause - 1
    assert limits.cancel(NOW + pause) == 0
    later = NOW + 30 * SECOND
    assert not limits.blocked(later)
    assert limits.order(later)
    assert [limits.cancel(later) for _ in range(10)] == [0] * 10


def test_the_venues_429_is_obeyed(tmp_path):
    small = {"weight_1m": 200, "orders_10s": 300, "orders_long": 1200, "ban_after": 1000}
    config = CONFIG | {"rate_limits": {"BINANCE_USDM": small}}

    async def work():
        async with server(tmp_path, config) as at, Session(at) as desk:
            order = desk.new()
            await desk.told(ExecType.NEW)
            async with aiohttp.ClientSession() as other:  # somebody else at this address uses it up
                for _ in range(60):
                    async with other.get(f"{at.url}/fapi/v1/depth?symbol=BTCUSDT") as answer:
                        if answer.status == 429:
                            break
                else:
                    pytest.fail("the venue allows more than it says")
            with pytest.raises((VenueDown, VenueError)):
                await desk.venue.balances()
            assert desk.venue.counters()["rate limit hit"] >= 1
            desk.new()
            [refused] = await desk.told(ExecType.REJECTED)
            assert refused.reason == Reason.VENUE_THROTTLE
            desk.cancel(order)  # it goes out; this venue counts it, too, and refuses it
            [answer] = await desk.told(ExecType.CANCEL_REJECTED)
            assert answer.reason == Reason.VENUE_THROTTLE

    run(work)


def test_spot_without_a_subscription_falls_back_to_a_listen_key(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            endpoints = simulated("127.0.0.1", int(at.url.rpartition(":")[2]), "BINANCE")
            clock, frames, changed = SystemClock(), [], asyncio.Event()
            rest = Rest(SPOT, endpoints, Keys(KEY, "trader1secret"), clock)

            async def refuse() -> None:
                raise VenueError(400, -1020, "This operation is not supported.")

            def hear(found: list[bytes], ts: int) -> None:
                frames.extend(found)
                changed.set()

            stream = UserStream(SPOT, endpoints, rest, refuse, hear, changed.set, clock, QUICK, keep_alive=60)
            await stream.open()
            assert not stream.up
            stream.ws_api_changed(True)
            await stream.settled()
            assert stream.up
            assert stream.health()["by"] == "listen key"
            now = rest.venue_now() // MS
            assert now
            changed.clear()
            await rest.signed("POST", SPOT.order, {
                "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1",
                "price": "99.00",
            })  # fmt: skip
            async with asyncio.timeout(10):
                while not any(b"executionReport" in frame for frame in frames):
                    changed.clear()
                    await changed.wait()
            await stream.close()
            await rest.close()

    run(work)
