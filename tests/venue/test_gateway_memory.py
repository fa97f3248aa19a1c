"""What a gateway remembers over its own end, where the key is overwritten by what is none of ours."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.sim.virtual_time import VirtualClock, run
from tidegate.venue.gateway.memory import Memory, Saved

KEY, NOISE = "gw.X.main", b'{"stream":"LANE_0", "seq":5}'


def test_a_memory_that_is_overwritten_is_written_again_within_a_second():
    async def main():
        server = MemoryServer(1, clock=VirtualClock(asyncio.get_running_loop()), log=declared(1))
        bucket = server.client("gw").bucket("STATE")
        spoiled: list[bytes] = []
        memory = Memory(bucket, KEY, spoiled.append)
        await memory.load()
        memory.saved.cursor = 700
        await memory.save()
        counts: Counter[str] = Counter()
        work = asyncio.create_task(memory.run(counts))
        await bucket.put(KEY, NOISE)
        await asyncio.sleep(2.5)
        assert msgspec.json.decode((await bucket.get(KEY)).value, type=Saved).cursor == 700
        assert spoiled == [NOISE]
        assert not counts
        assert not work.done()
        work.cancel()

    run(main())


def test_noise_is_no_memory_of_a_first_start_and_is_told():
    async def main():
        server = MemoryServer(1, clock=VirtualClock(asyncio.get_running_loop()), log=declared(1))
        bucket = server.client("gw").bucket("STATE")
        spoiled: list[bytes] = []
        memory = Memory(bucket, KEY, spoiled.append)
        memory.saved.cursor = 700  # it has acted before in this process
        for noise in (NOISE, b"\x82\xa1", b""):
            await bucket.put(KEY, noise)
            await memory.load()
            assert (memory.saved.cursor, spoiled[-1]) == (700, noise)
        await memory.save()
        assert msgspec.json.decode((await bucket.get(KEY)).value, type=Saved).cursor == 700

    run(main())
