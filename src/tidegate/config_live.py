"""The sections of a configuration that only a live system reads: log, topology, connections, the simulated venue.

`docs/configuration.md` describes every key. A backtest of the same file passes them over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.log import section
from tidegate.log.section import LogSection
from tidegate.model.time import duration
from tidegate.risk.scopes import NEXT

ROLES = ("venue", "feed", "oms", "risk", "gateway", "recorder", "deploy", "strategy")
"""In the order in which they are started."""


class ConnectionSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venues.NAME.live]`: how a venue is reached."""

    rest: str
    stream: str
    ws_api: str


class SimulatedSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[simulated]`: a venue server of our own in the place of real ones.

    `captures` names a recorded file for each instrument; `speed` how fast it is replayed; `loop` whether it begins
    again at its end. Instead, `agents` trade each instrument with one another (`venue.sim.agents.AgentsConfig`).
    `balance` is what every account starts with, of each currency; of those that `balances` names, what it says. `fill` is
    the model of fills (docs/simulation.md); `limits` the rate limits: the venue's own (`venue`), or `roomy` for load tests.
    `funding` says which contracts are funded, and `open_interest` what others hold (`venue.sim.config.VenueConfig`).
    """

    captures: dict[str, str] = {}
    agents: dict[str, dict[str, Any]] = {}
    speed: float = 1.0
    fill: str = "partial"
    limits: str = "venue"
    funding: dict[str, dict[str, Any]] = {}
    open_interest: dict[str, str] = {}
    loop: bool = False
    balance: Decimal = Decimal(10_000_000)
    balances: dict[str, Decimal] = {}
    port: int = 0
    seed: int = 1


class CellSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[topology.cell]`, `[topology.cells.NAME]`, `[strategies.NAME.cell]`: what a process may use (`ops.cell`), and how
    soon it counts as hung. What is not said is as in the wider table, or the default."""

    memory: str | None = None
    cpu: str | None = None
    processes: int | str | None = None
    files: int | str | None = None
    file_size: str | None = None
    hung_after: str | None = None
    deaths: int | None = None
    """So many ends by itself within `deaths_within`, and it stays down; 0: it is always started again."""
    deaths_within: str | None = None


class TopologySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[topology]`: which roles run in which processes. A role is a name, or `strategy:NAME` for one strategy.

    `on_stop`: what a clean stop does with resting orders, `cancel` or `keep`.
    """

    processes: tuple[tuple[str, ...], ...] = ()
    on_stop: str = "cancel"
    sample: str = "1s"
    ack_timeout: str = "2s"
    control_age: str = "1s"
    """Gateways let out nothing that may add risk when the risk service's lease is older than this."""
    strategies: str = "auto"
    """`each`: a process each; `auto`: that, or several in one where there are more than the machine has room for."""
    cell: CellSection = CellSection()
    """Of every process that runs strategies and nothing else."""
    cells: dict[str, CellSection] = {}
    """Of others, by role or by the process's name."""


def check(
    where: str,
    log: LogSection,
    topology: TopologySection,
    simulated: SimulatedSection | None,
    strategies: Mapping[str, object],
) -> None:
    """Refuse what cannot be, each in one line."""
    section.check(log, where)
    if topology.on_stop not in ("cancel", "keep"):
        raise UserError(f"{where}: topology.on_stop is {topology.on_stop!r}, must be cancel or keep")
    try:
        duration(topology.control_age)
    except ValueError as error:
        raise UserError(f"{where}: topology.control_age: {error}") from None
    if topology.strategies not in ("auto", "each"):
        raise UserError(f"{where}: topology.strategies is {topology.strategies!r}, must be auto or each")
    if simulated is not None and bool(simulated.captures) == bool(simulated.agents):
        raise UserError(f"{where}: simulated: give captures, or agents, and not both")
    for roles in topology.processes:
        for text in roles:
            role_of(text, strategies, f"{where}: topology.processes")


def role_of(text: str, strategies: Mapping[str, object], where: str) -> tuple[str, str]:
    """A role as (role, strategy): `strategy:maker` → ("strategy", "maker"); the strategy is empty for all."""
    role, _, strategy = text.partition(":")
    if role not in ROLES:
        raise UserError(f"{where}: unknown role {role!r}{nearest(role, ROLES)}; known: {', '.join(ROLES)}")
    if strategy and role != "strategy":
        raise UserError(f"{where}: {text!r}: only a strategy's role takes a name")
    slot_of = strategy.removesuffix(NEXT)
    if slot_of != strategy and slot_of in slots_in(strategies):
        return role, strategy
    if strategy and strategy not in strategies:
        raise UserError(f"{where}: unknown strategy {strategy!r}{nearest(strategy, strategies)}")
    return role, strategy


def slots_in(strategies: Mapping[str, object]) -> list[str]:
    """The strategies that have a slot for new versions."""
    return [name for name, section in strategies.items() if getattr(section, "canary", "")]


def processes_of(
    topology: TopologySection,
    strategies: Mapping[str, object],
    simulated: bool,
    hosts: Sequence[Sequence[str]] = (),
) -> list[tuple[str, ...]]:
    """The processes of a topology; by default each role and each strategy has one of its own, or each of `hosts`, which
    name the strategies of one process."""
    if topology.processes:
        return list(topology.processes)
    venue: list[tuple[str, ...]] = [("venue",)] if simulated else []
    own = [tuple(f"strategy:{name}" for name in host) for host in hosts or [[name] for name in strategies]]
    deploy: list[tuple[str, ...]] = [("deploy",)] if slots_in(strategies) else []
    return [*venue, ("feed",), ("oms",), ("risk",), ("gateway",), ("recorder",), *deploy, *own]
