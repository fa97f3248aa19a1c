"""The role `deploy`, and strategies whose versions can be changed while the system runs: their services."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from tidegate import config as configuration
from tidegate import versions
from tidegate.errors import UserError
from tidegate.execution.strategy_view import StrategyView
from tidegate.log.base import Log
from tidegate.ops import control
from tidegate.ops.orders import TOKEN
from tidegate.risk import slots as sharing
from tidegate.risk.scopes import NEXT, Slots
from tidegate.strategy.deploy.slot_host import Hosted, SlotHost, Wanted
from tidegate.strategy.deploy.stages import Check, DeployBoard, Stage
from tidegate.strategy.deploy.version import CONFIGURED, Versions

if TYPE_CHECKING:
    from tidegate.roles.place import Place
    from tidegate.strategy.deploy.service import DeployService
    from tidegate.strategy.strategy import Strategy
    from tidegate.world import World


def process_name(slot: str) -> str:
    """What the process of a slot for new versions is called."""
    return f"strategy-{slot}"


def board(world: World, check: Check) -> DeployBoard:
    """The fold of DEPLOY of a configuration."""
    known = world.slots
    return DeployBoard(check, lambda name: known[name].part if name in known else 0)


async def deploy(place: Place, log: Log) -> DeployService:
    """The service of the role."""
    from tidegate.strategy.deploy.service import DeployService

    world = place.world
    if not world.slots:
        raise UserError(
            f'{world.path}: role deploy: no strategy has a slot for new versions; set strategies.NAME.canary = "10%"'
        )
    keyring, trail = await place.keyring(log), place.trail(log)

    token = os.environ.get(TOKEN, "")

    async def processes(slot: str, run: bool) -> bool:
        request = {"do": "slot", "name": process_name(slot), "run": run, "token": token}
        return bool((await control.ask(place.folder.socket, request, 15.0)).get("ok"))

    return DeployService(
        world.slots, world.universe, world.config.run.base_currency, world.rates, log, place.clock, keyring.verify,
        trail.note, processes,
    )  # fmt: skip


async def slot(place: Place, log: Log, name: str) -> tuple[str, SlotHost]:
    """The host of a slot, `NAME` or `NAME.next`, and what it is called."""
    world, strategy = place.world, name.removesuffix(NEXT)
    keyring = await place.keyring(log)
    maker = Maker(place, log, world.slots[strategy])
    host = SlotHost(
        strategy, name != strategy, board(world, keyring.verify), log, place.clock, maker.make, maker.end
    )
    return f"strategy {name}", host


class Maker:
    """Makes the services of one strategy's versions."""

    def __init__(self, place: Place, log: Log, slots: Slots) -> None:
        self._place, self._log, self._slots = place, log, slots
        self._world = place.world

    async def make(self, wanted: Wanted) -> Hosted:
        """See `slot_host.Make`."""
        if wanted.stage == Stage.SHADOW:
            return await self._shadow(wanted)
        from tidegate.strategy.service import StrategyService

        world, slots = self._world, self._slots
        number = slots.candidate if wanted.stage == Stage.CANARY else slots.live
        strategy = await self._strategy(wanted, wanted.slot, number)
        return StrategyService(
            strategy, slots.lane, world.universe, world.gate(), self._log, self._place.clock, ledger=world.ledger(),
            cancel_on_stop=world.config.topology.on_stop == "cancel", on_hop=self._place.hops,
        )  # fmt: skip

    async def end(self, hosted: Hosted) -> None:
        """Stop a version that another follows: its orders are cancelled, whatever a stop of the system does."""
        from tidegate.strategy.service import StrategyService

        if isinstance(hosted, StrategyService):
            hosted.cancel_on_stop = True
        await hosted.stop()

    async def _strategy(self, wanted: Wanted, name: str, number: int) -> Strategy:
        world, account = self._world, self._slots.account
        if wanted.version == CONFIGURED:
            found = next(s for s in world.strategies() if s.name == wanted.strategy)
            return type(found)(name, number, account, found.params)
        version = await Versions(self._log).find(wanted.strategy, wanted.version)
        folder = self._place.folder.path / "versions" / wanted.strategy
        made: Strategy = versions.build(version, name, number, account, folder)
        return made

    async def _shadow(self, wanted: Wanted) -> Hosted:
        """A shadow trades as the live version would: under its number and its limits, but in books of its own."""
        from tidegate.sim.shadow import ShadowService, ShadowSetup

        world, slots = self._world, self._slots
        strategy = await self._strategy(wanted, wanted.strategy, slots.live)
        gate = world.gate()
        sharing.share(gate, len(world.universe), slots.live_scope, slots.next_scope, sharing.WHOLE, 0)
        models, _ = configuration.venue_models(world.config, world.path, world.universe)
        view = await self._log.request(f"oms.{slots.lane}.strategy", msgspec.msgpack.encode(slots.live))
        held = msgspec.msgpack.decode(view, type=StrategyView).positions if view else []
        sample = configuration.latencies(world.config.run.sample, "run.sample", world.path.parent)[0]
        setup = ShadowSetup(
            world.universe, gate, world.ledger(), models, dict(held), sample, seed=world.config.run.seed
        )
        state: dict[str, Any] | None = msgspec.json.decode(wanted.state) if wanted.state else None
        return ShadowService(wanted.strategy, strategy, setup, self._log, self._place.clock, state)
