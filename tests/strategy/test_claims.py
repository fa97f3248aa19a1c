"""Which process runs a strategy: an older one stops, and noise at the key is nobody's claim."""

from __future__ import annotations

import asyncio

import msgspec
from strategy.test_entries_gathered import Desk

from tidegate.execution.strategy_view import StrategyView
from tidegate.sim.virtual_time import run

NOISE = b'{"stream":"LANE_0", "seq":5}'


def test_noise_stops_no_strategy_and_a_later_process_does():
    async def main():
        desk = Desk()
        others = desk.server.client("others")
        view = StrategyView(lane=0, events_at=0, last_cmd=0, orders=[], positions=[])
        others.serve("oms.0.strategy", lambda _: msgspec.msgpack.encode(view))
        await desk.service.start()
        for noise in (NOISE, b"\xff" * 20, b"zzzzzzzzzzzzzzzzzzzz", b""):
            await others.bucket("LEASE").put("strategy.mm", noise)
            others.publish("claim.mm", noise)
            await asyncio.sleep(10)
            assert not desk.service.error
        others.publish("claim.mm", b"%020d" % (desk.clock.now() + 1))
        await asyncio.sleep(1)
        assert desk.service.error == "another process has taken this strategy over"

    run(main())
