"""The blows: each a function that strikes a running system and returns, once it trades again, when it struck."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rounds_system import ALONE, TWO_OMS, System, Trouble

from tidegate.access.command import new, sign
from tidegate.access.signer import find
from tidegate.log.cluster import Cluster
from tidegate.log.nats import NatsLog
from tidegate.model.clock import SystemClock
from tidegate.ops.gateways import command, gateways
from tidegate.roles.place import open_log

PATIENCE = 60.0
FROZEN = 10.0
"""Seconds a zombie lies still."""
BETWEEN = 1.0
"""Seconds after the leader's death until cancel-all is asked for."""
HEALTHY = 11.0
"""Seconds after which the supervisor takes a death for the first: until then each one is followed by a longer wait."""
CREDENTIALS = "TIDEGATE_ROUNDS_LOG"


class Blow(NamedTuple):
    """When it was (ns). Where nothing dies (`until` is not 0), the longest silence up to then is what counts. With
    `fresh` only orders on market data from after it do."""

    at: int
    until: int = 0
    fresh: bool = False


Act = Callable[[System, list[str]], Awaitable[list[Blow]]]
"""(the system, notes for people) → the blows of one round."""


def now() -> int:
    """The time, ns."""
    return SystemClock().now()


async def trading(system: System, blow: int, fresh: bool = False) -> None:
    """Wait until every strategy has had an order acknowledged whose command was written after the blow; with `fresh`
    on market data from after it."""

    def traded(name: str) -> bool:
        rows = system.journal(name)
        asked = {
            row[2]
            for row in rows
            if row[0] == "new" and int(row[1]) > blow and (not fresh or int(row[3]) > blow)
        }
        return any(row[0] == "ack" and row[2] in asked for row in rows)

    for name in system.strategies:
        await system.until(lambda name=name: traded(name), f"{name} to trade after the blow", PATIENCE)  # type: ignore[misc]


def killing(name: str, fresh: bool = False) -> Act:
    """`kill -9` of a process."""

    async def act(system: System, notes: list[str]) -> list[Blow]:
        pid = await system.until(lambda: system.pid(name), f"{name} to run")
        blow = now()
        os.kill(pid, signal.SIGKILL)
        await trading(system, blow, fresh)
        await system.until(lambda: system.state(name) == "healthy", f"{name} to be healthy again")
        return [Blow(blow, fresh=fresh)]

    return act


# Lanes move.


def lanes_of(system: System, name: str) -> set[str]:
    """The lanes an OMS process says it writes."""
    said = system.health(name).get("services", {})
    return {lane for service in said.values() for lane in service.get("lanes", {})}


async def zombie(system: System, notes: list[str]) -> list[Blow]:
    """SIGSTOP of a lane's writer for ten seconds: another takes the lane over, and the writer wakes up into that."""
    names = ("oms-1", "oms-2")
    for name in names:
        await system.until(lambda name=name: lanes_of(system, name), f"{name} to have a lane")  # type: ignore[misc]
    name = next(name for name in names if "0" in lanes_of(system, name))
    pid = system.pid(name)
    blow = now()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.gather(trading(system, blow), asyncio.sleep(FROZEN))
    finally:
        os.kill(pid, signal.SIGCONT)
    await trading(system, now())
    return [Blow(blow)]


async def moving(system: System, notes: list[str]) -> list[Blow]:
    """One more OMS process comes, gets a lane, and leaves again."""
    began = now()
    process = await system.more("oms-more", "oms")
    await system.until(lambda: lanes_of(system, "oms-more"), "the new OMS to have a lane")
    await trading(system, now())
    joined = now()
    process.terminate()
    await process.wait()
    system.folder.health("oms-more").unlink(missing_ok=True)
    await trading(system, now())
    return [Blow(began, joined), Blow(joined, now())]


async def upgrade(system: System, notes: list[str]) -> list[Blow]:
    """A new version comes up beside the old one, which is then stopped; and the way back."""
    began = now()
    process = await system.more("oms-new", "oms", version="9.9.9")
    await system.until(lambda: lanes_of(system, "oms-new"), "the new version to have a lane")
    await system.ask("stop", "oms-1")
    await system.until(
        lambda: len(lanes_of(system, "oms-new")) == system.lanes, "the new version to have all lanes"
    )
    await trading(system, now())
    up = now()
    await system.ask("restart", "oms-1")
    await system.until(lambda: lanes_of(system, "oms-1"), "the old version to have a lane")
    process.terminate()
    await process.wait()
    system.folder.health("oms-new").unlink(missing_ok=True)
    await trading(system, now())
    return [Blow(began, up), Blow(up, now())]


# A replicated log.


@dataclass
class Replicated(System):
    """A system on a cluster of three."""

    cluster: Cluster | None = None
    client: NatsLog | None = None

    async def replicas_current(self) -> bool:
        """Whether every node has all of every stream."""
        assert self.client is not None
        for stream in self.client.declared.streams:
            info = (await self.client.calls.api(f"STREAM.INFO.{stream.name}"))["cluster"]
            if not info.get("leader") or not all(node.get("current") for node in info.get("replicas", [])):
                return False
        return True


@asynccontextmanager
async def replicated(
    home: Path, rate: float, alter: Callable[[Path], None] = lambda path: None
) -> AsyncIterator[System]:
    """A system on a log of three nodes; `alter` may change its configuration's file."""
    cluster = Cluster(3, home / "cluster")
    os.environ[f"{CREDENTIALS}_USER"], os.environ[f"{CREDENTIALS}_PASSWORD"] = cluster.user, cluster.password
    await cluster.start()
    log = {"url": ", ".join(cluster.urls), "credentials": f"env:{CREDENTIALS}", "durability": "replicated"}
    system = Replicated(home, rate, log=log, cluster=cluster)
    alter(system.path)
    try:
        await system.start()
        system.client = await open_log(system.world, system.data, "rounds-leader", SystemClock())
        yield system
    finally:
        if system.client is not None:
            await system.client.close()
        await system.stop()
        await cluster.stop()


async def leader(system: System, notes: list[str]) -> list[Blow]:
    """Kill the node that leads lane 0's stream; cancel-all, asked for meanwhile, must reach the venue."""
    assert isinstance(system, Replicated)
    assert system.cluster is not None
    assert system.client is not None
    node = await system.cluster.leader(system.client, "LANE_0")
    blow = now()
    await system.cluster.kill(node)
    await asyncio.sleep(BETWEEN)
    asked = now()
    signer = find(system.data)
    asking = new("cancel-all", "firm", "rounds: the log's leader is dead", signer.name, time.time_ns())
    answers = await command(gateways(system.folder), sign(asking, signer))
    answered = now()
    for answer in answers:
        if answer.error:
            raise Trouble(f"cancel-all of {answer.gateway}: {answer.error}")
    requests = [r for r in await system.record("requests") if asked < r["received_ns"] < answered]
    reached = [r for r in requests if "cancel" in r["kind"] or "DELETE" in r["kind"]]
    if not reached:
        raise Trouble("cancel-all was answered, and the venue saw no cancel")
    await trading(system, blow)
    notes.append(
        f"cancel-all {(asked - blow) / 1e9:.1f} s after the leader's death: {(answered - asked) / 1e6:.0f} ms"
    )
    await node.start()
    for _ in range(600):
        if await system.replicas_current():
            return [Blow(blow)]
        await asyncio.sleep(0.1)
    raise Trouble("a node that came back did not catch up in a minute")


# All there are.


@dataclass(frozen=True)
class Part:
    """One kind of blow, and the system it is for. `bound`: seconds until trading again that are allowed; `pause`: of
    load between two rounds."""

    name: str
    act: Act
    system: Callable[[Path, float], AbstractAsyncContextManager[System]]
    bound: float = 5.0
    pause: float = HEALTHY


def plain(processes: list[list[str]]) -> Callable[[Path, float], AbstractAsyncContextManager[System]]:
    """A system with a log of its own."""

    @asynccontextmanager
    async def made(home: Path, rate: float) -> AsyncIterator[System]:
        system = System(home, rate, processes=processes)
        try:
            await system.start()
            yield system
        finally:
            await system.stop()

    return made


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("feed", killing("feed-1", fresh=True), plain(ALONE)),
        Part("strategy", killing("strategy-left"), plain(ALONE)),
        Part("oms", killing("oms-1"), plain(ALONE)),
        Part("risk", killing("risk-1"), plain(ALONE)),
        Part("gateway", killing("gateway-1"), plain(ALONE)),
        Part("recorder", killing("recorder-1"), plain(ALONE)),
        Part("log", killing("log"), plain(ALONE)),
        Part("zombie", zombie, plain(TWO_OMS), pause=1.0),
        Part("moving", moving, plain(ALONE), pause=1.0),
        Part("upgrade", upgrade, plain(ALONE), pause=1.0),
        Part("leader", leader, replicated, bound=10.0, pause=1.0),
    )
}
