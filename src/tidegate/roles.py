"""Roles as services: what `tidegate run ROLE[,ROLE …]` builds from a configuration, and runs until it is told to stop.

Roles of one process share one client of the log: what passes between them does not cross the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from tidegate import roles_risk
from tidegate.config import AccountSection
from tidegate.config_live import ROLES
from tidegate.errors import UserError
from tidegate.log import opening
from tidegate.log.alert import alert
from tidegate.log.base import Log, LogError
from tidegate.log.nats import NatsLog
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder, replace
from tidegate.ops.health import HealthFile
from tidegate.ops.hops import HopFile, Hops
from tidegate.ops.logs import LogFile, install
from tidegate.ops.redact import secrets_of
from tidegate.ops.stopping import StopSignal
from tidegate.risk.scopes import NEXT
from tidegate.world import World

WAIT_S = 30.0
"""How long a process waits for what it needs of another one: the log's server, the simulated venue."""
STEP = 500_000_000
"""A drift of the system's clock of so many ns is told to people."""
FORKED = 70
"""The exit code of a fork of a strategy's process: it ends at once. Programs can be started (`subprocess`, spawn)."""
BACKGROUND = 10
"""How much a process of recorders alone gives way (`nice`): a tick wakes it as it wakes the strategies, and it must
not hold the core that an order needs next."""


class Service(Protocol):
    """One role's life."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def health(self) -> dict[str, Any]: ...


class SimulatedVenue(msgspec.Struct, frozen=True):
    """Where the simulated venue listens, and what opens its `/admin`: `run/venue.json`, for its owner alone."""

    url: str
    token: str
    pid: int


class Place(NamedTuple):
    """Where a process runs: its world, its data folder, its name, its clock, log file and hops."""

    world: World
    folder: DataFolder
    name: str
    clock: SystemClock
    lines: LogFile
    hops: Hops


# What a process finds.


async def waited(what: str, look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it does; `UserError` where it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + WAIT_S
    while (found := look()) is None:
        if loop.time() > end:
            raise UserError(f"{what} did not come up within {WAIT_S:g} s; is `tidegate up` running?")
        await asyncio.sleep(0.05)
    return found


async def open_log(world: World, data: Path, name: str, clock: SystemClock) -> NatsLog:
    """A client of the configured log, or of the data folder's own."""
    return await opening.open_log(world.config.log, world.path, data, name, clock)


def simulated(folder: DataFolder) -> SimulatedVenue | None:
    """The simulated venue of a data folder; None where none has started."""
    try:
        return msgspec.json.decode((folder.run / "venue.json").read_bytes(), type=SimulatedVenue)
    except (OSError, msgspec.DecodeError):
        return None


async def endpoints(place: Place, venue: str) -> Any:
    """Where a venue is reached."""
    from tidegate.venue.binance import products

    if place.world.config.simulated is not None:
        found = await waited("the simulated venue", lambda: simulated(place.folder))
        at = urlsplit(found.url)
        return products.simulated(at.hostname or "", at.port or 0, venue)
    section = place.world.config.venues.get(venue)
    if section is None or section.live is None:
        raise UserError(
            f"{place.world.path}: venues.{venue}.live is missing: say where the venue is, or add [simulated]"
        )
    return products.Endpoints(section.live.rest, section.live.stream, section.live.ws_api)


def keys_of(place: Place, account: str, section: AccountSection, venue: str) -> Any:
    """An account's key at a venue; None where it has none there, and so does not trade there."""
    from tidegate.venue.binance.keys import Keys

    if place.world.config.simulated is not None:
        return Keys.from_file(_simulated_key(place.folder, account))
    text = section.keys.get(venue, "")
    kind, _, where = text.partition(":")
    if not text:
        return None
    if kind == "env":
        return Keys.from_environment(f"{where}_KEY", f"{where}_SECRET")
    if kind == "file":
        return Keys.from_file(place.world.path.parent / where)
    raise UserError(
        f"{place.world.path}: accounts.{account}.keys.{venue} is {text!r}; write env:NAME or file:PATH"
    )


def _simulated_key(folder: DataFolder, account: str) -> Path:
    """The file of an account's key at the simulated venue, made when first asked for."""
    path = folder.run / "keys" / f"{account}.toml"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        made = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f'key = "{secrets.token_hex(16)}"\nsecret = "{secrets.token_hex(32)}"\n')
        with contextlib.suppress(FileExistsError):
            os.link(made, path)  # whoever is first
        made.unlink()
    return path


# What a role comes to.


async def services(place: Place, roles: list[tuple[str, str]], log: Log | None) -> list[tuple[str, Service]]:
    """The services of these roles, by a name for each, in the order in which they are started."""
    found: list[tuple[str, Service]] = []
    for role, name in sorted(roles, key=lambda item: ROLES.index(item[0])):
        if role == "venue":
            found.append((role, _venue(place)))
            continue
        assert log is not None
        if role == "feed":
            found.append((role, await _feed(place, log)))
        elif role == "oms":
            found.append((role, await _oms(place, log)))
        elif role == "risk":
            found.append((role, await roles_risk.risk(place, log)))
        elif role == "gateway":
            found += await _gateways(place, log)
        elif role == "recorder":
            found.append((role, _recorder(place, log)))
        elif role == "strategy":
            found += await _strategies(place, log, name)
        elif role == "deploy":
            from tidegate import roles_deploy

            found.append((role, await roles_deploy.deploy(place, log)))
    return found


def _venue(place: Place) -> Service:
    from tidegate.sim.venue_role import VenueRole

    world, section = place.world, place.world.config.simulated
    if section is None:
        raise UserError(f"{world.path}: role venue needs a section [simulated]")
    accounts = {name: _simulated_key(place.folder, name) for name in world.accounts}
    before = simulated(place.folder)

    def listening(url: str, token: str) -> None:
        data = msgspec.json.encode(SimulatedVenue(url, token, os.getpid()))
        path = place.folder.run / "venue.json"
        replace(path, data)
        path.chmod(0o600)

    port = section.port or (urlsplit(before.url).port or 0 if before else 0)
    captures = [world.path.parent / file for file in section.captures.values()]
    return VenueRole(world.universe, section, captures, accounts, port, place.clock, listening)


async def _feed(place: Place, log: Log) -> Service:
    from tidegate.venue.binance.feed import BinanceFeed
    from tidegate.venue.feed import FeedService

    world = place.world
    feeds = [
        BinanceFeed(venue, world.universe, await endpoints(place, venue), place.clock)
        for venue in world.venues
    ]
    return FeedService(world.universe, feeds, log, place.clock)


async def _oms(place: Place, log: Log) -> Service:
    from tidegate.access.audit import AuditTrail
    from tidegate.access.keyring import Keyring
    from tidegate.access.replays import Replays
    from tidegate.config import latencies
    from tidegate.execution.service import OmsService

    world = place.world
    keyring = await Keyring.open(log, place.folder.path, world.config.access)
    trail = AuditTrail(log, place.clock, place.name, place.folder.path)
    sample = latencies(world.config.topology.sample, f"{world.path}: topology.sample", world.path.parent)[0]
    return OmsService(
        place.name, range(world.config.log.lanes), world.lane_kind(), world.universe, world.accounts, log,
        place.clock, scopes=world.scopes, check=keyring.verify, note=trail.note,
        first=Replays(place.folder.run / f"{place.name}.replays").first, sample=sample / 1e9, on_hop=place.hops,
    )  # fmt: skip


async def _gateways(place: Place, log: Log) -> list[tuple[str, Service]]:
    from tidegate.access.audit import AuditTrail
    from tidegate.access.keyring import Keyring
    from tidegate.venue.binance.venue import BinanceVenue
    from tidegate.venue.gateway import GatewayService, GatewaySettings

    world = place.world
    keyring = await Keyring.open(log, place.folder.path, world.config.access)
    trail = AuditTrail(log, place.clock, place.name, place.folder.path)
    found: list[tuple[str, Service]] = []
    for number, (account, section) in enumerate(world.config.accounts.items()):
        for name in world.venues:
            keys = keys_of(place, account, section, name)
            if keys is None:
                continue
            venue = BinanceVenue(name, world.universe, await endpoints(place, name), keys, place.clock)
            settings = GatewaySettings(
                instance=place.name,
                socket=place.folder.run / f"gw.{name}.{account}.sock",
                on_stop=world.config.topology.on_stop,
            )
            gateway = GatewayService(
                name, account, number, venue, world.universe, log, place.clock, [world.lane_of(number)], settings,
                world.scopes, keyring.verify, trail.note, place.hops.gateway,
            )  # fmt: skip
            found.append((f"gateway {name}.{account}", gateway))
    if not found:
        raise UserError(f"{world.path}: no account has keys at a venue; see accounts.NAME.keys")
    return found


def _recorder(place: Place, log: Log) -> Service:
    from tidegate.store.recorder import RecorderService

    lanes = range(place.world.config.log.lanes)
    return RecorderService(place.world.universe, lanes, place.folder.path / "lake", log, place.clock)


async def _strategies(place: Place, log: Log, name: str) -> list[tuple[str, Service]]:
    from tidegate import roles_deploy
    from tidegate.strategy.service import StrategyService

    world = place.world
    slots = [name] if name.removesuffix(NEXT) in world.slots else list(world.slots if not name else ())
    return [await roles_deploy.slot(place, log, slot) for slot in slots] + [
        (
            f"strategy {strategy.name}",
            StrategyService(
                strategy, world.lane_of(strategy.account), world.universe, world.gate(), log, place.clock,
                ledger=world.ledger(), cancel_on_stop=world.config.topology.on_stop == "cancel", on_hop=place.hops,
            ),
        )
        for strategy in world.strategies()
        if name in ("", strategy.name) and strategy.name not in world.slots
    ]  # fmt: skip


# Running them.


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
