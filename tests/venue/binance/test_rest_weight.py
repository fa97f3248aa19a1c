"""What is asked by REST, how often and at what weight, with many instruments; and answers that cannot be used."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import msgspec
import orjson
import pytest
from aiohttp import web
from binance_world import KEY, QUICK, UNIVERSE, run

from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.messages import SendCancel
from tidegate.model.scale import ScaleError
from tidegate.model.time import SECOND
from tidegate.venue.binance.contract_facts import ContractPoll
from tidegate.venue.binance.feed import BinanceFeed
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import COINM, PRODUCTS, USDM, Endpoints
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.port import VenueDown, between_fills, client_id

MANY = 20
ORDER = (7 << 40) + 5


def of_many(venue):
    """A universe of twenty instruments of one venue."""
    item = next(item for item in UNIVERSE.instruments if item.venue == venue)
    return Universe([msgspec.structs.replace(item, symbol=f"S{n:02}USDT") for n in range(MANY)])


class Ahead:
    """The system's clock, set ahead at will."""

    def __init__(self):
        self.ahead, self.system = 0, SystemClock()

    def now(self):
        return self.system.now() + self.ahead


class Server:
    """Answers as it is told, and remembers what it was asked: (path, query)."""

    def __init__(self):
        self.asked, self.answers = [], {}

    async def handle(self, request):
        name = request.path.rpartition("/")[2]
        self.asked.append((name, dict(request.query)))
        status, body = self.answers.get(name, (200, {}))
        return web.Response(status=status, body=body if isinstance(body, bytes) else orjson.dumps(body))

    def count(self):
        return Counter(name for name, _ in self.asked)


@asynccontextmanager
async def serving():
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = site._server.sockets[0].getsockname()[1]
    made.endpoints = Endpoints(
        f"http://127.0.0.1:{made.port}", f"ws://127.0.0.1:{made.port}", f"ws://127.0.0.1:{made.port}"
    )
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def account(venue, clock=None):
    """An account whose sockets are not opened."""
    async with serving() as server:
        keys = Keys(KEY, "trader1secret")
        made = BinanceVenue(venue, of_many(venue), server.endpoints, keys, clock or SystemClock(), QUICK)
        try:
            yield server, made
        finally:
            await made.close()


@pytest.mark.parametrize("body", [b"<html>we shall be back</html>", b"", b'{"half'])
def test_an_answer_that_cannot_be_read_is_none(body):
    async def work():
        async with account("BINANCE_USDM") as (server, venue):
            server.answers = dict.fromkeys(("openOrders", "balance", "allOpenOrders"), (200, body))
            for asked in (venue.open_orders, venue.balances, venue.cancel_all):
                with pytest.raises(VenueDown, match="cannot be read"):
                    await asked()

    run(work)


def listed(name, price="60000.0", **more):
    """An open order as `openOrders` lists it."""
    return {
        "symbol": "S00USDT", "clientOrderId": name, "orderId": 1, "side": "SELL", "origQty": "1", "executedQty": "0",
        "price": price, "status": "NEW", "updateTime": 1, "type": "LIMIT", "timeInForce": "GTC", **more,
    }  # fmt: skip


@pytest.mark.parametrize("venue", ["BINANCE", "BINANCE_USDM"])
def test_an_open_order_that_cannot_be_read_hides_no_other_and_is_cancelled_by_its_name(venue):
    async def work():
        async with account(venue) as (server, session):
            ours, off = client_id(ORDER), "60000.000000005"
            present = f"{ours}-3" if venue == "BINANCE" else ours  # spot's third successor
            nameless = listed("")
            del nameless["clientOrderId"]
            server.answers = {
                "openOrders": (
                    200,
                    [listed("web_1", off), listed(client_id(ORDER + 1)), listed(present, off), nameless],
                )
            }
            found = await session.open_orders()
            assert [(o.cl_ord_id, bool(o.unread)) for o in found] == [
                (0, True), (ORDER + 1, False), (ORDER, True), (0, True),
            ]  # fmt: skip
            assert found[0].text_id == "web_1"
            assert off in found[0].unread
            counted = session.counters()
            assert counted["foreign orders not understood"] == 2
            assert counted["open orders not understood"] == 1
            session.send(SendCancel(1, ORDER, 0, found[2].instrument))
            async with asyncio.timeout(5):  # the name it has now, whatever was asked about before
                while all(query.get("origClientOrderId") != present for _, query in server.asked):
                    await asyncio.sleep(0.01)

    run(work)


@pytest.mark.parametrize("owner", ["web_1", client_id(ORDER)])
def test_a_fill_off_our_grid_is_told_without_figures_if_it_is_not_ours(owner):
    async def work():
        async with account("BINANCE_USDM") as (server, session):
            now = SystemClock().now()
            trade = {
                "symbol": "S00USDT", "id": 5, "orderId": 1, "qty": "1", "price": "60000.000000005", "time": now // 10**6,
                "maker": True, "buyer": True, "commission": "0", "commissionAsset": "USDT",
            }  # fmt: skip
            server.answers = {"userTrades": (200, [trade]), "order": (200, {"clientOrderId": owner})}
            if owner != "web_1":
                with pytest.raises(ScaleError):
                    await session.fills(now - SECOND)
                return
            fills = await session.fills(now - SECOND)
            assert {(f.report.last_px, f.report.last_qty > 0) for f in fills} == {(0, True)}
            assert session.counters()["foreign fills off our grid"] == len(fills) == MANY

    run(work)


def test_a_key_that_is_refused_later_is_a_venue_that_does_not_answer():
    """Whoever asks goes on trying: the address may be allowed again."""

    async def work():
        async with account("BINANCE_USDM") as (server, venue):
            refused = 401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action"}
            names = (
                "openOrders",
                "balance",
                "positionRisk",
                "userTrades",
                "allOpenOrders",
                "countdownCancelAll",
            )
            server.answers = dict.fromkeys(names, refused)
            for asked in (
                venue.open_orders(), venue.balances(), venue.positions(), venue.fills(1), venue.cancel_all(),
                venue.countdown(30.0),
            ):  # fmt: skip
                with pytest.raises(VenueDown, match="API key"):
                    await asked

    run(work)


def test_the_dead_mans_switch_of_many_symbols_is_armed_for_longer_and_renewed_in_turn():
    async def work():
        clock = Ahead()
        async with account("BINANCE_USDM", clock) as (server, venue):
            server.answers = {"countdownCancelAll": (200, {})}
            for _ in range(60 * 8):  # an hour, as a gateway asks
                await venue.countdown(30.0)
                clock.ahead += round(7.5 * SECOND)
            armed = {query["countdownTime"] for _, query in server.asked}
            assert armed == {str(160_000)}
            by_symbol = Counter(query["symbol"] for _, query in server.asked)
            assert len(by_symbol) == MANY
            assert min(by_symbol.values()) * 160 / 3600 > 1.9, "renewed once half of its time is over"
            assert len(server.asked) * 10 / 60 <= 150, "of a minute's weight"
            server.asked.clear()
            await venue.countdown(0)
            assert [query["countdownTime"] for _, query in server.asked] == ["0"] * MANY

    run(work)


def test_a_ban_is_no_reason_to_ask_more():
    async def work():
        async with account("BINANCE_USDM") as (server, venue):
            server.answers = {"countdownCancelAll": (418, {"code": -1003, "msg": "banned"})}
            with pytest.raises(VenueDown):
                await venue.countdown(30.0)
            asked = len(server.asked)
            venue._rest.limits.block(venue._rest.venue_now(), 60.0, banned=True)
            for poll in (venue.countdown(30.0), venue.margin(), venue.fills(1), venue.balances()):
                with pytest.raises(VenueDown):
                    await poll
            assert len(server.asked) == asked

    run(work)


@pytest.mark.parametrize("name", PRODUCTS)
def test_regular_readings_of_fills_take_a_tenth_of_the_limit(name):
    async def work():
        async with account(name) as (_, venue):
            product = PRODUCTS[name]
            readings = product.weight.seconds / between_fills(venue)
            assert readings * MANY * product.trades_weight == pytest.approx(product.weight.limit / 10)

    run(work)


@pytest.mark.parametrize("product", [USDM, COINM])
def test_marks_of_many_contracts_are_one_question(product):
    async def work():
        async with serving() as server:
            universe = of_many(product.venue)
            row = {"markPrice": "100.0", "lastFundingRate": "0.0001", "nextFundingTime": 1, "time": 0}
            rows = [row | {"symbol": item.symbol} for item in universe.instruments]
            rows += [None, {}, {"symbol": "OTHER"}, {"symbol": "S00USDT", "markPrice": "no price"}]
            server.answers = {
                "premiumIndex": (200, rows),
                "fundingRate": (200, []),
                "openInterest": (200, {}),
            }
            rest = Rest(product, server.endpoints, None, SystemClock())
            numbers = list(range(MANY))
            poll = ContractPoll(product, rest, universe, numbers, SystemClock(), 0.2, 5.0)
            poll.start()
            async with asyncio.timeout(10):
                while any(not poll.facts(n).mark for n in numbers):
                    await asyncio.sleep(0.01)
            await poll.stop()
            await rest.close()
            assert all("symbol" not in query for name, query in server.asked if name == "premiumIndex")
            assert not poll.counts

    run(work)


def test_a_funding_that_the_venue_does_not_list_is_asked_for_more_and_more_rarely():
    async def work():
        async with serving() as server:
            universe, clock = of_many("BINANCE_USDM"), Ahead()
            numbers, due = list(range(MANY)), clock.now() + 3600 * SECOND
            rows = [
                {
                    "symbol": item.symbol, "markPrice": "100.0", "lastFundingRate": "0.0001",
                    "nextFundingTime": due // 10**6, "time": (due - SECOND) // 10**6,
                }
                for item in universe.instruments
            ]  # fmt: skip
            server.answers = {"premiumIndex": (200, rows), "fundingRate": (200, [])}
            rest = Rest(USDM, server.endpoints, None, clock)
            poll = ContractPoll(USDM, rest, universe, numbers, clock, 0.1, 5.0)
            poll.start()

            async def asked(times):
                async with asyncio.timeout(20):
                    while server.count()["fundingRate"] < MANY * times:
                        await asyncio.sleep(0.01)

            await asked(1)
            for row in rows:
                row["time"] = due // 10**6
            await asked(2)
            began = clock.now()
            for times, seconds in ((3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 32), (9, 60), (10, 60)):
                clock.ahead += seconds * SECOND
                await asked(times)
            assert clock.now() - began < 200 * SECOND
            assert server.count()["fundingRate"] < 500
            await poll.stop()
            await rest.close()

    run(work)


def test_a_spot_feed_asks_about_its_own_symbols_only_and_about_all_where_one_is_unknown(monkeypatch):
    monkeypatch.setattr("tidegate.venue.binance.feed.STATUS_EVERY", 0.02)

    async def work():
        async with serving() as server:
            feed = BinanceFeed("BINANCE", of_many("BINANCE"), server.endpoints, SystemClock(), pace=QUICK)

            async def until(holds):
                async with asyncio.timeout(10):
                    while not holds():
                        await asyncio.sleep(0.01)

            def looks():
                return [query for name, query in server.asked if name == "exchangeInfo"]

            listed = [{"symbol": "S03USDT", "status": "BREAK"}, {"symbol": "OTHER", "status": "BREAK"}]
            server.answers = {"exchangeInfo": (200, {"symbols": listed}), "stream": (404, {})}
            await feed.start(lambda number, rows: None)
            await until(lambda: feed.status)
            assert len(feed.status) == 1
            assert len(orjson.loads(looks()[0]["symbols"])) == MANY
            for strange in ([1], {"symbols": [None]}, {"symbols": 5}, {}):
                server.answers["exchangeInfo"] = 200, strange
                feed.counts["status unanswered"] = 0
                await until(lambda: feed.counts["status unanswered"] > 1)
            server.answers["exchangeInfo"] = 400, {"code": -1121, "msg": "Invalid symbol."}
            await until(lambda: "symbols" not in looks()[-1])
            await feed.stop()

    run(work)
