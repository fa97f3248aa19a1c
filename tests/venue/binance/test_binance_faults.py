"""The adapter when things go wrong: lost streams, silence, limits, clocks, keys, frames cut short."""

from __future__ import annotations

import asyncio

import pytest
from binance_world import CONFIG, KEY, NUMBERS, Session, run, server

from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.messages import SendStatus
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import MS
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.port import VenueDown, VenueRefused
from tidegate.venue.sim.admin import Admin

NEW, TRADE, CANCELED, REPLACED = ExecType.NEW, ExecType.TRADE, ExecType.CANCELED, ExecType.REPLACED
REJECTED, CANCEL_REJECTED, EXPIRED = ExecType.REJECTED, ExecType.CANCEL_REJECTED, ExecType.EXPIRED
every = pytest.mark.parametrize("venue", NUMBERS)


@every
def test_the_user_stream_is_lost_and_comes_back(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            order = desk.new()
            await desk.told(NEW)
            # On spot, events come by the WS API itself.
            Admin(at).disconnect({"kind": "ws_api" if venue == "BINANCE" else "user", "account": "one"})
            await desk.until(lambda: desk.changes == [True, False, True])
            assert desk.venue.connected
            desk.cancel(order)
            await desk.told(CANCELED)
            filled = desk.new(percent=1.0)
            await desk.told(NEW, TRADE, of=filled.cl_ord_id)

    run(work)


def test_an_expired_listen_key_is_made_anew_and_keys_are_kept_alive(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE_USDM", keep_alive=0.05) as desk:
            await desk.until(lambda: True)
            async with asyncio.timeout(10):
                while desk.venue.counters().get("listen keys kept alive", 0) < 2:
                    await asyncio.sleep(0.01)  # no event tells of a PUT
            at.users.close_key(at.exchange.accounts[0], 1)
            await desk.until(lambda: desk.changes[-2:] == [False, True])
            desk.new()
            await desk.told(NEW)

    run(work)


def test_while_the_ws_api_is_down_cancels_go_by_rest_and_new_orders_are_refused(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            order = desk.new()
            await desk.told(NEW)
            desk.venue._ws_api._url = _nowhere
            Admin(at).disconnect({"kind": "ws_api"})
            await desk.until(lambda: desk.changes[-1:] == [False])
            desk.cancel(order)
            refused = desk.new()
            gone, report = await desk.told(CANCELED, REJECTED)
            assert gone.cl_ord_id == order.cl_ord_id
            assert (report.cl_ord_id, report.reason) == (refused.cl_ord_id, Reason.VENUE_DOWN)
            assert desk.venue.counters()["cancels by REST"] == 1

    run(work)


async def _nowhere() -> str:
    raise VenueDown("out of reach, for the test")


def test_what_was_on_its_way_when_the_connection_broke_is_not_reported(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            Admin(at).fault({"kind": "drop_answers", "account": "one", "count": 1})
            Admin(at).fault({"kind": "drop_reports", "account": "one", "count": 1})
            order = desk.new()
            async with asyncio.timeout(10):
                while not at.exchange.live:
                    await asyncio.sleep(0.005)  # the venue is silent: only its own state shows that it came
            Admin(at).disconnect({"kind": "ws_api"})
            await desk.until(lambda: desk.changes == [True, False, True])
            assert desk.reports == []
            assert desk.venue.counters()["outcomes unknown"] == 1
            [status] = await desk.venue.status(SendStatus(1, order.cl_ord_id, 0, desk.number))
            assert (status.status, status.leaves_qty) == (OrdStatus.NEW, order.qty)

    run(work)


def test_a_server_error_says_nothing_of_an_order(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            Admin(at).fault(
                {"kind": "reject_orders", "count": 1, "code": -1007, "text": "Timeout waiting for response"}
            )
            desk.new()
            order = desk.new()
            [new] = await desk.told(NEW)
            assert new.cl_ord_id == order.cl_ord_id
            assert desk.venue.counters()["outcomes unknown"] == 1

    run(work)


def test_orders_stop_at_our_share_of_the_limit_and_cancels_still_go(tmp_path):
    config = CONFIG | {
        "rate_limits": {"BINANCE_USDM": {"weight_1m": 2400, "orders_10s": 10, "orders_long": 1000}}
    }

    async def work():
        async with server(tmp_path, config) as at, Session(at) as desk:
            orders = [desk.new(percent=-1 - n / 10) for n in range(10)]
            kinds = [NEW] * 8 + [REJECTED] * 2
            reports = await desk.told(*kinds)
            refused = [report for report in reports if report.exec_type == REJECTED]
            if len(refused) == 2:  # unless a window of ten seconds ended amid them
                assert {report.reason for report in refused} == {Reason.VENUE_THROTTLE}
                assert {report.cl_ord_id for report in refused} == {order.cl_ord_id for order in orders[8:]}
            for order in orders[:8]:
                desk.cancel(order)
            await desk.told(*[CANCELED] * 8)
            assert desk.venue.counters()["orders held back"] == 2

    run(work)


def test_once_the_venue_says_too_many_orders_wait_and_cancels_go(tmp_path):
    config = CONFIG | {
        "rate_limits": {"BINANCE_USDM": {"weight_1m": 200, "orders_10s": 300, "orders_long": 1200}}
    }

    async def work():
        async with server(tmp_path, config) as at, Session(at) as desk:
            order = desk.new()
            await desk.told(NEW)
            now = desk.venue._rest.venue_now()
            desk.venue._rest.limits.block(now, 30.0, banned=False)
            held = desk.new()
            [refused] = await desk.told(REJECTED)
            assert (refused.cl_ord_id, refused.reason) == (held.cl_ord_id, Reason.VENUE_THROTTLE)
            desk.cancel(order)
            await desk.told(CANCELED)
            with pytest.raises(VenueDown, match="rate limit"):
                await desk.venue.balances()

    run(work)


def test_a_clock_that_is_wrong_is_measured_again_and_the_cancel_sent_once_more(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            order = desk.new()
            await desk.told(NEW)
            desk.venue._rest.offset -= 3_600_000 * MS
            desk.cancel(order)
            await desk.told(CANCELED)
            assert abs(desk.venue._rest.offset) < 1000 * MS
            desk.venue._rest.offset -= 3_600_000 * MS
            desk.new()
            [refused] = await desk.told(REJECTED)
            assert refused.reason == Reason.VENUE_OTHER
            assert desk.venue.counters()["timestamps refused"] == 2
            desk.venue._rest.offset -= 3_600_000 * MS
            assert await desk.venue.balances()

    run(work)


def test_a_bad_key_is_one_line(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            port = int(at.url.rpartition(":")[2])
            for keys in (Keys("nobody", "x"), Keys(KEY, "wrong")):
                universe = Universe([BINANCE[2]])
                venue = BinanceVenue(
                    "BINANCE_USDM",
                    universe,
                    simulated("127.0.0.1", port, "BINANCE_USDM"),
                    keys,
                    SystemClock(),
                )
                with pytest.raises(VenueRefused, match="look at the API key") as refused:
                    await venue.open(lambda reports: None, lambda up: None)
                assert "\n" not in str(refused.value)
                assert "wrong" not in str(refused.value)
                await venue.close()

    run(work)


def test_a_venue_out_of_reach_is_tried_again_until_it_is_there(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            desk = Session(at)
            port = desk.port
            await at.stop()
            async with desk:
                assert not desk.venue.connected
                refused = desk.new()
                [report] = await desk.told(REJECTED)
                assert (report.cl_ord_id, report.reason) == (refused.cl_ord_id, Reason.VENUE_DOWN)
                with pytest.raises(VenueDown):
                    await desk.venue.open_orders()
                await at.start(port=port)
                await desk.until(lambda: desk.changes == [True])
                desk.new()
                await desk.told(NEW)

    run(work)


def test_a_session_that_was_closed_can_be_opened_again(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            desk = Session(at, "BINANCE")
            for _ in range(2):
                async with desk:
                    assert desk.venue.connected
                    desk.new()
                    await desk.told(NEW)
                assert not desk.venue.connected

    run(work)


def test_a_bust_and_a_correction_are_told(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            desk.new(units=2, percent=1.0)
            _, fill = await desk.told(NEW, TRADE)
            trade = fill.exec_id & ((1 << 44) - 1)
            Admin(at).correct({"trade": trade, "quantity": "1.000", "price": "100.1"})
            at.outlets.flush()
            [corrected] = await desk.told(ExecType.TRADE_CORRECT)
            assert (corrected.ref_exec_id, corrected.last_qty) == (fill.exec_id, desk.lots(1))
            Admin(at).bust({"trade": trade})
            at.outlets.flush()
            [busted] = await desk.told(ExecType.TRADE_CANCEL)
            assert busted.ref_exec_id == fill.exec_id

    run(work)


def test_frames_that_cannot_be_read_are_counted_and_the_session_goes_on(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            Admin(at).fault({"kind": "malformed_user", "count": 1})
            desk.new()
            await desk.told(NEW)  # by its answer
            order = desk.new(percent=1.0)
            await desk.told(NEW, TRADE, of=order.cl_ord_id)
            assert desk.venue.counters()["frames not understood"] == 1

    run(work)


def test_secrets_do_not_show(tmp_path, caplog):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            desk.new()
            await desk.told(NEW)
            await at.stop()
            await desk.until(lambda: desk.changes[-1:] == [False])
            with pytest.raises(VenueDown) as down:
                await desk.venue.balances()
            shown = f"{desk.venue!r}{desk.venue.health()}{desk.venue.counters()}{down.value}{down.value.__cause__}"
            assert "trader1secret" not in shown
            assert "signature" not in shown

    with caplog.at_level("DEBUG"):
        run(work)
    assert "trader1secret" not in caplog.text
    assert "signature=" not in caplog.text
