"""The lease of who acts: kept through noise at its key, and its epochs only rise."""

from __future__ import annotations

import asyncio
import contextlib
import random

import msgspec
import pytest

from tidegate.log.base import LogDown
from tidegate.log.lease import HIDDEN, Holder, Lease, holder
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.sim.virtual_time import VirtualClock, run

KEY, TTL = "risk.acting", 1.0
NOISE = b'{"stream":"LANE_0", "seq":5}'
"""A server's answer to a command, had at a key by naming that as the answer's subject."""


class Place:
    """A bucket, and leases of its one key."""

    def __init__(self, seed: int = 1) -> None:
        clock = VirtualClock(asyncio.get_running_loop())
        self.server = MemoryServer(seed, clock=clock, log=declared(1))
        self.bucket = self.server.client("anybody").bucket("LEASE")
        self.spoiled: list[bytes] = []
        self.lives = 0

    def lease(self, owner: str) -> Lease:
        self.lives += 1
        log = self.server.client(f"{owner}-{self.lives}")
        return Lease(log.bucket("LEASE"), KEY, owner, self.lives, TTL, self.spoiled.append)

    async def noise(self, value: bytes = NOISE) -> None:
        await self.bucket.put(KEY, value)

    async def word(self) -> Holder | None:
        entry = await self.bucket.get(KEY)
        return holder(entry.value) if entry else None


async def steps(lease: Lease, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(TTL / 4)
        await lease.step()


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00", b"[]", b"{}", NOISE, b'{"owner":"x","epoch":9}', b'{"owner":"x","epoch":9,"life":1,"beat":1,"type":""}'],
)  # fmt: skip
def test_only_a_whole_word_and_nothing_more_is_a_holders(value):
    assert holder(value) is None
    said = Holder("one", 3, 2, 1)
    assert holder(b'{"owner":"one","epoch":3,"life":2,"beat":1}') == said == holder(msgspec.json.encode(said))


def test_an_owner_whose_lease_is_overwritten_keeps_it_and_nobody_else_takes_it():
    async def main():
        place = Place()
        one, two = place.lease("one"), place.lease("two")
        await steps(one, 3)
        began = one.epoch
        for n in range(12):
            await place.noise(NOISE + b" " * n)
            assert not await two.step()
            assert await one.step()
            assert (await place.word()).owner == "one"
            await asyncio.sleep(TTL / 4)
        assert one.epoch >= began
        assert len([value for value in place.spoiled if value.strip() == NOISE]) == 24, "each saw each, once"

    run(main())


def test_an_owner_that_has_not_renewed_for_long_takes_it_anew_from_under_noise():
    """Another may have had it meanwhile: its epoch must be above that one's."""

    async def main():
        place = Place()
        one, two = place.lease("one"), place.lease("two")
        await steps(one, 2)
        while not await two.step():
            await asyncio.sleep(TTL / 4)
        await place.noise()
        assert not await one.step(), "it was away for longer than the lease lasts"
        for _ in range(8):
            await asyncio.sleep(TTL / 4)
            await one.step()
        assert one.held
        assert one.epoch > two.epoch

    run(main())


def test_a_new_process_that_finds_noise_waits_and_takes_an_epoch_above_all_before():
    async def main():
        place = Place()
        epochs = []
        for n in range(4):
            lease = place.lease("risk")
            began = asyncio.get_running_loop().time()
            while not await lease.step():
                await asyncio.sleep(TTL / 4)
            assert asyncio.get_running_loop().time() - began >= (TTL if n else 0)
            epochs.append(lease.epoch)
            await steps(lease, 5)
            await place.noise()  # and the process is killed before it writes its own again
        assert epochs == sorted(set(epochs))

    run(main())


def test_epochs_rise_over_a_deletion_and_a_lease_given_back():
    async def main():
        place = Place()
        one = place.lease("one")
        await steps(one, 5)
        await place.bucket.delete(KEY)
        two = place.lease("two")
        assert await two.step()
        assert two.epoch > one.epoch
        await two.release()
        three = place.lease("three")
        assert await three.step()
        assert three.epoch > two.epoch

    run(main())


def test_an_epoch_is_above_one_of_a_bucket_that_was_made_anew():
    async def main():
        place = Place()
        await place.bucket.put(KEY, msgspec.json.encode(Holder("", 1_000_000, 0, 0)))
        one = place.lease("one")
        assert await one.step()
        assert one.epoch == (await place.word()).epoch == 1_000_001

    run(main())


def test_noise_again_and_again_keeps_a_dead_owners_lease_for_a_while_only():
    async def main():
        place = Place()
        dead, heir = place.lease("dead"), place.lease("heir")
        await steps(dead, 4)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not heir.held:
            assert loop.time() - began < (HIDDEN + 1) * TTL
            await place.noise()
            await heir.step()
            await asyncio.sleep(TTL / 4)
        assert loop.time() - began >= HIDDEN * TTL
        assert heir.epoch > dead.epoch

    run(main())


@pytest.mark.parametrize("seed", range(20))
def test_under_noise_deaths_and_deletions_one_holds_it_and_epochs_only_rise(seed):
    async def main():
        place = Place(seed)
        rng, loop = random.Random(seed), asyncio.get_running_loop()
        leases = {name: place.lease(name) for name in "abc"}
        taken: list[int] = []

        async def live(name: str) -> None:
            while loop.time() < 300:
                lease = leases[name]
                before = lease.held
                with contextlib.suppress(LogDown):
                    if await lease.step() and not before:
                        taken.append(lease.epoch)
                await asyncio.sleep(TTL / 4)

        async def trouble() -> None:
            while loop.time() < 300:
                await asyncio.sleep(rng.expovariate(1 / 1.5))
                match rng.choice(["noise", "noise", "noise", "death", "away"]):
                    case "noise":
                        await place.noise()
                    case "death":
                        name = rng.choice("abc")
                        leases[name] = place.lease(name)
                    case "away":
                        name = rng.choice("abc")
                        life = f"{name}-{leases[name]._life}"
                        place.server.partition(life)
                        await asyncio.sleep(rng.uniform(0.5, 4))
                        place.server.heal(life)

        async def watch() -> None:
            while loop.time() < 300:
                acting = [n for n, x in leases.items() if x.held and loop.time() - x.renewed <= TTL]
                assert len(acting) <= 1, acting
                await asyncio.sleep(0.05)

        await asyncio.gather(*(live(name) for name in "abc"), trouble(), watch())
        assert len(taken) > 10
        assert taken == sorted(set(taken))

    run(main())
