"""One process with its roles: started in order, watched, stopped in order.

Roles of one process share one client of the log: what passes between them does not cross the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from pathlib import Path

from tidegate.log import private
from tidegate.log.alert import alert
from tidegate.log.base import LogError
from tidegate.log.nats import NatsLog
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import HealthFile
from tidegate.ops.hops import HopFile, Hops
from tidegate.ops.logs import LogFile, install
from tidegate.ops.redact import secrets_of
from tidegate.ops.stopping import StopSignal
from tidegate.roles.build import Service, services
from tidegate.roles.place import Place, open_log
from tidegate.world import World

STEP = 500_000_000
"""A drift of the system's clock of so many ns is told to people."""
FORKED = 70
"""The exit code of a fork of a strategy's process: it ends at once. Programs can be started (`subprocess`, spawn)."""
BACKGROUND = 10
"""How much a process of recorders alone gives way (`nice`): a tick wakes it as it wakes the strategies, and it must
not hold the core that an order needs next."""


async def run(
    world: World,
    roles: list[tuple[str, str]],
    data: Path,
    name: str,
    trace_every: int = 0,
    hops: Path | None = None,
) -> None:
    """Run these roles as one process until SIGTERM or SIGINT; raises `UserError` where they cannot start.

    `hops` is a file for every hop of every tick, for measurements.
    """
    folder, clock = DataFolder(data), SystemClock()
    folder.make()
    if {role for role, _ in roles} == {"recorder"}:
        os.nice(BACKGROUND)
    shown = ",".join(role for role, _ in roles)
    lines = LogFile(folder, name, shown, clock, secrets=secrets_of(os.environ), trace_every=trace_every)
    install(lines)
    kept = HopFile(hops) if hops else None
    place = Place(world, folder, name, clock, lines, Hops(lines, file=kept))
    stop = StopSignal()
    strategies = {role for role, _ in roles} == {"strategy"}
    if any(role == "gateway" for role, _ in roles):
        private.unseen()
    if strategies:  # a copy of the process would write and read on the same connection
        os.register_at_fork(after_in_child=lambda: os._exit(FORKED))
    health = HealthFile(
        folder, name, [role for role, _ in roles], {"hops": place.hops.health}, clock, beats=strategies
    )
    await health.start()
    logs: list[NatsLog] = []
    started: list[tuple[str, Service]] = []
    loop = asyncio.get_running_loop()
    work = loop.create_task(_start(place, roles, data, logs, started, health))
    watch = loop.create_task(_watch_clock(place, logs))
    asked = loop.create_task(stop.wait())
    try:
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            await asked
        health.stopping()
    except Exception as error:
        lines.error("failed", error=error)
        raise
    finally:
        for task in (work, watch, asked):
            task.cancel()
        await asyncio.gather(work, watch, asked, return_exceptions=True)
        await _stop(place, started)
        for log in logs:
            await log.close()
        lines.info("stopped")
        await health.stop()
        if kept is not None:
            kept.close()
        lines.close()


async def _start(
    place: Place,
    roles: list[tuple[str, str]],
    data: Path,
    logs: list[NatsLog],
    started: list[tuple[str, Service]],
    health: HealthFile,
) -> None:
    """Start all; what has started is in `logs` and `started`, whatever happens."""
    if any(role != "venue" for role, _ in roles):
        logs.append(await open_log(place.world, data, place.name, place.clock))
    for label, service in await services(place, roles, logs[0] if logs else None):
        place.lines.info("starting", label)
        started.append((label, service))
        await service.start()
        health.services[label] = service.health
    place.lines.info("running", f"{len(started)} services")
    gc.collect()
    gc.freeze()  # what stays for good is not looked at again: pauses stay short
    gc.set_threshold(10_000, 20, 50)  # messages are no work for the collector; cycles are rare
    health.running()


async def _stop(place: Place, started: list[tuple[str, Service]]) -> None:
    """Strategies first, then lanes, gateways, the rest: as the supervisor stops processes."""
    order = ("deploy", "strategy", "oms", "gateway", "risk", "feed", "recorder", "venue")
    for label, service in sorted(started, key=lambda item: order.index(item[0].partition(" ")[0])):
        place.lines.info("stopping", label)
        try:
            await service.stop()
        except Exception as error:  # one that cannot stop must not keep the others from stopping
            place.lines.error("stop.failed", label, error=error)


async def _watch_clock(place: Place, logs: list[NatsLog]) -> None:
    """Follow the system's clock slowly; a step of it is an alert, once."""
    told = False
    while True:
        drift = place.clock.follow()
        if abs(drift) > STEP and not told:
            told = True
            text = f"the system's clock was stepped by {drift / 1e9:+.3f} s; ours follows by 10 ms a second"
            place.lines.warning("clock.stepped", text)
            for log in logs:
                with contextlib.suppress(LogError):  # it is in our own log file
                    await log.append(*alert(place.clock.now(), "clock", "high", place.name, text))
        told = told and abs(drift) > STEP // 10
        await asyncio.sleep(1.0)
