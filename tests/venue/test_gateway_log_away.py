"""The log is away: nothing is lost, nothing is stored twice, and what is at the venue stays under control."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from gateway_world import Desk, order

from tidegate.execution.state import Settings
from tidegate.log.base import LogDown
from tidegate.log.memory import Faults
from tidegate.model.messages import SendCancel
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import SECOND
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import answer

KEEP = GatewaySettings(on_log_away="keep")
PATIENT = Settings(ack_timeout=60 * SECOND, reconciliation_window=60 * SECOND)
"""A lane that asks about nothing meanwhile."""


def stored_once(desk):
    """No fill is in the lane's log twice."""
    told = [r.exec_id for r in desk.reports(ExecType.TRADE)]
    return len(told) == len(set(told))


def test_reports_are_kept_and_stored_once_when_the_log_is_back():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            keys = [await desk.rest() for _ in range(3)]
            desk.server.partition("gw-1")
            for n in range(30):
                desk.exchange.fill(keys[n % 3], 1)
                await asyncio.sleep(0.3)
            assert gw.reports.pending >= 30
            assert desk.lane.order(keys[0]).cum_qty == 0
            desk.server.heal("gw-1")
            for key in keys:
                await desk.status(key, OrdStatus.FILLED)
            await desk.until(lambda: not gw.session.holds)
            told = [r.exec_id for r in desk.reports(ExecType.TRADE)]
            assert told == sorted(told), "in order"
            assert stored_once(desk)
            desk.agree()
            await asyncio.sleep(100)
            assert stored_once(desk)

    run(main())


def test_lost_appends_and_acknowledgements_leave_books_and_venue_agreed():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            keys = [await desk.rest(qty=40) for _ in range(3)]
            desk.gw_log.faults = Faults(lose=0.2, lose_ack=0.2, delay=(0.0, 0.05))
            for n in range(120):
                desk.exchange.fill(keys[n % 3], 1)
                await asyncio.sleep(0.5)
            desk.gw_log.faults = Faults()
            for key in keys:
                await desk.status(key, OrdStatus.FILLED)
            assert gw.counts["append_retried"] > 0
            desk.agree()

    run(main())


def test_what_the_buffer_cannot_hold_is_read_again_from_the_venue():
    async def main():
        async with Desk(msgspec.structs.replace(KEEP, buffer=5)) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest(qty=40)
            desk.server.partition("gw-1")
            for _ in range(20):
                desk.exchange.fill(key, 2)
                await asyncio.sleep(0.2)
            assert gw.counts["reports_dropped"] > 0
            desk.server.heal("gw-1")
            await desk.status(key, OrdStatus.FILLED)
            await desk.until(lambda: not gw.session.holds)
            desk.agree()
            await desk.until(lambda: desk.alerts("reports_dropped"))
            kinds = {a["kind"] for a in desk.alerts()}
            assert "fill_untold" not in kinds, "the stream did tell"

    run(main())


def test_new_orders_are_held_back_until_reconciled_after_it():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            desk.server.outage(True)
            await desk.until(lambda: "log" in gw.session.holds, seconds=4.0)
            before = gw.reconciler.reconciled
            desk.server.outage(False)
            await desk.until(lambda: not gw.session.holds)
            assert gw.reconciler.reconciled > before
            await desk.rest()

    run(main())


@pytest.mark.parametrize("action", ["cancel", "keep"])
def test_resting_orders_are_cancelled_or_kept_when_it_stays_away(action):
    async def main():
        async with Desk(GatewaySettings(on_log_away=action)) as desk:
            await desk.start_gateway()
            await desk.rest()
            desk.server.outage(True)
            await asyncio.sleep(4)
            assert desk.exchange.open()
            await asyncio.sleep(60)
            assert bool(desk.exchange.open()) is (action == "keep")
            desk.server.outage(False)
            await desk.until(lambda: desk.alerts("log_away"))
            await desk.until(lambda: not desk.gateway.session.holds)
            desk.agree()
            assert bool(desk.alerts("control")) is (action == "cancel")

    run(main())


def test_resting_orders_are_cancelled_when_the_venue_comes_back_before_the_log():
    """Both were away, and the venue has no dead man's switch."""

    async def main():
        async with Desk(GatewaySettings(on_log_away="cancel", countdown=0.0)) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            desk.server.outage(True)
            desk.exchange.silent = True
            await desk.until(lambda: gw.counts["open_orders_unanswered"] > 100)  # more than one sweep's
            assert desk.exchange.open()
            desk.exchange.silent = False
            await desk.until(lambda: not desk.exchange.open(), 30)
            desk.server.outage(False)
            await desk.until(lambda: not gw.session.holds)
            told = [(a["kind"], a["severity"]) for a in desk.alerts() if a["kind"] in ("log_away", "control")]
            assert told == [("log_away", "critical"), ("log_away", "critical"), ("control", "high")]
            assert "not all orders are gone" in desk.alerts("log_away")[1]["text"]

    run(main())


def test_cancels_reach_the_venue_by_the_control_while_the_log_is_away():
    async def main():
        async with Desk(KEEP, PATIENT) as desk:
            gw = await desk.start_gateway()
            keys = [await desk.rest() for _ in range(3)]
            desk.server.partition("gw-1")
            desk.server.outage(True)
            desk.venue.mass = False
            line = order("cancel-all", "account:main", "ann", desk.clock.now())
            said = json.loads(await answer(line, gw.operator.doers))
            assert said["ok"]
            assert said["empty"]
            assert said["orders"] == {str(key): "canceled" for key in keys}
            assert len(desk.exchange.requests(SendCancel)) == 3
            assert not desk.alerts()
            desk.server.outage(False)
            desk.server.heal("gw-1")
            await desk.until(lambda: desk.alerts("control"))
            (audit,) = desk.alerts("control")
            assert audit["figures"]["by"] == "ann"
            for key in keys:
                await desk.status(key, OrdStatus.CANCELED)
            desk.agree()

    run(main())


def test_the_dead_mans_switch_is_renewed_while_we_live_and_fires_when_we_do_not():
    async def main():
        async with Desk(msgspec.structs.replace(KEEP, countdown=8.0)) as desk:
            await desk.start_gateway()
            await desk.rest()
            await asyncio.sleep(100)
            assert desk.exchange.open()
            await desk.kill_gateway()
            await asyncio.sleep(5)
            assert desk.exchange.open()
            await asyncio.sleep(4)
            assert not desk.exchange.open()

    run(main())


def test_a_silent_log_lets_the_switch_run_out():
    async def main():
        settings = GatewaySettings(countdown=8.0)
        async with Desk(settings) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            desk.venue.mass = False
            desk.server.partition("gw-1")
            desk.exchange.lose = 10**9
            honest, desk.venue.send = desk.venue.send, lambda request: None
            await asyncio.sleep(15)
            assert not desk.exchange.open(), "not even our cancels were needed"
            desk.venue.send = honest
            assert gw.counts["sweep_cancels"] > 0

    run(main())


def test_a_standby_does_not_take_an_outage_for_a_death():
    async def main():
        async with Desk(KEEP) as desk:
            first = await desk.start_gateway("one")
            second = desk.make_gateway("two")
            await second.start()
            desk.gateway = first
            desk.server.outage(True)
            await asyncio.sleep(30)
            desk.server.outage(False)
            await asyncio.sleep(10)
            assert first.lease.held
            assert not second.lease.held
            assert second.lease.holder.owner == "one"
            await second.stop()

    run(main())


def test_without_a_log_a_gateway_does_not_start():
    async def main():
        async with Desk() as desk:
            desk.server.outage(True)
            gw = desk.make_gateway()
            with pytest.raises(LogDown):
                await gw.start()
            desk.server.outage(False)

    run(main())
