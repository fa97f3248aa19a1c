"""Spot on borrowed money at the simulated exchange: loans, interest by the clock's hours, the level, liquidation."""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest
from sim_venue import Client, account, configuration, run, serving
from test_simvenue_money import Ahead

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.time import DAY, HOUR, MINUTE, MS
from tidegate.venue.sim.config import VenueConfig
from tidegate.venue.sim.liquidation import EVERY

HOURLY = "0.00001"
CONFIG = configuration(
    accounts=[
        account(spot="margin", balances={"BINANCE": {"USDT": "10000", "BTC": "0.5"}}),
        account("other"),
    ],
    lending={"USDT": HOURLY, "BTC": HOURLY},
)  # fmt: skip


@asynccontextmanager
async def lending(**more):
    """A server, and the client of its margin account."""
    async with serving(CONFIG, **more) as server, aiohttp.ClientSession() as session:
        client = Client(session, server, "spot")
        client.api, client.version = "sapi", "v1"
        yield server, client


async def loan(client, asset, amount, kind="BORROW", **more):
    return await client.good("POST", "margin/borrow-repay", asset=asset, amount=amount, type=kind, **more)


async def rows(client, **more):
    found = await client.good("GET", "margin/account", **more)
    return found, {row["asset"]: row for row in found["userAssets"]}


def past_the_hour():
    """A clock at 20 minutes past a full hour."""
    clock = Ahead()
    clock.ahead = HOUR - clock.now() % HOUR + 20 * MINUTE
    return clock


def mark(server):
    return Decimal(server.exchange.mark(server.listings.find(Market.SPOT, "BTCUSDT").number)) / 100


def test_a_loan_is_shown_and_repaid_interest_first():
    async def scenario():
        async with lending() as (server, client):
            assert (await rows(client))[0]["marginLevel"] == "999.00000000"
            await loan(client, "USDT", "20000")
            found, assets = await rows(client)
            assert assets["USDT"] == {
                "asset": "USDT", "free": "30000.00000000", "locked": "0.00000000", "borrowed": "20000.00000000",
                "interest": "0.20000000", "netAsset": "9999.80000000",
            }  # fmt: skip
            level = (30_000 + mark(server) / 2) / Decimal("20000.2")
            assert Decimal(found["marginLevel"]) == level.quantize(Decimal("1e-8"), "ROUND_DOWN")
            await loan(client, "USDT", "0.5", "REPAY")
            _, assets = await rows(client)
            assert (assets["USDT"]["borrowed"], assets["USDT"]["interest"]) == (
                "19999.70000000",
                "0.00000000",
            )
            await loan(client, "USDT", "19999.7", "REPAY")
            assert (await rows(client))[0]["marginLevel"] == "999.00000000"

    run(scenario)


def test_interest_is_charged_at_each_full_hour_of_the_clock():
    async def scenario():
        clock = past_the_hour()
        async with lending(clock=clock) as (server, client):

            async def owed():
                server.pump()
                return (await rows(client, timestamp=clock.now() // MS))[1]["USDT"]["interest"]

            await loan(client, "USDT", "1000", timestamp=clock.now() // MS)
            assert await owed() == "0.01000000"
            clock.ahead += 30 * MINUTE
            assert await owed() == "0.01000000"
            clock.ahead += 25 * MINUTE
            assert await owed() == "0.02000000", "55 minutes, and two hours of the clock"
            clock.ahead += 10 * HOUR
            assert await owed() == "0.12000000"

    run(scenario)


def test_no_more_is_lent_than_leaves_a_level_above_one_and_a_half():
    async def scenario():
        async with lending() as (server, client):
            equity = 10_000 + mark(server) / 2
            most = int(equity * 2)
            assert (
                await client.code("POST", "margin/borrow-repay", asset="USDT", amount=most + 1, type="BORROW")
                == -3006
            )
            await loan(client, "USDT", str(most - 10))
            assert (
                await client.code("POST", "margin/borrow-repay", asset="ETH", amount=1, type="BORROW")
                == -1100
            )
            assert (
                await client.code("POST", "margin/borrow-repay", asset="USDT", amount=1, type="GIFT") == -1100
            )
            assert (
                await client.code("POST", "margin/borrow-repay", asset="BTC", amount=9, type="REPAY") == -3041
            )
            assert (
                await client.code("POST", "margin/borrow-repay", asset="BTC", amount="0.1", type="REPAY")
                == -3015
            )

    run(scenario)


def test_orders_borrow_what_they_lack_and_repay_what_they_bring():
    async def scenario():
        async with lending() as (server, client):
            price = float(mark(server))
            order = client.order(type="MARKET", timeInForce=None, price=None, quantity="0.30000")
            assert await client.code("POST", "margin/order", **order) == -2010
            await client.good("POST", "margin/order", **order, sideEffectType="MARGIN_BUY")
            _, assets = await rows(client)
            borrowed = float(assets["USDT"]["borrowed"])
            assert borrowed == pytest.approx(0.3 * price - 10_000, rel=0.001)
            assert float(assets["BTC"]["free"]) == pytest.approx(0.8, rel=0.001)
            sell = order | {"side": "SELL", "quantity": "0.20000"}
            await client.good("POST", "margin/order", **sell, sideEffectType="AUTO_REPAY")
            _, assets = await rows(client)
            left = float(assets["USDT"]["borrowed"]) + float(assets["USDT"]["interest"])
            assert left == pytest.approx(max(0.0, borrowed * 1.00001 - 0.2 * price), abs=20)
            assert await client.code("POST", "margin/order", **sell, sideEffectType="GIFT") == -1100
            assert await client.code("POST", "margin/order", **sell, isIsolated="TRUE") == -1100

    run(scenario)


def test_what_was_borrowed_for_an_order_that_is_cancelled_goes_back():
    async def scenario():
        async with lending() as (_, client):
            order = client.order(price="50000.00", quantity="0.40000")
            made = await client.good("POST", "margin/order", **order, sideEffectType="AUTO_BORROW_REPAY")
            _, assets = await rows(client)
            assert assets["USDT"]["borrowed"] == "10000.00000000"
            assert assets["USDT"]["locked"] == "20000.00000000"
            assert len(await client.good("GET", "margin/openOrders", symbol="BTCUSDT")) == 1
            await client.good("DELETE", "margin/order", symbol="BTCUSDT", orderId=made["orderId"])
            _, assets = await rows(client)
            owed = Decimal(assets["USDT"]["borrowed"]) + Decimal(assets["USDT"]["interest"])
            assert (owed, assets["USDT"]["locked"]) == (Decimal("0.1"), "0.00000000")

    run(scenario)


def fall(server, price):
    """Let the market show another price from here on."""
    listing = server.listings.find(Market.SPOT, "BTCUSDT")
    ticks = round(price * 100)
    touch = server.exchange.background.touch
    server.exchange.background.touch = lambda n: (ticks, ticks) if n == listing.number else touch(n)


def test_at_a_level_of_one_point_one_everything_is_sold_and_repaid():
    async def scenario():
        async with lending(clock=past_the_hour()) as (server, client):
            held = server.exchange.accounts[0]
            server.treasury.deposit(held, Market.SPOT, "BTC", "0.5", server.clock.now())
            await loan(client, "USDT", "60000", timestamp=server.clock.now() // MS)
            server.treasury.deposit(held, Market.SPOT, "USDT", "-70000", server.clock.now())
            await client.good(
                "POST",
                "margin/order",
                **client.order(side="SELL", price="90000.00", quantity="0.10000"),
                timestamp=server.clock.now() // MS,
            )
            debt = Decimal("60000.6")
            fall(server, debt * Decimal("1.101"))
            server.lender.step(server.clock.now() + 2 * EVERY)
            assert not server.exchange.counters.get("spot_liquidations")
            fall(server, debt * Decimal("1.0999"))
            server.lender.step(server.clock.now() + 4 * EVERY)
            assert server.exchange.counters["spot_liquidations"] == 1
            assert not held.open
            assert held.spot["BTC"].free == 0
            fee = money.from_units(list(held.trades.values())[-1].fee, "USDT")
            left = debt * Decimal("1.0999") - fee - debt
            assert Decimal(money.from_units(held.spot["USDT"].free, "USDT")) == pytest.approx(
                left, abs=Decimal("0.02")
            )
            assert server.lender.worths(held)[1] == 0

    run(scenario)


def test_a_short_is_bought_back_and_the_fund_pays_what_is_lacking():
    async def scenario():
        async with lending() as (server, client):
            held = server.exchange.accounts[0]
            price = mark(server)
            server.treasury.deposit(held, Market.SPOT, "BTC", "-0.5", server.clock.now())
            server.treasury.deposit(held, Market.SPOT, "USDT", "90000", server.clock.now())
            await loan(client, "BTC", "1")
            await client.good(
                "POST",
                "margin/order",
                **client.order(side="SELL", type="MARKET", timeInForce=None, price=None, quantity="1.00000"),
            )
            cash = money.from_units(held.spot["USDT"].free, "USDT")
            fall(server, price * 3)
            server.lender.step(server.clock.now() + HOUR // 2)
            assert server.exchange.counters["spot_bankruptcies"] == 1
            assert held.spot["USDT"].free == 0
            lacking = money.from_units(-server.liquidator.insurance["USDT"], "USDT")
            assert lacking == pytest.approx(price * 3 * Decimal("1.00002") - cash, rel=Decimal("0.01"))

    run(scenario)


def test_only_a_margin_account_is_lent_to_and_its_spot_account_is_empty():
    async def scenario():
        async with lending() as (server, client):
            other = Client(client.session, server, "spot", "other")
            other.api, other.version = "sapi", "v1"
            assert await other.code("GET", "margin/account") == -3003
            plain = Client(client.session, server, "spot")
            assert await plain.refused() == -2010
            assert (await plain.ask("order.place", **plain.order()))["error"]["code"] == -2010
            assert (await client.rest("GET", "margin/nothing"))[0] == 404

    run(scenario)


def test_a_margin_accounts_events_come_by_listen_token():
    async def scenario():
        clock = Ahead()
        async with lending(clock=clock) as (server, client):
            socket = await client.session.ws_connect(f"{server.url}/spot/ws-api")
            method = "userDataStream.subscribe.listenToken"

            async def subscribe(token):
                await socket.send_json({"id": 1, "method": method, "params": {"listenToken": token}})
                return await socket.receive_json(timeout=5)

            assert (await subscribe("none"))["error"]["code"] == -1209
            made = await client.good("POST", "userListenToken", signed=False)
            assert (await subscribe(made["token"]))["result"]["expirationTime"] == made["expirationTime"]
            await loan(client, "USDT", "5")
            events = [(await socket.receive_json(timeout=5))["event"]["e"] for _ in range(2)]
            assert events == ["balanceUpdate", "outboundAccountPosition"]
            clock.ahead += DAY
            server.pump()
            assert (await socket.receive_json(timeout=5))["event"]["e"] == "eventStreamTerminated"
            assert (await subscribe(made["token"]))["error"]["code"] == -1209

    run(scenario)


@pytest.mark.parametrize("lent", [{"USDT": "much"}, {"ETH": "0.1"}, {"BTC": "-0.1"}])
def test_a_mistake_in_lending_is_one_line(lent):
    async def scenario():
        async with serving(configuration(lending=lent)):
            pass

    with pytest.raises(UserError, match="lending of"):
        run(scenario)


def test_a_wrong_kind_of_account_is_one_line():
    with pytest.raises(UserError, match="must be cash or margin"):
        VenueConfig.load(configuration(accounts=[account(spot="both")]))
