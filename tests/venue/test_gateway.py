"""The gateway on the log: orders out, reports in, and what goes wrong between."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from gateway_world import ACCOUNT, SCOPE, Desk

from tidegate.errors import UserError
from tidegate.execution.ids import cl_ord_id
from tidegate.model.messages import (
    ReplaceOrder,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
    SendStatus,
)
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.wire import pack
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings

QUIET = GatewaySettings(countdown=0.0, reconcile_every=1e6, drop_copy=1e6)
"""Only what a test does itself."""


def test_an_order_goes_out_and_its_fill_comes_back():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.place(qty=10, trace=777)
            await desk.status(key, OrdStatus.NEW)
            desk.exchange.fill(key, 4)
            await desk.status(key, OrdStatus.PARTIALLY_FILLED)
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            desk.agree()
            assert [r.exec_type for r in desk.reports()] == [ExecType.NEW, ExecType.TRADE, ExecType.CANCELED]
            (hop,) = desk.hops
            assert hop[0] == 777
            assert hop[1] <= hop[2] <= hop[3]
            assert desk.traces() == [777, 777, 777]
            await asyncio.sleep(200)
            assert not desk.alerts()
            assert desk.gateway.health()["ok"]

    run(main())


def test_new_orders_wait_for_a_clean_reconciliation_and_cancels_do_not():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key, other = await desk.rest(), await desk.rest()
            desk.exchange.deaf = True
            desk.venue.drop()
            desk.venue.back()
            held = await desk.place()
            await desk.status(held, OrdStatus.REJECTED)
            assert desk.lane.order(held).reason == Reason.GATEWAY_HELD
            await desk.command(ReplaceOrder(desk.clock.now(), desk.lane.order(other).cmd_id, price=101))
            await desk.until(lambda: desk.reports(ExecType.CANCEL_REJECTED))
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            assert "reconcile" in desk.gateway.session.holds
            desk.exchange.deaf = False
            await desk.until(lambda: not desk.gateway.session.holds)
            await desk.rest()
            await desk.status(other, OrdStatus.NEW)
            desk.agree()
            assert held not in desk.exchange.book.orders
            assert not desk.exchange.requests(SendReplace)

    run(main())


# Fencing.


def request(desk, sequence=900, lane=0, age=0, epoch=9, account=ACCOUNT, kind=SendNew):
    now = desk.clock.now()
    key = cl_ord_id(lane, sequence)
    if kind is SendNew:
        m = SendNew(now, key, account, 0, Side.BUY, OrdType.LIMIT, 10, 100, 0, TimeInForce.GTC, 0, 0, 0, 0)
    else:
        m = kind(now, key, account, 0)
    return pack([m], ts=now - age, lane=lane, epoch=epoch, seq=1)


async def send(desk, data):
    desk.user.send("gw.X.main", data)
    await asyncio.sleep(0.1)


def test_a_zombie_lanes_requests_are_dropped():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            await send(desk, request(desk, 900, epoch=9))
            await send(desk, request(desk, 901, epoch=8))
            await send(desk, request(desk, 900, epoch=8, kind=SendCancel))
            assert [m.cl_ord_id for m in desk.exchange.requests(SendNew)] == [cl_ord_id(0, 900)]
            assert not desk.exchange.requests(SendCancel)
            assert gw.counts["stale_epoch"] == 2
            assert not [r for r in desk.reports() if r.cl_ord_id == cl_ord_id(0, 901)], "not even an answer"

    run(main())


def test_the_epoch_is_learned_from_the_lanes_lease():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            assert gw.session.epochs[0] == desk.oms.writers[0].epoch
            lease = msgspec.json.encode({"owner": "another", "epoch": 50})
            await desk.user.bucket("LEASE").put("lane.0", lease)
            await send(desk, request(desk, epoch=49))
            assert not desk.exchange.requests(SendNew)
            assert gw.counts["stale_epoch"] == 1
            await desk.kill_gateway()
            gw = desk.gateway = desk.make_gateway()
            await gw.start()
            assert gw.session.epochs[0] >= 50, "known before the first request"

    run(main())


def test_a_new_order_is_never_sent_twice():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            data = request(desk)
            for _ in range(3):
                await send(desk, data)
            assert len(desk.exchange.requests(SendNew)) == 1
            assert gw.counts["duplicate_request"] == 2
            assert ExecType.REJECTED not in [r.exec_type for r in desk.reports()]

    run(main())


def test_an_old_request_is_refused_for_it_surely_never_left():
    async def main():
        async with Desk(QUIET) as desk:
            await desk.start_gateway()
            await asyncio.sleep(5)
            await send(desk, request(desk, age=1_500_000_000))
            assert not desk.exchange.requests(SendNew)
            (told,) = desk.reports(ExecType.REJECTED)
            assert told.reason == Reason.REQUEST_EXPIRED

    run(main())


def test_a_request_from_before_the_gateways_time_is_not_answered():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            await send(desk, request(desk, age=3_000_000_000))
            assert not desk.exchange.requests(SendNew)
            assert not desk.reports(), "its predecessor may have sent it"
            assert gw.counts["request_before_us"] == 1

    run(main())


def test_what_memory_has_lost_is_not_answered_either():
    async def main():
        async with Desk(msgspec.structs.replace(QUIET, remember=2)) as desk:
            gw = await desk.start_gateway()
            first = request(desk, 900)
            for n in range(3):
                await send(desk, request(desk, 900 + n) if n else first)
            await send(desk, first)
            assert len(desk.exchange.requests(SendNew)) == 3
            assert gw.counts["request_before_us"] == 1

    run(main())


def test_a_request_of_another_account_or_that_cannot_be_read_is_told():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            await send(desk, request(desk, account=ACCOUNT + 1))
            await send(desk, b"\xff\x00 no envelope")
            await send(desk, pack([Report(1, 2, ExecType.NEW)], epoch=9))
            assert not desk.exchange.log
            assert {a["kind"] for a in desk.alerts()} == {"misrouted", "unreadable_request"}
            assert (gw.counts["misrouted"], gw.counts["unreadable"], gw.counts["no_request"]) == (1, 1, 1)

    run(main())


# Reports.


def test_a_status_request_is_answered_and_silence_left_to_the_lane():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            desk.exchange.lose = 1
            key = await desk.place()
            await desk.until(lambda: desk.exchange.requests(SendNew))
            desk.exchange.silent = True
            await desk.status(key, OrdStatus.UNKNOWN)
            await desk.until(lambda: gw.counts["status_unanswered"] > 1)
            desk.exchange.silent = False
            await desk.status(key, OrdStatus.NEW)
            assert desk.reports(ExecType.ORDER_STATUS)

    run(main())


def test_one_status_request_at_a_time_for_an_order():
    async def main():
        async with Desk(QUIET) as desk:
            await desk.start_gateway()
            desk.venue.latency = 1.0
            for _ in range(5):
                await send(desk, request(desk, kind=SendStatus))
            await asyncio.sleep(3)
            assert len(desk.reports(ExecType.NOT_FOUND)) == 1

    run(main())


def test_duplicated_and_late_reports_are_booked_once():
    async def main():
        async with Desk(QUIET) as desk:
            await desk.start_gateway()
            key = await desk.rest()
            told = desk.exchange.fill(key, 4)
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            for delay in (0.0, 1.0, 200.0):
                await asyncio.sleep(delay)
                desk.exchange.tell([told, told])
            await asyncio.sleep(1)
            assert desk.lane.order(key).cum_qty == 4
            desk.agree()

    run(main())


def test_reports_of_strangers_are_told_to_people():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            desk.exchange.fill(desk.exchange.foreign(), 2)
            desk.exchange.tell([Report(1, cl_ord_id(7, 1), ExecType.CANCELED)])
            await asyncio.sleep(1)
            assert sorted(a["kind"] for a in desk.alerts()) == ["foreign_fill", "orphan_report"]
            assert gw.counts["orphans"] == 2
            assert not desk.reports()

    run(main())


# Reconciliation and drop copy.


def test_a_gateway_killed_and_started_again_adopts_what_it_missed():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            part, whole, gone = await desk.rest(), await desk.rest(), await desk.rest()
            await desk.kill_gateway()
            lost = await desk.place()
            desk.exchange.fill(part, 3)
            desk.exchange.fill(whole, 10)
            desk.exchange.fill(gone, 1)
            desk.exchange.book.end(gone, ExecType.CANCELED, desk.clock.now())
            await asyncio.sleep(15)
            gw = await desk.start_gateway()
            await desk.status(part, OrdStatus.PARTIALLY_FILLED)
            await desk.status(whole, OrdStatus.FILLED)
            await desk.status(gone, OrdStatus.CANCELED)
            await desk.status(lost, OrdStatus.REJECTED)
            desk.agree()
            assert lost not in desk.exchange.book.orders
            assert gw.health()["gateways"]["X.main"]["clean"]
            assert not desk.alerts("fill_untold"), "a gap is expected to hide fills"
            assert not desk.alerts("position_mismatch")

    run(main())


def test_a_gateway_of_the_same_name_acts_at_once_after_a_kill():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            await desk.kill_gateway()
            killed = desk.loop.time()
            await desk.start_gateway()
            assert desk.loop.time() - killed < 1.0
            await desk.rest()

    run(main())


def test_a_fill_that_the_stream_loses_is_found_within_a_second():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            desk.exchange.lose = 1
            desk.exchange.fill(key, 10)
            await desk.status(key, OrdStatus.FILLED, seconds=1.1)
            await desk.until(lambda: desk.alerts("fill_untold"), seconds=5.0)
            await asyncio.sleep(120)
            assert len(desk.alerts("fill_untold")) == 1
            assert gw.counts["fills_recovered"] == 1
            desk.agree()

    run(main())


def test_the_drop_copy_rests_while_nothing_can_fill():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            asked = []
            honest, desk.venue.fills = desk.venue.fills, lambda since: asked.append(since) or honest(since)
            await asyncio.sleep(50)
            assert not asked
            key = await desk.rest()
            await asyncio.sleep(50)
            assert len(asked) > 40
            desk.exchange.fill(key, 10)
            await desk.status(key, OrdStatus.FILLED)
            await desk.reconcile()
            await asyncio.sleep(2)
            asked.clear()
            await asyncio.sleep(40)
            assert len(asked) <= 1

    run(main())


def test_a_fill_that_the_history_lacks_is_told():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.rest()
            desk.exchange.fill(key, 2)
            desk.exchange.history.clear()
            await desk.until(lambda: desk.alerts("fill_unknown"), seconds=15.0)
            await asyncio.sleep(120)
            assert len(desk.alerts("fill_unknown")) == 1

    run(main())


def test_a_position_that_differs_restricts_the_account_once():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            desk.exchange.held[0] += 7
            await desk.until(lambda: desk.scopes(), seconds=70)
            (scope,) = desk.scopes()
            assert (scope.scope, scope.state) == (SCOPE, State.REDUCE_ONLY)
            (alert,) = desk.alerts("position_mismatch")
            assert alert["severity"] == "critical"
            assert alert["figures"] == {"instrument": "C0.X", "venue": 7, "ours": 0}
            assert desk.lane.state.gate.states == {SCOPE: State.REDUCE_ONLY}
            await asyncio.sleep(300)
            await desk.kill_gateway()
            gw = await desk.start_gateway()
            await asyncio.sleep(300)
            assert len(desk.scopes()) == 1, "people may have let it stand, before the restart too"
            assert gw.health()["gateways"]["X.main"]["mismatches"] == 1

    run(main())


def test_a_foreign_order_is_told_once_and_left_alone():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = desk.exchange.foreign()
            await desk.until(lambda: desk.alerts("foreign_order"), seconds=70)
            await asyncio.sleep(300)
            assert len(desk.alerts("foreign_order")) == 1
            assert key in desk.exchange.open()
            assert desk.gateway.health()["gateways"]["X.main"]["foreign"] == 1

    run(main())


def test_foreign_orders_are_cleared_where_configured_and_nothing_of_ours_rests():
    async def main():
        async with Desk(GatewaySettings(clear_foreign=True)) as desk:
            await desk.start_gateway()
            ours = await desk.rest()
            desk.exchange.foreign()
            await desk.reconcile()
            assert len(desk.exchange.open()) == 2
            await desk.cancel(ours)
            await desk.status(ours, OrdStatus.CANCELED)
            await desk.reconcile()
            assert not desk.exchange.open()

    run(main())


def test_a_closed_order_that_lives_at_the_venue_is_cancelled_there():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.rest()
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            desk.exchange.book.orders[key].status = OrdStatus.NEW
            await desk.until(lambda: not desk.exchange.open(), seconds=70)
            assert [a["kind"] for a in desk.alerts()] == ["stray_order"]

    run(main())


def test_an_order_the_venue_has_forgotten_ends_after_a_second_look():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.rest()
            del desk.exchange.book.orders[key]
            await desk.status(key, OrdStatus.CANCELED, seconds=70)
            assert desk.lane.order(key).reason == Reason.NOT_FOUND
            assert [a["kind"] for a in desk.alerts()] == ["order_lost"]

    run(main())


def test_no_lane_no_new_orders():
    async def main():
        async with Desk() as desk:
            await desk.oms.stop()
            gw = desk.gateway = desk.make_gateway()
            await gw.start()
            await asyncio.sleep(10)
            assert "reconcile" in gw.session.holds
            assert "lane 0" in gw.health()["gateways"]["X.main"]["not_clean"]
            assert gw.counts["lane_unanswered"] > 1
            await desk.start_oms()
            await desk.until(lambda: not gw.session.holds, seconds=6.0)

    run(main())


def test_the_cursor_follows_what_is_stored_and_outlives_the_process():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            told = desk.exchange.fill(key, 1)
            await desk.until(lambda: gw.memory.saved.cursor == told.ts_venue, seconds=5.0)
            await asyncio.sleep(2)
            await desk.kill_gateway()
            gw = desk.gateway = desk.make_gateway()
            await gw.start()
            assert gw.memory.saved.cursor == told.ts_venue

    run(main())


# Two of them; keys; stops.


def test_a_second_gateway_stands_by_and_takes_over():
    async def main():
        async with Desk() as desk:
            first = await desk.start_gateway("one")
            venue = desk.venue
            second = desk.make_gateway("two")
            await second.start()
            await asyncio.sleep(30)
            assert second.health()["gateways"]["X.main"]["state"] == "standby"
            assert second.health()["ok"]
            key = await desk.rest()
            assert desk.exchange.sessions == [venue]
            desk.server.partition("gw-1")
            await desk.until(lambda: second.health()["gateways"]["X.main"]["state"] == "acting", seconds=10.0)
            await desk.until(lambda: not second.session.holds)
            first.guard.check()  # as every request does
            assert "log" in first.session.holds, "the first lets nothing new out"
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            desk.server.heal("gw-1")
            await desk.until(lambda: first.health()["gateways"]["X.main"]["state"] == "standby")
            desk.gateway = second
            await first.stop()

    run(main())


def test_a_clean_stop_lets_another_act_at_once():
    async def main():
        async with Desk() as desk:
            first = await desk.start_gateway("one")
            await first.stop()
            await desk.start_gateway("two")
            assert desk.gateway.lease.epoch > first.lease.epoch

    run(main())


def test_a_refused_key_is_one_clear_line():
    async def main():
        async with Desk() as desk:
            desk.exchange.refuse = "Invalid API-key, IP, or permissions (-2015)"
            gw = desk.make_gateway()
            with pytest.raises(UserError, match=r"gateway X\.main: the venue refuses .*-2015.*check the key"):
                await gw.start()
            desk.exchange.refuse = ""
            await desk.start_gateway("another")

    run(main())


def test_a_venue_that_cannot_be_reached_at_start_is_tried_again():
    async def main():
        async with Desk() as desk:
            desk.exchange.silent = True
            gw = desk.gateway = desk.make_gateway()
            await gw.start()
            await asyncio.sleep(20)
            assert gw.counts["venue_unreachable"] > 2
            desk.exchange.silent = False
            await desk.until(lambda: not gw.session.holds, seconds=10.0)
            await desk.rest()
            desk.exchange.refuse = "banned"

    run(main())


def test_a_key_refused_at_a_take_over_is_an_alert():
    async def main():
        async with Desk() as desk:
            first = await desk.start_gateway("one")
            second = desk.make_gateway("two")
            await second.start()
            desk.exchange.refuse = "banned"
            await first.stop()
            await desk.until(lambda: second.health()["gateways"]["X.main"]["state"] == "refused")
            assert not second.health()["ok"]
            await desk.until(lambda: desk.alerts("venue_refused"))
            desk.gateway = second

    run(main())


@pytest.mark.parametrize("action", ["cancel", "keep"])
def test_a_clean_stop_cancels_or_keeps(action):
    async def main():
        async with Desk(GatewaySettings(on_stop=action)) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            await gw.stop()
            await asyncio.sleep(100)
            assert len(desk.exchange.open()) == (action == "keep"), "the dead man's switch was disarmed"
            if action == "cancel":
                desk.agree()

    run(main())


def test_an_adapter_that_fails_is_counted_and_the_next_request_goes_out():
    async def main():
        async with Desk(QUIET) as desk:
            gw = await desk.start_gateway()
            honest, desk.venue.send = desk.venue.send, None
            await send(desk, request(desk, 900))
            desk.venue.send = honest
            await send(desk, request(desk, 901))
            assert gw.counts["send_failed"] == 1
            assert [a["kind"] for a in desk.alerts()] == ["send_failed"]
            assert len(desk.exchange.requests(SendNew)) == 1

    run(main())


@pytest.mark.parametrize("wrong", [{"max_age": 0.0}, {"buffer": -1}, {"on_stop": "sell"}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        GatewaySettings(**wrong)
