"""What each role comes to: its services, built from a configuration."""

from __future__ import annotations

import os
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from tidegate.config_live import ROLES
from tidegate.errors import UserError
from tidegate.log.base import Log
from tidegate.ops.folder import replace
from tidegate.risk.scopes import NEXT
from tidegate.roles import risk
from tidegate.roles.place import Place, SimulatedVenue, endpoints, keys_of, simulated, simulated_key


class Service(Protocol):
    """One role's life."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def health(self) -> dict[str, Any]: ...


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
            found.append((role, await risk.risk(place, log)))
        elif role == "gateway":
            found += await _gateways(place, log)
        elif role == "recorder":
            found.append((role, _recorder(place, log)))
        elif role == "strategy":
            found += await _strategies(place, log, name)
        elif role == "deploy":
            from tidegate.roles import deploy

            found.append((role, await deploy.deploy(place, log)))
    return found


def _venue(place: Place) -> Service:
    from tidegate.sim.venue_role import VenueRole

    world, section = place.world, place.world.config.simulated
    if section is None:
        raise UserError(f"{world.path}: role venue needs a section [simulated]")
    accounts = {name: simulated_key(place.folder, name) for name in world.accounts}
    before = simulated(place.folder)

    def listening(url: str, token: str) -> None:
        data = msgspec.json.encode(SimulatedVenue(url, token, os.getpid()))
        path = place.folder.run / "venue.json"
        replace(path, data)
        path.chmod(0o600)

    port = section.port or (urlsplit(before.url).port or 0 if before else 0)
    captures = [world.path.parent / file for file in section.captures.values()]
    borrowers = {name for name, account in world.config.accounts.items() if account.spot == "margin"}
    return VenueRole(
        world.universe, section, captures, accounts, port, place.clock, listening, frozenset(borrowers)
    )


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
    from tidegate.access.replays import Replays
    from tidegate.config import latencies
    from tidegate.execution.service import OmsService

    world = place.world
    keyring, trail = await place.keyring(log), place.trail(log)
    sample = latencies(world.config.topology.sample, f"{world.path}: topology.sample", world.path.parent)[0]
    return OmsService(
        place.name, range(world.config.log.lanes), world.lane_kind(), world.universe, world.accounts, log,
        place.clock, scopes=world.scopes, check=keyring.verify, note=trail.note, lane_of=world.lane_of,
        first=Replays(place.folder.run / f"{place.name}.replays").first, sample=sample / 1e9, on_hop=place.hops,
    )  # fmt: skip


async def _gateways(place: Place, log: Log) -> list[tuple[str, Service]]:
    from tidegate.model.time import duration
    from tidegate.venue.binance import spot_margin
    from tidegate.venue.binance.venue import BinanceVenue
    from tidegate.venue.gateway import GatewayService, GatewaySettings

    world = place.world
    keyring, trail = await place.keyring(log), place.trail(log)
    processes = world.config.topology.processes
    watched = not processes or any("risk" in roles for roles in processes)
    found: list[tuple[str, Service]] = []
    for number, (account, section) in enumerate(world.config.accounts.items()):
        for name in world.venues:
            keys = keys_of(place, account, section, name)
            if keys is None:
                continue
            where = await endpoints(place, name)
            if section.spot == "margin" and name == spot_margin.NAME:
                venue: BinanceVenue = spot_margin.SpotMarginVenue(
                    world.universe, where, keys, place.clock, section.borrow
                )
            else:
                venue = BinanceVenue(name, world.universe, where, keys, place.clock)
            settings = GatewaySettings(
                instance=place.name,
                socket=place.folder.run / f"gw.{name}.{account}.sock",
                on_stop=world.config.topology.on_stop,
                control_age=duration(world.config.topology.control_age) / 1e9,
                risk=watched,
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
    from tidegate.roles import deploy
    from tidegate.strategy.service import StrategyService

    world = place.world
    slots = [name] if name.removesuffix(NEXT) in world.slots else list(world.slots if not name else ())
    return [await deploy.slot(place, log, slot) for slot in slots] + [
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
