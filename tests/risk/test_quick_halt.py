"""What trips goes to gateways at once, again until the log has it, and no further."""

from __future__ import annotations

import asyncio

from risk.halting import breach, event
from risk.risk_room import Room

from tidegate.risk.halt import decode, post
from tidegate.risk.quick import SUBJECT
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run

LOSS = {"strategies": {"*": {"loss": 1_000}}}


def story(main, **room):
    async def go():
        await main(Room(**room))

    run(go())


def heard_by(room):
    heard = []
    room.server.client("gateway").subscribe(
        SUBJECT, lambda _, data: heard.append((room.loop.time(), decode(data)))
    )
    return heard


def test_a_trip_with_the_log_s_leader_dead_is_told_at_once_and_until_the_log_has_it():
    async def main(room):
        service = await room.service()
        sockets, heard = [], heard_by(room)
        service.announcer._quick._sockets = sockets.append
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.1)
        room.server.outage(True)
        began = room.loop.time()
        room.touch(589_500, 589_510)
        await asyncio.sleep(0.01)
        (when, told), *more = heard
        assert when - began < 0.01
        assert (told.scope, told.state, told.trigger, more) == ("strategy:mm", State.REDUCE_ONLY, "loss", [])
        assert sockets == [told]
        await asyncio.sleep(3)
        assert 4 <= len(heard) <= 7
        assert {one for _, one in heard} == {told} == set(sockets), "one halt, not one more with every touch"
        room.server.outage(False)
        while not room.halts():
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        at = len(heard)
        await asyncio.sleep(5)
        assert len(heard) == at
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "loss")]
        await service.stop()

    story(main, **LOSS)


def test_what_is_being_told_is_not_told_again_but_stricter_is_and_what_is_known_is_not_posted():
    async def main(room):
        service = await room.service()
        heard = heard_by(room)
        room.server.outage(True)
        for state in (State.REDUCE_ONLY, State.REDUCE_ONLY, State.KILLED, State.CANCEL_ONLY):
            await asyncio.sleep(0.01)
            service.announcer.halt(breach("firm", state, room.now))
        assert [one.state for _, one in heard] == [State.REDUCE_ONLY, State.KILLED]
        service.announcer.halt(breach("firm", State.WARN, room.now))
        room.server.outage(False)
        async with asyncio.timeout(30):
            while len(room.halts()) < 5:
                await asyncio.sleep(0.1)
        states = [state for _, state, _ in room.halts()]
        assert states == ["REDUCE_ONLY", "REDUCE_ONLY", "KILLED", "CANCEL_ONLY", "WARN"]
        async with asyncio.timeout(30):
            while service.board.seq < 5:
                await asyncio.sleep(0.1)
        assert service.board.status("firm").epoch == 3, "the others change nothing"
        service.announcer.halt(breach("firm", State.KILLED, room.now))  # for the very same: known
        assert service.announcer.counts["halted_already"] == 1
        assert await service.announcer.drained(5)
        assert len(room.halts()) == 5
        await service.stop()

    story(main, **LOSS)


def test_what_trips_while_a_resume_is_on_its_way_halts_after_it():
    """The service has not heard that the scope was let up: it must not hold its tongue because of the halt before."""

    async def main(room):
        service = await room.service()
        service.announcer.halt(breach("firm", State.KILLED, room.now))
        while service.board.status("firm").state is not State.KILLED:
            await asyncio.sleep(0.01)
        room.server.partition("risk")
        await post(room.server.client("people"), event("resume", "firm", "ann", room.now, "bob", epoch="1"))
        service.announcer.halt(breach("firm", State.KILLED, room.now, "loss"))
        room.server.heal("risk")
        async with asyncio.timeout(30):
            while len(room.halts()) < 3:
                await asyncio.sleep(0.1)
        assert room.halts()[-1] == ("firm", "KILLED", "loss")
        while service.board.seq < 3:
            await asyncio.sleep(0.01)
        assert service.board.status("firm").epoch == 3
        await service.stop()

    story(main, **LOSS)


def test_who_stands_by_tells_nobody():
    async def main(room):
        first = await room.service("one")
        second = await room.service("two")
        heard = heard_by(room)
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.1)
        room.touch(589_500, 589_510)
        await asyncio.sleep(2)
        assert {one.source for _, one in heard} == {"one"}
        await second.stop()
        await first.stop()

    story(main, **LOSS)
