"""ccxt, a client nobody here wrote, trades on the server: only the addresses it calls are changed."""

from __future__ import annotations

from contextlib import asynccontextmanager

import ccxt.async_support as ccxt
import pytest
from sim_venue import run, serving

HOSTS = ("https://api.binance.com", "https://fapi.binance.com", "https://dapi.binance.com")
KINDS = {
    "binance": ("BTC/USDT", "spot", "spot", 0.01),
    "binanceusdm": ("BTC/USDT:USDT", "swap", "linear", 0.01),
    "binancecoinm": ("BTC/USD:BTC", "swap", "inverse", 3),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def trader(kind):
    """(ccxt's client, symbol, quantity), on a server of its own."""
    symbol, usual, markets, amount = KINDS[kind]
    async with serving() as server:
        options = {
            "defaultType": usual,
            "fetchMarkets": {"types": [markets]},
            "fetchCurrencies": False,
            "fetchMargins": False,
        }
        client = getattr(ccxt, kind)(
            {"apiKey": "key-main", "secret": "secret-main", "enableRateLimit": False, "options": options}
        )
        for name, url in client.urls["api"].items():
            for host in HOSTS:
                if isinstance(url, str) and url.startswith(host):
                    client.urls["api"][name] = url.replace(host, server.url)
        try:
            await client.load_markets()
            yield client, symbol, amount
        finally:
            await client.close()


@EVERY
def test_it_reads_the_market(kind):
    async def scenario():
        async with trader(kind) as (client, symbol, _amount):
            market = client.market(symbol)
            assert market["active"]
            assert market["precision"]["price"] == {"binance": 0.01}.get(kind, 0.1)
            assert market["contractSize"] == {"binance": None, "binanceusdm": 1, "binancecoinm": 100}[kind]
            book = await client.fetch_order_book(symbol, 20)
            assert len(book["bids"]) == len(book["asks"]) == 20
            bid, ask = book["bids"][0][0], book["asks"][0][0]
            assert 61_000 < bid < ask < 62_500
            ticker = await client.fetch_ticker(symbol)
            assert abs(ticker["bid"] - bid) < 1
            trades = await client.fetch_trades(symbol)
            assert trades
            assert all(trade["side"] in ("buy", "sell") and trade["amount"] > 0 for trade in trades)
            candles = await client.fetch_ohlcv(symbol, "1m")
            assert candles[-1][2] >= candles[-1][3]
            assert (await client.fetch_bids_asks([symbol]))[symbol]["bid"] > 0
            assert abs(await client.fetch_time() - client.milliseconds()) < 5000

    run(scenario)


@EVERY
def test_it_places_edits_and_cancels(kind):
    async def scenario():
        async with trader(kind) as (client, symbol, amount):
            made = await client.create_order(
                symbol, "limit", "buy", amount, 60_000, {"clientOrderId": "tgccxt1"}
            )
            assert (made["status"], made["clientOrderId"]) == ("open", "tgccxt1")
            (listed,) = await client.fetch_open_orders(symbol)
            assert (listed["id"], listed["price"], listed["amount"]) == (made["id"], 60_000, amount)
            edited = await client.edit_order(made["id"], symbol, "limit", "buy", 2 * amount, 60_100)
            assert (edited["status"], edited["amount"], edited["price"]) == ("open", 2 * amount, 60_100)
            # Spot replaces by a new order, futures change the one there is.
            assert (edited["id"] == made["id"]) == (kind != "binance")
            found = await client.fetch_order(edited["id"], symbol)
            assert (found["status"], found["remaining"]) == ("open", 2 * amount)
            gone = await client.cancel_order(edited["id"], symbol)
            assert gone["status"] == "canceled"
            assert await client.fetch_open_orders(symbol) == []
            for price in (60_000, 60_001):
                await client.create_order(symbol, "limit", "buy", amount, price)
            await client.cancel_all_orders(symbol)
            assert await client.fetch_open_orders(symbol) == []
            states = {order["status"] for order in await client.fetch_orders(symbol)}
            assert states == {"canceled"}

    run(scenario)


@EVERY
def test_it_sees_trades_positions_and_balances(kind):
    async def scenario():
        async with trader(kind) as (client, symbol, amount):
            before = await client.fetch_balance()
            best = (await client.fetch_order_book(symbol))["asks"][0][0]
            made = await client.create_order(symbol, "market", "buy", amount)
            done = await client.fetch_order(made["id"], symbol)
            assert (done["status"], done["filled"], done["average"]) == ("closed", amount, best)
            (trade,) = await client.fetch_my_trades(symbol)
            assert (trade["order"], trade["side"], trade["price"]) == (made["id"], "buy", best)
            after, fee = await client.fetch_balance(), trade["fee"]
            if kind == "binance":
                assert fee["currency"] == "BTC"
                assert after["BTC"]["total"] == pytest.approx(
                    before["BTC"]["total"] + amount - fee["cost"], abs=1e-12
                )
                assert after["USDT"]["total"] == pytest.approx(
                    before["USDT"]["total"] - amount * best, abs=1e-9
                )
                return
            asset = {"binanceusdm": "USDT", "binancecoinm": "BTC"}[kind]
            assert fee["currency"] == asset
            (position,) = await client.fetch_positions([symbol])
            owned = before[asset]["total"] - fee["cost"] + position["unrealizedPnl"]
            assert after[asset]["total"] == pytest.approx(owned, abs=1e-9)
            assert (position["side"], position["contracts"]) == ("long", amount)
            assert position["entryPrice"] == pytest.approx(best, rel=1e-7)
            assert (await client.set_leverage(10, symbol))["leverage"] == 10
            await client.create_order(symbol, "market", "sell", amount, None, {"reduceOnly": True})
            assert [p for p in await client.fetch_positions([symbol]) if p["contracts"]] == []

    run(scenario)


@EVERY
def test_it_raises_its_own_exceptions_for_our_errors(kind):
    async def scenario():
        async with trader(kind) as (client, symbol, amount):
            ask = (await client.fetch_order_book(symbol))["asks"][0][0]
            with pytest.raises(ccxt.OrderNotFound):
                await client.cancel_order("17", symbol)
            with pytest.raises(ccxt.OrderNotFound):
                await client.fetch_order("17", symbol)
            with pytest.raises(
                ccxt.InsufficientFunds if kind == "binance" else ccxt.ExchangeError, match="nsufficient"
            ):
                await client.create_order(
                    symbol, "limit", "buy", 900 if kind != "binancecoinm" else 900_000, 60_000
                )
            with pytest.raises(ccxt.ExchangeError, match=r"immediately match|as maker"):
                await client.create_order(symbol, "limit", "buy", amount, ask + 10, {"postOnly": True})
            client.secret = "wrong"
            with pytest.raises(ccxt.AuthenticationError):
                await client.fetch_open_orders(symbol)
            client.apiKey = "nobody"
            with pytest.raises(ccxt.AuthenticationError):
                await client.fetch_open_orders(symbol)

    run(scenario)
