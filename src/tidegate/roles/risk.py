"""The role `risk`: its service from a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.errors import UserError
from tidegate.log.base import Log
from tidegate.world import World

if TYPE_CHECKING:
    from tidegate.risk.service import RiskService, RiskSetup
    from tidegate.roles.place import Place


def setup(world: World) -> RiskSetup:
    """What the risk service takes from a configuration; raises `UserError`."""
    from tidegate.risk.breakers.settings import BreakerSettings
    from tidegate.risk.dynamic import DynamicSettings
    from tidegate.risk.margin.watch import MarginSettings
    from tidegate.risk.service import RiskSetup

    lanes: list[list[int]] = [[] for _ in range(world.config.log.lanes)]
    for account in range(len(world.accounts)):
        lanes[world.lane_of(account)].append(account)
    breakers = BreakerSettings.load(world.config.risk.get("breakers", {}), f"{world.path}: risk.breakers")
    for coin, instrument in breakers.depeg.coins.items():
        if instrument not in world.universe.index:
            raise UserError(
                f"{world.path}: risk.breakers.depeg.coins.{coin}: unknown instrument {instrument!r}"
            )
    return RiskSetup(
        world.universe, world.scopes, world.limits, lanes, world.config.run.base_currency, world.rates, breakers,
        world.shared, DynamicSettings.load(world.config.risk.get("dynamic", {}), f"{world.path}: risk.dynamic"),
        MarginSettings.load(world.config.risk.get("margin", {}), f"{world.path}: risk.margin"), world.collateral,
    )  # fmt: skip


def check(world: World) -> None:
    """Refuse, before anything starts, what the risk service would; and lanes that share limits nobody would lend them."""
    setup(world)
    processes = world.config.topology.processes
    if processes and world.shared and not any("risk" in roles for roles in processes):
        raise UserError(
            f"{world.path}: topology.processes: no process has the role risk, which lends {world.config.log.lanes} "
            "lanes the limits they share; add one"
        )


async def risk(place: Place, log: Log) -> RiskService:
    """The service of this process."""
    from tidegate.access.replays import Replays
    from tidegate.ops.quick_sockets import QuickSockets
    from tidegate.risk.service import RiskService

    world = place.world
    keyring, trail = await place.keyring(log), place.trail(log)
    replays = Replays(place.folder.run / "risk.replays")
    return RiskService(
        place.name, setup(world), log, place.clock, keyring.verify, replays.first, trail.note,
        QuickSockets(place.folder),
    )  # fmt: skip
