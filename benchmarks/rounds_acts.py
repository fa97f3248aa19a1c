"""The blows: each a function that strikes a running system and returns, once it trades again, when it struck (ns)."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rounds_system import ALONE, System

from tidegate.model.clock import SystemClock

Act = Callable[[System, list[str]], Awaitable[int]]
"""(the system, notes for people) → the time of the blow."""
PATIENCE = 60.0
FROZEN = 10.0
"""Seconds a zombie lies still."""


async def trading(system: System, blow: int, fresh: bool = False) -> None:
    """Wait until every strategy has had an order acknowledged whose command was written after the blow; with `fresh`
    on market data from after it."""

    def traded(name: str) -> bool:
        rows = system.journal(name)
        seen = 3 if fresh else 1
        asked = {row[2] for row in rows if row[0] == "new" and int(row[seen]) > blow and int(row[1]) > blow}
        return any(row[0] == "ack" and row[2] in asked for row in rows)

    for name in system.strategies:
        await system.until(lambda name=name: traded(name), f"{name} to trade after the blow", PATIENCE)  # type: ignore[misc]


def killing(name: str, fresh: bool = False) -> Act:
    """`kill -9` of a process."""

    async def act(system: System, notes: list[str]) -> int:
        pid = await system.until(lambda: system.pid(name), f"{name} to run")
        blow = SystemClock().now()
        os.kill(pid, signal.SIGKILL)
        await trading(system, blow, fresh)
        await system.until(lambda: system.state(name) == "healthy", f"{name} to be healthy again")
        return blow

    return act


async def nothing(system: System) -> None:
    """Nothing to mend."""


@dataclass(frozen=True)
class Part:
    """One kind of blow, and the system it is for. `bound`: seconds until trading again that are allowed."""

    name: str
    act: Act
    system: Callable[[Path, float], AbstractAsyncContextManager[System]]
    bound: float = 5.0
    most: int = 1000
    mend: Callable[[System], Awaitable[None]] = nothing


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
        Part("gateway", killing("gateway-1"), plain(ALONE)),
        Part("recorder", killing("recorder-1"), plain(ALONE)),
        Part("log", killing("log"), plain(ALONE)),
    )
}
