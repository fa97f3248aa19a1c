"""Money that no trade moves at the simulated exchange: funding, deposits; and the open interest it shows."""

from __future__ import annotations

import json

import aiohttp
import pytest
from sim_venue import MARKETS, RICH, SYMBOL, Client, account, configuration, next_event, run, serving, trading

from tidegate.errors import UserError
from tidegate.model.clock import SystemClock
from tidegate.model.time import HOUR, MS
from tidegate.venue.sim.config import VenueConfig

IDS = {"usdm": "BTCUSDT.BINANCE_USDM", "coinm": "BTCUSD_PERP.BINANCE_COINM"}
ASSET = {"usdm": "USDT", "coinm": "BTC"}


class Ahead:
    """The system's clock, set ahead at will."""

    def __init__(self):
        self.ahead, self.system = 0, SystemClock()

    def now(self):
        return self.system.now() + self.ahead


async def fill(client, side="BUY"):
    await client.place(side=side, type="MARKET", timeInForce=None, price=None)


@pytest.mark.parametrize("market", IDS)
@pytest.mark.parametrize("rate", ["0.0001", "-0.00025"])
def test_funding_is_paid_out_of_the_wallet_told_and_remembered(market, rate):
    async def scenario():
        clock = Ahead()
        config = configuration(funding={IDS[market]: {"rate": rate}})
        async with trading(market, config, clock=clock) as (server, client):
            told = await client.user()
            await fill(client)
            wallet = (await client.good("GET", "balance"))[0]["balance"]
            before = json.loads((await client.good("GET", "account"))["assets"][0]["walletBalance"])
            premium = await client.good("GET", "premiumIndex", signed=False, symbol=SYMBOL[market])
            premium = premium[0] if market == "coinm" else premium
            assert float(premium["lastFundingRate"]) == float(rate)
            due = premium["nextFundingTime"]
            assert due % (8 * HOUR // MS) == 0
            assert 0 < due - premium["time"] <= 8 * HOUR // MS
            assert await client.good("GET", "fundingRate", signed=False, symbol=SYMBOL[market]) == []
            clock.ahead += 8 * HOUR
            server.pump()
            event = await next_event(told, "ACCOUNT_UPDATE")
            while event["a"]["m"] == "ORDER":
                event = await next_event(told, "ACCOUNT_UPDATE")
            assert (event["a"]["m"], event["a"]["P"]) == ("FUNDING_FEE", [])
            paid = float(event["a"]["B"][0]["bc"])
            assert (paid < 0) == (float(rate) > 0), "longs pay where the rate is above 0"
            assert float(event["a"]["B"][0]["wb"]) == pytest.approx(float(wallet) + paid)
            [row] = await client.good("GET", "fundingRate", signed=False, symbol=SYMBOL[market], limit=3)
            assert (row["fundingTime"], float(row["fundingRate"])) == (due, float(rate))
            assert ("markPrice" in row) is (market == "usdm"), "COIN-M tells no mark"
            value = {"usdm": 0.01 * float(premium["markPrice"]), "coinm": 500 / float(premium["markPrice"])}
            assert paid == pytest.approx(-float(rate) * value[market], rel=1e-6, abs=1e-10)

            async def good(path, **more):
                return await client.good("GET", path, timestamp=clock.now() // MS, **more)

            [income] = await good("income", incomeType="FUNDING_FEE")
            assert (float(income["income"]), income["asset"], income["time"]) == (paid, ASSET[market], due)
            assert await good("income", symbol="ETHUSDT") == []
            assert await good("income", startTime=due + 1) == []
            after = await good("account")
            assert float(after["assets"][0]["walletBalance"]) == pytest.approx(before + paid)

    run(scenario)


def test_open_interest_is_what_its_accounts_hold_and_what_others_are_said_to():
    async def scenario():
        config = configuration(accounts=[account(), account("other")], open_interest={IDS["usdm"]: "1.5"})
        async with serving(config) as server, aiohttp.ClientSession() as session:
            one, two = (Client(session, server, "usdm", name) for name in ("main", "other"))
            coin = Client(session, server, "coinm")

            async def seen(client):
                said = await client.good("GET", "openInterest", signed=False, symbol=SYMBOL[client.market])
                return said["openInterest"]

            assert (await seen(one), await seen(coin)) == ("1.500", "0")
            await fill(one)
            await fill(two, "SELL")
            await fill(two, "SELL")
            assert await seen(one) == "1.520", "the larger side"
            await fill(coin)
            assert await seen(coin) == "5"

    run(scenario)


@pytest.mark.parametrize("market", MARKETS)
def test_a_deposit_is_told_and_counts(market):
    async def scenario():
        async with trading(market) as (_, client):
            told, asset = await client.user(), "BTC" if market == "coinm" else "USDT"
            venue = {"spot": "BINANCE", "usdm": "BINANCE_USDM", "coinm": "BINANCE_COINM"}[market]
            had = float(RICH[venue][asset])
            asked = {"account": "main", "venue": venue, "asset": asset}
            status, _ = await client.admin()("POST", "deposit", amount="2.5", **asked)
            assert status == 200
            event = await next_event(told)
            if market == "spot":
                assert (event["e"], event["a"], float(event["d"])) == ("balanceUpdate", "USDT", 2.5)
                event = await next_event(told)
                assert float(event["B"][0]["f"]) == had + 2.5
            else:
                assert (event["a"]["m"], float(event["a"]["B"][0]["wb"])) == ("DEPOSIT", had + 2.5)
            await client.admin()("POST", "deposit", amount="-1", **asked)
            event = await next_event(told)
            assert event["e"] == "balanceUpdate" if market == "spot" else event["a"]["m"] == "WITHDRAW"
            status, said = await client.admin()("POST", "deposit", amount="1", account="nobody", venue=venue)
            assert (status, said["error"]) == (400, f"no account 'nobody' at {venue!r}")

    run(scenario)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"funding": {"X.Y": {}}}, "no contract 'X.Y'"),
        ({"funding": {"BTCUSDT.BINANCE": {}}}, "no contract 'BTCUSDT.BINANCE'"),
        ({"funding": {IDS["usdm"]: {"rate": "much"}}}, "rate 'much' is none"),
        ({"funding": {IDS["usdm"]: {"every": 0.0}}}, "is too often"),
        ({"open_interest": {"X.Y": "1"}}, "no contract 'X.Y'"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(wrong, said):
    async def scenario():
        async with serving(configuration(**wrong)):
            pass

    with pytest.raises(UserError, match=said):
        run(scenario)
    assert VenueConfig.load(configuration(funding={IDS["usdm"]: {}})).funding[IDS["usdm"]].every == 28_800
