"""Who acts holds a lease that is renewed whatever else is being done, and ends before it begins again."""

from __future__ import annotations

import asyncio
from collections import Counter

from tidegate.log.base import Conflict
from tidegate.log.lease import Lease
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.risk.acting import TTL, Acting
from tidegate.sim.virtual_time import VirtualClock, run


class Desk:
    """Services that may act, each a while in beginning; what they do is in `said`."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.server = MemoryServer(1, clock=self.clock, log=declared(1))
        self.said, self.failed = [], []

    def make(self, name, takes=0.0, fails=()):
        lease = Lease(self.server.client(name).bucket("LEASE"), "risk.acting", name, self.clock.now(), TTL)
        fails = list(fails)

        async def begin():
            self.said.append((name, "begins"))
            await asyncio.sleep(takes)
            if fails:
                raise fails.pop(0)
            self.said.append((name, "acts"))

        async def end():
            self.said.append((name, "ends"))

        return Acting(lease, begin, end, Counter(), lambda *failure: self.failed.append(failure))


async def nothing():
    pass


def test_a_lease_is_renewed_while_its_holder_begins_to_act_from_its_start():
    async def main():
        desk = Desk()
        first, second = desk.make("a", takes=8.0), desk.make("b")
        starting = desk.loop.create_task(first.start())
        await asyncio.sleep(0.3)
        await second.start()
        for _ in range(70):
            await asyncio.sleep(0.1)
            assert desk.loop.time() - first.lease.renewed < 0.5
        await starting
        await asyncio.sleep(3)
        assert desk.said == [("a", "begins"), ("a", "acts")]
        await first.leave(nothing)
        await asyncio.sleep(1)
        assert desk.said[2:] == [("a", "ends"), ("b", "begins"), ("b", "acts")]
        await second.leave(nothing)

    run(main())


def test_a_start_that_is_called_off_can_be_left():
    async def main():
        desk = Desk()
        first = desk.make("a", takes=8.0)
        starting = desk.loop.create_task(first.start())
        await asyncio.sleep(1)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await first.leave(nothing)
        assert desk.said == [("a", "begins"), ("a", "ends")]
        assert not first.lease.held

    run(main())


def test_who_lost_the_lease_while_it_began_ends_before_it_begins_again():
    """The second acted meanwhile: nothing of what the first had begun by then holds."""

    async def main():
        desk = Desk()
        first, second = desk.make("a", takes=9.0), desk.make("b")
        starting = desk.loop.create_task(first.start())
        await asyncio.sleep(0.3)
        await second.start()
        desk.server.partition("a")
        await asyncio.sleep(3)
        assert second.lease.held
        desk.server.heal("a")
        await asyncio.sleep(1)
        await second.leave(nothing)
        await asyncio.sleep(1)
        assert first.lease.held, "it has the lease again, and begins still"
        await starting
        await asyncio.sleep(12)
        mine = [what for name, what in desk.said if name == "a"]
        assert mine == ["begins", "acts", "ends", "begins", "acts"]
        await first.leave(nothing)

    run(main())


def test_one_that_finds_another_has_begun_since_gives_way_and_says_so():
    async def main():
        desk = Desk()
        first, second = desk.make("a", fails=[Conflict("a later one lends")]), desk.make("b")
        await first.start()
        assert not first.lease.held
        await second.start()
        assert desk.said == [("a", "begins"), ("a", "ends"), ("b", "begins"), ("b", "acts")]
        assert [(part, str(error)) for part, error in desk.failed] == [
            ("beginning to act", "a later one lends")
        ]
        await second.leave(nothing)
        await asyncio.sleep(8)
        assert desk.said[-1] == ("a", "acts")
        await first.leave(nothing)

    run(main())
