"""Appends through an outage: stored once, in order, and soon after the log is back."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.log.memory import MemoryServer
from tidegate.log.outbox import LONGEST, TIMEOUT, Outbox
from tidegate.log.streams import declared
from tidegate.sim.virtual_time import VirtualClock, run


@pytest.mark.parametrize("away", [0.3, 3.0, 6.0, 60.0])
def test_after_an_outage_all_is_stored_once_and_in_order_within_a_try(away):
    async def scenario() -> tuple[list[bytes], float]:
        loop = asyncio.get_running_loop()
        server = MemoryServer(1, clock=VirtualClock(loop), log=declared(1))
        log = server.client("strategy")
        outbox = Outbox(log)
        server.outage(True)
        for n in range(5):
            outbox.put("lane.0.cmd", b"%d" % n, f"m-{n}")
            await asyncio.sleep(away / 5)
        server.outage(False)
        back = loop.time()
        assert await outbox.drained(60.0)
        passed = loop.time() - back
        outbox.close()
        await log.close()
        return [entry.data for entry in server.streams["LANE_0"].entries], passed

    stored, passed = run(scenario())
    assert stored == [b"0", b"1", b"2", b"3", b"4"]
    assert passed <= TIMEOUT + LONGEST  # of virtual time: the try under way, and the pause after it
    assert TIMEOUT + LONGEST < 2


def test_what_waits_and_is_dropped_is_not_stored_when_the_log_is_back():
    async def scenario() -> list[bytes]:
        server = MemoryServer(1, clock=VirtualClock(asyncio.get_running_loop()), log=declared(1))
        log = server.client("risk")
        outbox = Outbox(log)
        server.outage(True)
        for n in range(5):
            outbox.put("lane.0.sys", b"%d" % n, f"m-{n}")
            await asyncio.sleep(2)
        outbox.drop()
        assert (outbox.pending, outbox.counts["append_dropped"]) == (0, 5)
        outbox.put("lane.0.sys", b"after", "m-after")
        await asyncio.sleep(2)
        server.outage(False)
        assert await outbox.drained(60.0)
        await asyncio.sleep(10)
        outbox.put("lane.0.sys", b"more", "m-more")
        assert await outbox.drained(60.0)
        outbox.close()
        await log.close()
        return [entry.data for entry in server.streams["LANE_0"].entries]

    assert run(scenario()) == [b"after", b"more"]
