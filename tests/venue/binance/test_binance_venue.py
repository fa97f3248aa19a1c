"""The adapter against our venue server: orders' lives on each product, and the questions."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from binance_world import NUMBERS, TOUCH, Session, run, server

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.messages import SendCancel, SendStatus
from tidegate.model.order import ExecInst, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import Endpoints
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.sim.admin import Admin

NEW, TRADE, CANCELED, REPLACED = ExecType.NEW, ExecType.TRADE, ExecType.CANCELED, ExecType.REPLACED
REJECTED, CANCEL_REJECTED, EXPIRED = ExecType.REJECTED, ExecType.CANCEL_REJECTED, ExecType.EXPIRED
every = pytest.mark.parametrize("venue", NUMBERS)


@every
def test_an_order_lives_is_changed_and_cancelled(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            assert desk.venue.connected
            assert desk.changes == [True]
            order = desk.new()
            [new] = await desk.told(NEW)
            assert new.cl_ord_id == order.cl_ord_id
            assert abs(new.ts_venue - new.ts) < 1000 * MS
            for units, percent in ((4, -2.0), (3, -3.0), (4, -2.0)):
                desk.replace(order, units, percent)
                [changed] = await desk.told(REPLACED)
                assert (changed.qty, changed.price) == (desk.lots(units), desk.ticks(percent))
                [open_order] = await desk.venue.open_orders()
                assert (open_order.cl_ord_id, open_order.qty, open_order.price, open_order.leaves_qty) == (
                    order.cl_ord_id, desk.lots(units), desk.ticks(percent), desk.lots(units),
                )  # fmt: skip
            desk.cancel(order)
            [gone] = await desk.told(CANCELED)
            assert (gone.cum_qty, gone.leaves_qty, gone.reason) == (0, 0, 0)
            assert await desk.venue.open_orders() == []
            await asyncio.sleep(0)
            assert len(desk.reports) == 5, "each is told once, though answer and event both say it"

    run(work)


@every
def test_a_restart_learns_whose_many_fills_are_with_few_questions(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at:
            async with Session(at, venue) as desk:
                orders = [desk.new(units=1, percent=1.5) for _ in range(8)]
                reports = await desk.told(*[NEW, TRADE] * 8)
            asked = at.record.size[0]
            async with Session(at, venue) as fresh:
                found = await fresh.venue.fills(min(report.ts_venue for report in reports))
            assert [fill.report.cl_ord_id for fill in found] == [order.cl_ord_id for order in orders]
            kinds = [row["kind"] for row in at.record.requests(asked)]
            assert sum("allOrders" in kind for kind in kinds) == 1
            assert sum("Trades" in kind for kind in kinds) == 1
            assert not any(kind.endswith(" order") or kind.endswith("/order") for kind in kinds)

    run(work)


@every
def test_a_fill_is_reported_booked_and_found_again(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            order = desk.new(units=2, percent=1.0)
            _, fill = await desk.told(NEW, TRADE)
            assert (fill.last_qty, fill.cum_qty, fill.leaves_qty, fill.maker) == (
                order.qty,
                order.qty,
                0,
                False,
            )
            assert fill.last_px == desk.ticks(TOUCH[venue])
            item = BINANCE[2 * desk.number]
            value = item.value(fill.last_px, fill.last_qty)
            assert fill.fee == pytest.approx(value * float(item.taker_fee), rel=1e-6)
            [found] = await desk.venue.fills(fill.ts_venue)
            assert found.report.exec_id == fill.exec_id
            assert (found.report.cl_ord_id, found.report.fee) == (order.cl_ord_id, fill.fee)
            assert (found.instrument, found.side) == (desk.number, Side.BUY)
            assert [f.report.exec_id for f in await desk.venue.fills(0)] == [fill.exec_id]
            assert await desk.venue.fills(fill.ts_venue + 1000 * MS) == []
            again, status = await desk.venue.status(SendStatus(1, order.cl_ord_id, 0, desk.number))
            assert (again.exec_type, again.exec_id, again.fee) == (TRADE, fill.exec_id, fill.fee)
            assert (status.exec_type, status.status) == (ExecType.ORDER_STATUS, OrdStatus.FILLED)
            assert (status.cum_qty, status.leaves_qty) == (order.qty, 0)
            held = await desk.venue.positions()
            assert held == ({} if venue == "BINANCE" else {desk.number: order.qty})

    run(work)


@every
def test_refusals_have_their_reason(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            beyond = {"BINANCE": 5_000, "BINANCE_USDM": 1_000, "BINANCE_COINM": 100_000}
            cases = [
                (desk.new(units=2, percent=1.0, exec_inst=ExecInst.POST_ONLY), Reason.WOULD_CROSS),
                (desk.new(units=beyond[venue]), Reason.INSUFFICIENT_FUNDS),
                (desk.new(ord_type=OrdType.TRAILING_STOP, offset=5), Reason.VENUE_INVALID_ORDER),
                (desk.new(time_in_force=TimeInForce.DAY), Reason.VENUE_INVALID_ORDER),
            ]
            await desk.until(lambda: len(desk.reports) >= len(cases))
            found = {report.cl_ord_id: report for report in desk.reports}
            for order, why in cases:
                assert found[order.cl_ord_id].exec_type == REJECTED
                assert found[order.cl_ord_id].reason == why
            stray = SendCancel(1, 99, 0, desk.number)
            desk.venue.send(stray)
            desk._at = len(cases)
            [refused] = await desk.told(CANCEL_REJECTED)
            assert (refused.reason, refused.qty, refused.price) == (Reason.UNKNOWN_ORDER, 0, 0)

    run(work)


@every
def test_immediate_orders_end_with_what_they_did_not_fill(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            touch = TOUCH[venue]
            big = {"BINANCE": 8, "BINANCE_USDM": 8, "BINANCE_COINM": 80}[venue]
            order = desk.new(units=big, percent=touch, time_in_force=TimeInForce.IOC)
            await desk.until(lambda: desk.reports[-1:] and desk.reports[-1].exec_type in (EXPIRED, CANCELED))
            fills = sum(report.last_qty for report in desk.reports)
            assert 0 < fills < order.qty
            assert desk.reports[-1].cum_qty == fills
            assert desk.reports[-1].reason == Reason.IOC_REMAINDER
            before = len(desk.reports)
            desk.new(units=big, percent=touch, time_in_force=TimeInForce.FOK)
            await desk.until(
                lambda: any(r.exec_type in (EXPIRED, REJECTED, CANCELED) for r in desk.reports[before:])
            )
            assert not any(report.exec_type == TRADE for report in desk.reports[before:])

    run(work)


def test_a_replace_after_a_part_has_filled_asks_for_the_new_total(tmp_path):
    """On spot the successor is for what is left; quantities are told over the whole chain all the same."""

    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE") as desk:
            order = desk.new(units=8, percent=0.01)
            _, fill = await desk.told(NEW, TRADE)
            assert (fill.cum_qty, fill.leaves_qty) == (desk.lots(5), desk.lots(3))
            desk.replace(order, 7, -1.0)
            [changed] = await desk.told(REPLACED)
            assert changed.qty == desk.lots(7)
            [open_order] = await desk.venue.open_orders()
            assert (open_order.qty, open_order.cum_qty, open_order.leaves_qty) == tuple(
                map(desk.lots, (7, 5, 2))
            )
            desk.replace(order, 13, 0.01)
            changed, fill = await desk.told(REPLACED, TRADE)
            assert changed.qty == desk.lots(13)
            assert (fill.last_qty, fill.cum_qty, fill.leaves_qty) == tuple(map(desk.lots, (5, 10, 3)))
            # A gateway that starts anew knows nothing of the chain, and asks.
            async with Session(at, "BINANCE") as later:
                *fills, status = await later.venue.status(SendStatus(1, order.cl_ord_id, 0, 0))
                assert [report.last_qty for report in fills] == [desk.lots(5), desk.lots(5)]
                assert (status.status, status.cum_qty) == (OrdStatus.PARTIALLY_FILLED, desk.lots(10))
                assert (status.qty, status.leaves_qty) == (desk.lots(13), desk.lots(3))
            async with Session(at, "BINANCE") as second:
                [open_order] = await second.venue.open_orders()
                assert (open_order.qty, open_order.cum_qty) == (desk.lots(13), desk.lots(10))
                assert [f.report.cl_ord_id for f in await second.venue.fills(0)] == [order.cl_ord_id] * 2
            async with Session(at, "BINANCE") as third:
                third.replace(order, 12, -2.0)
                [changed] = await third.told(REPLACED)
                assert changed.qty == desk.lots(12)
            async with Session(at, "BINANCE") as fourth:
                fourth.cancel(order)
                [gone] = await fourth.told(CANCELED)
                assert gone.cum_qty == desk.lots(10)

    run(work)


def test_a_fill_that_crosses_a_replace_on_the_wire_is_not_bought_twice(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE") as desk:
            # The events are lost, so the replace is sent for all that was ordered.
            Admin(at).fault({"kind": "drop_reports", "account": "one"})
            order = desk.new(units=8, percent=0.01)
            await desk.told(NEW)
            Admin(at).clear({})
            desk.replace(order, 7, -1.0)
            await desk.until(
                lambda: [r.qty for r in desk.reports if r.exec_type == REPLACED][-1:] == [desk.lots(7)]
            )
            [open_order] = await desk.venue.open_orders()
            assert (open_order.qty, open_order.cum_qty, open_order.leaves_qty) == tuple(
                map(desk.lots, (7, 5, 2))
            )
            assert desk.venue.counters()["replaces corrected"] == 1
            fill, status = await desk.venue.status(SendStatus(1, order.cl_ord_id, 0, 0))
            assert (fill.last_qty, status.cum_qty, status.leaves_qty) == tuple(map(desk.lots, (5, 5, 2)))

    run(work)


@every
def test_an_order_the_venue_does_not_know_is_not_found(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            [answer] = await desk.venue.status(SendStatus(1, 12345, 0, desk.number))
            assert (answer.exec_type, answer.cl_ord_id) == (ExecType.NOT_FOUND, 12345)
            assert abs(answer.ts_venue - answer.ts) < 1000 * MS

    run(work)


@every
def test_cancel_all_leaves_nothing_open(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            await desk.venue.cancel_all()  # of nothing: no error
            desk.new(), desk.new(percent=-2.0)
            await desk.told(NEW, NEW)
            await desk.venue.cancel_all(desk.number)
            gone = await desk.told(CANCELED, CANCELED)
            assert {report.reason for report in gone} == {Reason.VENUE_CANCELED}
            assert await desk.venue.open_orders() == []

    run(work)


def test_the_countdown_cancels_unless_it_is_disarmed(tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.venue.binance.queries.ARMED_EACH", 0.0)

    async def work():
        async with (
            server(tmp_path) as at,
            Session(at, "BINANCE_USDM") as desk,
            Session(at, "BINANCE") as spot,
        ):
            desk.new()
            await desk.told(NEW)
            await desk.venue.countdown(60)
            await desk.venue.countdown(0)
            assert at.orders.countdowns == {}
            await desk.venue.countdown(0.05)
            await desk.told(CANCELED)
            await spot.venue.countdown(0.001)  # there is none: nothing happens
            assert at.orders.countdowns == {}

    run(work)


def test_balances_are_totals_of_what_is_free_and_locked(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE") as desk:
            desk.new()
            await desk.told(NEW)
            held = await desk.venue.balances()
            assert {asset: held[asset] for asset in ("BTC", "USDT")} == {
                "BTC": Decimal(1000),
                "USDT": Decimal(100000),
            }

    run(work)


def test_an_account_without_instruments_is_a_users_mistake():
    with pytest.raises(UserError, match="no instrument of the run"):
        BinanceVenue(
            "BINANCE_COINM", Universe([BINANCE[0]]), Endpoints("http://h", "ws://h", "ws://h"), Keys("k", "s"),
            SystemClock(),
        )  # fmt: skip


def test_reports_are_plain_messages(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at) as desk:
            desk.new(percent=1.0)
            for report in await desk.told(NEW, TRADE):
                assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=type(report)) == report

    run(work)
