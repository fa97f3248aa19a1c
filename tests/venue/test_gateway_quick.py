"""A component's halt that reaches a gateway before the log has it: it holds at once, once, and becomes the log's."""

from __future__ import annotations

import asyncio
import json
import os

import msgspec
import pytest
from gateway_world import Desk
from risk.halting import breach, event

from tidegate.model.messages import SendNew
from tidegate.model.order import ExecInst, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.wire import pack
from tidegate.ops.control import ask
from tidegate.risk.halt import decode, post
from tidegate.risk.quick import SUBJECT
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import Peer, answer

KEEP = GatewaySettings(on_log_away="keep", countdown=0.0)
US = Peer(1, os.getuid())


def tripped(desk, scope="strategy:left", state=State.KILLED):
    return breach(scope, state, desk.clock.now())


def new(desk, key, strategy=2, epoch=0, inst=0):
    return SendNew(
        desk.clock.now(), key, 1, 0, Side.BUY, OrdType.LIMIT, 10, 100, 0, TimeInForce.GTC, inst, 0, 0, 0, strategy, epoch
    )  # fmt: skip


def request(desk, key, strategy=2, epoch=0):
    lane, m = desk.oms.writers[0], new(desk, key, strategy, epoch)
    desk.user.send("gw.X.main", pack([m], ts=desk.clock.now(), lane=0, epoch=lane.epoch, seq=lane.seq))


async def by_socket(desk, one, peer=US):
    line = json.dumps({"do": "halt", "event": json.loads(one.encode())}).encode()
    return json.loads(await answer(line, desk.gateway.quick.doers(peer)))


def test_it_holds_and_cancels_before_the_log_has_it_and_the_gateway_tells_the_log():
    """Whoever decided it may have died: the gateway that heard it appends it."""

    async def main():
        async with Desk(KEEP) as desk:
            await desk.start_gateway()
            key, other = await desk.rest(), await desk.rest(strategy=1)
            one = tripped(desk)
            desk.user.publish(SUBJECT, one.encode())
            await desk.until(lambda: desk.gateway.counts["halts_early"])
            request(desk, 900, epoch=1 << 40)
            await desk.until(lambda: desk.exchange.open() == [other])
            await desk.until(lambda: desk.entries("HALT"))
            assert [decode(e.data) for e in desk.entries("HALT")] == [one]
            await desk.until(lambda: not desk.gateway.halts.pending)
            assert desk.gateway.halts.state_of("strategy:left") is State.KILLED
            await desk.until(lambda: desk.lane.state.halt_epoch == 1)  # the lanes learn of it
            await desk.status(key, OrdStatus.CANCELED)
            await desk.until(lambda: desk.reports(ExecType.REJECTED))
            (refused,) = desk.reports(ExecType.REJECTED)
            assert (refused.cl_ord_id, refused.reason) == (900, Reason.GATEWAY_HALTED)
            request(desk, 901, strategy=1, epoch=1)  # the other trades on
            await desk.until(lambda: 901 in desk.exchange.open())
            await desk.until(lambda: desk.audit())
            assert desk.audit() == [("risk", "halt", "strategy:left", "done")]

    run(main())


def test_before_the_log_has_it_only_what_is_marked_reduce_only_passes_and_not_what_an_older_halt_forbids():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            await post(desk.user, tripped(desk, state=State.REDUCE_ONLY))
            await desk.until(lambda: gw.halts.board.epoch(["strategy:left"]) == 1)
            reduces = ExecInst.REDUCE_ONLY
            asked = [
                (new(desk, 900, epoch=1), False),
                (new(desk, 901, epoch=0, inst=reduces), False),  # was checked before the first halt
                (new(desk, 902, epoch=1, inst=reduces), True),
                (new(desk, 903, strategy=1, epoch=1), False),
                (new(desk, 904, strategy=1, epoch=0, inst=reduces), True),
            ]
            assert gw.halts.early(tripped(desk, "account:main", State.REDUCE_ONLY), 0.02)
            for m, passes in asked:
                assert gw.halts.judge(m) == (0 if passes else Reason.BEFORE_HALT), m.cl_ord_id
            await desk.until(lambda: not gw.halts.pending)
            assert gw.halts.judge(asked[2][0]) == Reason.BEFORE_HALT, "the log has it: lanes judge after it"

    run(main())


@pytest.mark.parametrize("first", ["log", "quick"])
def test_by_both_ways_and_often_it_is_one_halt(first):
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            one = tripped(desk)
            if first == "log":
                await post(desk.user, one)
                await desk.until(lambda: gw.halts.board.seen(one.id))
            for _ in range(5):
                desk.user.publish(SUBJECT, one.encode())
            if first == "quick":
                await desk.until(lambda: gw.counts["halts_early"])
                await post(desk.user, one)
            await by_socket(desk, one)
            await asyncio.sleep(10)
            assert len(desk.entries("HALT")) == 1
            assert not gw.halts.pending
            assert gw.halts.board.status("strategy:left").epoch == 1
            assert len(desk.alerts("halt")) == 1
            assert not desk.alerts("halt_early")  # the log was there in time
            assert gw.counts["halts_early"] == (first == "quick")

    run(main())


def test_it_outlives_log_process_and_file_and_only_a_newer_resume_of_two_lifts_it(tmp_path):
    async def main():
        path = tmp_path / "gw.X.main.sock"
        async with Desk(msgspec.structs.replace(KEEP, socket=path)) as desk:
            await desk.start_gateway()
            # Halted and resumed before: that resume lifts nothing that comes after it.
            await post(desk.user, tripped(desk))
            await desk.until(lambda: desk.gateway.halts.board.epoch(["strategy:left"]))
            old = event("resume", "strategy:left", "ann", desk.clock.now(), "bob", epoch="1", recover="1")
            desk.server.outage(True)
            one = breach("strategy:left", State.KILLED, desk.clock.now(), trigger="loss")
            said = await ask(path, {"do": "halt", "event": json.loads(one.encode())})
            assert (said["ok"], said["concerned"], said["state"], said["already"]) == (
                True, True, "KILLED", False,
            )  # fmt: skip
            again = await ask(path, {"do": "halt", "event": json.loads(one.encode())})
            assert (again["ok"], again["already"]) == (True, True)
            assert one in msgspec.json.decode(path.with_suffix(".halts").read_bytes(), type=list[type(one)])
            await desk.kill_gateway()
            desk.server.outage(False)
            await post(desk.user, old)  # before the log has the later halt
            desk.gateway = desk.make_gateway()
            await desk.gateway.start()
            await desk.until(lambda: len(desk.entries("HALT")) == 3 and not desk.gateway.halts.pending)
            assert desk.gateway.halts.state_of("strategy:left") is State.KILLED
            assert desk.gateway.halts.board.epoch(["strategy:left"]) == 3
            await desk.until(lambda: not desk.gateway.session.holds)
            new = event("resume", "strategy:left", "ann", desk.clock.now(), "bob", epoch="3", recover="1")
            await post(desk.user, new)
            await desk.until(lambda: desk.gateway.halts.state_of("strategy:left") < State.REDUCE_ONLY)
            request(desk, 900, epoch=3)
            await desk.until(lambda: desk.exchange.open() == [900])

    asyncio.run(main())


def test_people_are_told_when_the_log_does_not_bring_it():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            await desk.rest()
            desk.server.outage(True)
            await by_socket(desk, tripped(desk))
            await desk.until(lambda: gw.counts["halts_before_the_log"])
            await desk.until(lambda: not desk.exchange.open())
            desk.server.outage(False)
            await desk.until(lambda: desk.alerts("halt_early"))
            assert (
                "has not brought it yet: too much (drawdown, by risk)" in desk.alerts("halt_early")[0]["text"]
            )
            await desk.until(lambda: len(desk.entries("HALT")) == 1)

    run(main())


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda d: tripped(d, state=State.ACTIVE), "by the log alone"),
        (lambda d: tripped(d, state=State.RECOVERING), "by the log alone"),
        (lambda d: tripped(d, scope="strategy:nobody"), "there is no"),
        (lambda d: event("halt", "firm", "oz", d.clock.now()), "by a signed command"),
        (lambda d: event("resume", "firm", "ann", d.clock.now(), "bob", epoch="1"), "by a signed command"),
        (lambda d: breach("firm", State.KILLED, d.clock.now(), trigger="manual"), "by a signed command"),
    ],
)  # fmt: skip
def test_only_what_goes_down_by_itself_is_followed(made, why):
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            one = made(desk)
            desk.user.publish(SUBJECT, one.encode())
            desk.user.publish(SUBJECT, b"\x00")
            said = await by_socket(desk, one)
            assert not said["ok"]
            assert why in said["error"]
            await desk.until(lambda: gw.counts["halts_early_ignored"] == 3)
            assert not gw.halts.pending
            assert gw.halts.shown() == {}
            await desk.until(lambda: len(desk.audit()) == 3)
            assert all(outcome.startswith("refused") for *_, outcome in desk.audit())
            await desk.rest()

    run(main())


def test_another_user_s_process_halts_nothing_without_a_signature_and_nobody_does_over_the_log():
    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            one = tripped(desk)
            for peer in (Peer(1, os.getuid() + 1), Peer()):
                said = await by_socket(desk, one, peer)
                assert "of the same user only" in said["error"]
            line = json.dumps({"do": "halt", "event": json.loads(one.encode())}).encode()
            said = json.loads(await desk.user.request("ctl.gw.X.main", line))
            assert "'halt' is none of" in said["error"]
            assert not gw.halts.pending
            assert len(desk.alerts("halt_ignored")) == 1

    run(main())


def test_a_halt_that_the_log_has_after_a_resume_is_not_lifted_by_it():
    """Also where the scope was as strictly halted when it came: nobody who resumed had seen it."""

    async def main():
        async with Desk(KEEP) as desk:
            gw = await desk.start_gateway()
            seq = await post(desk.user, tripped(desk, "firm"))
            await desk.until(lambda: gw.halts.board.epoch(["firm"]) == seq)
            up = event("resume", "firm", "ann", desk.clock.now(), "bob", epoch=str(seq), recover="1")
            desk.server.partition("gw-1")
            one = breach("firm", State.KILLED, desk.clock.now(), trigger="loss")
            assert (await by_socket(desk, one))["state"] == "KILLED"
            await post(desk.user, up)
            await desk.until(lambda: desk.oms.halts.board.status("firm").state < State.REDUCE_ONLY)
            desk.server.heal("gw-1")
            await desk.until(lambda: len(desk.entries("HALT")) > seq + 1 and not gw.halts.pending)
            await desk.until(lambda: desk.oms.halts.board.status("firm").state is State.KILLED)
            assert gw.halts.state_of("firm") is State.KILLED
            assert gw.halts.board.epoch(["firm"]) == desk.oms.halts.board.epoch(["firm"]) > seq

    run(main())
