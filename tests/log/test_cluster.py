"""Three replicated servers on the loopback: the death of a leader costs no acknowledged append and doubles none."""

from __future__ import annotations

import asyncio

import pytest
from log_worlds import Got, again, all_of

from tidegate.errors import UserError
from tidegate.log.base import LogDown
from tidegate.log.cluster import Cluster
from tidegate.log.embedded import Embedded
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared

REPLICATED = declared(1, "replicated")


async def client(cluster: Cluster, name: str) -> NatsLog:
    return await connect(
        cluster.urls,
        name=name,
        declared=REPLICATED,
        user=cluster.user,
        password=cluster.password,
        timeout=20.0,
    )


class Writer:
    """Appends without end, again under the same message id until it is acknowledged."""

    def __init__(self, log: NatsLog) -> None:
        self.log = log
        self.acknowledged: dict[int, bytes] = {}
        self.more = Got()
        self._stop = False

    async def run(self) -> None:
        n = 0
        while not self._stop:
            flying = range(n, n + 50)
            n += 50
            left = {b"%d" % i for i in flying}
            while left:
                data = sorted(left)
                futures = [
                    self.log.append("lane.0.cmd", one, msg_id=one.decode(), timeout=1.0) for one in data
                ]
                results = await asyncio.gather(*futures, return_exceptions=True)
                for one, result in zip(data, results, strict=True):
                    if isinstance(result, int):
                        assert self.acknowledged.setdefault(result, one) == one
                        left.discard(one)
                    elif not isinstance(result, LogDown):
                        raise result
                if len(left) == len(data):
                    await asyncio.sleep(0.05)
            self.more(n)

    async def stop(self, running: asyncio.Task[None]) -> None:
        self._stop = True
        await running


def test_the_death_of_a_leader_loses_and_doubles_nothing(tmp_path):
    async def body():
        cluster = Cluster(3, tmp_path)
        await cluster.start()
        try:
            a, b = await client(cluster, "a"), await client(cluster, "b")
            got, own, watched = Got(), Got(), Got()
            b.follow("LANE_0", got)
            a.follow("LANE_0", own)
            b.bucket("LEASE").watch(watched)
            await a.bucket("LEASE").put("lane.0", b"a")
            writer = Writer(a)
            running = asyncio.create_task(writer.run())
            await writer.more.count(20)
            leader = await cluster.leader(b, "LANE_0")
            await cluster.kill(leader)
            before = len(writer.more)
            await writer.more.count(
                before + 20
            )  # an election takes 4 to 9 seconds, by nats-server's own constants
            await leader.start()
            await writer.stop(running)
            n = len(writer.more) * 50
            assert sorted(writer.acknowledged) == list(range(1, n + 1))
            assert {entry.seq: entry.data for entry in await all_of(b, "LANE_0")} == writer.acknowledged
            await got.count(n)
            await own.count(n)
            assert got.seqs == own.seqs == list(range(1, n + 1))
            await a.close()
            await b.close()
        finally:
            await cluster.stop()

    async def bounded():
        async with asyncio.timeout(120):
            await body()

    asyncio.run(bounded())


def test_reading_is_whole_while_a_copy_catches_up(tmp_path):
    """Three servers, one away for 20,000 entries and back: a reader that is put on it is not told less, in silence."""

    async def body():
        cluster = Cluster(3, tmp_path)
        await cluster.start()
        try:
            log = await client(cluster, "a")
            await log.bucket("LEASE").put("old", b"1")
            leaders = [await cluster.leader(log, name) for name in ("LANE_0", "KV_LEASE")]
            behind = next(server for server in cluster.servers if server not in leaders)
            await cluster.kill(behind)
            n = 20_000
            for at in range(0, n, 500):
                await again(lambda at=at: stored(log, range(at, at + 500)), LogDown)
            await log.bucket("LEASE").put("new", b"2")
            starting = asyncio.create_task(behind.start())
            until = asyncio.get_running_loop().time() + 3
            while asyncio.get_running_loop().time() < until:
                read = await again(lambda: all_of(log, "LANE_0", after=n - 3000), LogDown)
                assert [entry.seq for entry in read] == list(range(n - 2999, n + 1))
                assert await again(log.bucket("LEASE").keys, LogDown) == ["new", "old"]
            await starting
            await log.close()
        finally:
            await cluster.stop()

    async def stored(log: NatsLog, numbers: range) -> None:
        await asyncio.gather(
            *(log.append("lane.0.cmd", bytes(1000), msg_id=f"{n}", timeout=2.0) for n in numbers)
        )

    async def bounded():
        async with asyncio.timeout(110):
            await body()

    asyncio.run(bounded())


def test_a_single_server_cannot_replicate_and_says_so(tmp_path):
    async def body():
        server = Embedded(tmp_path, "process")
        running = await server.start()
        try:
            with pytest.raises(UserError, match=r"replicas .*needs a cluster of three"):
                await connect(
                    running.url, name="a", declared=REPLICATED, user=running.user, password=running.password
                )
        finally:
            await server.stop()

    asyncio.run(body())
