"""Keys of the risk service that are overwritten by what is none of ours: docs/security.md, "The reply subject"."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from risk_room import Room

from tidegate.errors import NotYet
from tidegate.log.lease import holder
from tidegate.model.messages import DynamicLimit
from tidegate.risk.limit_documents import Documents
from tidegate.risk.quick import ACTING
from tidegate.sim.virtual_time import run

NOISE = b'{"stream":"LANE_0", "seq":5}'
LIMITS = "risk.limits"


def test_a_factor_that_is_told_after_the_lease_was_overwritten_is_newer_than_those_before():
    async def main():
        room = Room()
        first = await room.service("one")
        for n in range(90):
            room.pulse(0, bid=600_000, ask=600_010, bid_lots=900 if n < 80 else 45, ask_lots=1_000)
            await asyncio.sleep(1)
        said = len(room.sent(0, DynamicLimit))
        assert said
        leases = room.feed.bucket("LEASE")
        await leases.put(ACTING, NOISE)
        await asyncio.sleep(1)
        assert holder((await leases.get(ACTING)).value).owner == "one"
        assert first.health()["risk"]["state"] == "acting"
        assert first.health()["counters"]["keys_spoiled"] == 1
        (alert,) = room.alerts("key_spoiled")
        assert alert["text"].startswith(
            'LEASE risk.acting was overwritten by what is none of ours (\'{"stream"'
        )
        room.server.partition("one")
        await asyncio.sleep(0.5)
        await leases.put(ACTING, NOISE)  # the last word of all, when its owner is dead
        second = await room.service("two")
        await asyncio.sleep(5)
        assert second.health()["risk"]["state"] == "acting"
        numbers = [m.number for m in room.sent(0, DynamicLimit)]
        assert len(numbers) > said
        assert numbers == sorted(set(numbers))
        await second.stop()

    run(main())


def test_limits_that_are_overwritten_are_written_again_by_who_acts():
    async def main():
        room = Room()
        service = await room.service()
        assert (await room.limits(firm={"gross": 60_000_000, "net": 60_000_000}))["ok"]
        states = room.feed.bucket("STATE")
        kept = (await states.get(LIMITS)).value
        await states.put(LIMITS, NOISE)
        await asyncio.sleep(1.5)
        assert (await states.get(LIMITS)).value == kept
        assert len(room.alerts("key_spoiled")) == 1
        await states.put(LIMITS, NOISE)
        await room.limits(firm={"gross": 50_000_000, "net": 50_000_000}, version=2)  # before it has looked
        await asyncio.sleep(1.5)
        said = await room.limits(firm={"gross": 40_000_000, "net": 40_000_000}, version=2)
        assert said["ok"], said
        assert msgspec.json.decode((await states.get(LIMITS)).value, type=Documents).now.version == 2
        await service.stop()

    run(main())


def test_who_starts_and_does_not_know_the_limits_in_force_does_not_act_by_others():
    async def main():
        room = Room()
        service = await room.service()
        assert (await room.limits(firm={"gross": 60_000_000, "net": 60_000_000}))["ok"]
        await service.stop()
        await room.feed.bucket("STATE").put(LIMITS, NOISE)
        with pytest.raises(NotYet, match=r"STATE risk\.limits was overwritten"):
            await room.service("two")

    run(main())
