"""Every refusal with Binance's code: who asks, when, for what, with how much money, how often."""

from __future__ import annotations

import time

import aiohttp
import pytest
from sim_venue import FREE, MARKETS, SYMBOL, VENUES, Client, account, configuration, run, serving, trading

from tidegate.model.time import MINUTE, SECOND
from tidegate.venue.sim.call import VENUE_NAMES
from tidegate.venue.sim.config import RateLimits, VenueConfig
from tidegate.venue.sim.limits import BAN, Limits
from tidegate.venue.sim.refusal import Refused

MARKET = {"type": "MARKET", "price": None, "timeInForce": None}


@pytest.mark.parametrize("market", MARKETS)
def test_who_asks_is_checked_over_rest(market):
    async def scenario():
        async with trading(market) as (_, client):

            async def refused(expect_status=400, **more):
                status, body, _ = await client.rest("GET", "openOrders", **more)
                assert status == expect_status
                return body["code"]

            now = int(time.time() * 1000)
            assert await refused(401, headers={}) == -2014
            assert await refused(401, headers={"X-MBX-APIKEY": "nobody"}) == -2015
            assert await refused(timestamp=now - 6000) == -1021
            assert await refused(timestamp=now + 2000) == -1021
            assert await refused(timestamp=now, recvWindow=70_000) == -1131
            assert await refused(raw=f"timestamp={now}&signature={'0' * 64}") == -1022
            assert await refused(raw=f"timestamp={now}") == -1102
            bare = "recvWindow=5000"
            assert await refused(raw=f"{bare}&signature={client.signature(bare)}") == -1102
            assert (await client.rest("GET", "openOrders", timestamp=now - 4000))[0] == 200
            assert (await client.rest("GET", "openOrders", timestamp=now - 50_000, recvWindow=60_000))[
                0
            ] == 200

    run(scenario)


def test_who_asks_is_checked_on_the_websocket_api():
    async def scenario():
        async with trading("usdm") as (_, client):
            good = client.signed(**client.order())
            for change, code, status in (
                ({"signature": "0" * 64}, -1022, 400),
                ({"apiKey": "nobody"}, -2015, 401),
                ({"timestamp": good["timestamp"] - 10_000}, -1022, 400),
            ):
                answer = await client.ask_raw("order.place", good | change)
                assert (answer["status"], answer["error"]["code"]) == (status, code)
            for gone, code in (("signature", -1102), ("apiKey", -1102)):
                answer = await client.ask_raw("order.place", {k: v for k, v in good.items() if k != gone})
                assert answer["error"]["code"] == code
            assert (await client.ask_raw("order.dance", {}))["error"]["code"] == -1020
            await client.socket.send_str("{not json")
            assert (await client.socket.receive_json())["error"]["code"] == -1135
            assert (await client.ask_raw("order.place", good))["status"] == 200

    run(scenario)


@pytest.mark.parametrize(
    ("market", "change", "code"),
    [
        *((market, {"symbol": "NOSUCH"}, -1121) for market in MARKETS),
        *((market, {"symbol": None}, -1102) for market in MARKETS),
        *((market, {"side": "HOLD"}, -1117) for market in MARKETS),
        *((market, {"type": "MIRACLE"}, -1116) for market in MARKETS),
        *((market, {"timeInForce": "NOW"}, -1115) for market in MARKETS),
        *((market, {"price": None}, -1102) for market in MARKETS),
        *((market, {"price": "cheap"}, -1100) for market in MARKETS),
        *((market, {"newClientOrderId": "x" * 37}, -1100) for market in MARKETS),
        *((market, {"newClientOrderId": "what?"}, -1100) for market in MARKETS),
        *((market, {"selfTradePreventionMode": "MAYBE"}, -1013) for market in MARKETS),
        ("spot", {"price": "60000.001"}, -1013),
        ("spot", {"price": "0"}, -1013),
        ("spot", {"quantity": "0.000001"}, -1013),
        ("spot", {"quantity": "9001"}, -1013),
        ("spot", {"quantity": "0.00001"}, -1013),
        ("usdm", {"price": "60000.01"}, -4014),
        ("usdm", {"price": "-1"}, -4001),
        ("usdm", {"quantity": "0"}, -4003),
        ("usdm", {"quantity": "0.0001"}, -1111),
        ("usdm", {"quantity": "1001"}, -4005),
        ("usdm", {"quantity": "0.001"}, -4164),
        ("usdm", {"positionSide": "LONG"}, -4061),
        ("coinm", {"quantity": "0.5"}, -1111),
        ("spot", {"quantity": "1.9"}, -2010),
        ("spot", {"side": "SELL", "quantity": "3", "price": "70000"}, -2010),
        ("usdm", {"quantity": "900"}, -2019),
        ("coinm", {"quantity": "900000"}, -2019),
        ("spot", {"type": "LIMIT_MAKER", "price": "70000", "timeInForce": None}, -2010),
        ("usdm", {"timeInForce": "GTX", "price": "70000"}, -5022),
        ("coinm", {"timeInForce": "GTX", "price": "70000"}, -5022),
        ("usdm", {"reduceOnly": "true"}, -2022),
        ("usdm", {"timeInForce": "GTD", "goodTillDate": 5}, -4186),
    ],
)  # fmt: skip
def test_an_order_that_may_not_be_is_refused(market, change, code):
    async def scenario():
        async with trading(market) as (server, client):
            assert await client.refused(**change) == code
            assert not server.exchange.accounts[0].orders
            # Nothing is held back for it.
            money = server.exchange.accounts[0]
            assert all(not held.locked for held in money.spot.values())
            assert not any(money.order_margin.values())

    run(scenario)


def test_the_message_names_the_filter_that_failed():
    async def scenario():
        async with trading("spot") as (_, client):
            for change, name in (({"price": "1.001"}, "PRICE_FILTER"), ({"quantity": "0"}, "LOT_SIZE"),
                                 ({"quantity": "0.00002"}, "NOTIONAL")):  # fmt: skip
                _, body, _ = await client.rest("POST", "order", **client.order(**change))
                assert body["msg"] == f"Filter failure: {name}"

    run(scenario)


@pytest.mark.parametrize(("market", "code"), [("spot", -2010), ("usdm", -4116), ("coinm", -4116)])
def test_a_client_id_is_used_once_at_a_time(market, code):
    async def scenario():
        async with trading(market) as (_, client):
            await client.place(newClientOrderId="tg1")
            assert await client.refused(newClientOrderId="tg1") == code
            await client.good("DELETE", "order", symbol=SYMBOL[market], origClientOrderId="tg1")
            again = await client.place(newClientOrderId="tg1")
            found = await client.good("GET", "order", symbol=SYMBOL[market], origClientOrderId="tg1")
            assert found["orderId"] == again["orderId"]

    run(scenario)


@pytest.mark.parametrize("market", MARKETS)
def test_an_order_that_is_not_there_is_neither_canceled_nor_found(market):
    async def scenario():
        async with trading(market) as (_, client):
            for which in ({"orderId": 17}, {"origClientOrderId": "never"}):
                assert await client.code("DELETE", "order", symbol=SYMBOL[market], **which) == -2011
                assert await client.code("GET", "order", symbol=SYMBOL[market], **which) == -2013
            assert await client.code("GET", "order", symbol=SYMBOL[market]) == -1102
            made = await client.place()
            await client.good("DELETE", "order", symbol=SYMBOL[market], orderId=made["orderId"])
            assert (
                await client.code("DELETE", "order", symbol=SYMBOL[market], orderId=made["orderId"]) == -2011
            )

    run(scenario)


def test_accounts_do_not_see_each_other():
    async def scenario():
        two = configuration(accounts=[account(), account("other")])
        async with serving(two) as server, aiohttp.ClientSession() as session:
            mine, other = Client(session, server), Client(session, server, name="other")
            made = await mine.place()
            assert await other.code("GET", "order", symbol="BTCUSDT", orderId=made["orderId"]) == -2013
            assert await other.code("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"]) == -2011
            assert await other.good("GET", "openOrders") == []

    run(scenario)


def test_open_orders_are_bounded():
    async def scenario():
        for market, code in (("spot", -1013), ("usdm", -2025)):
            async with trading(market, configuration(max_open_orders=3)) as (_, client):
                for _ in range(3):
                    await client.place()
                assert await client.refused() == code

    run(scenario)


def test_what_the_server_does_not_know_is_said():
    async def scenario():
        async with trading("usdm") as (_, client):
            status, body, _ = await client.rest("GET", "moonPhase")
            assert (status, body["code"]) == (404, -5000)
            assert await client.code("GET", "depth", signed=False, symbol="BTCUSDT", limit=0) == -1130
            assert await client.code("GET", "klines", signed=False, symbol="BTCUSDT", interval="7m") == -1120
            assert await client.code("PUT", "listenKey", signed=False) == -1125

    run(scenario)


# Rate limits.


def test_headers_say_what_is_used_and_orders_run_out_but_cancels_do_not():
    async def scenario():
        tight = {"weight_1m": 1000, "orders_10s": 3, "orders_long": 1000}
        async with trading("usdm", configuration(rate_limits={"BINANCE_USDM": tight})) as (_, client):
            status, made, headers = await client.rest("POST", "order", **client.order())
            assert status == 200
            assert (headers["X-MBX-USED-WEIGHT-1M"], headers["X-MBX-ORDER-COUNT-10S"]) == ("1", "1")
            assert headers["X-MBX-ORDER-COUNT-1M"] == "1"
            answer = await client.ask("order.place", **client.order())
            assert [(row["rateLimitType"], row["count"]) for row in answer["rateLimits"]] == [
                ("REQUEST_WEIGHT", 1), ("ORDERS", 2), ("ORDERS", 2),
            ]  # fmt: skip
            # The window may turn over in between: three more are at least one too many.
            seen = [await client.rest("POST", "order", **client.order()) for _ in range(4)]
            over = [(body["code"], headers["Retry-After"]) for status, body, headers in seen if status == 429]
            assert over
            assert all(code == -1015 and 1 <= int(wait) <= 10 for code, wait in over)
            await client.good("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"])

    run(scenario)


def test_too_much_weight_is_429_and_going_on_is_418():
    async def scenario():
        tight = {"weight_1m": 40, "orders_10s": 10, "orders_long": 10, "ban_after": 2}
        async with trading("spot", configuration(rate_limits={"BINANCE": tight})) as (_, client):
            seen = []
            for _ in range(12):
                status, body, headers = await client.rest("GET", "exchangeInfo", signed=False)
                seen.append(status)
                if status != 200:
                    assert body["code"] == -1003
                    assert int(headers["Retry-After"]) >= 1
            assert seen[0] == 200
            assert seen[-1] == 418
            assert 429 in seen
            answer = await client.ask_raw("time", {})
            assert answer["status"] == 418
            assert answer["error"]["data"]["retryAfter"] >= 1

    run(scenario)


def test_windows_turn_over_and_bans_end():
    market = next(iter(VENUE_NAMES))
    limits = Limits(
        VenueConfig(
            rate_limits={"BINANCE": RateLimits(weight_1m=2, orders_10s=1, orders_long=2, ban_after=1)}
        )
    )
    now = 10_000 * MINUTE

    def codes(call, *moments):
        made = []
        for moment in moments:
            try:
                call(moment)
                made.append(0)
            except Refused as no:
                made.append(no.status)
        return made

    weigh = lambda at: limits.weigh("1.2.3.4", market, 1, at)  # noqa: E731
    order = lambda at: limits.order(0, market, at)  # noqa: E731
    assert codes(weigh, now, now, now, now + MINUTE) == [0, 0, 429, 0]
    later = now + 2 * MINUTE
    assert codes(weigh, later, later, later, later, later + BAN - 1, later + BAN) == [0, 0, 429, 418, 418, 0]
    assert codes(order, now, now, now + 10 * SECOND, now + 20 * SECOND) == [0, 429, 0, 429]
    assert FREE.keys() <= set(RateLimits.__struct_fields__)
    assert set(VENUES) == set(VENUE_NAMES.values())
