"""A person acknowledges a strategy's repeated executions: signed, once, in every lane's log, and on the audit trail."""

from __future__ import annotations

import asyncio

import msgspec
from risk.halting import signed
from writer_world import World, run

from tidegate.execution.acknowledge import SUBJECT
from tidegate.execution.signed_ear import Answer
from tidegate.model.messages import Acknowledge
from tidegate.model.wire import decode


def asked(world, command):
    process, log = world.process("person")

    async def ask():
        return msgspec.json.decode(await log.request(SUBJECT, command.encode()), type=Answer)

    return world.inside(process, ask())


def said(world, lane):
    """(strategy, instrument, by) of what a lane's log was told."""
    messages = [m for e in world.server.streams[f"LANE_{lane}"].entries for m in decode(e.data).messages]
    return [(m.strategy, m.instrument, m.by) for m in messages if type(m) is Acknowledge]


def test_one_person_acknowledges_a_strategy_in_every_lane_and_once():
    async def main():
        world = World(lanes=2)
        services = [await world.oms("oms-a"), await world.oms("oms-b")]
        await asyncio.sleep(3)
        now = world.clock.now
        command = signed("acknowledge", "strategy:taker", "oz", now())
        assert await asked(world, command) == Answer()
        await asyncio.sleep(0.1)
        once = [(1, 0, "oz"), (1, 1, "oz")]
        assert said(world, 0) == said(world, 1) == once
        for _ in range(4):  # whichever instance hears it
            await asked(world, command)
        assert said(world, 0) == said(world, 1) == once
        writers = {lane: w for service in services for lane, w in service.writers.items()}
        assert {lane: dict(w.lane.state.counts) for lane, w in writers.items()} == {0: {}, 1: {}}
        one = signed("acknowledge", "strategy:quoter", "oz", now(), instrument="SPOT.SIM")
        assert await asked(world, one) == Answer()
        assert said(world, 0)[2:] == [(0, 1, "oz")]
        notes = [(note[0], note[2], note[3]) for note in world.notes]
        assert ("oz", "strategy:taker", "done") in notes
        assert ("oz", "strategy:quoter", "done") in notes
        return True

    assert run(main())


def test_the_instance_that_did_it_refuses_it_again_and_others_what_is_not_an_acknowledgement():
    async def main():
        world = World()
        await world.oms("oms-a")
        await asyncio.sleep(3)
        now = world.clock.now
        command = signed("acknowledge", "strategy:taker", "oz", now())
        assert await asked(world, command) == Answer()
        assert (await asked(world, command)).error.startswith("COMMAND_REPEATED")
        for wrong, error in (
            (signed("acknowledge", "strategy:taker", "vic", now()), "ROLE_TOO_LOW"),
            (signed("acknowledge", "strategy:takr", "oz", now()), "scopes: unknown strategy 'takr'"),
            (signed("acknowledge", "account:red", "oz", now()), "account:red: executions are a strategy's"),
            (signed("acknowledge", "strategy:taker", "oz", now(), instrument="X"), "scope 'instrument:X'"),
            (signed("acknowledge", "strategy:taker", "oz", now(), life=90 * 10**9), "LIVES_TOO_LONG"),
            (signed("halt", "strategy:taker", "oz", now()), "'halt' is not for order managers here"),
        ):
            assert (await asked(world, wrong)).error.startswith(error)
        assert len(said(world, 0)) == 2
        assert [note[3].partition(":")[0] for note in world.notes] == ["done"] + ["refused"] * 7
        return True

    assert run(main())
