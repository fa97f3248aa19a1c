"""The risk service on the in-process log: what trips is in HALT at once, whoever is killed, and people are answered."""

from __future__ import annotations

import asyncio

import msgspec
from risk.halting import event
from risk.risk_room import Room

from tidegate.log.base import Full, LogDown
from tidegate.model.event import Status
from tidegate.model.messages import DynamicLimit, LeaseGrant, LeaseReport
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import SECOND
from tidegate.model.wire import pack
from tidegate.risk.figures import Report
from tidegate.risk.halt import post
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run


def story(main, **room):
    """Run a story in a fresh room."""

    async def go():
        await main(Room(**room))

    run(go())


def test_a_loss_is_in_the_log_within_a_millisecond_of_the_mark_that_made_it():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.1)
        assert room.halts() == []
        room.touch(589_500, 589_510)
        await asyncio.sleep(0.001)
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "loss")]
        room.touch(589_000, 589_010)
        await asyncio.sleep(5)
        assert len(room.halts()) == 1
        (alert,) = room.alerts("breaker")
        assert alert["severity"] == "critical"
        assert alert["figures"]["trigger"] == "loss"
        assert service.health()["risk"]["halted"] == {"strategy:mm": "REDUCE_ONLY"}
        await service.stop()

    story(main, strategies={"*": {"loss": 1_000}})


def test_a_runaway_is_killed_before_its_first_second_is_over():
    async def main(room):
        service = await room.service()
        began = room.now
        while not room.halts():
            assert room.now - began < 10**9
            room.number += 1
            room.tell(room.event(OrdStatus.PENDING_NEW))
            await asyncio.sleep(1 / 1_500)
        assert room.halts() == [("strategy:mm", "KILLED", "order_rate")]
        await service.stop()

    story(main, strategies={"*": {"orders_per_second": 100}})


def test_what_others_tell_trips_too():
    async def main(room):
        service = await room.service()
        body = {"ts": room.now, "kind": "position_mismatch", "scope": "X.other", "text": "5 here, 7 there"}
        room.feed.append("alert.position_mismatch", msgspec.json.encode(body))
        room.pulse(1, Status.HALTED)
        await asyncio.sleep(0.1)
        assert sorted(room.halts()) == [
            ("account:other", "REDUCE_ONLY", "position_mismatch"), ("instrument:CL.Y", "CANCEL_ONLY", "venue_halt")
        ]  # fmt: skip
        await service.stop()

    story(main)


def test_one_of_two_acts_and_the_other_says_what_the_first_could_not():
    async def main(room):
        first = await room.service("one")
        second = await room.service("two")
        assert [s.health()["risk"]["state"] for s in (first, second)] == ["acting", "standby"]
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(1)
        room.server.partition("one")
        room.touch(589_500, 589_510)
        await asyncio.sleep(0.5)
        assert room.halts() == []
        await asyncio.sleep(4)
        assert second.health()["risk"]["state"] == "acting"
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "loss")]
        await second.stop()

    story(main, strategies={"*": {"loss": 1_000}})


def test_a_service_that_comes_back_knows_what_was_and_posts_nothing_twice():
    async def main(room):
        first = await room.service("one")
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        room.trade(50, 600_010, account=1, strategy=1, lane=1)
        await asyncio.sleep(12)  # the fold is kept
        room.trade(7, 600_010)
        room.touch(589_500, 589_510)
        await asyncio.sleep(1)
        before = first.figures.all(first.board, held=True)
        halts = room.halts()
        assert halts == [("strategy:mm", "REDUCE_ONLY", "loss")]
        room.server.partition("one")
        room.number += 1
        room.tell(room.event(OrdStatus.PENDING_NEW))
        await asyncio.sleep(3)
        second = await room.service("two")
        room.touch(589_500, 589_510)
        await asyncio.sleep(3)
        firm = second.figures.all(second.board, held=True)[0]
        assert firm.held[0].position == before[0].held[0].position == 1.057
        assert firm.pnl == before[0].pnl
        assert second.panel.exposure.totals[0].orders == 1, "what came meanwhile is folded"
        assert room.halts() == halts
        await second.stop()

    story(main, strategies={"*": {"loss": 1_000}})


def test_a_scope_that_people_re_armed_is_watched_anew():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_000)
        room.trade(1_000, 600_000)
        await asyncio.sleep(0.1)
        room.touch(594_900, 594_900)  # 510 below the peak
        await asyncio.sleep(0.1)
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "drawdown")]
        await post(room.feed, event("resume", "strategy:mm", "ann", room.now, "bob", epoch="1"))
        await asyncio.sleep(1)
        assert service.board.status("strategy:mm").state.name == "RECOVERING"
        room.touch(594_000, 594_000)
        await asyncio.sleep(0.1)
        assert len(room.halts()) == 2, "90 below where people let it go on"
        room.touch(589_800, 589_800)
        await asyncio.sleep(0.1)
        assert room.halts()[2:] == [("strategy:mm", "REDUCE_ONLY", "drawdown")]
        await service.stop()

    story(main, strategies={"*": {"drawdown": 500}})


def test_people_are_told_what_every_scope_uses():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_000)
        room.trade(1_000, 600_000)
        room.number += 1
        room.tell(room.event(OrdStatus.PENDING_NEW, leaves=500), room.event(OrdStatus.NEW, ExecType.NEW, 500))
        await asyncio.sleep(0.1)
        report = msgspec.json.decode(await room.feed.request("risk.query", b""), type=Report)
        by_name = {standing.scope: standing for standing in report.scopes}
        assert list(by_name) == [
            "firm", "desk:desk", "account:main", "account:other", "strategy:mm", "strategy:arb",
            "instrument:BTCUSDT.X", "instrument:CL.Y", "venue:X", "venue:Y",
        ]  # fmt: skip
        mm = {figure.name: figure for figure in by_name["strategy:mm"].figures}
        assert (mm["gross"].value, mm["gross"].limit, mm["gross"].use) == (90_000, 50_000_000, 0.0018)
        assert (mm["open_orders"].value, mm["open_orders"].limit) == (1, 100)
        assert mm["traded_value"].value == 90_000
        (one,) = msgspec.json.decode(
            await room.feed.request("risk.query", b"account:main"), type=Report
        ).scopes
        assert [(h.position, h.longest, h.shortest, h.use) for h in one.held] == [(1.0, 1.5, 1.0, 0.0015)]
        assert (
            msgspec.json.decode(await room.feed.request("risk.query", b"account:nobody"), type=Report).scopes
            == []
        )
        heard = []
        room.feed.subscribe(
            "risk.exposure", lambda _, data: heard.append(msgspec.json.decode(data, type=Report))
        )
        await asyncio.sleep(2.5)
        assert len(heard) == 2
        await service.stop()
        kept = await room.feed.bucket("STATE").get("risk.exposure")
        assert msgspec.json.decode(kept.value, type=Report).scopes[0].held[0].position == 1.0

    story(main)


def test_a_market_that_thins_out_tightens_every_lane_and_a_successor_loosens_nothing_at_once():
    async def main(room):
        first = await room.service("one")
        for n in range(90):
            room.pulse(0, bid=600_000, ask=600_010, bid_lots=900 if n < 80 else 45, ask_lots=1_000)
            await asyncio.sleep(1)
        factors = [m.factor for m in room.sent(0, DynamicLimit)]
        assert factors == [m.factor for m in room.sent(1, DynamicLimit)]
        assert factors[0] == 200_000, "a twentieth of the depth that is usual: to the floor"
        assert first.health()["risk"]["held_down"] == {"BTCUSDT.X": "20% depth"}
        await asyncio.sleep(10)
        room.server.partition("one")
        await asyncio.sleep(1)
        second = await room.service("two")
        await asyncio.sleep(4)
        room.pulse(0, bid=600_000, ask=600_010, bid_lots=900, ask_lots=1_000)
        await asyncio.sleep(1)
        assert {m.factor for m in room.sent(0, DynamicLimit) if not m.instrument} == {200_000}
        numbers = [m.number for m in room.sent(0, DynamicLimit)]
        assert numbers == sorted(set(numbers))
        for _ in range(60):
            room.pulse(0, bid=600_000, ask=600_010, bid_lots=900, ask_lots=1_000)
            await asyncio.sleep(1)
        after = [m.factor for m in room.sent(0, DynamicLimit) if not m.instrument]
        assert after[-1] > 200_000
        assert max(after) < 400_000, "a minute of a half-life of five"
        await second.stop()

    story(main)


def wants(room, service):
    """Lanes say that they use nothing of what is lent; lane 1 asks for some."""
    for lane in (0, 1):
        reports = [
            LeaseReport(room.now, lane, *key, 0, 0, 0, 1_000_000 * lane * (key.field == Field.GROSS))
            for key in service.allocator.pool.pools
        ]
        room.server.store("lease.report", pack(reports, ts=room.now, lane=lane, seq=1), "", None)


def test_limits_over_two_lanes_are_lent_and_a_change_reaches_the_allocator():
    async def main(room):
        service = await room.service()
        wants(room, service)
        await asyncio.sleep(1)
        lent = [m for m in room.sent(1, LeaseGrant) if (m.scope, m.field) == (0, Field.GROSS)]
        assert lent
        assert lent[-1].granted >= 1_000_000
        assert service.health()["risk"]["leases"]["epoch"] == 1
        assert (await room.limits(firm={"gross": 60_000_000, "net": 60_000_000}))["ok"]
        pool = service.allocator.pool.pools[Key(0, Field.GROSS)]
        assert pool.limit == 60_000_000 * 1_000_000
        assert pool.outstanding + pool.free == pool.limit
        await service.stop()

    story(main, shared={0: (0, 1)})


def test_grants_that_the_log_refuses_are_shown_and_made_when_it_takes_them_again():
    async def main(room):
        service = await room.service()
        append, full = service._log.append, [True]

        def refusing(subject, *args, **more):
            if subject != "lease.grant" or not full:
                return append(subject, *args, **more)
            refused = room.loop.create_future()
            refused.set_exception(Full("LEASES is full"))
            return refused

        service._log.append = refusing
        wants(room, service)
        await asyncio.sleep(1)
        assert service.health()["why"] == "the log refuses grants: LEASES is full"
        assert room.sent(1, LeaseGrant) == []
        full.clear()
        await asyncio.sleep(1)
        assert service.health()["ok"]
        assert room.sent(1, LeaseGrant)
        await service.stop()

    story(main, shared={0: (0, 1)})


def test_a_halt_waits_for_the_log_and_is_then_stored_once():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.1)
        room.server.outage(True)
        room.touch(589_500, 589_510)
        await asyncio.sleep(1.5)
        assert room.halts() == []
        room.server.outage(False)
        await asyncio.sleep(3)
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "loss")]
        await service.stop()

    story(main, strategies={"*": {"loss": 1_000}})


def test_a_breach_while_nobody_can_act_is_halted_once_somebody_can():
    """The lease is left to others meanwhile, so that gateways notice; the breaker is not taken for told."""

    async def main(room):
        await room.service("one")
        second = await room.service("two")
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(1)

        async def away():
            raise LogDown("STATE has no leader")

        real, second.desk.load = second.desk.load, away
        room.server.partition("one")
        await asyncio.sleep(3)
        assert second.lease.held
        room.touch(589_500, 589_510)
        await asyncio.sleep(4)
        assert not second.lease.held
        assert "STATE has no leader" in second.health()["why"]
        await asyncio.sleep(9)
        assert room.halts() == []
        second.desk.load = real
        await asyncio.sleep(7)
        assert second.health()["risk"]["state"] == "acting"
        room.touch(580_000, 580_010)
        await asyncio.sleep(1)
        assert ("strategy:mm", "REDUCE_ONLY", "loss") in room.halts()

    story(main, strategies={"*": {"loss": 1_000}})


def test_a_recovery_that_ends_by_time_forgives_no_drawdown():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_000)
        room.trade(1_000, 600_000)
        await asyncio.sleep(0.1)
        room.touch(594_900, 594_900)
        await asyncio.sleep(0.1)
        again = event("resume", "strategy:mm", "ann", room.now, "bob", epoch="1", recover=str(30 * SECOND))
        await post(room.feed, again)
        await asyncio.sleep(1)
        room.touch(590_900, 590_900)  # 400 below where people let it go on
        await asyncio.sleep(30)
        for over in service.board.recovered(room.now):
            await post(room.feed, over)
        await asyncio.sleep(1)
        assert service.board.status("strategy:mm").state is State.ACTIVE
        room.touch(589_800, 589_800)
        await asyncio.sleep(1)
        assert [halt[2] for halt in room.halts()] == ["drawdown", "manual", "recovered", "drawdown"]

    story(main, strategies={"*": {"drawdown": 500}})
