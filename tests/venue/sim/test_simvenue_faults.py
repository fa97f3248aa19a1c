"""Each fault on demand, shown on the wire; and the venue's own record and state beside it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal as D

import aiohttp
import pytest
from sim_venue import SYMBOL, next_event, order_of, run, trading

from tidegate.errors import UserError
from tidegate.model.time import MS
from tidegate.venue.sim.faults import KINDS, Faults
from tidegate.venue.sim.record import Record

MARKET = {"type": "MARKET", "price": None, "timeInForce": None}


async def fault(client, kind, **more):
    status, body = await client.admin()("POST", "faults", kind=kind, **more)
    assert (status, body) == (200, {"added": kind})


def test_answers_come_late():
    async def scenario():
        async with trading() as (_, client):
            await fault(client, "delay_answers", min_ms=120, max_ms=160, count=2)
            loop = asyncio.get_running_loop()
            for ask in (client.ask("order.place", **client.order()), client.place()):
                began = loop.time()
                await ask
                assert loop.time() - began >= 0.115
            assert (await client.admin()("GET", "faults"))[1]["acted"] == {"delay_answers": 2}

    run(scenario)


def test_an_answer_is_dropped_and_the_order_stands():
    async def scenario():
        async with trading() as (server, client):
            stream = await client.user()
            await fault(client, "drop_answers", count=2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.place(newClientOrderId="rest"), 0.2)
            assert (await next_event(stream))["o"]["c"] == "rest"
            await client.ask_raw("ping", {})
            await client.socket.send_str(
                json.dumps({"id": "lost", "method": "order.place", "params": client.signed(**client.order())})
            )
            assert (await next_event(stream))["o"]["x"] == "NEW"
            assert (await client.ask_raw("ping", {}))[
                "result"
            ] == {}  # the next answer: the lost one never came
            assert len(server.exchange.live) == 2

    run(scenario)


def test_a_request_is_lost_and_nothing_stands():
    async def scenario():
        async with trading() as (server, client):
            await fault(client, "drop_requests", count=1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.place(), 0.2)
            assert not server.exchange.live
            await client.place()

    run(scenario)


def test_reports_are_dropped_doubled_late_and_cut_short():
    async def scenario():
        async with trading() as (_, client):
            stream = await client.user()

            async def place(name):
                await client.place(newClientOrderId=name)

            await fault(client, "drop_reports", count=1)
            await place("a")
            await place("b")
            assert (await next_event(stream))["o"]["c"] == "b"
            await fault(client, "duplicate_reports", count=1)
            await place("c")
            first, second = await next_event(stream), await next_event(stream)
            assert first == second
            assert first["o"]["c"] == "c"
            await fault(client, "late_reports", count=1, min_ms=80)
            await place("d")
            await place("e")
            assert [(await next_event(stream))["o"]["c"] for _ in range(2)] == ["e", "d"]
            await fault(client, "delay_reports", count=1, min_ms=80)
            await place("f")
            await place("g")
            assert [(await next_event(stream))["o"]["c"] for _ in range(2)] == ["f", "g"]
            await fault(client, "malformed_user", count=1)
            await place("h")
            cut = (await stream.receive(5)).data
            with pytest.raises(json.JSONDecodeError):
                json.loads(cut)
            await place("i")
            assert (await next_event(stream))["o"]["c"] == "i"

    run(scenario)


def test_a_public_frame_is_cut_short_and_the_stream_goes_on():
    async def scenario():
        async with trading() as (server, client):
            url = f"{server.url}/usdm/stream?streams=btcusdt@bookTicker"
            stream = await client.session.ws_connect(url)
            await client.ask_raw("ping", {})
            await fault(client, "malformed_public", count=1)
            server.set_speed(10)
            server.run_market()
            bad = 0
            for _ in range(20):
                try:
                    json.loads((await stream.receive(5)).data)
                except json.JSONDecodeError:
                    bad += 1
            assert bad <= 1
            assert (await client.admin()("GET", "faults"))[1]["acted"]["malformed_public"] == 1

    run(scenario)


def test_a_storm_of_rejects_spares_cancels():
    async def scenario():
        async with trading("spot") as (_, client):
            resting = await client.place()
            await fault(client, "reject_orders", seconds=60)
            status, body, _ = await client.rest("POST", "order", **client.order())
            assert (status, body["code"]) == (503, -1008)
            await client.good("DELETE", "order", symbol="BTCUSDT", orderId=resting["orderId"])
            await client.admin()("DELETE", "faults")
            await fault(client, "reject_orders", count=1, code=-2010, text="No.")
            assert await client.refused() == -2010
            await client.place()

    run(scenario)


def test_a_fault_may_be_one_accounts_alone():
    faults = Faults(1)
    faults.add({"kind": "reject_orders", "account": "other"}, 0)
    faults.reject(0, "main")
    with pytest.raises(Exception, match="-1008"):
        faults.reject(0, "other")


def test_faults_are_drawn_from_the_seed_and_end_in_time():
    def drawn(seed):
        faults = Faults(seed)
        faults.add({"kind": "drop_reports", "probability": 0.3, "seconds": 1}, 0)
        return [faults.draw("drop_reports", n * MS) is not None for n in range(1100)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 200 < sum(drawn(1)) < 400
    assert not any(drawn(1)[1000:])


@pytest.mark.parametrize("wrong", [{"kind": "drop_report"}, {"kind": "drop_reports", "often": 1}, {}])
def test_what_is_no_fault_is_refused(wrong):
    with pytest.raises(UserError):
        Faults(1).add(wrong, 0)
    assert "drop_reports" in KINDS


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_the_exchange_pretends_not_to_know_orders(market):
    async def scenario():
        async with trading(market) as (server, client):
            made = await client.place()
            which = {"symbol": SYMBOL[market], "orderId": made["orderId"]}
            await fault(client, "hide_orders", seconds=60)
            assert await client.code("DELETE", "order", **which) == -2011
            assert await client.code("GET", "order", **which) == -2013
            assert await client.good("GET", "openOrders") == []
            await client.admin()("DELETE", "faults", kind="hide_orders")
            assert (await client.good("GET", "order", **which))["status"] == "NEW"
            assert len(server.exchange.live) == 1

    run(scenario)


@pytest.mark.parametrize(("market", "code"), [("spot", -1013), ("usdm", -4140)])
def test_a_halted_symbol_takes_cancels_only_and_trades_again_after(market, code):
    async def scenario():
        async with trading(market) as (_, client):
            name = f"{SYMBOL[market]}.BINANCE{'' if market == 'spot' else '_USDM'}"
            resting = await client.place()
            await client.place(newClientOrderId="second")
            status, body = await client.admin()("POST", "halt", instrument=name)
            assert (status, body["halted"]) == (200, [SYMBOL[market]])
            assert await client.refused() == code
            info = await client.good("GET", "exchangeInfo", signed=False, symbol=SYMBOL[market])
            assert info["symbols"][0]["status"] != "TRADING"
            await client.good("DELETE", "order", symbol=SYMBOL[market], orderId=resting["orderId"])
            await client.admin()("POST", "resume", instrument=name)
            await client.place(**MARKET)
            assert len(await client.good("GET", "openOrders")) == 1
            status, body = await client.admin()("POST", "halt", instrument="NOSUCH.BINANCE")
            assert status == 400
            assert "known: BTCUSDT.BINANCE" in body["error"]

    run(scenario)


def test_sockets_are_cut_by_kind():
    async def scenario():
        async with trading() as (_, client):
            stream = await client.user()
            await client.ask_raw("ping", {})
            assert (await client.admin()("POST", "disconnect", kind="user"))[1] == {"cut": 1}
            assert (await stream.receive(5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert (await client.ask_raw("ping", {}))["status"] == 200
            assert (await client.admin()("POST", "disconnect"))[1] == {"cut": 1}
            assert (await client.socket.receive(5)).type in (
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            )

    run(scenario)


@pytest.mark.parametrize(
    ("quantity", "status", "left"), [("0.004", "CANCELED", "0.004"), ("", "FILLED", "0.010")]
)
def test_a_fill_comes_after_the_cancel_was_acknowledged(quantity, status, left):
    async def scenario():
        async with trading() as (_, client):
            stream = await client.user()
            made = await client.place()
            await fault(client, "fill_after_cancel", count=1, min_ms=30, quantity=quantity)
            gone = await client.good("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"])
            assert gone["status"] == "CANCELED"
            seen = [(await next_event(stream, "ORDER_TRADE_UPDATE"))["o"] for _ in range(3)]
            assert [row["x"] for row in seen] == ["NEW", "CANCELED", "TRADE"]
            assert (seen[-1]["X"], D(seen[-1]["l"])) == (status, D(left))
            (row,) = await client.good("GET", "positionRisk", symbol="BTCUSDT")
            assert D(row["positionAmt"]) == D(left)
            (trade,) = await client.good("GET", "userTrades", symbol="BTCUSDT")
            assert D(trade["price"]) == 60_000

    run(scenario)


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_a_trade_is_corrected_then_taken_back_and_money_follows(market):
    async def scenario():
        async with trading(market) as (_, client):

            async def money():
                state = (await client.admin()("GET", "state"))[1]["main"]
                return state["spot"], state["wallets"], state["positions"]

            before = await money()
            stream = await client.user()
            await client.place(**MARKET)
            kind = "executionReport" if market == "spot" else "ORDER_TRADE_UPDATE"
            await next_event(stream, kind)
            number = order_of(await next_event(stream, kind))["t"]
            once = await money()
            assert once != before
            quantity = {"spot": "0.02", "usdm": "0.02", "coinm": "7"}[market]
            status, _ = await client.admin()(
                "POST", "correct", trade=number, quantity=quantity, price="50000"
            )
            assert status == 200
            event = order_of(await next_event(stream, kind))
            assert (event["x"], event["t"], D(event["l"]), D(event["L"])) == (
                "TRADE_CORRECT",
                number,
                D(quantity),
                50_000,
            )
            path = "myTrades" if market == "spot" else "userTrades"
            (kept,) = await client.good("GET", path, symbol=SYMBOL[market])
            assert (D(kept["qty"]), D(kept["price"])) == (D(quantity), 50_000)
            await client.admin()("POST", "bust", trade=number)
            event = order_of(await next_event(stream, kind))
            assert (event["x"], event["t"], D(event["z"])) == ("TRADE_CANCEL", number, 0)
            assert await money() == before
            assert await client.good("GET", path, symbol=SYMBOL[market]) == []
            assert (await client.admin()("POST", "bust", trade=number))[0] == 400
            assert (await client.admin()("POST", "bust", trade=1))[0] == 400

    run(scenario)


def test_the_record_is_read_by_page_while_it_grows_and_counts_what_is_beyond_its_limit():
    record = Record(1000)
    for n in range(1200):
        record.request(n, "main", "order.place", "BTCUSDT", f"tg{n}", n + 1)
        if n % 250 == 249:
            assert [row["received_ns"] for row in record.requests(n - 3, 2)] == (
                [n - 3, n - 2] if n < 1003 else []
            )
    assert (record.size, record.left_out) == ((1000, 0), 200)
    assert [row["client_id"] for row in record.requests()] == [f"tg{n}" for n in range(1000)]
    for start in (0, 1, 255, 256, 257, 999):
        assert [row["received_ns"] for row in record.requests(start, 300)] == list(
            range(start, min(1000, start + 300))
        )
    assert record.requests(1000) == record.requests(5, 0) == record.happenings() == []
    record.close()


def test_the_record_has_every_request_order_and_fill_and_needs_the_token():
    async def scenario():
        async with trading() as (_, client):
            await client.ask("order.place", **client.order(newClientOrderId="tg1"))
            await client.ask("order.cancel", symbol="BTCUSDT", origClientOrderId="tg1")
            await client.place(**MARKET, newClientOrderId="tg2")
            _, body = await client.admin()("GET", "record")
            assert [(row["kind"], row["client_id"]) for row in body["requests"]] == [
                ("order.place", "tg1"), ("order.cancel", "tg1"), ("POST order", "tg2"),
            ]  # fmt: skip
            received = [row["received_ns"] for row in body["requests"]]
            assert received == sorted(received)
            assert [(row["what"], row["client_id"], row["status"]) for row in body["happenings"]] == [
                ("NEW", "tg1", "NEW"), ("CANCELED", "tg1", "CANCELED"), ("NEW", "tg2", "NEW"), ("TRADE", "tg2", "FILLED"),
            ]  # fmt: skip
            fill = body["happenings"][-1]
            assert (fill["qty"], fill["instrument"], fill["maker"]) == (10, "BTCUSDT.BINANCE_USDM", False)
            _, rest = await client.admin()("GET", "record", requests_from=2, happenings_from=3)
            assert (len(rest["requests"]), len(rest["happenings"])) == (1, 1)
            assert (await client.admin()("GET", "record", token="guess"))[0] == 403
            _, health = await client.admin()("GET", "health")
            assert (health["requests"], health["open_orders"]) == (3, 0)

    run(scenario)
