"""Brackets, margin figures and liquidation of the simulated exchange, as a client sees them."""

from __future__ import annotations

import aiohttp
import pytest
from sim_venue import SYMBOL, Client, account, configuration, next_event, order_of, run, serving, trading

from tidegate.marketdata.binance_instruments import Market
from tidegate.venue.sim.liquidation import CLEARANCE, EVERY
from tidegate.venue.sim.margin import maintenance

SETTLE = {"usdm": (Market.USDM, "USDT"), "coinm": (Market.COINM, "BTC")}
futures = pytest.mark.parametrize("market", SETTLE)


@futures
def test_brackets_are_answered_as_the_exchange_writes_them(market):
    async def scenario():
        async with trading(market) as (_, client):
            version = "v1" if market == "usdm" else "v2"
            answer = await client.good("GET", "leverageBracket", version=version)
            row = next(row for row in answer if row["symbol"] == SYMBOL[market])
            ends = ("notionalFloor", "notionalCap") if market == "usdm" else ("qtyFloor", "qtyCap")
            first, second = row["brackets"][:2]
            assert set(first) == {"bracket", "initialLeverage", "maintMarginRatio", "cum", *ends}
            assert (first["bracket"], first["initialLeverage"], first["maintMarginRatio"], first["cum"]) == (
                1,
                125,
                0.004,
                0,
            )
            assert second[ends[0]] == first[ends[1]] == (50_000 if market == "usdm" else 5)
            assert second["cum"] == (50 if market == "usdm" else 0.005)
            if market == "coinm":
                by_pair = await client.good("GET", "leverageBracket", pair="BTCUSD")
                assert [row["pair"] for row in by_pair] == ["BTCUSD"]
                assert await client.good("GET", "leverageBracket", pair="NONE") == []

    run(scenario)


@futures
def test_leverage_bounds_a_position(market):
    async def scenario():
        async with trading(market) as (server, client):
            symbol = SYMBOL[market]
            assert await client.code("POST", "leverage", symbol=symbol, leverage=126) == -4028
            answer = await client.good("POST", "leverage", symbol=symbol, leverage=100)
            assert answer["maxNotionalValue"] == ("600000" if market == "usdm" else "10")
            many = "11" if market == "usdm" else "6100"  # 660,000 USDT; 10.1 BTC
            assert await client.refused(quantity=many) == -2027
            assert server.exchange.accounts[0].order_margin[SETTLE[market]] == 0
            few = "9" if market == "usdm" else "5000"
            await client.place(quantity=few)
            assert await client.refused(quantity=few) == -2027, "together with what is open"

    run(scenario)


@futures
def test_open_orders_and_position_add_up_to_the_wallets_initial_margin(market):
    async def scenario():
        async with trading(market) as (_, client):
            await client.place(type="MARKET", timeInForce=None, price=None)
            await client.place()
            body = await client.good("GET", "account")
            wallet = next(row for row in body["assets"] if row["asset"] == SETTLE[market][1])
            row = next(row for row in body["positions"] if row["symbol"] == SYMBOL[market])
            for name in ("initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin"):
                assert float(row[name]) == float(wallet[name]) > 0
            assert float(row["initialMargin"]) == pytest.approx(
                float(row["positionInitialMargin"]) + float(row["openOrderInitialMargin"])
            )
            if market == "usdm":
                assert body["totalMaintMargin"] == wallet["maintMargin"]
                assert body["totalInitialMargin"] == wallet["initialMargin"]

    run(scenario)


def two_accounts():
    return configuration(accounts=[account(), account("other")])


@futures
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_an_account_below_its_maintenance_margin_is_closed_out(market, side):
    """The wallet is drained to what is not enough: orders are cancelled, the position is closed at the mark, the
    clearance fee goes to the fund, and nobody else is touched."""

    async def scenario():
        async with serving(two_accounts()) as server, aiohttp.ClientSession() as session:
            client, other = Client(session, server, market), Client(session, server, market, "other")
            for each in (client, other):
                await each.place(side=side, type="MARKET", timeInForce=None, price=None)
                await each.place()
            events = await client.user()
            exchange, (mine, theirs) = server.exchange, server.exchange.accounts
            wallet, asset = SETTLE[market], SETTLE[market][1]
            listing = next(item for item in server.listings.of(wallet[0]) if item.symbol == SYMBOL[market])
            position = mine.positions[listing.number]
            lots, mark = abs(position.lots), exchange.mark(listing.number)
            value = listing.value(lots, mark)
            before = dict(theirs.wallets)
            # Exactly one minor unit above and then at the maintenance margin.
            keep = -mine.unrealised(listing, exchange.mark) + maintenance(mine, listing, exchange.mark)
            mine.wallets[wallet] = keep + 1
            server.liquidator.step(server.clock.now() + 2 * EVERY)
            assert position.lots != 0
            mine.wallets[wallet] = keep
            server.liquidator.step(server.clock.now() + 4 * EVERY)
            server.outlets.flush()
            assert position.lots == 0
            assert not mine.open
            assert theirs.positions[listing.number].lots != 0
            assert theirs.open
            assert theirs.wallets == before
            assert exchange.counters["liquidations"] == 1
            fee = round(value * CLEARANCE)
            # What is left after profit, the taker's fee and the clearance fee; the fund pays what is missing.
            taker = round(value * float(listing.instrument.taker_fee))
            left = keep + _closed(mine) - taker - fee
            if left < 0:
                assert exchange.counters["bankruptcies"] == 1
                assert mine.wallets[wallet] == 0
                assert server.liquidator.insurance[asset] == pytest.approx(fee + left, abs=2)
            else:
                assert mine.wallets[wallet] == pytest.approx(left, abs=2)
                assert server.liquidator.insurance[asset] == fee
            while True:
                event = order_of(await next_event(events, "ORDER_TRADE_UPDATE"))
                if event["c"].startswith("autoclose-") and event["x"] == "TRADE":
                    break
            assert (event["X"], event["S"]) == ("FILLED", "SELL" if side == "BUY" else "BUY")
            assert float(event["z"]) > 0
            assert not await client.good("GET", "openOrders")

    run(scenario)


def _closed(owner):
    """What closing realised: the last trade's."""
    return list(owner.trades.values())[-1].realised
