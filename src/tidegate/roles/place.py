"""Where a process runs, and what it finds there: the log, the venues, accounts' keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tidegate.access.audit import AuditTrail
from tidegate.access.keyring import Keyring
from tidegate.config import AccountSection
from tidegate.errors import NotYet, UserError
from tidegate.log import opening
from tidegate.log.base import Log
from tidegate.log.nats import NatsLog
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.hops import Hops
from tidegate.ops.logs import LogFile
from tidegate.world import World

WAIT_S = 30.0
"""How long a process waits for what it needs of another one: the log's server, the simulated venue."""


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

    async def keyring(self, log: Log) -> Keyring:
        """Who may do what, as this process knows it."""
        return await Keyring.open(log, self.folder.path, self.world.config.access, self.world.above)

    def trail(self, log: Log) -> AuditTrail:
        """The audit trail under this process's name."""
        return AuditTrail(log, self.clock, self.name, self.folder.path)


async def waited(what: str, look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it does; `NotYet` where it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + WAIT_S
    while (found := look()) is None:
        if loop.time() > end:
            raise NotYet(f"{what} did not come up within {WAIT_S:g} s; is `tidegate up` running?")
        await asyncio.sleep(0.05)
    return found


async def open_log(world: World, data: Path, name: str, clock: SystemClock) -> NatsLog:
    """A client of the configured log, or of the data folder's own."""
    return await opening.open_log(world.config.log, world.path, data, name, clock)


def simulated(folder: DataFolder) -> SimulatedVenue | None:
    """The simulated venue of a data folder; None where none has started."""
    try:
        return msgspec.json.decode((folder.run / "venue.json").read_bytes(), type=SimulatedVenue)
    except (OSError, ValueError):
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
        return Keys.from_file(simulated_key(place.folder, account))
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


def simulated_key(folder: DataFolder, account: str) -> Path:
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
