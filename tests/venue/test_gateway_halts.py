"""Halts at the gateway: by the log, by the socket, by its own findings; by state and by epoch."""

from __future__ import annotations

import asyncio
import json

import pytest
from gateway_world import Desk, order
from risk.halting import breach, event

from tidegate.access.command import Signed
from tidegate.model.messages import ReplaceOrder, ScopeState, SendNew
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.wire import pack
from tidegate.risk.halt import commanded, decode, post
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import answer

KEEP = GatewaySettings(on_log_away="keep", countdown=0.0)


async def halted(desk, scope="firm", state=State.KILLED):
    """A breaker trips; the gateway has heard of it when this returns."""
    before = desk.gateway.counts["halts_followed"]
    seq = await post(desk.user, breach(scope, state, desk.clock.now()))
    await desk.until(lambda: desk.gateway.counts["halts_followed"] > before)
    return seq


def request(desk, key, strategy=2, instrument=0, epoch=0):
    """What a lane's writer sends, whatever it knows."""
    m = SendNew(
        desk.clock.now(), key, 1, instrument, Side.BUY, OrdType.LIMIT, 10, 100, 0, TimeInForce.GTC, 0, 0, 0, 0,
        strategy, epoch,
    )  # fmt: skip
    lane = desk.oms.writers[0]
    desk.user.send("gw.X.main", pack([m], ts=desk.clock.now(), lane=0, epoch=lane.epoch, seq=lane.seq))


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ("firm", []), ("desk:desk", []), ("account:main", []), ("venue:X", []),
        ("strategy:right", ["left", "c1"]), ("instrument:C1.X", ["left", "right"]),
        ("account:other", ["left", "right", "c1"]),
    ],
)  # fmt: skip
def test_a_kill_cancels_its_scope_at_the_venue_and_nothing_of_it_goes_out(scope, left):
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            kinds = {"left": {}, "right": {"strategy": 1}, "c1": {"instrument": 1}}
            keys = {name: await desk.rest(**more) for name, more in kinds.items()}
            await halted(desk, scope)
            await desk.until(lambda: sorted(desk.exchange.open()) == sorted(keys[name] for name in left))
            sent = len(desk.exchange.requests(SendNew))
            for n, more in enumerate(kinds.values()):
                request(desk, 900 + n, more.get("strategy", 2), more.get("instrument", 0), epoch=99)
            await asyncio.sleep(1)
            assert len(desk.exchange.requests(SendNew)) - sent == len(left)
            for name, key in keys.items():
                status = OrdStatus.NEW if name in left else OrdStatus.CANCELED
                await desk.status(key, status)

    run(main())


def test_orders_queued_before_the_kill_die_by_its_epoch_also_after_it_was_lifted():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            seq = await halted(desk)
            up = event("resume", "firm", "ann", desk.clock.now(), "bob", epoch=str(seq), recover="1000000000")
            await post(desk.user, up)
            await desk.until(lambda: desk.gateway.halts.board.status("firm").state is State.ACTIVE, 10)
            request(desk, 900, epoch=seq - 1)
            request(desk, 901, epoch=seq)
            await desk.until(lambda: desk.exchange.open())
            assert desk.exchange.open() == [901]
            assert desk.gateway.counts["request_halted"] == 1
            key = await desk.rest()  # the lane knows the epoch
            assert key in desk.exchange.open()

    run(main())


def test_in_reduce_only_what_the_lane_judged_after_it_passes():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.rest()
            seq = await halted(desk, "strategy:left", State.REDUCE_ONLY)
            request(desk, 900, epoch=seq)
            request(desk, 901, epoch=0)
            request(desk, 902, strategy=1, epoch=0)
            await desk.until(lambda: len(desk.exchange.open()) == 3)
            assert desk.exchange.open() == [key, 900, 902]

    run(main())


def test_the_lane_learns_why_an_order_is_refused_and_a_replace_is_too():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            honest, desk.venue.send = desk.venue.send, lambda request: None  # so that it goes on resting
            desk.venue.mass = False
            await halted(desk, "account:main")
            refused = await desk.place()
            await desk.status(refused, OrdStatus.REJECTED)
            assert desk.lane.order(refused).reason == Reason.GATEWAY_HALTED
            now = desk.clock.now()
            await desk.command(ReplaceOrder(now, desk.lane.order(key).cmd_id, price=101))
            await desk.until(lambda: desk.reports(ExecType.CANCEL_REJECTED))
            (told,) = desk.reports(ExecType.CANCEL_REJECTED)
            assert (told.price, told.reason) == (101, Reason.GATEWAY_HALTED)
            assert "KILLED" in gw.health()["gateways"]["X.main"]["halts"]["account:main"]
            desk.venue.send = honest

    run(main())


def test_a_halt_by_the_control_holds_with_the_log_dead_over_a_restart_and_reaches_the_log(tmp_path):
    async def main():
        path = tmp_path / "gw.X.main.sock"
        settings = GatewaySettings(on_log_away="keep", countdown=0.0, socket=path)
        async with Desk(settings) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            other = await desk.rest(strategy=1)
            desk.server.outage(True)
            line = order("halt", "strategy:left", "oz", desk.clock.now())
            said = json.loads(await answer(line, gw.operator.doers))
            assert (said["state"], said["already"], said["empty"]) == ("KILLED", False, True)
            assert list(said["orders"].values()) == ["canceled"]
            assert desk.exchange.open() == [other]
            (kept,) = json.loads(path.with_suffix(".halts").read_bytes())
            assert kept["scope"] == "strategy:left"
            again = json.loads(await answer(line, gw.operator.doers))
            assert (again["ok"], again["already"]) == (True, True)
            await desk.kill_gateway()
            desk.server.outage(False)
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            request(desk, 900)
            await desk.until(lambda: desk.entries("HALT"))
            (entry,) = desk.entries("HALT")
            assert decode(entry.data).scope == "strategy:left"
            await desk.until(lambda: not desk.gateway.halts.pending)
            await desk.until(lambda: not desk.gateway.session.holds)
            request(desk, 901)
            request(desk, 902, strategy=1, epoch=entry.seq)
            await desk.until(lambda: len(desk.exchange.open()) == 2)
            assert desk.exchange.open() == [other, 902]
            assert desk.lane.state.halt_epoch == entry.seq

    asyncio.run(main())


def test_the_same_command_by_socket_and_by_log_is_one_halt():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            now = desk.clock.now()
            line = order("halt", "firm", "oz", now)
            signed = Signed.decode(json.dumps(json.loads(line)["signed"]))
            same = commanded(signed.encode(), signed.command, now)
            await post(desk.user, same)
            await desk.until(lambda: gw.halts.board.seen(same.id))
            said = json.loads(await answer(line, gw.operator.doers))
            assert (said["ok"], said["already"]) == (True, True)
            await asyncio.sleep(2)
            assert len(desk.entries("HALT")) == 1

    run(main())


def test_a_halt_that_was_lifted_is_not_brought_back_by_its_own_command():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            line = order("halt", "firm", "oz", desk.clock.now())
            assert json.loads(await answer(line, gw.operator.doers))["ok"]
            await desk.until(lambda: gw.halts.board.epoch(["firm"]))
            up = event("resume", "firm", "ann", desk.clock.now(), "bob", epoch="1", recover="1000000000")
            await post(desk.user, up)
            await desk.until(lambda: gw.halts.board.status("firm").state is State.ACTIVE, 10)
            assert "REPLAYED" in json.loads(await answer(line, gw.operator.doers))["error"]
            await desk.rest()

    run(main())


def test_an_order_in_flight_is_cancelled_when_it_is_acknowledged():
    async def main():
        async with Desk(KEEP) as desk:
            await desk.start_gateway()
            desk.venue.mass = False
            honest, held = desk.venue.send, []
            desk.venue.send = held.append  # nothing arrives for a while
            key = await desk.place()
            await desk.until(lambda: held)
            new = held[0]
            await halted(desk)
            desk.venue.send = honest
            await asyncio.sleep(8)  # longer than a sweep looks for orders in flight
            held.clear()
            honest(new)
            await desk.until(lambda: desk.exchange.book.orders.get(key) is not None)
            await desk.until(lambda: not desk.exchange.open(), 1.0)
            assert desk.gateway.counts["cancelled_on_ack"] == 1

    run(main())


def test_a_venue_that_does_not_know_an_order_is_believed_only_by_its_open_set():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            del desk.exchange.book.orders[key]  # it has forgotten it
            lost = await desk.place()
            await desk.until(lambda: lost in desk.exchange.book.orders)
            del desk.exchange.book.orders[lost]
            line = order("halt", "firm", "oz", desk.clock.now())
            said = json.loads(await answer(line, gw.operator.doers))
            assert said["empty"]
            assert set(said["orders"].values()) <= {"unknown"}

    run(main())


def test_what_cannot_be_cancelled_is_told_and_tried_again():
    async def main():
        async with Desk(KEEP) as desk:
            await desk.start_gateway()
            key = await desk.rest()
            desk.exchange.silent = True
            await halted(desk)
            await desk.until(lambda: desk.alerts("halt_not_empty"), 30)
            assert desk.exchange.open() == [key]
            desk.exchange.silent = False
            await desk.until(lambda: not desk.exchange.open(), 30)

    run(main())


def test_up_takes_a_reconciliation_before_anything_goes_out():
    async def main():
        settings = GatewaySettings(countdown=0.0, reconcile_every=1e6, fresh=60.0)
        async with Desk(settings) as desk:
            gw = await desk.start_gateway()
            seq = await halted(desk)
            await asyncio.sleep(100)
            before = desk.clock.now()
            desk.exchange.deaf = True
            await post(desk.user, event("resume", "firm", "ann", before, "bob", epoch=str(seq)))
            await desk.until(lambda: gw.halts.board.status("firm").state is State.RECOVERING)
            assert "comes up" in gw.session.holds["reconcile"]
            refused = await desk.place()
            await desk.status(refused, OrdStatus.REJECTED)
            desk.exchange.deaf = False
            await desk.until(lambda: not gw.session.holds)
            assert gw.reconciler.reconciled >= before
            await desk.rest()

    run(main())


def test_the_lanes_are_told_of_every_halt_also_those_taken_over_later():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            seq = await halted(desk, "venue:X", State.CANCEL_ONLY)
            await desk.until(lambda: desk.lane.state.halt_epoch == seq)
            told = desk.scopes()
            assert {(m.scope, m.instrument, m.state, m.epoch) for m in told} == {
                (-1, n, State.CANCEL_ONLY, seq) for n in range(3)
            }
            await desk.oms.stop()
            await desk.start_oms()
            await desk.until(lambda: len(desk.scopes()) == 6)
            assert isinstance(desk.scopes()[-1], ScopeState)
            (alert,) = desk.alerts("halt")
            assert "venue:X is CANCEL_ONLY" in alert["text"]

    run(main())


def test_a_file_of_halts_that_cannot_be_read_halts_the_firm(tmp_path):
    async def main():
        path = tmp_path / "gw.X.main.sock"
        path.with_suffix(".halts").write_bytes(b"\x00")
        async with Desk(GatewaySettings(socket=path, countdown=0.0)) as desk:
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            assert "cannot be read" in desk.gateway.halts.shown()["firm"]

    asyncio.run(main())


def test_a_halt_that_did_not_come_holds_new_orders_back_until_it_is_known_and_then_holds():
    async def main():
        async with Desk() as desk:
            gateway = await desk.start_gateway()
            key = await desk.rest()
            desk.gw_log.faults.skip = 1.0
            await post(desk.user, breach("firm", State.KILLED, desk.clock.now()))
            await asyncio.sleep(0.1)
            desk.gw_log.faults.skip, desk.gw_log.faults.delay = 0.0, (0.2, 0.2)
            await post(desk.user, breach("account:other", State.REDUCE_ONLY, desk.clock.now()))
            await desk.until(lambda: "halts" in gateway.session.holds)
            assert "1 entries of HALT have not come" in gateway.health()["why"]
            await desk.until(lambda: "halts" not in gateway.session.holds)
            assert gateway.halts.state_of("firm") is State.KILLED
            await desk.status(key, OrdStatus.CANCELED)
            assert gateway.counts["halt_gaps"] == 1

    run(main())


def test_a_sweep_that_was_cancelled_before_it_began_is_made_by_who_acts_next():
    """The halt and the loss of the gateway's lease come in one moment; then it acts again."""

    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            asked = gw.halts.halt(decode(breach("firm", State.KILLED, desk.clock.now()).encode()))
            waiting = asyncio.ensure_future(gw.halts.swept(next(iter(gw.halts.pending))))
            await gw._leave()
            assert asked
            assert await asyncio.wait_for(waiting, 5) is None
            assert desk.exchange.open() == [key]
            await desk.until(lambda: not desk.exchange.open(), 30)

    run(main())


def test_a_part_that_does_not_hear_its_cancel_does_not_keep_a_gateway_from_leaving():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            heard = []

            async def deaf():
                for _ in range(2):
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        heard.append(True)

            gw._spawn(deaf(), False)
            await asyncio.sleep(0)
            await asyncio.wait_for(gw._leave(), 5)
            assert len(heard) == 2

    run(main())
