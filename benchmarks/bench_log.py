"""The log's client beside plain nats-py, on one embedded server, in one run: what the replaced hot path is worth.

python benchmarks/bench_log.py [process|machine]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import uvloop

from tidegate.log.embedded import Embedded, Running
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared

DATA = b"x" * 256
ONE_BY_ONE, IN_FLIGHT, TOGETHER = 2000, 30_000, 500


def at(samples: list[float], share: float) -> float:
    """A percentile, in microseconds."""
    ordered = sorted(samples)
    return ordered[int(len(ordered) * share)] * 1e6


async def acknowledged(append: Callable[[], Awaitable[Any]], count: int) -> str:
    """Appends one after another: how long each took to be acknowledged."""
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        await append()
        samples.append(time.perf_counter() - began)
    return f"p50 {at(samples, 0.5):4.0f}  p99 {at(samples, 0.99):5.0f} µs"


async def pipelined(append: Callable[[], Awaitable[Any]], count: int) -> str:
    """Appends with many in flight: how many a second."""
    began = time.perf_counter()
    for _ in range(0, count, TOGETHER):
        await asyncio.gather(*(append() for _ in range(TOGETHER)))
    return f"{count / (time.perf_counter() - began):,.0f}/s"


async def caught_up(log: NatsLog, last: int) -> str:
    """A follower from the first entry to the last: how many a second."""
    done, seen = asyncio.Event(), 0

    def entries(batch: list[Any]) -> None:
        nonlocal seen
        seen += len(batch)
        if seen >= last:
            done.set()

    began = time.perf_counter()
    following = log.follow("LANE_1", entries)
    await done.wait()
    following.close()
    return f"{last / (time.perf_counter() - began):,.0f}/s"


async def caught_up_plain(client: Any, last: int) -> str:
    """The same with nats-py's ordered consumer."""
    done, seen = asyncio.Event(), 0

    async def message(_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen >= last:
            done.set()

    began = time.perf_counter()
    subscription = await client.jetstream().subscribe("lane.1.>", ordered_consumer=True, cb=message)
    await done.wait()
    await subscription.unsubscribe()
    return f"{last / (time.perf_counter() - began):,.0f}/s"


async def measure(server: Running, durability: str) -> None:
    """Print the table."""
    ours = await connect(
        server.url, name="bench", declared=declared(2, durability), user=server.user, password=server.password
    )
    plain = await nats.connect(server.url, user=server.user, password=server.password)
    publish = plain.jetstream().publish
    few = ONE_BY_ONE if durability == "process" else ONE_BY_ONE // 4
    many = IN_FLIGHT if durability == "process" else IN_FLIGHT // 10
    print(f"durability {durability}, 256 bytes")
    print(f"  acknowledged   tidegate {await acknowledged(lambda: ours.append('lane.0.cmd', DATA), few)}")
    print(f"                 nats-py  {await acknowledged(lambda: publish('lane.0.cmd', DATA), few)}")
    print(f"  in flight      tidegate {await pipelined(lambda: ours.append('lane.1.cmd', DATA), many)}")
    print(f"                 nats-py  {await pipelined(lambda: publish('lane.0.cmd', DATA), many // 3)}")
    last = await ours.last("LANE_1")
    assert last is not None
    print(f"  catching up    tidegate {await caught_up(ours, last.seq)}")
    print(f"                 nats-py  {await caught_up_plain(plain, last.seq)}")
    await plain.close()
    await ours.close()


async def main(durability: str) -> None:
    """One server, one table."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = Embedded(Path(folder), durability)
        try:
            await measure(await embedded.start(), durability)
        finally:
            await embedded.stop()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1] if len(sys.argv) > 1 else "process"))
