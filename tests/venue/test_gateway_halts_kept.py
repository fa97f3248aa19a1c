"""Halts that nothing loses: neither a resume on its way, a copy that is refused, nor a venue that answers nonsense."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from gateway_world import Desk, order
from risk.halting import breach, event, signed

from tidegate.access.command import Signed
from tidegate.log.base import LogDown
from tidegate.model.messages import SendCancel
from tidegate.model.order import OrdStatus
from tidegate.model.scale import ScaleError
from tidegate.risk.halt import HaltEvent, commanded, decode, post
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import answer

KEEP = GatewaySettings(on_log_away="keep", countdown=0.0)
MAIN = "account:main"


async def killed(desk, scope=MAIN):
    """A breaker kills the scope; its place in HALT, once the gateway has cancelled what is open."""
    seq = await post(desk.user, breach(scope, State.KILLED, desk.clock.now()))
    await desk.until(lambda: desk.gateway.halts.state_of(scope) is State.KILLED)
    await desk.until(lambda: not desk.gateway.halts._sweeps)
    return seq


async def by_person(desk, scope=MAIN, **args):
    """The same by somebody, at the gateway's socket."""
    line = order("halt", scope, "oz", desk.clock.now(), **args)
    return json.loads(await answer(line, desk.gateway.operator.doers))


async def resumed(desk, seq):
    """Two people lift it; the entry is stored."""
    await post(desk.user, event("resume", MAIN, "ann", desk.clock.now(), "bob", epoch=str(seq)))


def test_a_halt_given_while_a_resume_of_an_earlier_one_is_on_its_way_holds_from_then_on():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            seq = await killed(desk)
            desk.server.partition("gw-1")
            await resumed(desk, seq)
            said = await by_person(desk)
            assert (said["state"], said["already"], said["empty"]) == ("KILLED", False, True)
            real, seen = gw.halts._feed._told, []

            def told(stored, changes):
                real(stored, changes)
                seen.append((stored.seq, gw.halts.state_of(MAIN)))

            gw.halts._feed._told = told
            desk.server.heal("gw-1")
            await desk.until(lambda: not gw.halts.pending)
            assert seen == [(2, State.KILLED), (3, State.KILLED)], "not let up for a moment"
            assert gw.halts.board.status(MAIN).epoch == 3

    run(main())


def test_and_outlives_the_gateway(tmp_path):
    async def main():
        path = tmp_path / "gw.X.main.sock"
        async with Desk(msgspec.structs.replace(KEEP, socket=path)) as desk:
            await desk.start_gateway()
            seq = await killed(desk)
            desk.server.partition("gw-1")
            await resumed(desk, seq)
            await by_person(desk)
            kept = msgspec.json.decode(path.with_suffix(".halts").read_bytes(), type=list[HaltEvent])
            assert [one.source for one in kept] == ["risk", "oz"]
            await desk.kill_gateway()
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            await desk.until(lambda: not desk.gateway.halts.pending)
            assert [decode(e.data).source for e in desk.entries("HALT")] == ["risk", "ann", "oz"]
            assert desk.gateway.halts.board.status(MAIN).state is State.KILLED

    asyncio.run(main())


def test_a_refused_copy_of_a_command_lifts_nothing():
    """Who may write to HALT takes the signatures off a command that the log does not have yet."""

    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            made = signed("halt", MAIN, "oz", desk.clock.now())
            real = desk.gw_log.append

            def late(subject, *args, **more):
                if not subject.startswith("halt"):
                    return real(subject, *args, **more)
                never = desk.loop.create_future()
                desk.loop.call_later(1.0, lambda: never.done() or never.set_exception(LogDown("x")))
                return never

            desk.gw_log.append = late
            line = json.dumps({"do": "command", "signed": json.loads(made.encode())}).encode()
            assert json.loads(await answer(line, gw.operator.doers))["state"] == "KILLED"
            bare = commanded(Signed(made.body, []).encode(), made.command, desk.clock.now())
            await post(desk.user, bare)
            await desk.until(lambda: gw.halts.board.ignored["denied"] == 1)
            assert gw.halts.state_of(MAIN) is State.KILLED
            desk.gw_log.append = real
            await desk.until(lambda: not gw.halts.pending)
            assert gw.halts.board.status(MAIN).state is State.KILLED

    run(main())


def test_a_halt_that_the_log_does_not_follow_as_it_is_ends_and_people_are_told():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            made = signed("halt", MAIN, "vic", desk.clock.now())  # a viewer: no board follows it
            assert gw.halts.halt(commanded(made.encode(), made.command, desk.clock.now()))
            assert gw.halts.state_of(MAIN) is State.KILLED
            await desk.until(lambda: not gw.halts.pending)
            assert gw.halts.state_of(MAIN) is State.ACTIVE
            await desk.until(lambda: any(a["severity"] == "critical" for a in desk.alerts("halt_ignored")))
            assert gw.counts["halts_refused"] == 1

    run(main())


@pytest.mark.parametrize("scope", [MAIN, "firm"])
def test_a_halt_during_the_sweep_of_another_is_answered_with_what_that_comes_to(scope):
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            desk.exchange.silent = True
            await post(desk.user, breach(MAIN, State.KILLED, desk.clock.now()))
            await desk.until(lambda: gw.halts._sweeps)
            said = await by_person(desk, scope)
            assert (said["state"], said["empty"]) == ("KILLED", False)
            desk.exchange.silent = False
            said = await by_person(desk, scope)
            assert (said["empty"], desk.exchange.open()) == (True, [])

    run(main())


def test_a_command_that_came_by_the_log_first_is_answered_with_what_it_has_cancelled():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            line = order("halt", MAIN, "oz", desk.clock.now())
            made = Signed.decode(json.dumps(json.loads(line)["signed"]))
            await post(desk.user, commanded(made.encode(), made.command, desk.clock.now()))
            await desk.until(lambda: desk.alerts("control"))
            assert not gw.halts._sweeps
            said = json.loads(await answer(line, gw.operator.doers))
            assert (said["already"], said["empty"]) == (True, True)
            assert said["orders"] == {str(key): "canceled"}

    run(main())


def test_answers_of_the_venue_that_nobody_reckoned_with_end_no_cancelling():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            left, right = await desk.rest(), await desk.rest(strategy=1)
            await desk.oms.stop()  # the gateway is alone
            desk.oms = None
            real = desk.venue.open_orders

            async def nonsense():
                raise ScaleError("'60000.05' is not a multiple of 0.1")

            desk.venue.open_orders = nonsense
            await post(desk.user, breach("strategy:left", State.KILLED, desk.clock.now()))
            await desk.until(lambda: desk.alerts("halt_not_empty"))
            (alert,) = desk.alerts("halt_not_empty")
            assert "60000.05" in alert["text"]
            assert left in desk.exchange.open()
            desk.venue.open_orders = real
            await desk.until(lambda: left not in desk.exchange.open())
            assert desk.exchange.open() == [right]
            assert "failed" not in gw.session.holds

    run(main())


def test_a_reconciliation_that_fails_as_none_should_is_told_holds_new_orders_and_is_made_again():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            real = desk.venue.positions

            async def nonsense():
                raise ScaleError("'0.0005' is not a multiple of 0.001")

            desk.venue.positions = nonsense
            gw.reconciler.want("test")
            await desk.until(lambda: gw.counts["reconciliations_failed"] > 2)
            assert "0.0005" in gw.session.holds["reconcile"]
            await desk.until(lambda: desk.alerts("reconcile_failed"))
            (alert,) = desk.alerts("reconcile_failed")
            assert alert["severity"] == "critical"
            desk.venue.positions = real
            await desk.until(lambda: not gw.session.holds)
            await desk.rest()

    run(main())


def test_a_drop_copy_that_fails_so_does_not_end_either():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            real = desk.venue.fills

            async def nonsense(since):
                raise ScaleError("'0.0005' is not a multiple of 0.001")

            desk.venue.fills = nonsense
            await desk.until(lambda: gw.counts["drop_copy_failed"] > 0)
            assert gw.session.holds
            desk.venue.fills = real
            await desk.until(lambda: not gw.session.holds)

    run(main())


def test_an_order_that_cannot_be_read_is_told_cancelled_and_never_booked():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            foreign = desk.exchange.foreign()
            real = desk.venue.open_orders

            async def unread():
                blank = {"qty": 0, "price": 0, "leaves_qty": 0, "unread": "ScaleError: off the grid"}
                return [msgspec.structs.replace(found, **blank) for found in await real()]

            desk.venue.open_orders = unread
            gw.reconciler.want("test")
            await desk.until(lambda: len(desk.alerts("order_unread")) == 2)
            severities = {a["figures"]["cl_ord_id"]: a["severity"] for a in desk.alerts("order_unread")}
            assert severities == {key: "high", 0: "warning"}
            assert "cannot be read" in gw.reconciler.why
            assert (desk.lane.order(key).status, desk.lane.order(key).qty) == (OrdStatus.NEW, 10)
            desk.venue.mass = False
            await post(desk.user, breach("strategy:left", State.KILLED, desk.clock.now()))
            await desk.until(lambda: desk.exchange.open() == [foreign])
            assert [m.cl_ord_id for m in desk.exchange.requests(SendCancel)][:1] == [key]

    run(main())


def test_what_gets_worse_is_told_at_once():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            for severity in ("high", "high", "critical", "critical"):
                gw.alerts.say("gateway_failed", severity, "a part has failed", key="ScaleError")
            await desk.until(lambda: len(desk.alerts("gateway_failed")) == 2)
            assert [a["severity"] for a in desk.alerts("gateway_failed")] == ["high", "critical"]
            assert gw.counts["alerts_repeated"] == 2

    run(main())
