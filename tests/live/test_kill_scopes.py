"""Every scope halted on one system of real processes, with two strategies in an endless loop; each time the venue's own
record has nothing of the scope after the block, its open orders are gone, and the others trade on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from live.kill_world import (
    COINM,
    SPINNING,
    USDM,
    accepted,
    breach,
    by_socket,
    far,
    halt,
    people,
    resting,
    resume,
    spinning,
    status,
    under,
    until,
)

from tidegate.errors import UserError
from tidegate.log.server_process import binary
from tidegate.ops.health import last_beat
from tidegate.risk.scopes import State

SCOPES = ("account:arbitrage", "venue:BINANCE", "desk:first")
SETTLE = 0.4
"""Seconds that are looked at after a block, while the scope's strategies go on asking."""


async def gone(system, scope, blocked):
    """Nothing of the scope after the block, by the venue's record; and of all else something."""
    ours = under(system, scope)
    await until(lambda: accepted(system, blocked, lambda row: not ours(row)))
    await asyncio.sleep(SETTLE)
    assert await accepted(system, blocked, ours) == []
    assert not await resting(system, ours)


async def spin(system):
    """Both hang in their handlers for good: no beat of their processes any more."""
    await until(lambda: _both(system))
    (system.home / "go.spin").touch()
    for name in SPINNING:
        path = system.folder.health(f"strategy-{name}")
        async with asyncio.timeout(20):
            beat = 0
            while beat != (beat := last_beat(path)):
                await asyncio.sleep(0.6)


async def _both(system):
    return await far(system) == set(SPINNING.values())


async def whole(system):
    who = people(system)
    await spin(system)

    # By the log alone, a loop that never returns notwithstanding.
    scope = f"instrument:{USDM}"
    await gone(system, scope, await breach(system, scope))
    assert await far(system) == {COINM}
    await resume(system, who, scope)

    # By the sockets alone, the log dead: and then it is the log's too, once.
    log = system.pid("log")
    os.kill(log, signal.SIGSTOP)
    try:
        await by_socket(system, "strategy:spun")
        await until(lambda: far(system), False)
    finally:
        os.kill(log, signal.SIGCONT)
    async with asyncio.timeout(20):
        while (await status(system, "strategy:spun")).state is not State.KILLED:
            await asyncio.sleep(0.1)
    epoch = (await status(system, "strategy:spun")).epoch
    for name in SPINNING:
        os.kill(system.pid(f"strategy-{name}"), signal.SIGKILL)

    # By people, both ways.
    for scope in SCOPES:
        await gone(system, scope, await halt(system, who, scope))
        await resume(system, who, scope)
    assert (await status(system, "strategy:spun")).epoch == epoch, "seven gateways' word was one halt"


def test_every_scope_is_killed_whatever_spins(tmp_path):
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))

    async def main():
        system = spinning(tmp_path / "system")
        try:
            await system.start()
            await whole(system)
        finally:
            await system.stop()

    asyncio.run(main())
