"""Orders over REST and the WebSocket API on all three markets, as Binance's documents describe them."""

from __future__ import annotations

import asyncio
from decimal import Decimal as D

import aiohttp
import pytest
from sim_venue import (
    FAR,
    MARKETS,
    QTY,
    SYMBOL,
    Client,
    account,
    capture,
    configuration,
    next_event,
    order_of,
    run,
    serving,
    trading,
)

from tidegate.errors import UserError
from tidegate.model.time import SECOND
from tidegate.venue.sim.server import VenueServer

UPDATE = {"spot": "executionReport", "usdm": "ORDER_TRADE_UPDATE", "coinm": "ORDER_TRADE_UPDATE"}


@pytest.mark.parametrize("market", MARKETS)
def test_an_order_rests_is_found_and_canceled(market):
    async def scenario():
        async with trading(market) as (_, client):
            made = await client.place(newClientOrderId="tg1")
            assert (made["clientOrderId"], made["symbol"]) == ("tg1", SYMBOL[market])
            found = await client.good("GET", "order", symbol=SYMBOL[market], origClientOrderId="tg1")
            assert found["status"] == "NEW"
            assert D(found["price"]) == D(FAR[market])
            assert D(found["origQty"]) == D(QTY[market])
            (listed,) = await client.good("GET", "openOrders", symbol=SYMBOL[market])
            assert listed["orderId"] == made["orderId"]
            gone = await client.good("DELETE", "order", symbol=SYMBOL[market], orderId=made["orderId"])
            assert gone["status"] == "CANCELED"
            assert gone.get("origClientOrderId", gone["clientOrderId"]) == "tg1"
            assert await client.good("GET", "openOrders") == []
            (kept,) = await client.good("GET", "allOrders", symbol=SYMBOL[market])
            assert kept["status"] == "CANCELED"

    run(scenario)


@pytest.mark.parametrize("market", MARKETS)
def test_the_user_stream_tells_of_order_cancel_and_fill_and_the_money_follows(market):
    async def scenario():
        async with trading(market) as (server, client):
            stream = await client.user()
            await client.ask("order.place", **client.order(newClientOrderId="tg1"))
            event = order_of(await next_event(stream, UPDATE[market]))
            assert (event["x"], event["X"], event["c"]) == ("NEW", "NEW", "tg1")
            await client.ask("order.cancel", symbol=SYMBOL[market], origClientOrderId="tg1")
            event = order_of(await next_event(stream, UPDATE[market]))
            assert (event["x"], event["X"]) == ("CANCELED", "CANCELED")
            if market == "spot":  # there the cancel has an id of its own
                assert event["C"] == "tg1"
                assert event["c"] != "tg1"
            taken = await client.ask(
                "order.place",
                **client.order(type="MARKET", price=None, timeInForce=None, newOrderRespType="RESULT"),
            )
            assert taken["result"]["status"] == "FILLED"
            new, filled = [order_of(await next_event(stream, UPDATE[market])) for _ in range(2)]
            assert new["x"] == "NEW"
            assert (filled["x"], filled["X"], filled["m"]) == ("TRADE", "FILLED", False)
            assert D(filled["l"]) == D(filled["z"]) == D(QTY[market])
            money = await next_event(
                stream, "outboundAccountPosition" if market == "spot" else "ACCOUNT_UPDATE"
            )
            fee, price = D(filled["n"]), D(filled["L"])
            if market == "spot":
                held = {row["a"]: (D(row["f"]), D(row["l"])) for row in money["B"]}
                assert held["BTC"] == (2 + D(QTY[market]) - fee, 0)
                assert held["USDT"] == (100_000 - D(QTY[market]) * price, 0)
                assert fee == D(QTY[market]) * D("0.001")
            else:
                (wallet,), (position,) = money["a"]["B"], money["a"]["P"]
                value = D(QTY[market]) * price if market == "usdm" else D(QTY[market]) * 100 / price
                assert abs(fee - value * D("0.0005")) < D("1e-9")
                assert D(wallet["wb"]) == (100_000 if market == "usdm" else 3) - fee
                assert D(position["pa"]) == D(QTY[market])
                (row,) = await client.good("GET", "positionRisk", symbol=SYMBOL[market])
                assert D(row["positionAmt"]) == D(QTY[market])
            path = "myTrades" if market == "spot" else "userTrades"
            (trade,) = await client.good("GET", path, symbol=SYMBOL[market])
            assert (trade["id"], trade["orderId"]) == (filled["t"], filled["i"])
            assert D(trade["commission"]) == fee
            kinds = [row["kind"] for row in server.record.requests()]
            assert [kind for kind in kinds if kind.startswith("order")] == [
                "order.place",
                "order.cancel",
                "order.place",
            ]

    run(scenario)


def test_a_round_trip_leaves_the_wallet_less_by_fees_and_loss_to_the_last_unit():
    async def scenario():
        async with trading("usdm") as (_, client):
            for side in ("BUY", "SELL"):
                await client.place(side=side, type="MARKET", price=None, timeInForce=None, quantity="0.137")
            bought, sold = await client.good("GET", "userTrades", symbol="BTCUSDT")
            fees = D(bought["commission"]) + D(sold["commission"])
            profit = D("0.137") * (D(sold["price"]) - D(bought["price"]))
            assert D(sold["realizedPnl"]) == profit
            assert fees == D("0.0005") * D("0.137") * (D(sold["price"]) + D(bought["price"]))
            (wallet,) = await client.good("GET", "balance", version="v2")
            assert D(wallet["balance"]) == 100_000 + profit - fees
            assert await client.good("GET", "positionRisk", version="v3") == []

    run(scenario)


def test_spot_locks_what_orders_may_cost_and_gives_it_back():
    async def scenario():
        async with trading("spot") as (_, client):

            async def held():
                made = await client.good("GET", "account")
                return {row["asset"]: (D(row["free"]), D(row["locked"])) for row in made["balances"]}

            buy = await client.place(quantity="0.5", price="60000.01")
            sell = await client.place(side="SELL", quantity="1.25", price="70000")
            assert await held() == {"USDT": (D("69999.995"), D("30000.005")), "BTC": (D("0.75"), D("1.25"))}
            for made in (buy, sell):
                await client.good("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"])
            assert await held() == {"USDT": (100_000, 0), "BTC": (2, 0)}

    run(scenario)


@pytest.mark.parametrize("market", ["usdm", "coinm"])
def test_a_futures_order_is_modified_in_place(market):
    async def scenario():
        async with trading(market) as (_, client):
            stream = await client.user()
            made = await client.place(newClientOrderId="tg1")
            changed = await client.ask(
                "order.modify",
                symbol=SYMBOL[market],
                side="BUY",
                quantity="7",
                price="61000.5",
                orderId=made["orderId"],
            )
            assert changed["result"]["orderId"] == made["orderId"]
            assert D(changed["result"]["origQty"]) == 7
            await next_event(stream)
            event = (await next_event(stream))["o"]
            assert (event["x"], D(event["p"]), D(event["q"]), event["c"]) == (
                "AMENDMENT",
                D("61000.5"),
                7,
                "tg1",
            )
            same = {"symbol": SYMBOL[market], "side": "BUY", "quantity": "7", "price": "61000.5"}
            assert await client.code("PUT", "order", **same, orderId=made["orderId"]) == -5027

    run(scenario)


def test_spot_replaces_by_cancel_and_new_and_stops_where_the_cancel_fails():
    async def scenario():
        async with trading("spot") as (_, client):
            await client.place(newClientOrderId="tg1")
            change = client.order(
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrigClientOrderId="tg1",
                newClientOrderId="tg1-1",
                price="60100",
            )
            answer = await client.ask("order.cancelReplace", **change)
            assert answer["result"]["cancelResult"] == answer["result"]["newOrderResult"] == "SUCCESS"
            assert answer["result"]["newOrderResponse"]["clientOrderId"] == "tg1-1"
            again = await client.ask("order.cancelReplace", **(change | {"newClientOrderId": "tg1-2"}))
            assert again["error"]["code"] == -2022
            assert again["error"]["data"]["cancelResponse"]["code"] == -2011
            assert again["error"]["data"]["newOrderResult"] == "NOT_ATTEMPTED"
            (left,) = await client.good("GET", "openOrders")
            assert left["clientOrderId"] == "tg1-1"
            poor = change | {"cancelOrigClientOrderId": "tg1-1", "newClientOrderId": "x", "quantity": "5"}
            half = await client.ask("order.cancelReplace", **poor)
            assert (half["status"], half["error"]["code"]) == (409, -2021)
            assert half["error"]["data"]["newOrderResponse"]["code"] == -2010
            assert await client.good("GET", "openOrders") == []

    run(scenario)


@pytest.mark.parametrize("market", MARKETS)
def test_everything_open_in_a_symbol_is_canceled_at_once(market):
    async def scenario():
        async with trading(market) as (_, client):
            for n in range(3):
                await client.place(newClientOrderId=f"tg{n}")
            path = "openOrders" if market == "spot" else "allOpenOrders"
            answer = await client.good("DELETE", path, symbol=SYMBOL[market])
            assert len(answer) == 3 if market == "spot" else answer["code"] == 200
            assert await client.good("GET", "openOrders") == []

    run(scenario)


def test_the_countdown_cancels_everything_unless_it_is_called_again_or_disarmed():
    async def scenario():
        async with trading("usdm") as (server, client):
            stream = await client.user()
            await client.place()
            await client.good("POST", "countdownCancelAll", symbol="BTCUSDT", countdownTime=60_000)
            await client.good("POST", "countdownCancelAll", symbol="BTCUSDT", countdownTime=0)
            assert server.orders.next_due() > server.clock.now() + 3600 * SECOND
            assert (await next_event(stream))["o"]["x"] == "NEW"
            await client.good("POST", "countdownCancelAll", symbol="BTCUSDT", countdownTime=1)
            server.pump()
            assert (await next_event(stream))["o"]["x"] == "CANCELED"
            assert server.exchange.counters["countdowns_run_down"] == 1

    run(scenario)


def test_reduce_only_needs_a_position_and_ends_with_it():
    async def scenario():
        async with trading("usdm") as (_, client):
            close = {"side": "SELL", "price": "70000", "reduceOnly": "true"}
            assert await client.refused(**close) == -2022
            market = {"type": "MARKET", "price": None, "timeInForce": None}
            await client.place(**market, quantity="0.030")
            resting = await client.place(**close, quantity="0.030")
            assert await client.refused(**close, quantity="0.010") == -2022
            await client.place(**market, side="SELL", quantity="0.020")
            ended = await client.good("GET", "order", symbol="BTCUSDT", orderId=resting["orderId"])
            assert ended["status"] == "EXPIRED"

    run(scenario)


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_MAKER", "FILLED", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "NEW"),
    ],
)
def test_self_trades_between_accounts_of_one_owner_are_prevented(mode, taker, maker):
    both = [account("main", owner="firm"), account("other", owner="firm"), account("third")]

    async def scenario():
        async with serving(configuration(accounts=both)) as server, aiohttp.ClientSession() as session:
            first, second = Client(session, server, "usdm", "main"), Client(session, server, "usdm", "other")
            bid = (await first.good("GET", "depth", signed=False, symbol="BTCUSDT", limit=5))["bids"][0][0]
            resting = await first.place(price=bid)
            stranger = Client(session, server, "usdm", "third")
            await stranger.place(price=bid)
            sell = {
                "side": "SELL",
                "price": bid,
                "selfTradePreventionMode": mode,
                "newOrderRespType": "RESULT",
            }
            assert (await second.place(**sell))["status"] == taker
            after = await first.good("GET", "order", symbol="BTCUSDT", orderId=resting["orderId"])
            assert after["status"] == maker
            (untouched,) = await stranger.good("GET", "openOrders")
            assert untouched["status"] == "NEW"

    run(scenario)


def test_histories_are_read_by_id_and_by_time():
    async def scenario():
        async with trading("usdm") as (_, client):
            market = {"type": "MARKET", "price": None, "timeInForce": None}
            for _ in range(5):
                await client.place(**market)
            trades = await client.good("GET", "userTrades", symbol="BTCUSDT")
            ids = [trade["id"] for trade in trades]
            assert ids == sorted(ids)
            later = await client.good("GET", "userTrades", symbol="BTCUSDT", fromId=ids[2])
            assert [trade["id"] for trade in later] == ids[2:]
            newest = await client.good("GET", "userTrades", symbol="BTCUSDT", limit=2)
            assert [trade["id"] for trade in newest] == ids[3:]
            none = await client.good(
                "GET", "userTrades", symbol="BTCUSDT", startTime=trades[-1]["time"] + 1000
            )
            assert none == []
            orders = await client.good("GET", "allOrders", symbol="BTCUSDT", orderId=trades[3]["orderId"])
            assert [order["orderId"] for order in orders] == [trade["orderId"] for trade in trades[3:]]

    run(scenario)


def test_stops_wait_and_trigger_as_the_capture_runs_on():
    async def scenario():
        async with trading("usdm") as (server, client):
            stream = await client.user()
            bid, ask = server.exchange.background.touch(1)
            for side, stop in (("BUY", ask + 2), ("SELL", bid - 2)):
                price = server.listings[1].price.text(stop)
                await client.place(
                    side=side,
                    type="STOP_MARKET",
                    stopPrice=price,
                    price=None,
                    timeInForce=None,
                    newClientOrderId=side,
                )
            server.set_speed(20)
            server.run_market()
            seen = []
            while True:
                event = await next_event(stream, "ORDER_TRADE_UPDATE")
                seen.append((event["o"]["c"], event["o"]["x"], event["o"]["o"]))
                if event["o"]["X"] == "FILLED":
                    break
            first = seen[-1][0]
            mine = [row[1:] for row in seen if row[0] == first]
            assert mine == [("NEW", "STOP_MARKET"), ("NEW", "MARKET"), ("TRADE", "MARKET")]

    run(scenario)


def test_requests_in_flight_together_are_all_answered():
    async def scenario():
        async with trading("usdm") as (server, client):
            answers = await asyncio.gather(*(client.place(newClientOrderId=f"tg{n}") for n in range(50)))
            assert len({answer["orderId"] for answer in answers}) == 50
            assert len(await client.good("GET", "openOrders")) == 50
            requests = server.record.requests()
            assert {row["client_id"] for row in requests if row["kind"] == "POST order"} == {
                f"tg{n}" for n in range(50)
            }
            assert all(row["answered_ns"] >= row["received_ns"] > 0 for row in requests)

    run(scenario)


def test_a_spot_user_stream_may_come_over_the_websocket_api():
    async def scenario():
        async with trading("spot") as (_, client):
            answer = await client.ask("userDataStream.subscribe.signature")
            assert answer["result"] == {"subscriptionId": 0}
            client.number += 1
            await client.socket.send_json(
                {"id": client.number, "method": "order.place", "params": client.signed(**client.order())}
            )
            seen = [await client.socket.receive_json(timeout=5) for _ in range(3)]
            kinds = [frame["event"]["e"] if "event" in frame else frame["id"] for frame in seen]
            assert sorted(map(str, kinds)) == [
                str(client.number),
                "executionReport",
                "outboundAccountPosition",
            ]

    run(scenario)


def test_a_market_that_fails_cuts_everybody_off_and_health_says_why():
    async def scenario():
        async with trading("usdm") as (server, client):
            stream = await client.user()

            def fail(now):
                raise RuntimeError("the kernel stopped")

            server.exchange.background.advance = fail
            with pytest.raises(RuntimeError, match="the kernel stopped"):
                server.pump()
            assert (await stream.receive(5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert server.health()["broken"] == "RuntimeError: the kernel stopped"

    run(scenario)


def test_a_port_that_is_taken_is_said_in_one_line():
    async def scenario():
        async with serving() as server:
            port = int(server.url.rpartition(":")[2])
            other = VenueServer.of_capture(capture(), configuration())
            with pytest.raises(UserError, match=f"port {port} .* is taken"):
                await other.start(port=port)

    run(scenario)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fill": "some"}, "fill is 'some'; one of: no_partial, partial"),
        ({"accounts": [account(), account()]}, "two accounts .* the same name"),
        ({"accounts": [account(balances={"KRAKEN": {}})]}, "no market 'KRAKEN'"),
        ({"accounts": [account(api_secret="")]}, "needs api_key and api_secret"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_configuration_that_does_not_hold_is_refused(change, says):
    with pytest.raises(UserError, match=says):
        VenueServer.of_capture(capture(), configuration(**change))


def test_the_secret_never_shows():
    assert "secret" not in repr(VenueServer.of_capture(capture(), configuration()).config)
