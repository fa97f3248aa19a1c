"""Flattening, run over the lanes of an instance: what is wrong with one scope's command holds no other up."""

from __future__ import annotations

import asyncio

from risk.halting import signed
from writer_world import World, run

from tidegate.risk.halt import commanded, entry


def test_terms_that_cannot_be_read_hold_no_other_scope_up():
    async def main():
        world = World()
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        await world.orders(1)
        now = world.clock.now()
        for scope, participation in (("account:red", "much"), ("firm", "10%")):
            made = signed("flatten", scope, "ann", now, participation=participation)
            subject, data, _ = entry(commanded(made.encode(), made.command, now))
            world.server.store(subject, data, "", None)
        await asyncio.sleep(2.5)
        flattener = oms.halts.flattener
        assert oms.halts.board.status("account:red").flatten is not None
        assert "'much' is no part" in flattener.waits["account:red"]
        stepped = []
        whole = flattener._step

        def step(status, lane, writer):
            whole(status, lane, writer)
            stepped.append(status.scope)

        flattener._step = step
        await asyncio.sleep(2.5)
        assert stepped.count("firm") == stepped.count("account:red") >= 2, "and it goes on each second"
        return True

    assert run(main())
