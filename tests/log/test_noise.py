"""What a stream's writers did not write is stepped over, wherever it stands."""

from __future__ import annotations

import asyncio
import random

import pytest

from tidegate.log.memory import MemoryServer
from tidegate.log.noise import Word, last_word
from tidegate.sim.virtual_time import VirtualClock, run

OURS, THEIRS, NOISE = b"ours", b"another subject's", b'{"stream":"LANE_0","seq":5}'


def read(entry):
    return entry.seq if entry.data == OURS else None


@pytest.mark.parametrize("seed", range(60))
def test_the_last_word_is_found_wherever_it_stands_and_all_noise_after_it_is_counted(seed):
    async def main():
        rng = random.Random(seed)
        server = MemoryServer(clock=VirtualClock(asyncio.get_running_loop()))
        log = server.client("a")
        weights = [rng.choice((0, 1, 20)), rng.choice((0, 1, 50)), rng.choice((0, 1, 20))]
        if any(weights):
            for kind in rng.choices((OURS, THEIRS, NOISE), weights, k=rng.randint(0, 150)):
                server.store("lane.0.cmd" if kind == THEIRS else "lane.0.epoch", kind, "", None)
        if rng.random() < 0.3:
            server.trim("LANE_0", rng.randint(1, server.streams["LANE_0"].last + 1))
        mine = [e for e in server.streams["LANE_0"].entries if e.subject == "lane.0.epoch"]
        last = mine[-1].seq if mine else 0
        at = max([e.seq for e in mine if e.data == OURS], default=0)
        noise = sum(e.seq > at for e in mine)
        found = await last_word(log, "LANE_0", "lane.0.epoch", read)
        assert found == Word(last, at, at or None, noise)
        return True

    assert run(main())


def test_little_is_asked_where_little_noise_lies_over_much_else():
    async def main():
        server = MemoryServer(clock=VirtualClock(asyncio.get_running_loop()))
        log = server.client("a")
        server.store("lane.0.epoch", OURS, "", None)
        for _ in range(50_000):
            server.store("lane.0.cmd", THEIRS, "", None)
        server.store("lane.0.epoch", NOISE, "", None)
        asked = []
        ask = log.next

        async def counted(*place):
            asked.append(place)
            return await ask(*place)

        log.next = counted
        assert await last_word(log, "LANE_0", "lane.0.epoch", read) == Word(50_002, 1, 1, 1)
        assert len(asked) < 25
        return True

    assert run(main())
