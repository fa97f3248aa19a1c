"""The dead man's switch of the control plane: what may add risk is refused once nobody could halt the gateway."""

from __future__ import annotations

import asyncio

import msgspec
from gateway_world import Desk
from hypothesis import given
from hypothesis import strategies as st

from tidegate.log.base import KvEntry
from tidegate.log.lease import Holder, Lease
from tidegate.model.messages import SendNew, SendReplace
from tidegate.model.order import ExecInst, ExecType, OrdType, Side, TimeInForce
from tidegate.model.wire import pack
from tidegate.risk.acting import RENEW, TTL
from tidegate.risk.quick import ACTING
from tidegate.risk.reasons import Reason
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.lifeline import Lifeline

WATCHED = GatewaySettings(on_log_away="keep", countdown=0.0, risk=True)


class Control:
    """A risk service's lease, and no more of it."""

    def __init__(self, desk, name="risk", life=1):
        self.log = desk.server.client(name)
        self.lease = Lease(self.log.bucket("LEASE"), ACTING, name, life, TTL)
        self.task = None

    async def live(self):
        await self.lease.step()
        self.task = asyncio.get_running_loop().create_task(self._keep())
        return self

    async def _keep(self):
        while True:
            await asyncio.sleep(RENEW)
            await self.lease.step()

    def die(self):
        self.task.cancel()


def request(desk, key, exec_inst=0, **replace):
    now, lane = desk.clock.now(), desk.oms.writers[0]
    m = SendNew(now, key, 1, 0, Side.BUY, OrdType.LIMIT, 10, 100, 0, TimeInForce.GTC, exec_inst, 0, 0, 0, 2)
    if replace:
        m = SendReplace(now, key, replace["qty"], 100, 1, 0, Side.BUY, 2)
    desk.user.send("gw.X.main", pack([m], ts=now, lane=0, epoch=lane.epoch, seq=lane.seq))


def refused(desk):
    return {r.cl_ord_id for r in desk.reports(ExecType.REJECTED) if r.reason == Reason.GATEWAY_HELD}


def test_what_may_add_risk_is_refused_a_second_after_the_last_renewal_and_passes_with_the_next():
    async def main():
        async with Desk(WATCHED) as desk:
            control = await Control(desk).live()
            gw = await desk.start_gateway()
            for n in range(30):  # it lives: nothing is refused
                request(desk, 900 + n)
                await asyncio.sleep(0.1)
            await desk.until(lambda: len(desk.exchange.open()) == 30)
            request(desk, 890, ExecInst.REDUCE_ONLY)
            control.die()
            died = desk.loop.time()
            n = 0
            while not refused(desk):
                n += 1
                request(desk, 1000 + n)
                await asyncio.sleep(0.02)
            assert 0.8 <= desk.loop.time() - died < 1.3
            request(desk, 2000, ExecInst.REDUCE_ONLY)
            request(desk, 890, qty=5)  # a replace of what only reduces
            request(desk, 900, qty=50)
            await asyncio.sleep(1)
            assert 2000 in desk.exchange.open()
            assert desk.exchange.book.orders[890].qty == 5
            assert desk.exchange.book.orders[900].qty == 10
            assert "no risk service has renewed its lease for 1 s" in gw.health()["why"]
            (alert,) = desk.alerts("gateway_braked")
            assert alert["severity"] == "critical"
            # It comes back: the refusal ends by itself, with no reconciliation and no person.
            reconciled = gw.reconciler.reconciled
            back = await Control(desk, "risk-2", 2).live()
            await desk.until(lambda: back.lease.held, 5)
            request(desk, 3000)
            await desk.until(lambda: 3000 in desk.exchange.open(), 1)
            assert gw.reconciler.reconciled == reconciled
            assert gw.health()["ok"]
            back.die()

    run(main())


def test_a_risk_service_that_leaves_in_order_has_time_to_come_back():
    async def main():
        async with Desk(WATCHED) as desk:
            control = await Control(desk).live()
            gw = await desk.start_gateway()
            control.die()
            await control.lease.release()
            await asyncio.sleep(9)
            request(desk, 900)
            await desk.until(lambda: desk.exchange.open() == [900], 1)
            back = await Control(desk, "risk", 2).live()
            await asyncio.sleep(5)
            assert not gw.session.brakes
            back.die()
            await back.lease.release()
            await desk.until(lambda: gw.session.brakes, 12)  # it did not
            assert gw.counts["braked_risk"] == 1

    run(main())


def test_a_lease_that_a_starting_gateway_finds_given_back_is_none():
    async def main():
        async with Desk(WATCHED) as desk:
            control = await Control(desk).live()
            control.die()
            await control.lease.release()
            await asyncio.sleep(3600)
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            await desk.until(lambda: desk.gateway.session.brakes, 2)
            request(desk, 900)
            await desk.until(lambda: refused(desk) == {900})

    run(main())


def test_a_gateway_that_acts_again_has_not_seen_what_was_given_back_meanwhile():
    line = Lifeline(1.0, 10.0)
    held, free = (msgspec.json.encode(Holder(owner, 1, 1, 1)) for owner in ("risk", ""))
    line.begin(0.0)
    line.hear(KvEntry(ACTING, held, 1), 0.5)
    line.begin(3600.0)  # it stood by for an hour
    line.hear(KvEntry(ACTING, free, 2), 3600.1)
    assert line.lost(3601.1)
    line.hear(KvEntry(ACTING, held, 3), 3602.0)
    line.hear(KvEntry(ACTING, free, 4), 3602.5)
    assert not line.lost(3612.5)
    assert line.lost(3612.6)


def test_a_standby_takes_over_before_anybody_else_must_be_asked():
    async def main():
        async with Desk(WATCHED) as desk:
            first = await Control(desk, "one").live()
            second = await Control(desk, "two").live()
            gw = await desk.start_gateway()
            first.die()
            braked = 0.0
            while not second.lease.held:
                await asyncio.sleep(0.01)
                braked += 0.01 * bool(gw.session.brakes)
            await asyncio.sleep(0.3)
            assert not gw.session.brakes
            assert braked <= 0.5
            second.die()

    run(main())


def test_without_a_risk_service_in_the_run_the_log_alone_is_watched():
    async def main():
        async with Desk(msgspec.structs.replace(WATCHED, risk=False)) as desk:
            gw = await desk.start_gateway()
            await asyncio.sleep(5)
            assert not gw.session.brakes
            reconciled = gw.reconciler.reconciled
            desk.server.outage(True)
            began = desk.loop.time()
            await desk.until(lambda: gw.session.brakes, 3)
            assert 0.7 <= desk.loop.time() - began <= 1.3
            assert "log" not in gw.session.holds
            desk.server.outage(False)
            await desk.until(lambda: not gw.session.brakes, 1.5)
            assert gw.reconciler.reconciled == reconciled  # away too short for anybody to have taken over
            await desk.rest()

    run(main())


def test_a_gateway_that_starts_without_a_risk_service_lets_nothing_out_that_adds_risk():
    async def main():
        async with Desk(WATCHED) as desk:
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            await desk.until(lambda: not desk.gateway.session.holds)
            await desk.until(lambda: desk.gateway.session.brakes, 3)
            request(desk, 900)
            await desk.until(lambda: refused(desk) == {900})
            health = desk.gateway.health()
            assert (health["ok"], health["starting"]) == (False, True)
            assert "no risk service acts yet" in health["why"]
            await asyncio.sleep(5)
            assert desk.alerts("gateway_braked") == [], "a start takes its time"
            control = await Control(desk).live()
            request(desk, 901)
            await desk.until(lambda: desk.exchange.open() == [901], 1)
            assert desk.gateway.health()["ok"]
            await asyncio.sleep(1)
            control.die()
            await desk.until(lambda: desk.gateway.session.brakes, 3)
            await desk.until(lambda: len(desk.alerts("gateway_braked")) == 1, 1)  # it was seen to live
            assert not desk.gateway.health()["starting"]

    run(main())


def test_a_risk_service_that_never_comes_is_told_once_when_the_start_has_taken_too_long():
    async def main():
        async with Desk(WATCHED) as desk:
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            await asyncio.sleep(9)
            assert desk.alerts("gateway_braked") == []
            await asyncio.sleep(10)
            (alert,) = desk.alerts("gateway_braked")
            assert alert["text"].startswith("no risk service has renewed its lease for 1 s")
            health = desk.gateway.health()
            assert (health["ok"], health["starting"]) == (False, False)
            assert desk.gateway.counts["braked_risk"] == 1

    run(main())


def test_a_value_that_comes_again_after_a_reconnect_is_no_sign_of_life_but_excuses_one_delay():
    line = Lifeline(1.0, 10.0)
    line.begin(0.0)
    entry = KvEntry(ACTING, msgspec.json.encode(Holder("risk", 1, 1, 1)), 7)
    line.hear(entry, 0.5)
    line.hear(entry, 1.4)
    for later in (1.5, 2.0, 2.4):
        line.hear(entry, later)
        assert not line.lost(later)
    assert line.lost(2.41)
    line.hear(KvEntry(ACTING, b"\x00", 8), 3.0)
    line.hear(KvEntry(ACTING, b'{"stream":"LANE_0", "seq":5}', 9), 3.0)  # an answer of the log's server
    line.hear(KvEntry(ACTING, None, 9), 3.0)
    line.hear(KvEntry("lane.0", entry.value, 10), 3.0)
    assert line.lost(3.0)
    line.hear(entry._replace(revision=11), 3.0)
    assert not line.lost(4.0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["renew", "release", "again"])), max_size=30),
    st.floats(0, 15),
)
def test_it_is_lost_exactly_when_the_last_sign_is_too_old(signs, after):
    line, now, revision, until = Lifeline(1.0, 10.0), 0.0, 0, 1.0
    line.begin(0.0)
    value, excused, lived = b"", False, False
    for pause, sign in signs:
        now += pause
        if sign != "again":
            revision += 1
            value = msgspec.json.encode(Holder("risk" if sign == "renew" else "", 1, 1, revision))
            excused, lived = False, lived or sign == "renew"
            if lived:
                until = now + (1.0 if sign == "renew" else 10.0)
        elif value and not excused:
            until, excused = max(until, now + 1.0), True
        line.hear(KvEntry(ACTING, value, revision), now)
    assert line.lost(now + after) is (now + after > until)
