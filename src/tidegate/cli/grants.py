"""Who may do what at the log's server: the user of each process of a topology, with the rights of its roles."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.access.signer import ENVIRONMENT
from tidegate.cli.options import DEFAULT_DATA, DataOption
from tidegate.log import grants, opening
from tidegate.log.grants import Grant, Trader
from tidegate.ops.redact import telling
from tidegate.risk.scopes import NEXT

if TYPE_CHECKING:
    from tidegate.config import Config
    from tidegate.ops.log_server import LogServer
    from tidegate.ops.topology import Process
    from tidegate.world import World


def grant_of(roles: Sequence[str], world: World) -> Grant:
    """The rights of a process of these roles, `strategy:NAME` among them."""
    return grants.all_of(_role(*role.partition(":")[::2], world) for role in roles)


def _role(role: str, name: str, world: World) -> Grant:
    config = world.config
    lanes = range(config.log.lanes)
    if role == "feed":
        return grants.feed()
    if role == "oms":
        return grants.oms(lanes)
    if role == "risk":
        return grants.risk(lanes)
    if role == "gateway":
        venues = dict.fromkeys(item.rpartition(".")[2] for item in config.data.instruments)
        return grants.gateway(lanes, [(venue, account) for account in world.accounts for venue in venues])
    if role == "recorder":
        return grants.recorder(lanes)
    if role == "deploy":
        return grants.deploy(lanes, world.slots)
    if role == "strategy":
        traders = traders_of(world)
        return grants.all_of(grants.strategy(traders[one]) for one in ([name] if name else traders))
    return Grant()


def admitted(process: Process, roles: Sequence[str], world: World, server: LogServer | None) -> Process:
    """The process with what it needs to reach our own log's server as its own user, and without what is not its."""
    env = dict(process.env)
    if server is not None and any(role.partition(":")[0] != "venue" for role in roles):
        env |= server.admit(process.name, grant_of(roles, world))
    hidden = withheld(world.config, {role.partition(":")[0] for role in roles})
    return dataclasses.replace(process, env=env, withheld=hidden)


def traders_of(world: World) -> dict[str, Trader]:
    """The strategies by name, those of slots for new versions too."""
    found: dict[str, Trader] = {}
    numbers = {strategy.name: number for number, strategy in enumerate(world.scopes.strategies)}
    for name, section in world.config.strategies.items():
        lane = world.lane_of(world.accounts.index(section.account))
        slots = world.slots.get(name)
        if slots is None:
            found[name] = Trader(name, (numbers[name],), lane)
        else:  # either may come to trade under the other's number
            for one in (name, name + NEXT):
                found[one] = Trader(one, (slots.live, slots.candidate), lane, slot=True)
    return found


def withheld(config: Config, kinds: Collection[str]) -> tuple[str, ...]:
    """Environment variables that a process of these roles is not given: the key of whoever starts the system, which no
    role needs; accounts' keys, unless it is a gateway; and where strategies alone run in it, all whose names tell of a
    secret, but its own at the log."""
    found = [ENVIRONMENT]
    if "gateway" not in kinds:
        for account in config.accounts.values():
            for text in account.keys.values():
                kind, _, where = text.partition(":")
                if kind == "env":
                    found += [f"{where}_KEY", f"{where}_SECRET"]
    if set(kinds) == {"strategy"}:
        log = config.log.credentials.removeprefix("env:")
        own = {opening.USER, opening.PASSWORD, f"{log}_USER", f"{log}_PASSWORD"}
        found += [name for name in telling(os.environ) if name not in own]
    return tuple(dict.fromkeys(found))


def shared_lanes(world: World) -> dict[int, list[str]]:
    """Lanes on which accounts of several desks are: there the strategies of one may read the other's orders."""
    desks: dict[int, dict[str, None]] = {}
    for number, account in enumerate(world.config.accounts.values()):
        desks.setdefault(world.lane_of(number), {})[account.desk] = None
    return {lane: list(names) for lane, names in desks.items() if len(names) > 1}


def server_config(world: World, names: Sequence[str], roles: Sequence[Sequence[str]]) -> str:
    """The users of a real nats-server as a part of its configuration: passwords are variables of its environment."""
    users = [grants.User("admin", "$TIDEGATE_ADMIN_PASSWORD")]
    for name, held in zip(names, roles, strict=True):
        if [role.partition(":")[0] for role in held] != ["venue"]:
            variable = "".join(c if c.isalnum() else "_" for c in name).upper()
            users.append(
                grants.User(grants.user_of(name), f"$TIDEGATE_{variable}_PASSWORD", grant_of(held, world))
            )
    return grants.authorization(users)


def nats_config(
    config: Annotated[Path, typer.Argument(help="The system's TOML file.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Print the users of a system's processes and their rights, for a nats-server of your own.

    Passwords are variables of the server's environment; a process takes its own from TIDEGATE_LOG_USER and
    TIDEGATE_LOG_PASSWORD. `admin` sets the streams up: run any command as it once, before the others start.
    """
    from tidegate import config as configuration
    from tidegate.cli.cells import hosts_of
    from tidegate.config_live import processes_of, slots_in
    from tidegate.ops.topology import process_names
    from tidegate.world import World

    loaded = configuration.load(config)
    roles = processes_of(
        loaded.topology, dict(loaded.strategies), loaded.simulated is not None, hosts_of(loaded, data)
    )
    roles += [(f"strategy:{name}{NEXT}",) for name in slots_in(loaded.strategies)]
    sys.stdout.write(server_config(World(config, loaded), process_names(roles), roles))


def register(app: typer.Typer) -> None:
    """Put the command on the lead one."""
    access = typer.Typer(no_args_is_help=True, help="Who may do what at the log's server.")
    access.command("nats-config")(nats_config)
    access.callback()(_nothing)
    app.add_typer(access, name="access")


def _nothing() -> None:
    """Who may do what at the log's server."""
